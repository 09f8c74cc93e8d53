//! Strategies that choose the values of a trial.

use super::description::Search;
use super::gaussian_process::Kernel;
use super::sample;
use super::trials::TrialRecord;
use super::upper_confidence::UpperConfidence;
use crate::OutOfRange;
use serde::{Deserialize, Serialize};

/// How the values of a trial are chosen.
///
/// The choice depends on the search, the number of the trial, and the earlier trials, so a resumed search
/// makes the same choices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Strategy {
    /// At random: log-uniform on log axes.
    Random,
    /// At random, uniform even on log axes: for comparison, because nine of ten values are in the highest
    /// decade.
    LinearRandom,
    /// The points of a scrambled [`Sobol`](crate::Sobol) sequence: like random, but evenly spread.
    Sobol,
    /// All combinations of this many evenly spaced values per axis, including both ends; such a search ends
    /// when it has tried all.
    Grid(u32),
    /// Where a Gaussian process is most promising: the default.
    UpperConfidence(UpperConfidence),
}

impl Default for Strategy {
    fn default() -> Self {
        Self::UpperConfidence(UpperConfidence::default())
    }
}

impl From<UpperConfidence> for Strategy {
    fn from(rule: UpperConfidence) -> Self {
        Self::UpperConfidence(rule)
    }
}

impl Strategy {
    pub(super) fn check(&self) -> Result<(), OutOfRange> {
        match self {
            Self::Grid(points) => {
                OutOfRange::require("grid", points, *points >= 1, "at least 1 value for each axis")
            }
            Self::UpperConfidence(rule) => rule.check(),
            Self::Random | Self::LinearRandom | Self::Sobol => Ok(()),
        }
    }

    pub(super) fn kernel(&self) -> Kernel {
        match self {
            Self::UpperConfidence(rule) => rule.kernel,
            _ => Kernel::default(),
        }
    }

    /// The next trial's point in the unit cube, after these trials.
    pub(super) fn suggest(
        &self,
        search: &Search,
        trials: &[TrialRecord],
    ) -> Result<Vec<f64>, OutOfRange> {
        let (space, seed, i) = (&search.space, search.seed, trials.len() as u64);
        match self {
            Self::Random => Ok(sample::random(space, seed, i)),
            Self::LinearRandom => Ok(sample::linear_random(space, seed, i)),
            Self::Sobol => sample::sobol(space, seed, i),
            Self::Grid(points) => Ok(sample::grid(space, *points, i)),
            Self::UpperConfidence(rule) => rule.suggest(search, trials),
        }
    }
}
