//! A model of all values, including untried ones.

use super::censored;
use super::description::{Direction, Search};
use super::gaussian_process::{Kernel, Posterior, Prediction};
use super::space::{Space, Values};
use super::trials::{Status, TrialRecord};
use crate::OutOfRange;

/// A Gaussian process over the unit cube of a space, fitted to the trials of a search.
///
/// Values far worse than the median are clipped, because how far a training diverged says nothing about good
/// ones: they may be worse than the median by at most twice the amount by which the best is better. If the
/// median is the best, the next worse value sets the scale: they may be worse by at most twice its
/// difference. Then all are standardized to mean 0 and standard deviation 1.
///
/// **Trials that were stopped early** are censored: their final value is unknown, and their value at the rung
/// is not it. Halving assumes that they would have ended no better than those that were better at their rung.
/// So their final value is taken to be at least the median final value of these, or the best of all if none
/// of them has finished, and the process uses its expectation given this bound and all other trials, by
/// iterated imputation. A trial that failed, or stopped with a non-finite value, counts as at least the
/// worst. It uses the median rather than the highest because the order at a rung only roughly predicts the
/// final order.
///
/// Running trials are not counted.
///
/// Sources: Schmee and Hahn 1979; Hutter, Hoos and Leyton-Brown 2013 for the imputation.
///
/// ```
/// use anneal_plan::{Search, Space, Values};
///
/// let space = Space::new().log("rate", 1e-4, 1.0);
/// let study = Search::new(space).trials(12).run(|trial| {
///     Ok::<_, String>((trial.values()["rate"].log10() + 2.0).powi(2))
/// })?;
/// let surrogate = study.surrogate()?.expect("a trial has finished");
/// let at = |rate: f64| surrogate.predict(&Values::from_iter([("rate", rate)]));
/// assert!(at(1e-2)?.mean < at(1e-3)?.mean);
/// # Ok::<(), anneal_plan::SearchError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Surrogate {
    space: Space,
    direction: Direction,
    posterior: Posterior,
    /// A score is standardized · scale + shift.
    shift: f64,
    scale: f64,
    /// The outcome of each trial in the posterior.
    outcomes: Vec<Outcome>,
}

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Finished,
    Stopped,
    Failed,
}

impl Surrogate {
    /// `None` if no trial has finished.
    pub(super) fn new(
        search: &Search,
        trials: &[TrialRecord],
        kernel: Kernel,
    ) -> Result<Option<Self>, OutOfRange> {
        let Search { space, direction, .. } = search;
        let scores = Scores::new(*direction, trials);
        let Some((shift, scale)) = scores.location() else { return Ok(None) };
        let (mut x, mut y, mut outcomes) = (vec![], vec![], vec![]);
        for trial in trials {
            let (score, outcome) = match trial.status {
                Status::Running => continue,
                Status::Finished(value) => (scores.of(value), Outcome::Finished),
                Status::Stopped { value: Some(_), .. } => {
                    (scores.bound(trials, trial), Outcome::Stopped)
                }
                Status::Stopped { value: None, .. } => (scores.worst(), Outcome::Stopped),
                Status::Failed(_) => (scores.worst(), Outcome::Failed),
            };
            x.push(space.point(&trial.values)?);
            y.push((score - shift) / scale);
            outcomes.push(outcome);
        }
        let is_bound: Vec<bool> = outcomes.iter().map(|o| *o != Outcome::Finished).collect();
        let posterior = censored::fit(kernel, &x, y, &is_bound)?;
        let (space, direction) = (space.clone(), *direction);
        Ok(Some(Self { space, direction, posterior, shift, scale, outcomes }))
    }

    /// The expected value in the unit of the search; `std` is without the noise of a single trial.
    ///
    /// # Errors
    /// Values of another space, or out of its ranges.
    pub fn predict(&self, values: &Values) -> Result<Prediction, OutOfRange> {
        Ok(self.at(&self.space.point(values)?))
    }

