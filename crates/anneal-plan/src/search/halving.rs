//! Stops bad trials early.

use crate::OutOfRange;
use serde::{Deserialize, Serialize};

/// Successive halving: trials are compared at rungs, and only the best at each rung continue.
///
/// ```text
/// rungs:  least · factorⁱ, i = 0, 1, …, below most
/// a trial continues from a rung if it is among the best max(1, ⌊n / factor⌋) of the n that reached it, including itself
/// ```
///
/// The resource is what a trial trains for, in epochs or updates. Trials run one after another, so each is
/// compared only with earlier ones: the asynchronous rule, under which the first trial always runs to its
/// end. A non-finite value is worse than all numbers, and never continues.
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `least`: the first rung | required | at least 1 |
/// | `most`: cost of a finished trial | required | above `least` |
/// | `factor` | 3 | at least 2 |
///
/// Sources: Jamieson and Talwalkar 2016; Li et al. 2020 (ASHA); Optuna's `SuccessiveHalvingPruner`, which
/// also continues without a pause.
///
/// ```
/// use anneal_plan::Halving;
///
/// let halving = Halving::new(1, 27);
/// assert_eq!(halving.rungs(), [1, 3, 9]);
/// // The best two of six go on.
/// assert!(halving.keep_going(&[0.1, 0.3, 0.4, 0.5, 0.6], 0.2));
/// assert!(!halving.keep_going(&[0.1, 0.2, 0.4, 0.5, 0.6], 0.3));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Halving {
    least: u64,
    most: u64,
    #[serde(default = "three")]
    factor: u64,
}

fn three() -> u64 {
    3
}

impl Halving {
    /// Halving with the first rung at `least`, for trials that cost `most`.
    pub fn new(least: u64, most: u64) -> Self {
        Self { least, most, factor: three() }
    }

    /// Sets the factor: one of this many continues from a rung, and the next rung takes this many times as
    /// long.
    #[must_use]
    pub fn factor(self, factor: u64) -> Self {
        Self { factor, ..self }
    }

    /// The cost of a finished trial.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// The resources at which trials are compared.
    pub fn rungs(&self) -> Vec<u64> {
        let next = |rung: &u64| rung.checked_mul(self.factor.max(2));
        std::iter::successors(Some(self.least.max(1)), next)
            .take_while(|r| *r < self.most)
            .collect()
    }

    /// Whether a trial continues from a rung at which the others had these values; the lowest is the best.
    pub fn keep_going(&self, others: &[f64], value: f64) -> bool {
        let better = others.iter().filter(|other| other.is_finite() && **other < value).count();
        value.is_finite() && better < self.kept(others.len() + 1)
    }

