//! The stages of a plan, and their table.

use crate::RunLength;
use anneal_schedule::ScheduleConfig;
use std::fmt;

/// Stages of growing batches, with the run and schedule for training: see [`Seesaw`](crate::Seesaw).
#[derive(Clone, Debug, PartialEq)]
pub struct SeesawPlan {
    pub(super) stages: Vec<SeesawStage>,
    pub(super) rise: u64,
    pub(super) updates_without: u64,
    pub(super) run: RunLength,
    pub(super) schedule: ScheduleConfig,
}

/// A part of a [`SeesawPlan`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SeesawStage {
    /// Its first update.
    pub first: u64,
    /// Its number of updates.
    pub updates: u64,
    /// Its rate; in the first stage, from the peak on.
    pub rate: f64,
    /// The batches of each device per update.
    pub accumulation: u64,
    /// The samples per update.
    pub batch: u64,
    /// The samples of the stage.
    pub samples: u64,
}

impl SeesawPlan {
    /// The stages, in order.
    pub fn stages(&self) -> &[SeesawStage] {
        &self.stages
    }

    /// Its number of updates.
    pub fn updates(&self) -> u64 {
        self.stages.iter().map(|stage| stage.updates).sum()
    }

    /// The number of updates of the run that it replaces.
    pub fn updates_without(&self) -> u64 {
        self.updates_without
    }

    /// The number of samples (images) that both see: those of all epochs.
    pub fn samples(&self) -> u64 {
        self.stages.iter().map(|stage| stage.samples).sum()
    }

    /// The length of the run, with the accumulation of each update: for `LearnerBuilder::run`.
    pub fn run(&self) -> RunLength {
        self.run
    }

    /// The schedule to train under.
    pub fn schedule(&self) -> &ScheduleConfig {
        &self.schedule
    }
}

impl fmt::Display for SeesawPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heading = ["updates", "rate", "accumulation", "batch", "images"].map(String::from);
        let row = |stage: &SeesawStage| {
            let last = stage.first + stage.updates - 1;
            [
                format!("{}–{}", grouped(stage.first), grouped(last)),
                format!("{:.3e}", stage.rate),
                grouped(stage.accumulation),
                grouped(stage.batch),
                grouped(stage.samples),
            ]
        };
        let rows: Vec<_> = [heading].into_iter().chain(self.stages.iter().map(row)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        for row in &rows {
            for (column, cell) in row.iter().enumerate() {
                let gap = if column == 0 { 0 } else { 2 };
                write!(f, "{cell:>width$}", width = width(column).unwrap_or(0) + gap)?;
            }
            writeln!(f)?;
        }
        if self.rise > 0 {
            writeln!(
                f,
                "the first {} updates lead up to the first rate, as before",
                grouped(self.rise)
            )?;
        }
        let [updates, without, samples] =
            [self.updates(), self.updates_without, self.samples()].map(grouped);
        write!(f, "{updates} updates instead of {without} for the same {samples} images")
    }
}

/// A number with thousands separators.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([1, 999, 1_000, 1_234_567].map(grouped), ["1", "999", "1,000", "1,234,567"]);
    }
}
