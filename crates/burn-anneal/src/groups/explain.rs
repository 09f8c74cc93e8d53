//! Explains each group, as a table or as JSON.

use super::resolved::{Rate, ResolvedGroup, Table};
use anneal_control::Answer;
use anneal_schedule::Schedule;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// The groups of a model at one update. `Display` prints a table, and
/// [`to_json`](Self::to_json) returns everything, including paths.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The update.
    pub step: u64,
    /// The rate of the run's schedule.
    pub rate: f64,
    /// The run's schedule.
    pub schedule: String,
    /// The number of parameters that the model does not train, for example running statistics.
    pub untrained: usize,
    /// Where and how the run resumed; `None` for a new run.
    pub resumed: Option<String>,
    /// What to know: modules that are no layer of the tree, parameters that no pattern of a layer matches, and settings
    /// without effect, for example a decay that half precision rounds away.
    pub notes: Vec<String>,
    /// The state of controllers; `None` without controllers.
    pub control: Option<ControlSummary>,
    /// The groups, with layers from the input to the head.
    pub groups: Vec<ExplainedGroup>,
}

/// The state of all controllers.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ControlSummary {
    /// The scale of the next loss; `None` without loss scaling.
    pub loss_scale: Option<f64>,
    /// Updates skipped so far.
    pub skipped: u64,
    /// The number of steps that the schedule is behind the updates.
    pub behind: u64,
    /// The factor on the rates of the last update.
    pub factor: f64,
    /// Updates made with a non-finite loss or gradients, as far as is known.
    pub not_finite: u64,
    /// The controllers, in the order in which they are called.
    pub controllers: Vec<ExplainedController>,
}

/// A controller after an update.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ExplainedController {
    /// Its name.
    pub name: String,
    /// Its answer to the last update.
    pub answered: Answer,
    /// Its state, as saved in a checkpoint.
    pub state: Value,
}

impl ControlSummary {
    /// A number in the state of a controller, for example the `smoothness` of the `overflow cap`.
    pub fn state(&self, controller: &str, field: &str) -> Option<f64> {
        let found = self.controllers.iter().find(|found| found.name == controller)?;
        found.state.get(field)?.as_f64()
    }
}

impl fmt::Display for ControlSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scale) = self.loss_scale {
            write!(f, "loss scale {scale}, ")?;
        }
        write!(f, "{} updates skipped", self.skipped)?;
        if self.behind > 0 {
            write!(f, ", of which the schedule waited for {}", self.behind)?;
        }
        writeln!(f, "; the last update at {} of its rate", short(self.factor))?;
        if self.not_finite > 0 {
            writeln!(f, "{} updates made with a non-finite loss or gradients", self.not_finite)?;
        }
        for ExplainedController { name, answered, state } in &self.controllers {
            writeln!(f, "{name}: answered {answered}{}", in_words(state))?;
        }
        Ok(())
    }
}

/// A group at one update.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ExplainedGroup {
    /// Its name.
    pub name: String,
    /// Its layer, from 0 next to the input; `None` without layers.
    pub layer: Option<usize>,
    /// The number of its parameters.
    pub parameters: usize,
    /// The number of their values.
    pub elements: usize,
    /// The scheduled rate of the update; 0 if the group is frozen.
    pub rate: f64,
    /// The rate of the last update after controllers; `None` without controllers or before the first update.
    pub last_rate: Option<f64>,
    /// The factor on the run's schedule, or on the group's own.
    pub multiplier: f64,
    /// Its own schedule.
    pub schedule: Option<String>,
    /// The largest rate allowed.
    pub cap: Option<f64>,
    /// Whether the cap limits the rate of this update.
    pub capped: bool,
    /// Coefficient ω of its weight decay at this update; 0 without a decay.
    pub weight_decay: f64,
    /// Its weight decay as configured, for example `independent(0.0001)`.
    pub decay: Option<String>,
    /// The share of each weight that the decay removes at this update; 0 if the group is frozen.
    pub shrink: f64,
    /// The share of a weight that the decay has left before this update, Π(1 − d) over the scheduled
    /// updates, including skipped ones. `None` if it would take more than a million updates of all groups
    /// together.
    pub kept: Option<f64>,
    /// The share left at the end of the run; `None` also if the run has no end.
    pub kept_at_end: Option<f64>,
    /// The momentum of this update, if it is scheduled.
    pub momentum: Option<f64>,
    /// Whether the group is frozen at this update.
    pub frozen: bool,
    /// The first update that trains it; `None` if it never trains.
    pub trains_from: Option<u64>,
    /// The paths of its parameters.
    pub paths: Vec<String>,
}