    /// The trials that continue from a rung that all have reached, best first: the synchronous rule. Ties
    /// keep their order.
    pub fn survivors(&self, values: &[f64]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..values.len()).filter(|i| values[*i].is_finite()).collect();
        order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
        order.truncate(self.kept(values.len()));
        order
    }

    /// The total cost of this many trials under the synchronous rule, if each continues from where it
    /// stopped; without halving it would be `trials · most`.
    pub fn spending(&self, trials: u64) -> u64 {
        let mut ends = self.rungs();
        ends.push(self.most);
        let (mut going, mut from, mut spent) = (trials, 0, 0u64);
        for end in ends {
            spent = spent.saturating_add(going.saturating_mul(end - from));
            (going, from) = (going.min(self.kept(going as usize) as u64), end);
        }
        spent
    }

    /// The number of trials that continue.
    fn kept(&self, trials: usize) -> usize {
        (trials / self.factor.max(2) as usize).max(1)
    }

    pub(super) fn check(&self) -> Result<(), OutOfRange> {
        let Self { least, most, factor } = *self;
        OutOfRange::require("halving.least", least, least >= 1, "at least 1")?;
        let allowed = format!("above halving.least, {least}");
        OutOfRange::require("halving.most", most, most > least, allowed)?;
        OutOfRange::require("halving.factor", factor, factor >= 2, "at least 2")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const NAN: f64 = f64::NAN;

    #[test]
    fn rungs_are_powers_below_the_most() {
        assert_eq!(Halving::new(1, 27).rungs(), [1, 3, 9]);
        assert_eq!(Halving::new(1, 28).rungs(), [1, 3, 9, 27]);
        assert_eq!(Halving::new(5, 60).factor(2).rungs(), [5, 10, 20, 40]);
        assert_eq!(Halving::new(u64::MAX / 2, u64::MAX).rungs(), [u64::MAX / 2]);
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for (halving, field) in [
            (Halving::new(0, 9), "halving.least: 0"),
            (Halving::new(9, 9), "halving.most: 9 is not allowed; allowed: above halving.least, 9"),
            (Halving::new(1, 9).factor(1), "halving.factor: 1"),
        ] {
            let error = halving.check().unwrap_err().to_string();
            assert!(error.starts_with(field), "{error}");
            halving.rungs();
        }
    }

    /// Optuna's rule: among the sorted values, including its own, at most the (n / factor)-th; the best while
    /// there are few.
    fn optuna(factor: usize, others: &[f64], value: f64) -> bool {
        if value.is_nan() {
            return false;
        }
        let mut all: Vec<f64> =
            others.iter().map(|x| if x.is_nan() { f64::INFINITY } else { *x }).collect();
        all.push(value);
        all.sort_by(f64::total_cmp);
        value <= all[(all.len() / factor).max(1) - 1]
    }

    proptest! {
        #[test]
        fn a_trial_goes_on_as_in_optuna(
            factor in 2..6usize,
            others in prop::collection::vec(prop_oneof![8 => (0..20u8).prop_map(f64::from), 1 => Just(NAN)], 0..40),
            value in prop_oneof![8 => (0..20u8).prop_map(f64::from), 1 => Just(NAN)],
        ) {
            let halving = Halving::new(1, 9).factor(factor as u64);
            prop_assert_eq!(halving.keep_going(&others, value), optuna(factor, &others, value));
        }
    }

    #[test]
    fn what_is_not_finite_never_goes_on() {
        let halving = Halving::new(1, 9);
        for value in [NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(!halving.keep_going(&[], value));
            assert!(halving.keep_going(&[value; 5], 9.0));
        }
        assert_eq!(halving.survivors(&[NAN, 3.0, f64::NEG_INFINITY, 1.0, 2.0, 5.0]), [3, 4]);
        assert!(halving.survivors(&[NAN; 6]).is_empty());
    }

    /// Trainings whose loss falls to different levels, some to NaN: halved by hand, rung by rung, the total
    /// cost equals `spending`, and the best of them remains.
    #[test]
    fn synchronous_halving_spends_as_said_and_finds_the_best() {
        let halving = Halving::new(1, 27);
        let mut random = ChaCha8Rng::seed_from_u64(4);
        for trials in [1, 2, 9, 27, 50] {
            let levels: Vec<f64> = (0..trials).map(|_| random.random()).collect();
            let loss = |trial: usize, at: u64| levels[trial] * (1.0 + 1.0 / at as f64);
            let (mut going, mut from, mut spent): (Vec<usize>, _, _) =
                ((0..trials).collect(), 0, 0);
            for end in [1, 3, 9] {
                spent += going.len() as u64 * (end - from);
                let values: Vec<f64> = going.iter().map(|trial| loss(*trial, end)).collect();
                going = halving.survivors(&values).into_iter().map(|i| going[i]).collect();
                from = end;
            }
            spent += going.len() as u64 * (27 - from);
            assert_eq!(halving.spending(trials as u64), spent);
            let best = (0..trials).min_by(|a, b| levels[*a].total_cmp(&levels[*b])).unwrap();
            assert_eq!(going[0], best);
        }
        // By hand: 27·1 + 9·2 + 3·6 + 1·18.
        assert_eq!(halving.spending(27), 81);
    }

    /// In random order, n trials at first let 1 + 1/2 + … of them continue; the share falls to 1 of 3.
    #[test]
    fn about_one_of_three_goes_on_from_trials_in_turn() {
        let halving = Halving::new(1, 9);
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let (rounds, trials) = (400, 60);
        let mut kept = 0;
        for _ in 0..rounds {
            let values: Vec<f64> = (0..trials).map(|_| random.random()).collect();
            kept += (0..trials).filter(|i| halving.keep_going(&values[..*i], values[*i])).count();
        }
        // The i-th, with a uniform rank, continues with probability max(1, ⌊i/3⌋)/i.
        let chance = |i: u32| f64::from((i / 3).max(1)) / f64::from(i);
        let chances: Vec<f64> = (1..=trials as u32).map(chance).collect();
        let expected = f64::from(rounds) * chances.iter().sum::<f64>();
        let variance = f64::from(rounds) * chances.iter().map(|p| p * (1.0 - p)).sum::<f64>();
        assert!(
            (kept as f64 - expected).abs() < 5.0 * variance.sqrt(),
            "{kept} instead of {expected}"
        );
    }
}