    /// The values with the best expectation, among those tried to the end. Unlike the best trial, they are
    /// not just lucky.
    pub fn best(&self) -> Values {
        self.space.values(self.best_place())
    }

    #[cfg(feature = "plots")]
    pub(super) fn space(&self) -> &Space {
        &self.space
    }

    pub(super) fn at(&self, place: &[f64]) -> Prediction {
        let Prediction { mean, std } = self.posterior.at(place);
        Prediction { mean: self.value(mean), std: self.scale * std }
    }

    /// The value for a standardized score.
    fn value(&self, standardized: f64) -> f64 {
        self.direction.score(self.shift + self.scale * standardized)
    }

    /// The trials: their points, their values or estimates, and how they ended.
    pub(super) fn trials(&self) -> impl Iterator<Item = (&[f64], f64, Outcome)> {
        let (x, y) = self.posterior.observations();
        let values = x.iter().zip(y).zip(&self.outcomes);
        values.map(|((x, y), outcome)| (&**x, self.value(*y), *outcome))
    }

    pub(super) fn best_place(&self) -> &[f64] {
        let finished = self.trials().filter(|(_, _, outcome)| *outcome == Outcome::Finished);
        let means = finished.map(|(place, ..)| (self.posterior.at(place).mean, place));
        means.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(&[], |(_, place)| place)
    }

    /// The posterior over the unit cube, of standardized scores: lower is better.
    pub(super) fn posterior(&self) -> &Posterior {
        &self.posterior
    }
}

/// The values of the finished trials as scores; lower is better.
struct Scores {
    direction: Direction,
    sorted: Vec<f64>,
    /// Higher scores are clipped to this; infinite if all are equal.
    cut: f64,
}

impl Scores {
    fn new(direction: Direction, trials: &[TrialRecord]) -> Self {
        let finished = trials.iter().filter_map(TrialRecord::value);
        let mut sorted: Vec<f64> = finished.map(|value| score(direction, value)).collect();
        sorted.sort_by(f64::total_cmp);
        let cut = median(&sorted).and_then(|median| {
            let best = sorted[0];
            let worse = sorted.iter().find(|score| **score >= median && **score > best)?;
            Some(median + 2.0 * (worse - best))
        });
        let cut = cut.unwrap_or(f64::INFINITY);
        Self { direction, sorted, cut }
    }

    fn of(&self, value: f64) -> f64 {
        score(self.direction, value).min(self.cut)
    }

    fn worst(&self) -> f64 {
        self.sorted.last().map_or(0.0, |worst| worst.min(self.cut))
    }

    /// Mean and standard deviation; the latter is 1 if all are equal.
    fn location(&self) -> Option<(f64, f64)> {
        let n = self.sorted.len() as f64;
        let scores = || self.sorted.iter().map(|score| score.min(self.cut));
        let mean = scores().sum::<f64>() / n;
        let std = (scores().map(|score| (score - mean).powi(2)).sum::<f64>() / n).sqrt();
        (n > 0.0).then_some((mean, if std > 0.0 { std } else { 1.0 }))
    }

    /// A lower bound for the final score of a stopped trial.
    fn bound(&self, trials: &[TrialRecord], stopped: &TrialRecord) -> f64 {
        let Some(rung) = stopped.rungs.len().checked_sub(1) else { return self.worst() };
        let at_rung = |trial: &TrialRecord| {
            trial.rungs.get(rung).copied().flatten().map(|value| score(self.direction, value))
        };
        let better = |trial: &&TrialRecord| {
            at_rung(trial).zip(at_rung(stopped)).is_some_and(|(other, own)| other < own)
        };
        let ends = trials.iter().filter(better).filter_map(TrialRecord::value);
        let mut ends: Vec<f64> = ends.map(|value| self.of(value)).collect();
        ends.sort_by(f64::total_cmp);
        median(&ends).unwrap_or(self.sorted[0])
    }
}

