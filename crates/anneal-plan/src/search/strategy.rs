//! How the values of a trial are chosen.

use super::description::Search;
use super::gaussian_process::Kernel;
use super::sample;
use super::trials::TrialRecord;
use super::upper_confidence::UpperConfidence;
use crate::OutOfRange;
use serde::{Deserialize, Serialize};

/// How the values of a trial are chosen.
///
/// What is chosen depends on the search, the number of the trial, and what the trials before it showed; so a search that
/// is resumed chooses what it would have chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Strategy {
    /// At random: log-uniform on log axes.
    Random,
    /// At random, uniform on log axes too: for comparison, as nine of ten values are in the highest decade.
    LinearRandom,
    /// The points of a scrambled [`Sobol`](crate::Sobol) sequence: like random, but evenly spread.
    Sobol,
    /// All combinations of so many values for each axis, at equal distances, both ends among them; a search with it ends
    /// when it has tried all.
    Grid(u32),
    /// Where a Gaussian process expects most: the default.
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

    /// Where in the unit cube the next trial is, after these.
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
