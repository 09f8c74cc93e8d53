//! Suggestions where a Gaussian process is most promising.

use super::description::Search;
use super::gaussian_process::Kernel;
use super::sample;
use super::sobol::{Sobol, mixed};
use super::surrogate::Surrogate;
use super::trials::{Status, TrialRecord};
use crate::OutOfRange;
use serde::{Deserialize, Serialize};

/// Bayesian search: the next trial is where a Gaussian process over the space has the best confidence bound.
///
/// ```text
/// maximize:  the largest μ(x) + κσ(x)        minimize:  the smallest μ(x) − κσ(x)
/// ```
///
/// with μ the mean and σ the standard deviation of the function, without the noise of a trial. The first
/// trials are points of the [`Sobol`](crate::Sobol) sequence. Hyperparameters are
/// [fitted](crate::GaussianProcess::fit) before each suggestion; [`Surrogate`] explains how values and
/// stopped trials are used. The bound is evaluated at 512 Sobol points, and refined around the best of them
/// and of the trials by a pattern search.
///
/// Running trials count with the mean as their value: σ falls where they are, and μ stays, so that a batch
/// spreads out.
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `kernel` | `Matern52` | |
/// | `kappa` κ | 2 | finite, at least 0 |
/// | `initial`: Sobol points first | 2 per axis, plus 2 | at least 1 |
///
/// Fitting is O(n³): 100 trials take tens of milliseconds, 1,000 tens of seconds.
///
/// Sources: Srinivas et al. 2010 (GP-UCB); Desautels, Krause and Burdick 2014 (GP-BUCB) for batches.
///
/// ```
/// use anneal_plan::{Search, Space, UpperConfidence};
///
/// let rule = UpperConfidence::new().kappa(1.0).initial(5);
/// let search = Search::new(Space::new().log("rate", 1e-5, 1.0)).strategy(rule);
/// assert_eq!(search.build()?.ask_batch(3)?.len(), 3);
/// # Ok::<(), anneal_plan::SearchError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpperConfidence {
    pub(super) kernel: Kernel,
    kappa: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    initial: Option<u64>,
}

impl Default for UpperConfidence {
    fn default() -> Self {
        Self { kernel: Kernel::default(), kappa: 2.0, initial: None }
    }
}

const CANDIDATES: u32 = 512;

impl UpperConfidence {
    /// A search with the default settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the kernel of the process.
    #[must_use]
    pub fn kernel(self, kernel: Kernel) -> Self {
        Self { kernel, ..self }
    }

    /// Sets κ: the number of standard deviations by which the mean is improved. More explores more.
    #[must_use]
    pub fn kappa(self, kappa: f64) -> Self {
        Self { kappa, ..self }
    }

    /// Sets the number of Sobol points tried first.
    #[must_use]
    pub fn initial(self, trials: u64) -> Self {
        Self { initial: Some(trials), ..self }
    }

    pub(super) fn check(&self) -> Result<(), OutOfRange> {
        let Self { kappa, initial, .. } = self;
        let ok = kappa.is_finite() && *kappa >= 0.0;
        OutOfRange::require("kappa", kappa, ok, "finite, at least 0")?;
        OutOfRange::require("initial", 0, *initial != Some(0), "at least 1")
    }

    pub(super) fn suggest(
        &self,
        search: &Search,
        trials: &[TrialRecord],
    ) -> Result<Vec<f64>, OutOfRange> {
        let Search { space, seed, .. } = search;
        let (number, dimensions) = (trials.len() as u64, space.axes().len());
        let sobol_point = || sample::sobol(space, *seed, number);
        if number < self.initial.unwrap_or(2 * dimensions as u64 + 2) {
            return sobol_point();
        }
        let Some(surrogate) = Surrogate::new(search, trials, self.kernel)? else {
            return sobol_point();
        };
        let running = trials.iter().filter(|trial| trial.status == Status::Running);
        let running: Vec<Vec<f64>> =
            running.map(|trial| space.point(&trial.values)).collect::<Result<_, _>>()?;
        let posterior = surrogate.posterior().with_means(&running)?;
        let bound = |place: &[f64]| {
            let prediction = posterior.at(place);
            prediction.mean - self.kappa * prediction.std
        };
        let sobol = Sobol::new(dimensions, mixed(seed ^ mixed(number)))?;
        let candidates = (0..CANDIDATES).map(|i| sobol.point(i)).collect();
        Ok(lowest(bound, candidates, surrogate.best_place().to_vec()))
    }
}

/// The number of candidates that are refined.
const IMPROVED: usize = 4;

/// The place where a function on the unit cube is lowest, among refined candidates and a place known to be
/// good.
fn lowest(f: impl Fn(&[f64]) -> f64, candidates: Vec<Vec<f64>>, known: Vec<f64>) -> Vec<f64> {
    let rated = |x: Vec<f64>| (f(&x), x);
    let mut best: Vec<(f64, Vec<f64>)> = candidates.into_iter().map(rated).collect();
    best.sort_by(|a, b| a.0.total_cmp(&b.0));
    best.truncate(IMPROVED);
    best.push(rated(known));
    let improved = best.into_iter().map(|start| improve(&f, start));
    improved.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(vec![], |(_, x)| x)
}