/// Limited so that it can be squared and summed.
fn score(direction: Direction, value: f64) -> f64 {
    direction.score(value).clamp(-1e140, 1e140)
}

/// The lower of the two in the middle.
fn median(sorted: &[f64]) -> Option<f64> {
    sorted.get(sorted.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Halving, UpperConfidence};

    /// The value after part of nine epochs: it rises, as if the training data got harder.
    fn value(u: f64, at: f64) -> f64 {
        (1.0 + 4.0 * (u - 0.2).abs()) * at / 9.0
    }

    fn search() -> Search {
        let rule = UpperConfidence::new().initial(1);
        Search::new(Space::new().linear("u", 0.0, 1.0)).strategy(rule).halving(Halving::new(1, 9))
    }

    fn trial(number: usize, u: f64, status: Status) -> TrialRecord {
        let rungs = [Some(value(u, 1.0)), Some(value(u, 3.0))];
        let reached = if matches!(status, Status::Finished(_)) { 2 } else { 1 };
        let values = Values::from_iter([("u", u)]);
        TrialRecord { number, values, rungs: rungs[..reached].to_vec(), status }
    }

    /// Good trials ran to the end, others were stopped at the first rung; `stopped` decides how these are
    /// recorded.
    fn trials(stopped: impl Fn(f64) -> Option<Status>) -> Vec<TrialRecord> {
        let finished =
            [0.02, 0.1, 0.17, 0.25, 0.3].map(|u| (u, Some(Status::Finished(value(u, 9.0)))));
        let stopped = [0.5, 0.65, 0.8, 0.95].map(|u| (u, stopped(u)));
        let known = finished.into_iter().chain(stopped);
        let known = known.filter_map(|(u, status)| Some((u, status?)));
        known.enumerate().map(|(i, (u, status))| trial(i, u, status)).collect()
    }

    fn surrogate(trials: &[TrialRecord]) -> Surrogate {
        Surrogate::new(&search(), trials, Kernel::Matern52).unwrap().unwrap()
    }

    fn suggested(trials: &[TrialRecord]) -> f64 {
        search().strategy.suggest(&search(), trials).unwrap()[0]
    }

    /// The value at the rung, 0.24 to 0.44, is below all final values, of which the lowest is 1.12: taken as
    /// a final value, it makes the worst look best. Without the stopped trials, the search returns to where
    /// they were. Bounds avoid both.
    #[test]
    fn a_stopped_trial_is_neither_final_nor_unknown() {
        let censored = trials(|u| Some(Status::Stopped { at: 1, value: Some(value(u, 1.0)) }));
        let as_final = trials(|u| Some(Status::Finished(value(u, 1.0))));
        let ignored = trials(|_| None);

        assert!(surrogate(&as_final).best()["u"] >= 0.5);
        assert!((surrogate(&censored).best()["u"] - 0.2).abs() < 0.06);
        assert!(suggested(&as_final) > 0.5);
        assert!(suggested(&ignored) > 0.5);
        assert!(suggested(&censored) < 0.4, "{}", suggested(&censored));

        let at = |surrogate: &Surrogate, u: f64| {
            surrogate.predict(&Values::from_iter([("u", u)])).unwrap()
        };
        let (known, unknown) = (at(&surrogate(&censored), 0.8), at(&surrogate(&ignored), 0.8));
        assert!(known.std < 0.5 * unknown.std, "{known:?} {unknown:?}");
        // All finished trials were better at the rung; their median is 1.4.
        assert!(known.mean > 1.25, "{known:?}");
    }

    #[test]
    fn bounds_are_medians_of_the_better_ones_that_finished() {
        let status = |u: f64| Status::Stopped { at: 1, value: Some(value(u, 1.0)) };
        let known = trials(|u| Some(status(u)));
        let scores = Scores::new(Direction::Minimize, &known);
        // The final values are 1.72, 1.4, 1.12, 1.2, 1.4; all five were better at the rung.
        assert!((scores.bound(&known, &known[6]) - 1.4).abs() < 1e-12);
        // Better than 0.28 at the rung are 0.25 and 0.17, with 1.2 and 1.12; the lower of the two counts.
        let near = trial(9, 0.28, status(0.28));
        assert!((scores.bound(&known, &near) - 1.12).abs() < 1e-12);
        // None was better than one at the optimum.
        let best = trial(9, 0.2, status(0.2));
        assert!((scores.bound(&known, &best) - 1.12).abs() < 1e-12);
    }

    #[test]
    fn failed_trials_keep_the_search_away() {
        let known = trials(|_| Some(Status::Failed("the loss is NaN".into())));
        assert!(suggested(&known) < 0.45, "{}", suggested(&known));
        let places: Vec<_> =
            surrogate(&known).trials().map(|(_, value, outcome)| (value, outcome)).collect();
        for (value, outcome) in places {
            assert!(outcome == Outcome::Finished || value > 1.7, "{value} {outcome:?}");
        }
    }

    /// A value of 10⁹ says no more than one slightly above the median.
    #[test]
    fn a_value_far_off_does_not_drown_the_others() {
        let mut known = trials(|_| None);
        known.push(trial(5, 0.9, Status::Finished(1e9)));
        let surrogate = surrogate(&known);
        for u in [0.1, 0.25] {
            let mean = surrogate.predict(&Values::from_iter([("u", u)])).unwrap().mean;
            assert!((mean - value(u, 9.0)).abs() < 0.1, "{mean} at {u}");
        }
        // The median of six, the lower of the two in the middle, is 1.4; the best is 1.12.
        let cut = 1.4 + 2.0 * 0.28;
        let scores = Scores::new(Direction::Minimize, &known);
        assert!((scores.worst() - cut).abs() < 1e-12);
        let (_, taken, _) = surrogate.trials().last().unwrap();
        assert!((taken - cut).abs() < 1e-9, "{taken}");
    }

    /// If the best is also the median, by the next worse value: 1 + 2·(1.2 − 1).
    #[test]
    fn a_value_far_off_is_moved_where_most_are_equal() {
        let finished = |values: &[f64]| {
            let trials = values.iter().enumerate();
            trials.map(|(i, y)| trial(i, i as f64 / 9.0, Status::Finished(*y))).collect::<Vec<_>>()
        };
        let known = finished(&[1e9, 1.0, 1.0, 1.2, 1.0, 1.0]);
        let scores = Scores::new(Direction::Minimize, &known);
        assert!((scores.worst() - 1.4).abs() < 1e-12, "{}", scores.worst());
        let at = Values::from_iter([("u", 1.0 / 3.0)]);
        let mean = surrogate(&known).predict(&at).unwrap().mean;
        assert!((mean - 1.2).abs() < 0.1, "{mean}");
        // The only worse value sets the scale for the worse ones, and equal ones stay.
        assert_eq!(Scores::new(Direction::Minimize, &finished(&[1.0, 1.0, 9.0])).worst(), 9.0);
        assert_eq!(Scores::new(Direction::Maximize, &finished(&[1.0; 4])).worst(), -1.0);
    }

    #[cfg(feature = "plots")]
    #[test]
    fn pictures_show_all_trials() {
        let mut known = trials(|u| Some(Status::Stopped { at: 1, value: Some(value(u, 1.0)) }));
        known.push(trial(9, 0.99, Status::Failed("out of memory".into())));
        let surrogate = surrogate(&known);
        let text = surrogate.terminal(80);
        for word in ["Value by u", "o  finished", "^  stopped", "x  failed"] {
            assert!(text.contains(word), "{word} is not in\n{text}");
        }
        let svg = surrogate.svg();
        for word in ["<svg", "Value by u", "finished", "stopped", "failed", "standard deviations"] {
            assert!(svg.contains(word), "{word} is not in the picture");
        }
    }
}
