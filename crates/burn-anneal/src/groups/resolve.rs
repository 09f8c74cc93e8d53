//! From a description of groups to the groups of a model.

use super::error::check_name;
use super::layers::Layers;
use super::resolved::{Rate, ResolvedGroup, Table};
use super::{Group, GroupError, GroupsConfig, LayerMap, Parameter, Selection};
use anneal_schedule::{
    OutOfRange, RateDrop, Run, RunLength, Schedule, ScheduleConfig, ScheduleExt, Shrinkage, Span,
    WeightDecay,
};
use std::collections::{HashMap, HashSet};

/// What parameters of one group have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    layer: Option<usize>,
    group: Option<usize>,
    decays: bool,
}

pub(crate) fn resolve(
    config: &GroupsConfig,
    all: &[Parameter],
    schedule: &Schedule,
    run: RunLength,
) -> Result<Table, GroupError> {
    let trained: Vec<Parameter> = all.iter().filter(|p| p.trainable).cloned().collect();
    if trained.is_empty() {
        return Err(GroupError::NoParameters { parameters: all.len() });
    }
    let resolution = Resolution {
        layers: layers(config, &trained)?,
        named: named_groups(config, &trained)?,
        undecayed: config.no_weight_decay.named("no_weight_decay", &trained)?,
        parameters: trained,
        config,
        schedule,
        run_length: run,
        run: schedule.run(),
    };
    let (groups, of_path) = resolution.groups()?;
    if groups.iter().all(|group| group.is_frozen(0)) {
        return Err(GroupError::NothingTrains);
    }
    Ok(Table {
        groups,
        of_path,
        of_flag: HashMap::new(),
        notes: vec![],
        base: schedule.clone(),
        config: config.clone(),
        run,
        rate_drop: config.rate_drop.unwrap_or(RateDrop::keep()),
        said_of_decay: said_of_decay(config),
        freeze_statistics: config.freeze_statistics,
        untrained: all.len() - resolution.parameters.len(),
    })
}

fn layers(config: &GroupsConfig, trained: &[Parameter]) -> Result<Option<Layers>, GroupError> {
    if !config.uses_layers() {
        return Ok(None);
    }
    let layers = config.layers.clone().unwrap_or_else(LayerMap::from_tree).layers(trained)?;
    if let [only] = &layers.names[..] {
        log::warn!(
            "groups: all parameters are in one layer, `{only}`, so that what is said of layers has no \
             effect; name the layers with LayerMap::from_patterns"
        );
    }
    Ok(Some(layers))
}

/// The named group of each parameter.
fn named_groups(
    config: &GroupsConfig,
    trained: &[Parameter],
) -> Result<Vec<Option<usize>>, GroupError> {
    let mut of: Vec<Option<usize>> = vec![None; trained.len()];
    let mut names = HashSet::new();
    for (index, group) in config.groups.iter().enumerate() {
        if !names.insert(&group.name) {
            return Err(GroupError::Duplicate { group: group.name.clone() });
        }
        let selected = group.select.named(&format!("groups.{}.select", group.name), trained)?;
        let free = (0..trained.len()).filter(|&i| selected[i] && of[i].is_none());
        let free: Vec<usize> = free.collect();
        if free.is_empty() {
            return Err(empty(config, group, &selected, &of));
        }
        free.into_iter().for_each(|i| of[i] = Some(index));
    }
    let ungrouped: Vec<&Parameter> =
        trained.iter().zip(&of).filter(|(_, group)| group.is_none()).map(|(p, _)| p).collect();
    if config.groups.is_empty() || config.uses_layers() || ungrouped.is_empty() {
        return Ok(of);
    }
    Err(GroupError::Ungrouped {
        count: ungrouped.len(),
        first: ungrouped.iter().take(3).map(|p| p.path.clone()).collect(),
    })
}

/// Why a group has no parameter.
fn empty(
    config: &GroupsConfig,
    group: &Group,
    selected: &[bool],
    of: &[Option<usize>],
) -> GroupError {
    match (0..of.len()).find_map(|i| of[i].filter(|_| selected[i])) {
        Some(before) => GroupError::Empty {
            group: group.name.clone(),
            before: config.groups[before].name.clone(),
        },
        None => GroupError::NoMatch {
            field: format!("groups.{}.select", group.name),
            pattern: group.select.to_string(),
            nearest: vec![],
        },
    }
}

