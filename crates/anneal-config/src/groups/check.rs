//! Checks groups without a model.

use super::{Group, GroupError, GroupsConfig};
use crate::names::check_names;
use anneal_schedule::{OutOfRange, Run, RunLength, Schedule, ScheduleConfig, ScheduleExt, Span};

impl GroupsConfig {
    /// Checks everything that needs no model: values, patterns, names, schedules, and positions in the run.
    ///
    /// # Errors
    /// [`GroupError`] names the field, the value, and what is allowed.
    pub fn check(&self, run: RunLength) -> Result<(), GroupError> {
        if let Some(rate_drop) = self.rate_drop {
            rate_drop.check("rate_drop")?;
        }
        if let Some(decay) = &self.weight_decay {
            decay.check("weight_decay", run)?;
        }
        if let Some(momentum) = &self.momentum {
            momentum_schedule("momentum", momentum, run)?;
        }
        self.no_weight_decay.check("no_weight_decay")?;
        self.layers.as_ref().map_or(Ok(()), |layers| layers.check())?;
        if self.strict_layers && self.layers.as_ref().is_none_or(|map| map.patterns().is_empty()) {
            let allowed = "false without patterns in layers";
            let error = OutOfRange::new("strict_layers", true, allowed);
            return Err(GroupError::OutOfRange(error));
        }
        self.check_scales()?;
        self.check_starts(&run.resolve()?)?;
        check_names(self.groups.iter().map(|group| group.name.as_str()))?;
        self.groups.iter().try_for_each(|group| group.check(run))?;
        match self.caps.iter().find(|(_, cap)| !is_positive(**cap)) {
            Some((name, &cap)) => {
                let field = format!("caps.{name}");
                Err(GroupError::out_of_range(&field, cap, "a finite number above 0"))
            }
            None => Ok(()),
        }
    }

    fn check_scales(&self) -> Result<(), GroupError> {
        let wrong = GroupError::out_of_range;
        if let Some(minimum) = self.minimum_scale {
            if !(0.0..=1.0).contains(&minimum) {
                return Err(wrong("minimum_scale", minimum, "0 to 1"));
            }
            if self.layer_decay.is_none() {
                return Err(wrong("minimum_scale", minimum, "none without layer_decay"));
            }
        }
        match (&self.layer_scales, self.layer_decay) {
            (Some(_), Some(decay)) => {
                let allowed = "none with layer_scales; remove one of the two";
                Err(wrong("layer_decay", decay, allowed))
            }
            (None, Some(decay)) if !(decay > 0.0 && decay <= 1.0) => {
                Err(wrong("layer_decay", decay, "above 0, at most 1"))
            }
            (Some(scales), None) => match scales.iter().find(|scale| !is_positive(**scale)) {
                Some(scale) => {
                    let allowed =
                        "finite numbers above 0; to freeze a layer, put it in a frozen group";
                    Err(wrong("layer_scales", *scale, allowed))
                }
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn check_starts(&self, run: &Run) -> Result<(), GroupError> {
        match (&self.unfreeze_layers_at, self.unfreeze_every) {
            (Some(_), Some(every)) => {
                let allowed = "none with unfreeze_layers_at; remove one of the two";
                let error = OutOfRange::new("unfreeze_every", every, allowed);
                Err(GroupError::OutOfRange(error))
            }
            (None, Some(every)) => update_at("unfreeze_every", every, run).map(drop),
            (positions, None) => positions
                .iter()
                .flatten()
                .try_for_each(|at| update_at("unfreeze_layers_at", *at, run).map(drop)),
        }
    }

    /// The path of an error's field in a file of these groups: `group[0].multiple` for
    /// `groups.head.multiple`.
    pub fn place_of(&self, field: &str) -> String {
        let Some(rest) = field.strip_prefix("groups.") else { return field.to_string() };
        let named = self.groups.iter().enumerate().filter_map(|(index, group)| {
            let rest = rest.strip_prefix(&group.name)?;
            let is_whole = rest.is_empty() || rest.starts_with('.');
            is_whole.then(|| (group.name.len(), index, format!("group[{index}]{rest}")))
        });
        named.max().map_or_else(|| "group".to_string(), |(.., place)| place)
    }
}

impl Group {
    fn check(&self, run: RunLength) -> Result<(), GroupError> {
        let field = |name: &str| format!("groups.{}.{name}", self.name);
        self.select.check(&field("select"))?;
        match self.multiple {
            Some(multiple) if self.schedule.is_some() => {
                let allowed = "none with the group's own schedule; remove one of the two";
                return Err(GroupError::out_of_range(&field("multiple"), multiple, allowed));
            }
            Some(multiple) if !is_positive(multiple) => {
                let allowed = "a finite number above 0; to freeze the group, use frozen";
                return Err(GroupError::out_of_range(&field("multiple"), multiple, allowed));
            }
            _ => {}
        }
        if let Some(position) = self.unfreeze_at {
            if self.frozen {
                let allowed = "none with frozen; remove one of the two";
                let error = OutOfRange::new(field("unfreeze_at"), position, allowed);
                return Err(GroupError::OutOfRange(error));
            }
            update_at(&field("unfreeze_at"), position, &run.resolve()?)?;
        }
        if let Some(decay) = &self.weight_decay {
            decay.check(&field("weight_decay"), run)?;
        }
        if let Some(momentum) = &self.momentum {
            momentum_schedule(&field("momentum"), momentum, run)?;
        }
        match self.schedule.as_ref().map(|schedule| schedule.clone().resolve(run)) {
            Some(Err(error)) => Err(GroupError::Schedule { field: field("schedule"), error }),
            _ => Ok(()),
        }
    }
}

fn is_positive(value: f64) -> bool {
    value > 0.0 && value.is_finite()
}

/// The update at a position of a run; errors name `field`.
///
/// # Errors
/// [`GroupError::Position`] if the run cannot count the position, or ends before it.
pub fn update_at(field: &str, position: Span, run: &Run) -> Result<u64, GroupError> {
    let update = position.update_in(run);
    let end = run.updates().unwrap_or(u64::MAX);
    let reason = match update {
        Some(update) if update < end => return Ok(update),
        Some(_) => {
            format!("the run has {end} updates; for a group that never trains, use frozen")
        }
        None => {
            "allowed: a length from the start of the run that the run can count, for example 0, \
                 500, 2ep or 10%"
                .into()
        }
    };
    Err(GroupError::Position { field: field.into(), span: position.to_string(), update, reason })
}

/// Resolves a momentum schedule; errors name `field`.
///
/// # Errors
/// [`GroupError`] if it does not resolve, or its peak is not below 1.
pub fn momentum_schedule(
    field: &str,
    momentum: &ScheduleConfig,
    run: RunLength,
) -> Result<Schedule, GroupError> {
    let momentum = momentum.clone().resolve(run);
    let momentum =
        momentum.map_err(|error| GroupError::Schedule { field: field.to_string(), error })?;
    if momentum.peak() < 1.0 {
        return Ok(momentum);
    }
    let allowed = "a schedule with a peak below 1; use Cap if only a bound is known";
    Err(GroupError::out_of_range(field, momentum.peak(), allowed))
}
