//! Prints the trials as a table.

use super::space::Short;
use super::study::Study;
use super::trials::{Status, TrialRecord};
use std::fmt;

/// A line for each trial: finished ones, best first; then stopped ones, longest first; then running ones;
/// then failed ones.
impl fmt::Display for Study {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let search = self.search();
        let mut trials = self.trials();
        let order = |trial: &TrialRecord| match trial.status {
            Status::Finished(value) => (0, 0, search.direction.score(value)),
            Status::Stopped { at, value } => (
                1,
                u64::MAX - at,
                value.map_or(f64::INFINITY, |value| search.direction.score(value)),
            ),
            Status::Running => (2, 0, 0.0),
            Status::Failed(_) => (3, 0, 0.0),
        };
        trials.sort_by(|a, b| {
            let ((a, at_a, score_a), (b, at_b, score_b)) = (order(a), order(b));
            (a, at_a).cmp(&(b, at_b)).then(score_a.total_cmp(&score_b))
        });
        let names: Vec<&str> = search.space.axes().iter().map(|axis| &*axis.name).collect();
        write!(f, "trial")?;
        for name in &names {
            write!(f, "  {name:>10}")?;
        }
        writeln!(f, "  {:>10}", "value")?;
        for trial in &trials {
            write!(f, "{:5}", trial.number)?;
            for name in &names {
                let width = name.chars().count().max(10);
                write!(f, "  {:>width$}", Short(trial.values.get(name).unwrap_or(f64::NAN)))?;
            }
            match &trial.status {
                Status::Finished(value) => writeln!(f, "  {:>10}", Short(*value))?,
                Status::Stopped { at, value } => {
                    let value = Short(value.unwrap_or(f64::NAN));
                    writeln!(f, "  {value:>10} at {at}, stopped")?;
                }
                Status::Running => writeln!(f, "  {:>10} running", "")?,
                // A panic message may have many lines.
                Status::Failed(why) => {
                    writeln!(f, "  {:>10} failed: {}", "", why.lines().next().unwrap_or_default())?;
                }
            }
        }
        Ok(())
    }
}
