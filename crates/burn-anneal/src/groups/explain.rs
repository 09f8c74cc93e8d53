//! What each group is and does, as a table or as JSON.

use super::resolved::{Rate, ResolvedGroup, Table};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// The groups of a model in one update. `Display` prints a table, and
/// [`to_json`](Self::to_json) gives all of it with the paths.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The update.
    pub step: u64,
    /// The rate of the run's schedule.
    pub rate: f64,
    /// The run's schedule.
    pub schedule: String,
    /// Parameters that the model does not train, such as running statistics.
    pub untrained: usize,
    /// The groups, from the input to the head where there are layers.
    pub groups: Vec<ExplainedGroup>,
}

/// A group in one update.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExplainedGroup {
    /// Its name.
    pub name: String,
    /// Its layer, from 0 next to the input; `None` where layers have no part.
    pub layer: Option<usize>,
    /// How many parameters it has.
    pub parameters: usize,
    /// How many values they have.
    pub elements: usize,
    /// The rate that the update uses; 0 where the group is frozen.
    pub rate: f64,
    /// What the run's schedule, or the group's own, is multiplied by.
    pub multiplier: f64,
    /// Its own schedule.
    pub schedule: Option<String>,
    /// The rate that it never exceeds.
    pub cap: Option<f64>,
    /// Whether the cap cuts the rate of this update.
    pub capped: bool,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Whether this update leaves it as it is.
    pub frozen: bool,
    /// The first update that trains it; `None` where none does.
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
            groups: table.groups.iter().map(|group| explained(group, rate, step)).collect(),
        }
    }

    /// All of it as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers, strings and lists are always JSON")
    }
}

fn explained(group: &ResolvedGroup, base: f64, step: u64) -> ExplainedGroup {
    let frozen = group.is_frozen(step);
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
        multiplier: multiple * group.scale,
        schedule,
        cap: group.cap,
        capped: group.cap.is_some_and(|cap| group.uncapped(base, step) > cap),
        weight_decay: group.weight_decay,
        frozen,
        trains_from: group.trains_from,
        paths: group.paths.clone(),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "update {}: {}, rate {}", self.step, self.schedule, short(self.rate))?;
        const HEAD: [&str; 8] =
            ["group", "parameters", "values", "rate", "multiplier", "cap", "decay", "trains"];
        let mut rows = vec![HEAD.map(String::from)];
        rows.extend(self.groups.iter().map(row));
        let width =
            |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
        for row in &rows {
            write!(f, "{:<1$}", row[0], widths[0])?;
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                write!(f, "  {cell:>width$}")?;
            }
            writeln!(f)?;
        }
        let mut own: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for group in &self.groups {
            if let Some(schedule) = &group.schedule {
                own.entry(schedule).or_default().push(&group.name);
            }
        }
        for (schedule, groups) in own {
            writeln!(f, "{}: {schedule}", groups.join(", "))?;
        }
        write!(f, "{} more that the model does not train", self.untrained)
    }
}

fn row(group: &ExplainedGroup) -> [String; 8] {
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
        short(group.multiplier),
        cap,
        if group.weight_decay == 0.0 { "-".to_string() } else { short(group.weight_decay) },
        trains,
    ]
}

/// Four digits, so that a column can be read.
fn short(value: f64) -> String {
    if value == 0.0 || (1e-3..1e4).contains(&value.abs()) {
        let digits = format!("{value:.4}");
        digits.trim_end_matches('0').trim_end_matches('.').to_string()
    } else {
        format!("{value:.3e}")
    }
}