impl Explanation {
    pub(crate) fn new(table: &Table, step: u64) -> Self {
        let rate = table.base.rate(step);
        Self {
            step,
            rate,
            schedule: table.base.to_string(),
            untrained: table.untrained,
            resumed: None,
            notes: table.joined.iter().chain(&table.notes).cloned().collect(),
            control: None,
            groups: table.groups.iter().map(|group| explained(table, group, step)).collect(),
        }
    }

    /// The explanation as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers, strings and lists are always JSON")
    }
}

fn explained(table: &Table, group: &ResolvedGroup, step: u64) -> ExplainedGroup {
    let base = table.base.rate(step);
    let frozen = group.is_frozen(step);
    let end = table.base.length();
    let (multiple, schedule) = match &group.rate {
        Rate::Multiple(multiple) => (*multiple, None),
        Rate::Own(schedule) => (1.0, Some(schedule.to_string())),
    };
    ExplainedGroup {
        name: group.name.clone(),
        layer: group.layer,
        parameters: group.paths.len(),
        elements: group.elements,
        rate: if frozen { 0.0 } else { group.rate(base, step) },
        last_rate: None,
        multiplier: multiple * group.scale,
        schedule,
        cap: group.cap,
        capped: group.cap.is_some_and(|cap| group.uncapped(base, step) > cap),
        weight_decay: group.shrinkage.coefficient(step),
        decay: Some(&group.weight_decay).filter(|decay| !decay.is_none()).map(|d| d.to_string()),
        shrink: if frozen { 0.0 } else { group.shrink(base, step) },
        kept: kept(table, group, step),
        kept_at_end: end.and_then(|end| kept(table, group, end)),
        momentum: group.momentum.as_ref().map(|momentum| momentum.rate(step)),
        frozen,
        trains_from: group.trains_from,
        paths: group.paths.clone(),
    }
}

/// The most updates of all groups together to multiply, about a tenth of a second.
const MAX_MULTIPLIED: u64 = 1_000_000;

/// Π(1 − d) over the updates before `step`.
fn kept(table: &Table, group: &ResolvedGroup, step: u64) -> Option<f64> {
    if group.shrinkage.is_none() {
        return Some(1.0);
    }
    (step.saturating_mul(table.groups.len() as u64) <= MAX_MULTIPLIED).then(|| {
        let mut kept = Kept::default();
        kept.go_on(&table.base, group, step);
        kept.share()
    })
}

/// Computes Π(1 − d) update by update.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    next: u64,
    log: f64,
}

impl Kept {
    /// Continues, or restarts, to the product over the updates before `step`.
    pub fn go_on(&mut self, base: &Schedule, group: &ResolvedGroup, step: u64) {
        if step < self.next {
            *self = Self::default();
        }
        let first = group.trains_from.unwrap_or(step).max(self.next);
        for step in first..step {
            self.log += (-group.shrink(base.rate(step), step)).ln_1p();
        }
        self.next = step;
    }

    /// Adds an update that removes this share; the next one is at `next_step`.
    pub fn count(&mut self, share: f64, next_step: u64) {
        self.log += (-share).ln_1p();
        self.next = next_step;
    }

    pub fn share(&self) -> f64 {
        self.log.exp()
    }
}

/// The state of a controller: `; factor 0.5, best 0.71`.
fn in_words(state: &Value) -> String {
    fn part(name: &str, value: &Value) -> Option<String> {
        match value {
            Value::Null => None,
            Value::Object(_) => Some(format!("{name} ({})", parts(value))),
            Value::String(text) => Some(format!("{name} {text}")),
            value => Some(format!("{name} {value}")),
        }
    }
    fn parts(state: &Value) -> String {
        let Some(fields) = state.as_object() else { return state.to_string() };
        fields.iter().filter_map(|(name, value)| part(name, value)).collect::<Vec<_>>().join(", ")
    }
    match parts(state) {
        text if text.is_empty() || state.is_null() => String::new(),
        text => format!("; {text}"),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text)?;
        f.write_str(text.trim_end())
    }
}