/// Each group has a name of its own, and so have the files of its metrics.
fn check_names(groups: &[ResolvedGroup]) -> Result<(), GroupError> {
    let mut files: HashMap<String, &str> = HashMap::new();
    for ResolvedGroup { name, .. } in groups {
        check_name(name)?;
        // As file systems see it that know no case.
        let file = name.replace(' ', "_").to_lowercase();
        match files.insert(file, name) {
            Some(other) if other == name => {
                return Err(GroupError::Duplicate { group: name.clone() });
            }
            Some(other) => {
                return Err(GroupError::SameFile { group: name.clone(), other: other.to_string() });
            }
            None => {}
        }
    }
    Ok(())
}

/// What a description says of weight decay.
fn said_of_decay(config: &GroupsConfig) -> Option<String> {
    let of_groups = config.groups.iter().filter_map(|group| group.weight_decay.as_ref());
    let decays =
        of_groups.chain(&config.weight_decay).map(|decay| format!("weight_decay: {decay}"));
    let excluded = (config.no_weight_decay != Selection::none())
        .then(|| format!("no_weight_decay: {}", config.no_weight_decay));
    decays.chain(excluded).next()
}

/// All that the groups are made of.
struct Resolution<'a> {
    config: &'a GroupsConfig,
    parameters: Vec<Parameter>,
    layers: Option<Layers>,
    named: Vec<Option<usize>>,
    undecayed: Vec<bool>,
    schedule: &'a Schedule,
    run_length: RunLength,
    run: Run,
}

