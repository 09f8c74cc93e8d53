//! Describes a training in words.

use crate::training::is_usual_patience;
use crate::{
    ControllerConfig, GradientReduction, Group, GroupsConfig, HalfDtype, HalfPrecision, LayerMap,
    NotFinite, TrainingConfig,
};
use anneal_control::AtEnd;
use serde_json::Value;
use std::fmt;

/// A table with two columns: the parts of the training and their settings.
///
/// ```
/// let config = anneal_config::TrainingConfig::from_toml(
///     "schedule = \"cosine(3e-4).warmup(5%)\"\nclip_global_norm = 1.0",
/// )?;
/// let expected = "schedule    cosine(0.0003).warmup(5%)\ngradients   clipped to a norm of 1, summed over the batches of an update";
/// assert_eq!(config.to_string(), expected);
/// # Ok::<(), anneal_schedule::FileError>(())
/// ```
impl fmt::Display for TrainingConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = vec![("schedule", self.schedule.to_string())];
        let mut add = |name, line: Option<String>| lines.extend(line.map(|line| (name, line)));
        let of_groups = || "as in groups".to_string();
        let decay = self.weight_decay.as_ref().map_or_else(of_groups, |decay| decay.to_string());
        let has_decay = self.weight_decay.is_some() || !self.no_weight_decay.is_none();
        let decay = has_decay.then_some(decay);
        let except =
            (!self.no_weight_decay.is_none()).then(|| format!("not for {}", self.no_weight_decay));
        add("decay", joined([decay, except]));
        add("momentum", self.momentum.as_ref().map(|momentum| momentum.to_string()));
        add("rate drop", self.rate_drop.map(|drop| drop.to_string()));
        add("gradients", self.gradients());
        add("precision", self.precision());
        add("rates", self.rates());
        for line in self.groups.iter().flat_map(GroupsConfig::in_words) {
            add("groups", Some(line));
        }
        for controller in &self.controllers {
            add("controller", Some(controller.to_string()));
        }
        for average in &self.averages {
            add("average", Some(average.to_string()));
        }
        let statistics = self.average_statistics.then(|| "running statistics too".to_string());
        add("average", statistics);
        add(
            "evaluated",
            self.evaluate_with.map(|weights| format!("{weights:?} weights").to_lowercase()),
        );
        let (mut before, mut text) = ("", String::new());
        for (name, line) in lines {
            let shown = if name == before { "" } else { name };
            text += &format!("{shown:11} {line}\n");
            before = name;
        }
        f.write_str(text.trim_end())
    }
}

fn joined(parts: impl IntoIterator<Item = Option<String>>) -> Option<String> {
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

impl TrainingConfig {
    fn gradients(&self) -> Option<String> {
        let clip = self.clip_global_norm.map(|norm| format!("clipped to a norm of {norm}"));
        let reduced = match self.gradient_reduction {
            GradientReduction::Sum => "summed over the batches of an update",
            GradientReduction::Mean => "the mean over the batches of an update",
        };
        let is_said = clip.is_some() || self.gradient_reduction != GradientReduction::Sum;
        let reduced = is_said.then(|| reduced.to_string());
        let within = match self.expect_gradients_within {
            _ if is_usual_patience(&self.expect_gradients_within) => None,
            Some(updates) => Some(format!("expected for each parameter within {updates} updates")),
            None => Some("not expected for each parameter".to_string()),
        };
        let not_finite = match self.not_finite {
            NotFinite::Report => None,
            NotFinite::Skip { most } => {
                Some(format!("skipped if not finite, up to {most} in a row"))
            }
            NotFinite::Stop => Some("the run stops if they are not finite".to_string()),
        };
        joined([clip, reduced, not_finite, within])
    }

    fn precision(&self) -> Option<String> {
        let half = self.half_precision.as_ref().map(HalfPrecision::to_string);
        let scaled = self.loss_scaling.map(|_| "f32 with loss scaling".to_string());
        let capped = self.overflow_cap.map(|_| "rate capped before gradients overflow".to_string());
        joined([half, scaled, capped])
    }

    fn rates(&self) -> Option<String> {
        let floor = self.rate_floor.map(|rate| format!("controllers lower no rate below {rate:?}"));
        let skip = self
            .on_skip
            .map(|skip| format!("on a skipped update the schedule {skip:?}s").to_lowercase());
        let delayed = self.delay_signals.then(|| "signals delayed by one update".to_string());
        joined([floor, skip, delayed])
    }
}

impl fmt::Display for HalfPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.dtype {
            HalfDtype::F16 => "f16",
            HalfDtype::Bf16 => "bf16",
        })?;
        if !self.except.is_none() {
            write!(f, " except for {}", self.except)?;
        }
        f.write_str(if self.loss_scaling.is_some() { ", with loss scaling" } else { "" })
    }
}