/// A pattern search: along each axis in both directions, with half the step if nothing is lower.
fn improve(f: impl Fn(&[f64]) -> f64, (mut value, mut x): (f64, Vec<f64>)) -> (f64, Vec<f64>) {
    let mut step = 0.05;
    while step > 1e-4 {
        let before = value;
        for i in 0..x.len() {
            for by in [step, -step] {
                let mut moved = x.clone();
                moved[i] = (moved[i] + by).clamp(0.0, 1.0);
                let there = f(&moved);
                if there < value {
                    (value, x) = (there, moved);
                }
            }
        }
        if value == before {
            step /= 2.0;
        }
    }
    (value, x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Space, Study, Values};

    fn space() -> Space {
        Space::new().linear("a", 0.0, 1.0).linear("b", 0.0, 1.0)
    }

    fn told(rule: UpperConfidence, trials: usize) -> Study {
        let search = Search::new(space()).strategy(rule).trials(trials);
        let f = |a: f64, b: f64| (6.0 * a).sin() + (b - 0.3).powi(2);
        search.run(|trial| Ok::<_, String>(f(trial.values()["a"], trial.values()["b"]))).unwrap()
    }

    /// As low as on a grid of 40,401 points, or lower.
    #[test]
    fn a_suggestion_is_where_the_bound_is_lowest() {
        for kappa in [0.0, 1.0, 2.0, 5.0] {
            let rule = UpperConfidence::new().kappa(kappa).initial(10);
            let (study, surrogate) =
                (told(rule.clone(), 10), told(rule.clone(), 10).surrogate().unwrap().unwrap());
            let bound = |values: &Values| {
                let prediction = surrogate.predict(values).unwrap();
                prediction.mean - kappa * prediction.std
            };
            let point = rule.suggest(&study.search(), &study.trials()).unwrap();
            let grid = (0..=200)
                .flat_map(|i| (0..=200).map(move |j| [i, j].map(|k| f64::from(k) / 200.0)));
            let lowest = grid.map(|u| bound(&space().values(&u))).fold(f64::INFINITY, f64::min);
            assert!(bound(&space().values(&point)) <= lowest + 1e-9, "kappa {kappa}");
        }
    }

    /// Running trials make their place known, but neither better nor worse: the mean stays.
    #[test]
    fn running_trials_spread_a_batch() {
        let study = told(UpperConfidence::new().initial(8), 8);
        let (search, mut trials) = (study.search(), study.trials());
        let before = study.surrogate().unwrap().unwrap();
        let mut batch: Vec<Vec<f64>> = vec![];
        for number in 8..14 {
            let point = search.strategy.suggest(&search, &trials).unwrap();
            for other in &batch {
                let distance =
                    point.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(distance > 0.02, "{point:?} {other:?}");
            }
            let (values, status) = (space().values(&point), Status::Running);
            trials.push(TrialRecord { number, values, rungs: vec![], status });
            batch.push(point);
        }
        let hallucinated = before.posterior().with_means(&batch).unwrap();
        for place in [[0.1, 0.9], [0.5, 0.5], [0.8, 0.2]] {
            let (with, without) = (hallucinated.at(&place), before.posterior().at(&place));
            assert!((with.mean - without.mean).abs() < 1e-6 && with.std <= without.std + 1e-9);
        }
    }

    #[test]
    fn the_first_suggestions_are_sobol_points() {
        let study = told(UpperConfidence::new(), 8);
        let is_sobol = |i: usize| {
            let point = sample::sobol(&space(), 0, i as u64).unwrap();
            study.trials()[i].values == space().values(&point)
        };
        assert!((0..6).all(is_sobol) && !is_sobol(6) && !is_sobol(7));
    }

    /// Over ten seeds and with noise, the search gets closer to the optimum of a valley in ln η than Sobol
    /// points.
    #[test]
    fn it_finds_a_rate_sooner_than_even_points_do() {
        let miss = |strategy: crate::Strategy, seed: u64| {
            let space = Space::new().log("rate", 1e-6, 1.0);
            let search = Search::new(space).strategy(strategy).seed(seed).trials(20);
            let loss = |rate: f64| 0.1 * (rate / 3e-3).ln().powi(2);
            let noise =
                |i: usize| 0.1 * (mixed(seed ^ mixed(i as u64)) as f64 / 2f64.powi(64) - 0.5);
            let study = search
                .run(|trial| {
                    Ok::<_, String>(loss(trial.values()["rate"]).min(3.0) + noise(trial.number()))
                })
                .unwrap();
            loss(study.surrogate().unwrap().unwrap().best()["rate"])
        };
        let total = |strategy: crate::Strategy| {
            (0..10).map(|seed| miss(strategy.clone(), seed)).sum::<f64>()
        };
        let (bayes, sobol) = (total(UpperConfidence::new().into()), total(crate::Strategy::Sobol));
        assert!(bayes < 0.5 * sobol, "{bayes} against {sobol}");
    }
}
