//! The description of a search.

use super::error::SearchError;
use super::halving::Halving;
use super::sample::grid_size;
use super::space::Space;
use super::strategy::Strategy;
use super::study::{Study, Trial};
use crate::OutOfRange;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::path::PathBuf;

/// Whether lower or higher values are better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Lower ones, for example a loss.
    #[default]
    Minimize,
    /// Higher ones, for example an accuracy.
    Maximize,
}

impl Direction {
    /// The value, or its negative: lower is better. Its own inverse.
    pub(super) fn score(self, value: f64) -> f64 {
        match self {
            Self::Minimize => value,
            Self::Maximize => -value,
        }
    }
}

/// A search over hyperparameters.
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `space` | required | see [`Space::check`] |
/// | `strategy` | [`UpperConfidence`](crate::UpperConfidence) | see [`Strategy`] |
/// | `trials`, total | unlimited; the size of a grid | at least 1 |
/// | `seed` | 0 | |
/// | `minimize` or `maximize` | minimize | |
/// | `halving` | none: each trial runs to its end | see [`Halving`] |
/// | `budget` of all trials, in halving's resource | unlimited | at least 1, with `halving` |
/// | `file` | none | a path whose folder exists |
///
/// **Failures.** A trial that returns an error, panics, or has a non-finite value has failed; its reason is
/// kept, and the search continues.
///
/// **The file** is JSON, and is replaced atomically after each change. A search whose file exists resumes it:
/// finished trials are not repeated, running ones are run again, and the next ones are the same as without
/// the interruption. It may have more `trials` or `budget` than before, but nothing else may differ. Only one
/// search at a time may use it.
///
/// ```
/// use anneal_plan::{Search, Space};
///
/// let space = Space::new().log("rate", 1e-5, 1.0).log("decay", 1e-6, 0.1);
/// let study = Search::new(space).trials(25).seed(1).run(|trial| {
///     // A training would be here.
///     let (rate, decay) = (trial.values()["rate"], trial.values()["decay"]);
///     if rate > 0.5 { Err("the loss is NaN") } else { Ok((rate / 3e-3).ln().powi(2) + (decay / 1e-3).ln().powi(2)) }
/// })?;
/// let best = study.best().unwrap();
/// assert!(best.value().unwrap() < 0.5);
/// assert!((best.values["rate"] / 3e-3).ln().abs() < 0.7);
/// # Ok::<(), anneal_plan::SearchError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    pub(super) space: Space,
    #[serde(default)]
    pub(super) strategy: Strategy,
    #[serde(default)]
    pub(super) direction: Direction,
    #[serde(default)]
    pub(super) seed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) halving: Option<Halving>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trials: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    budget: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<PathBuf>,
}

impl Search {
    /// A search for the lowest value over a space, without end.
    pub fn new(space: Space) -> Self {
        Self {
            space,
            strategy: Strategy::default(),
            direction: Direction::Minimize,
            seed: 0,
            halving: None,
            trials: None,
            budget: None,
            file: None,
        }
    }

    /// Sets how values are chosen.
    #[must_use]
    pub fn strategy(self, strategy: impl Into<Strategy>) -> Self {
        Self { strategy: strategy.into(), ..self }
    }

    /// Ends after this many trials, including stopped and failed ones.
    #[must_use]
    pub fn trials(self, trials: usize) -> Self {
        Self { trials: Some(trials), ..self }
    }

    /// Sets the seed of all random choices.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Lower values are better.
    #[must_use]
    pub fn minimize(self) -> Self {
        Self { direction: Direction::Minimize, ..self }
    }

    /// Higher values are better.
    #[must_use]
    pub fn maximize(self) -> Self {
        Self { direction: Direction::Maximize, ..self }
    }

    /// Stops trials early if their [reports](Trial::report) look bad.
    #[must_use]
    pub fn halving(self, halving: Halving) -> Self {
        Self { halving: Some(halving), ..self }
    }

    /// Starts no new trial once all together [have spent](Study::spent) this much.
    #[must_use]
    pub fn budget(self, resource: u64) -> Self {
        Self { budget: Some(resource), ..self }
    }

    /// Keeps the trials in a file, and resumes those already in it.
    #[must_use]
    pub fn file(self, path: impl Into<PathBuf>) -> Self {
        Self { file: Some(path.into()), ..self }
    }

    /// Checks the search and reads its file; then trials can be [requested](Study::ask).
    ///
    /// # Errors
    /// A field out of its range; a file that cannot be read, is damaged, or contains a search with another
    /// space, strategy, direction, seed or halving.
    pub fn build(self) -> Result<Study, SearchError> {
        self.check()?;
        Study::open(self)
    }

    /// Runs the trials one after another; any function that trains can be the objective. See [`Study::run`].
    ///
    /// # Errors
    /// As for [`build`](Self::build) and [`Study::run`].
    pub fn run<E: Display>(
        self,
        objective: impl FnMut(&Trial) -> Result<f64, E>,
    ) -> Result<Study, SearchError> {
        let study = self.build()?;
        study.run(objective)?;
        Ok(study)
    }

    fn check(&self) -> Result<(), OutOfRange> {
        self.space.check()?;
        self.strategy.check()?;
        self.halving.as_ref().map_or(Ok(()), Halving::check)?;
        let Self { trials, budget, halving, .. } = self;
        OutOfRange::require("trials", 0, *trials != Some(0), "at least 1")?;
        OutOfRange::require("budget", 0, *budget != Some(0), "at least 1")?;
        let counted = budget.is_none() || halving.is_some();
        let allowed = "only with halving, which defines the cost of a trial";
        OutOfRange::require("budget", budget.unwrap_or(0), counted, allowed)
    }

    /// Checks that it ends by itself.
    pub(super) fn check_end(&self) -> Result<(), OutOfRange> {
        let ends = self.max_trials().is_some() || self.budget.is_some();
        OutOfRange::require("trials", format_args!("none"), ends, "a number, or a budget")
    }

    /// Whether another trial may start after this many trials that spent this much.
    pub(super) fn goes_on(&self, trials: usize, spent: u64) -> bool {
        self.max_trials().is_none_or(|most| trials < most)
            && self.budget.is_none_or(|budget| spent < budget)
    }

    fn max_trials(&self) -> Option<usize> {
        let grid = match self.strategy {
            Strategy::Grid(points) => usize::try_from(grid_size(&self.space, points)).ok(),
            _ => None,
        };
        self.trials.into_iter().chain(grid).min()
    }

    /// The settings that must not differ when it is resumed.
    pub(super) fn identity(&self) -> Self {
        Self { trials: None, budget: None, file: None, ..self.clone() }
    }

    /// The first setting that differs from another search's, with both values.
    pub(super) fn difference(&self, other: &Self) -> Option<(&'static str, String, String)> {
        let settings = |search: &Self| {
            fn json(setting: &impl Serialize) -> String {
                serde_json::to_string(setting).unwrap_or_default()
            }
            [
                ("space", json(&search.space)),
                ("strategy", json(&search.strategy)),
                ("direction", json(&search.direction)),
                ("seed", json(&search.seed)),
                ("halving", json(&search.halving)),
            ]
        };
        let pairs = settings(self).into_iter().zip(settings(other));
        let mut different = pairs.filter(|((_, a), (_, b))| a != b);
        different.next().map(|((name, here), (_, there))| (name, here, there))
    }
}