impl Resolution<'_> {
    fn groups(&self) -> Result<(Vec<ResolvedGroup>, HashMap<String, usize>), GroupError> {
        let scales = self.scales()?;
        let starts = self.starts()?;
        self.check_named()?;
        let keys: Vec<Key> = (0..self.parameters.len()).map(|i| self.key(i)).collect();
        let present: HashSet<Key> = keys.iter().copied().collect();
        let mut distinct: Vec<Key> = present.iter().copied().collect();
        distinct.sort_by_key(|key| (key.layer, key.group, !key.decays));
        let mut groups = vec![];
        for key in &distinct {
            let layer = |per_layer: &[f64]| key.layer.map_or(1.0, |layer| per_layer[layer]);
            let start = key.layer.map_or(Some(0), |layer| Some(starts[layer]));
            groups.push(self.group(*key, &present, layer(&scales), start)?);
        }
        check_names(&groups)?;
        let index: HashMap<Key, usize> = distinct.iter().copied().zip(0..).collect();
        let mut of_path = HashMap::new();
        for (parameter, key) in self.parameters.iter().zip(keys) {
            let group = &mut groups[index[&key]];
            group.paths.push(parameter.path.clone());
            group.elements += parameter.elements();
            of_path.insert(parameter.path.clone(), index[&key]);
        }
        self.set_caps(&mut groups)?;
        for (group, key) in groups.iter_mut().zip(&distinct) {
            self.set_decay(group, *key)?;
        }
        Ok((groups, of_path))
    }

    fn key(&self, parameter: usize) -> Key {
        let group = self.named[parameter];
        Key {
            layer: self.layers.as_ref().map(|layers| layers.of[parameter]),
            group,
            decays: !self.weight_decay(group).1.is_none() && !self.undecayed[parameter],
        }
    }

    /// The weight decay of a named group, or of no one, and the field that says it.
    fn weight_decay(&self, group: Option<usize>) -> (String, WeightDecay) {
        let named = group.map(|group| &self.config.groups[group]);
        match named.and_then(|group| Some((&group.name, group.weight_decay.clone()?))) {
            Some((name, own)) => (format!("groups.{name}.weight_decay"), own),
            None => ("weight_decay".into(), self.config.weight_decay.clone().unwrap_or_default()),
        }
    }

    /// The momentum of a named group, or of no one.
    fn momentum(&self, group: Option<usize>) -> Result<Option<Schedule>, GroupError> {
        let named = group.map(|group| &self.config.groups[group]);
        let own = named.and_then(|group| Some((&group.name, group.momentum.as_ref()?)));
        let (field, config) = match (own, &self.config.momentum) {
            (Some((name, own)), _) => (format!("groups.{name}.momentum"), own),
            (None, Some(shared)) => ("momentum".into(), shared),
            (None, None) => return Ok(None),
        };
        self.checked_momentum(field, config).map(Some)
    }

    fn checked_momentum(
        &self,
        field: String,
        config: &ScheduleConfig,
    ) -> Result<Schedule, GroupError> {
        let momentum = config.clone().resolve(self.run_length);
        let momentum =
            momentum.map_err(|error| GroupError::Schedule { field: field.clone(), error })?;
        if momentum.peak() < 1.0 {
            Ok(momentum)
        } else {
            let allowed = "a schedule whose peak is below 1; see Cap where only a bound is known";
            Err(GroupError::out_of_range(&field, momentum.peak(), allowed))
        }
    }

    fn group(
        &self,
        key: Key,
        present: &HashSet<Key>,
        scale: f64,
        layer_start: Option<u64>,
    ) -> Result<ResolvedGroup, GroupError> {
        let named = key.group.map(|group| &self.config.groups[group]);
        let rate = match named.and_then(|group| group.schedule.as_ref().map(|own| (group, own))) {
            Some((group, own)) => {
                let field = format!("groups.{}.schedule", group.name);
                let own = own.clone().resolve(self.run_length);
                let own = own.map_err(|error| GroupError::Schedule { field, error })?;
                Rate::Own(own)
            }
            None => Rate::Multiple(named.and_then(|group| group.multiple).unwrap_or(1.0)),
        };
        let trains_from = match named {
            Some(Group { frozen: true, .. }) => None,
            Some(Group { unfreeze_at: Some(position), name, .. }) => {
                Some(self.update(&format!("groups.{name}.unfreeze_at"), *position)?)
            }
            _ => layer_start,
        };
        Ok(ResolvedGroup {
            name: self.name(key, present),
            layer: key.layer,
            rate,
            scale,
            cap: None,
            trains_from,
            weight_decay: WeightDecay::none(),
            shrinkage: Shrinkage::none(),
            momentum: self.momentum(key.group)?,
            paths: vec![],
            elements: 0,
        })
    }

    /// `head`, `blocks.3`, `head blocks.3`, and `blocks.3, no decay` beside one that decays.
    fn name(&self, key: Key, present: &HashSet<Key>) -> String {
        let group = key.group.map(|group| self.config.groups[group].name.as_str());
        let layer =
            key.layer.zip(self.layers.as_ref()).map(|(layer, all)| all.names[layer].as_str());
        let mut parts: Vec<&str> = group.into_iter().chain(layer).collect();
        // A group that is one layer under the same name says it once.
        parts.dedup();
        let name = if parts.is_empty() { "model".to_string() } else { parts.join(" ") };
        let has_decayed_twin = !key.decays && present.contains(&Key { decays: true, ..key });
        if has_decayed_twin { format!("{name}, no decay") } else { name }
    }

    /// The scale of each layer's rate.
    fn scales(&self) -> Result<Vec<f64>, GroupError> {
        if let Some(minimum) = self.config.minimum_scale {
            if !(0.0..=1.0).contains(&minimum) {
                return Err(GroupError::out_of_range("minimum_scale", minimum, "0 to 1"));
            }
            if self.config.layer_decay.is_none() {
                let allowed = "none without layer_decay";
                return Err(GroupError::out_of_range("minimum_scale", minimum, allowed));
            }
        }
        let Some(layers) = &self.layers else { return Ok(vec![]) };
        let count = layers.names.len();
        let minimum = self.config.minimum_scale.unwrap_or(0.0);
        match (&self.config.layer_scales, self.config.layer_decay) {
            (Some(_), Some(decay)) => Err(GroupError::out_of_range(
                "layer_decay",
                decay,
                "none beside layer_scales; give one of the two",
            )),
            (Some(scales), None) => {
                self.per_layer("layer_scales", scales.len())?;
                match scales.iter().find(|scale| !(**scale > 0.0 && scale.is_finite())) {
                    Some(scale) => Err(GroupError::out_of_range(
                        "layer_scales",
                        *scale,
                        "finite numbers above 0; to freeze a layer give it a group that is frozen",
                    )),
                    None => Ok(scales.clone()),
                }
            }
            (None, decay) => {
                let decay = decay.unwrap_or(1.0);
                if !(decay > 0.0 && decay <= 1.0) {
                    return Err(GroupError::out_of_range(
                        "layer_decay",
                        decay,
                        "above 0, at most 1",
                    ));
                }
                let scale = |layer: usize| decay.powf((count - 1 - layer) as f64).max(minimum);
                Ok((0..count).map(scale).collect())
            }
        }
    }

    /// The first update that trains each layer.
    fn starts(&self) -> Result<Vec<u64>, GroupError> {
        let Some(layers) = &self.layers else { return Ok(vec![]) };
        let count = layers.names.len();
        match (&self.config.unfreeze_layers_at, self.config.unfreeze_every) {
            (Some(_), Some(every)) => {
                let allowed = "none beside unfreeze_layers_at; give one of the two";
                let error = OutOfRange::new("unfreeze_every", every, allowed);
                Err(GroupError::OutOfRange(error))
            }
            (Some(positions), None) => {
                self.per_layer("unfreeze_layers_at", positions.len())?;
                positions.iter().map(|at| self.update("unfreeze_layers_at", *at)).collect()
            }
            (None, Some(every)) => {
                let position = |layer: usize| every.times((count - 1 - layer) as u64);
                (0..count).map(|layer| self.update("unfreeze_every", position(layer))).collect()
            }
            (None, None) => Ok(vec![0; count]),
        }
    }

    fn per_layer(&self, field: &str, found: usize) -> Result<(), GroupError> {
        match &self.layers {
            Some(layers) if layers.names.len() != found => Err(GroupError::LayerCount {
                field: field.into(),
                found,
                layers: layers.names.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// The update at a position of the run.
    fn update(&self, field: &str, position: Span) -> Result<u64, GroupError> {
        let update = position.update_in(&self.run);
        let end = self.run.updates().unwrap_or(u64::MAX);
        let reason = match update {
            Some(update) if update < end => return Ok(update),
            Some(_) => format!("the run has {end} updates; what never trains is Group::frozen()"),
            None => {
                "allowed: a length from the start of the run, such as 0, 500, 2ep or 10%, that \
                     the run can count"
                    .into()
            }
        };
        Err(GroupError::Position {
            field: field.into(),
            span: position.to_string(),
            update,
            reason,
        })
    }

    fn check_named(&self) -> Result<(), GroupError> {
        self.config.rate_drop.unwrap_or(RateDrop::keep()).check("rate_drop")?;
        // Also where every group has its own.
        if let Some(decay) = &self.config.weight_decay {
            decay.check("weight_decay", self.run_length)?;
        }
        if let Some(momentum) = &self.config.momentum {
            self.checked_momentum("momentum".into(), momentum)?;
        }
        for group in &self.config.groups {
            let field = |name: &str| format!("groups.{}.{name}", group.name);
            match group.multiple {
                Some(multiple) if group.schedule.is_some() => {
                    let allowed = "none beside a schedule of its own; give one of the two";
                    return Err(GroupError::out_of_range(&field("multiple"), multiple, allowed));
                }
                Some(multiple) if !(multiple > 0.0 && multiple.is_finite()) => {
                    let allowed = "a finite number above 0; to freeze the group use frozen";
                    return Err(GroupError::out_of_range(&field("multiple"), multiple, allowed));
                }
                _ => {}
            }
            if let (true, Some(position)) = (group.frozen, group.unfreeze_at) {
                let allowed = "none beside frozen; give one of the two";
                let error = OutOfRange::new(field("unfreeze_at"), position, allowed);
                return Err(GroupError::OutOfRange(error));
            }
        }
        Ok(())
    }

    fn set_caps(&self, groups: &mut [ResolvedGroup]) -> Result<(), GroupError> {
        let names: Vec<String> = groups.iter().map(|group| group.name.clone()).collect();
        for (name, &cap) in &self.config.caps {
            if !(cap > 0.0 && cap.is_finite()) {
                let field = format!("caps.{name}");
                return Err(GroupError::out_of_range(&field, cap, "a finite number above 0"));
            }
            let group = groups.iter_mut().find(|group| group.name == *name);
            let unknown = || GroupError::UnknownGroup {
                field: "caps".into(),
                name: name.clone(),
                groups: names.clone(),
            };
            group.ok_or_else(unknown)?.cap = Some(cap);
        }
        Ok(())
    }

    /// The decay of a group is checked at its own rates, which its cap lowers.
    fn set_decay(&self, group: &mut ResolvedGroup, key: Key) -> Result<(), GroupError> {
        let (field, decay) = self.weight_decay(key.group);
        // What is frozen does not shrink.
        let rate = |step| match group.is_frozen(step) {
            true => 0.0,
            false => group.rate(self.schedule.rate(step), step),
        };
        let peak = group.peak(self.schedule);
        let shrinkage = decay.resolve_for(&field, peak, rate, self.run_length)?;
        if key.decays {
            group.weight_decay = decay;
            group.shrinkage = shrinkage;
        }
        Ok(())
    }
}