impl GroupsConfig {
    /// One line for the settings of all groups, and one for each group.
    fn in_words(&self) -> Vec<String> {
        let layers = [
            self.layers.as_ref().map(LayerMap::to_string),
            self.strict_layers.then(|| "which match each parameter".to_string()),
            self.layer_decay.map(|decay| format!("layer decay {decay}")),
            self.minimum_scale.map(|scale| format!("at least {scale}")),
            self.layer_scales.as_ref().map(|scales| format!("layer scales {scales:?}")),
            self.unfreeze_every.map(|span| format!("one more layer trains every {span}")),
            self.unfreeze_layers_at.as_ref().map(|spans| {
                let spans: Vec<String> = spans.iter().map(ToString::to_string).collect();
                format!("layers train from {}", spans.join(", "))
            }),
            self.weight_decay.as_ref().map(|decay| format!("decay {decay}")),
            (!self.no_weight_decay.is_none())
                .then(|| format!("no decay for {}", self.no_weight_decay)),
            self.momentum.as_ref().map(|momentum| format!("momentum {momentum}")),
            self.rate_drop.map(|drop| format!("rate drop: {drop}")),
            self.freeze_statistics.then(|| "frozen batch norms keep their statistics".to_string()),
        ];
        let caps = self.caps.iter().map(|(group, cap)| format!("{group}: rate at most {cap:?}"));
        let groups = self.groups.iter().map(Group::to_string);
        joined(layers).into_iter().chain(groups).chain(caps).collect()
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.select)?;
        let rest = [
            self.multiple.map(|multiple| format!("rate × {multiple}")),
            self.schedule.as_ref().map(|schedule| format!("rate {schedule}")),
            self.unfreeze_at.map(|position| format!("trains from {position}")),
            self.frozen.then(|| "frozen".to_string()),
            self.weight_decay.as_ref().map(|decay| format!("decay {decay}")),
            self.momentum.as_ref().map(|momentum| format!("momentum {momentum}")),
        ];
        joined(rest).map_or(Ok(()), |rest| write!(f, ": {rest}"))
    }
}

/// `plateau: plateau(factor = 0.5, mode = min, …), on head, after 2ep`
impl fmt::Display for ControllerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.rule.kind();
        let fields = serde_json::to_value(&self.rule).map_err(|_| fmt::Error)?;
        let fields = fields[kind].as_object().cloned().unwrap_or_default();
        let fields: Vec<String> = fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| match value {
                Value::String(text) => format!("{name} = {text}"),
                // Of a choice: its name and its value.
                Value::Object(choice) => {
                    let choice = choice.iter().map(|(kind, value)| format!("{kind} {value}"));
                    format!("{name} = {}", choice.collect::<Vec<_>>().join(", "))
                }
                value => format!("{name} = {value}"),
            })
            .collect();
        write!(f, "{}: {kind}({})", self.name, fields.join(", "))?;
        let rest = [
            self.group.as_ref().map(|group| format!("on {group}")),
            self.after.map(|after| format!("after {after}")),
            self.until.map(|until| format!("until {until}")),
            (self.at_end == AtEnd::Release).then(|| "then released".to_string()),
        ];
        joined(rest).map_or(Ok(()), |rest| write!(f, ", {rest}"))
    }
}
