//! The updates to analyze, and how.

use super::AnalysisError;
use super::error::require;
use crate::Schedule;
use crate::curve::pieces::{Piece, leading};
use serde::Serialize;
use std::fmt;

/// The maximum number of updates summed without a closed form: a few seconds.
pub const MAX_SUMMED: u64 = 100_000_000;

/// How a result was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Method {
    /// From a formula: the cost does not depend on the length of the run.
    ClosedForm,
    /// From the rate of every update.
    Summation,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClosedForm => "closed form",
            Self::Summation => "summation",
        })
    }
}

/// The first updates of a schedule, as the subject of an analysis.
///
/// After the end of its run a schedule holds its last rate, and so does a longer window.
///
/// ```
/// use anneal_schedule::prelude::*;
/// use anneal_schedule::analysis::{Method, Window};
/// let schedule = linear(1.0, 0.0).resolve(RunLength::updates(4))?;
/// let travel = Window::run(&schedule)?.travel()?;
/// assert_eq!((travel.travel, travel.method), (2.5, Method::ClosedForm));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    schedule: &'a Schedule,
    steps: u64,
}

impl<'a> Window<'a> {
    /// All updates of the run.
    ///
    /// # Errors
    /// [`AnalysisError::NeedsSteps`] for a run without an end.
    pub fn run(schedule: &'a Schedule) -> Result<Self, AnalysisError> {
        let steps = schedule.length().ok_or(AnalysisError::NeedsSteps)?;
        Ok(Self { schedule, steps })
    }

    /// The first `steps` updates.
    ///
    /// # Errors
    /// [`AnalysisError::OutOfRange`] if `steps` is 0.
    pub fn first(schedule: &'a Schedule, steps: u64) -> Result<Self, AnalysisError> {
        require("steps", steps as f64, steps > 0, "at least 1 update")?;
        Ok(Self { schedule, steps })
    }

    /// The schedule analyzed.
    pub fn schedule(&self) -> &'a Schedule {
        self.schedule
    }

    /// The number of updates analyzed, at least 1.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The last update analyzed.
    pub(crate) fn last(&self) -> u64 {
        self.steps - 1
    }

    /// The window in pieces, each with its first update.
    pub(crate) fn pieces(&self) -> Option<Vec<(u64, Piece)>> {
        let mut begin = 0;
        let placed = |piece: Piece| {
            let start = begin;
            begin += piece.length;
            (start, piece)
        };
        Some(self.schedule.pieces(self.steps)?.into_iter().map(placed).collect())
    }

    /// The rate of every update, in order and from the end; `what` names the result in the error.
    ///
    /// # Errors
    /// [`AnalysisError::TooManySteps`] for more than [`MAX_SUMMED`] updates.
    pub fn rates(
        &self,
        what: &'static str,
    ) -> Result<impl DoubleEndedIterator<Item = f64> + use<'a>, AnalysisError> {
        let (schedule, steps) = (self.schedule, self.steps);
        if steps > MAX_SUMMED {
            return Err(AnalysisError::TooManySteps { what, steps, most: MAX_SUMMED });
        }
        Ok((0..steps).map(move |step| schedule.rate(step)))
    }

    /// The updates with a rate below `threshold`.
    pub(crate) fn below(&self, what: &'static str, threshold: f64) -> Result<Below, AnalysisError> {
        match self.pieces() {
            Some(pieces) => Ok(self.below_in_pieces(&pieces, threshold)),
            None => Ok(below_in_rates(self.rates(what)?, threshold)),
        }
    }

    /// The rate crosses the threshold at most once per piece, found by bisection.
    fn below_in_pieces(&self, pieces: &[(u64, Piece)], threshold: f64) -> Below {
        let below = |step| self.schedule.rate(step) < threshold;
        let mut found = Below::new(Method::ClosedForm);
        for &(start, Piece { length, .. }) in pieces {
            let begins = below(start);
            let border = leading(length, |i| below(start + i) == begins);
            for (first, updates, is_below) in
                [(start, border, begins), (start + border, length - border, !begins)]
            {
                if updates > 0 {
                    found.go_on(first, updates, is_below);
                }
            }
        }
        found
    }
}

/// The updates whose rate is below a threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Below {
    /// The first update below it.
    pub(crate) first: Option<u64>,
    /// The first update not below it.
    pub(crate) first_above: Option<u64>,
    /// The number of updates below it.
    pub(crate) count: u64,
    /// The number of consecutive updates below it at the end.
    pub(crate) tail: u64,
    /// How it was found.
    pub(crate) method: Method,
}

impl Below {
    fn new(method: Method) -> Self {
        Self { first: None, first_above: None, count: 0, tail: 0, method }
    }

    /// Appends `updates` updates from `first` on, which are all below the threshold or all not.
    fn go_on(&mut self, first: u64, updates: u64, is_below: bool) {
        if is_below {
            self.first = self.first.or(Some(first));
            self.count += updates;
            self.tail += updates;
        } else {
            self.first_above = self.first_above.or(Some(first));
            self.tail = 0;
        }
    }
}

fn below_in_rates(rates: impl Iterator<Item = f64>, threshold: f64) -> Below {
    let mut found = Below::new(Method::Summation);
    for (step, rate) in (0..).zip(rates) {
        found.go_on(step, 1, rate < threshold);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    #[test]
    fn a_run_without_an_end_needs_a_number() {
        let schedule = constant(1.0).resolve(RunLength::unbounded()).unwrap();
        assert_eq!(Window::run(&schedule).unwrap_err(), AnalysisError::NeedsSteps);
        assert_eq!(Window::first(&schedule, 7).unwrap().steps(), 7);
        let error = Window::first(&schedule, 0).unwrap_err().to_string();
        assert!(error.contains("at least 1 update"), "{error}");
    }

    #[test]
    fn long_sums_are_refused_and_long_closed_forms_are_not() {
        let run = RunLength::updates(1 << 60);
        let power = polynomial(1.0, 0.0, 2.0).resolve(run).unwrap();
        match Window::run(&power).unwrap().travel() {
            Err(AnalysisError::TooManySteps { steps, most, .. }) => {
                assert_eq!((steps, most), (1 << 60, MAX_SUMMED));
            }
            other => panic!("{other:?}"),
        }
        let line = linear(1.0, 0.0).resolve(run).unwrap();
        let travel = Window::run(&line).unwrap().travel().unwrap();
        assert!((travel.travel / (1u64 << 59) as f64 - 1.0).abs() < 1e-12);
    }

    /// Compares the pieces with a walk over all updates, for thresholds at every position.
    #[test]
    fn pieces_and_rates_find_the_same_updates() {
        let run = RunLength::updates(120);
        let schedules = [
            cosine(1.0).warmup(Span::steps(30)).resolve(run),
            one_cycle(1.0).resolve(run),
            constant(0.3).then(Span::steps(40), linear(0.1, 0.9)).resolve(run),
            step_decay(1.0, Span::steps(25), 0.5).warmup(Span::steps(10)).resolve(run),
        ];
        for schedule in schedules.map(Result::unwrap) {
            let window = Window::run(&schedule).unwrap();
            for threshold in [1e-9, 0.05, 0.1, 0.25, 0.30000001, 0.5, 0.77, 1.0, 2.0] {
                let pieces = window.below_in_pieces(&window.pieces().unwrap(), threshold);
                let rates = below_in_rates(window.rates("").unwrap(), threshold);
                let same = Below { method: Method::Summation, ..pieces };
                assert_eq!(same, rates, "{schedule} below {threshold}");
            }
        }
    }
}