impl Explanation {
    fn write(&self, f: &mut String) -> fmt::Result {
        if let Some(resumed) = &self.resumed {
            writeln!(f, "{resumed}")?;
        }
        writeln!(f, "update {}: {}, rate {}", self.step, self.schedule, short(self.rate))?;
        const HEAD: [&str; 11] = [
            "group",
            "parameters",
            "values",
            "rate",
            "last rate",
            "multiplier",
            "cap",
            "shrink",
            "kept",
            "momentum",
            "trains",
        ];
        // Momentum is usually the optimizer's own, and the last rate the schedule's.
        let has = |of: fn(&ExplainedGroup) -> Option<f64>| {
            self.groups.iter().any(|group| of(group).is_some())
        };
        let (momentum, last) = (has(|group| group.momentum), has(|group| group.last_rate));
        let is_shown = |column: &usize| match HEAD[*column] {
            "momentum" => momentum,
            "last rate" => last,
            _ => true,
        };
        let shown: Vec<usize> = (0..HEAD.len()).filter(is_shown).collect();
        let pick = |row: [String; 11]| shown.iter().map(|&i| row[i].clone()).collect::<Vec<_>>();
        let mut rows = vec![pick(HEAD.map(String::from))];
        rows.extend(self.groups.iter().map(|group| pick(row(group))));
        let width =
            |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..shown.len()).map(width).collect();
        for row in &rows {
            write!(f, "{:<1$}", row[0], widths[0])?;
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                write!(f, "  {cell:>width$}")?;
            }
            writeln!(f)?;
        }
        for (what, of) in [
            ("rate", (|group| group.schedule.as_deref()) as fn(&ExplainedGroup) -> Option<&str>),
            ("weight decay", |group| group.decay.as_deref()),
        ] {
            let mut said: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for group in &self.groups {
                if let Some(text) = of(group) {
                    said.entry(text).or_default().push(&group.name);
                }
            }
            for (text, groups) in said {
                writeln!(f, "{what} of {}: {text}", groups.join(", "))?;
            }
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))?;
        if let Some(control) = &self.control {
            write!(f, "{control}")?;
        }
        match self.untrained {
            0 => Ok(()),
            count => write!(f, "{count} more that the model does not train"),
        }
    }
}

fn row(group: &ExplainedGroup) -> [String; 11] {
    let trains = match (group.frozen, group.trains_from) {
        (false, _) => "now".to_string(),
        (true, Some(step)) => format!("frozen, from {step} on"),
        (true, None) => "frozen".to_string(),
    };
    let cap = group.cap.map_or("-".to_string(), |cap| {
        format!("{}{}", short(cap), if group.capped { ", cuts" } else { "" })
    });
    [
        group.name.clone(),
        group.parameters.to_string(),
        group.elements.to_string(),
        short(group.rate),
        group.last_rate.map_or("-".to_string(), short),
        short(group.multiplier),
        cap,
        if group.decay.is_none() { "-".to_string() } else { short(group.shrink) },
        match group.kept {
            _ if group.decay.is_none() => "-".to_string(),
            Some(kept) => short(kept),
            None => "?".to_string(),
        },
        group.momentum.map_or("-".to_string(), short),
        trains,
    ]
}

/// Four digits, so that a column is readable.
fn short(value: f64) -> String {
    if value == 0.0 || (1e-3..1e4).contains(&value.abs()) {
        // 0.005294, and not 0.0053.
        let zeros = if value == 0.0 { 0.0 } else { -value.abs().log10().floor() - 1.0 };
        let digits = format!("{value:.*}", 4 + zeros.max(0.0) as usize);
        digits.trim_end_matches('0').trim_end_matches('.').to_string()
    } else {
        format!("{value:.3e}")
    }
}
