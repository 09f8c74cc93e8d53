//! The largest stable rate, and the warm-up it requires.

use crate::OutOfRange;
use serde::{Deserialize, Serialize};

/// Searches for the largest rate at which one step does not raise the loss.
///
/// ```text
/// stable:  loss(w − η u) ≤ loss(w)        a NaN or infinite loss counts as risen
/// ```
///
/// It tries `lowest`, and then 2, 4, 16, 256, … times the previous rate, until the loss rises; then it
/// bisects ln η between the last two until they are within `tolerance`. This is correct if all rates below
/// the answer are stable and those above are not, as on any quadratic: along its gradient, the answer is
/// 2‖g‖²/(gᵀHg).
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `lowest`, `highest` | required | above 0, finite, `lowest` below `highest` |
/// | `tolerance` | 1.1 | above 1, finite: factor between a stable rate and one that raises the loss |
///
/// ```
/// use anneal_plan::{FirstRate, LargestStable, OutOfRange};
///
/// // A step along the gradient of ½ · 4 w² at w = 1 is stable up to a rate of 2/4.
/// let found = FirstRate::new(1e-7, 10.0)
///     .find(2.0, |rate| Ok::<f64, OutOfRange>(2.0 * (1.0 - 4.0 * rate).powi(2)))?;
/// let LargestStable::Between { stable, rises } = found.largest else { panic!("{found:?}") };
/// assert!(stable <= 0.5 && 0.5 < rises && rises <= 1.1 * stable);
/// assert!(found.evaluations < 15);
/// # Ok::<(), OutOfRange>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstRate {
    lowest: f64,
    highest: f64,
    #[serde(default = "tenth_more")]
    tolerance: f64,
}

fn tenth_more() -> f64 {
    1.1
}

/// The result of [`FirstRate::find`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FoundRate {
    /// The largest stable rate.
    pub largest: LargestStable,
    /// The number of evaluated losses.
    pub evaluations: u64,
}

/// Where the largest stable rate is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LargestStable {
    /// Between two rates, within the tolerance.
    Between {
        /// The largest rate found that does not raise the loss.
        stable: f64,
        /// The smallest rate found that does.
        rises: f64,
    },
    /// The highest rate is stable too.
    AtLeast {
        /// That rate.
        highest: f64,
    },
    /// Even the lowest rate raises the loss.
    Below {
        /// That rate.
        lowest: f64,
    },
}

impl LargestStable {
    /// The largest stable rate found.
    pub fn rate(self) -> Option<f64> {
        match self {
            Self::Between { stable, .. } => Some(stable),
            Self::AtLeast { highest } => Some(highest),
            Self::Below { .. } => None,
        }
    }
}

impl FirstRate {
    /// Searches between these rates.
    pub fn new(lowest: f64, highest: f64) -> Self {
        Self { lowest, highest, tolerance: tenth_more() }
    }

    /// Sets the factor by which the answer may be too low.
    #[must_use]
    pub fn tolerance(self, factor: f64) -> Self {
        Self { tolerance: factor, ..self }
    }

    /// Calls `loss` for the loss after one step at a rate, always from the same weights and on the same batch
    /// as `loss_before`.
    ///
    /// # Errors
    /// Any error of `loss`; a field outside its range, or a loss before the step that is not finite.
    pub fn find<E: From<OutOfRange>>(
        &self,
        loss_before: f64,
        mut loss: impl FnMut(f64) -> Result<f64, E>,
    ) -> Result<FoundRate, E> {
        self.check(loss_before)?;
        let mut evaluations = 0;
        let mut is_stable = |rate: f64| {
            evaluations += 1;
            loss(rate).map(|loss| loss.is_finite() && loss <= loss_before)
        };
        let largest = self.search(&mut is_stable)?;
        Ok(FoundRate { largest, evaluations })
    }

    fn search<E>(
        &self,
        is_stable: &mut impl FnMut(f64) -> Result<bool, E>,
    ) -> Result<LargestStable, E> {
        let Self { lowest, highest, tolerance } = *self;
        if !is_stable(lowest)? {
            return Ok(LargestStable::Below { lowest });
        }
        let (mut stable, mut factor) = (lowest, 2.0);
        let mut rises = loop {
            let next = highest.min(stable * factor);
            if !is_stable(next)? {
                break next;
            }
            if next == highest {
                return Ok(LargestStable::AtLeast { highest });
            }
            (stable, factor) = (next, factor * factor);
        };
        while rises / stable > tolerance {
            let middle = stable.sqrt() * rises.sqrt();
            // No number lies between the rates.
            if middle <= stable || middle >= rises {
                break;
            }
            *(if is_stable(middle)? { &mut stable } else { &mut rises }) = middle;
        }
        Ok(LargestStable::Between { stable, rises })
    }

    fn check(&self, loss_before: f64) -> Result<(), OutOfRange> {
        let Self { lowest, highest, tolerance } = *self;
        let positive = |value: f64| value.is_finite() && value > 0.0;
        OutOfRange::require("lowest", lowest, positive(lowest), "above 0, finite")?;
        let above = positive(highest) && highest > lowest;
        OutOfRange::require("highest", highest, above, format!("above `lowest`, {lowest:?}"))?;
        let factor = tolerance.is_finite() && tolerance > 1.0;
        OutOfRange::require("tolerance", tolerance, factor, "above 1, finite")?;
        OutOfRange::require("loss_before", loss_before, loss_before.is_finite(), "finite")
    }
}

/// The largest stable rate at an update of a run, as found by [`FirstRate`] or 2/curvature.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StableAt {
    /// The update, counted from 0.
    pub update: u64,
    /// The largest stable rate before it; infinite if none was too large.
    pub rate: f64,
}

/// The shortest linear warm-up that stays below the measured stable rates.
///
/// ```text
/// η(t) = peak · min(1, (t + 1)/(n + 1))                  a warm-up of n updates, as `.warmup(Span::steps(n))`
/// η(t) ≤ safety · stable(t)  at each measured t          requires
/// n + 1 = max over t with peak > safety · stable(t) of ⌈(t + 1) · peak / (safety · stable(t))⌉
/// ```
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `peak` | required | above 0, finite |
/// | `safety` | 0.5 | above 0, at most 1 |
///
/// It knows nothing about updates between the measured ones, nor how a shorter warm-up would have changed the
/// curvature: measure along a run whose warm-up is long enough.
///
/// ```
/// use anneal_plan::{StableAt, Warmup, WarmupAdvice};
///
/// let stable = [(0, 0.01), (50, 0.1), (100, 1.0)].map(|(update, rate)| StableAt { update, rate });
/// let advice = WarmupAdvice::new(0.3).advise(&stable)?;
/// // 51 · 0.3/(0.5 · 0.1) = 306 at update 50, against 60 at update 0.
/// assert_eq!(advice, Warmup::Updates { length: 305, binds_at: 50 });
/// # Ok::<(), anneal_plan::OutOfRange>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmupAdvice {
    peak: f64,
    #[serde(default = "half")]
    safety: f64,
}

fn half() -> f64 {
    0.5
}

/// The answer of [`WarmupAdvice`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Warmup {
    /// The peak is low enough from the first measured update on.
    NotNeeded,
    /// A linear warm-up.
    Updates {
        /// Its length in updates.
        length: u64,
        /// The measured update that determines the length.
        binds_at: u64,
    },
    /// The peak is too high at the last measured update: measure later ones, or lower the peak.
    NotMeasured {
        /// That update.
        last: u64,
        /// The highest peak with an answer: `safety` times the rate that was stable then.
        highest_peak: f64,
    },
}

impl WarmupAdvice {
    /// Advises on a warm-up to this rate.
    pub fn new(peak: f64) -> Self {
        Self { peak, safety: half() }
    }

    /// Sets the share of a stable rate that may be used.
    #[must_use]
    pub fn safety(self, part: f64) -> Self {
        Self { safety: part, ..self }
    }

    /// The shortest warm-up that stays below `safety` times each of these rates, in any order.
    ///
    /// # Errors
    /// A field outside its range, no rate, or a rate that is not above 0.
    pub fn advise(&self, stable: &[StableAt]) -> Result<Warmup, OutOfRange> {
        let Self { peak, safety } = *self;
        OutOfRange::require("peak", peak, peak.is_finite() && peak > 0.0, "above 0, finite")?;
        OutOfRange::require("safety", safety, safety > 0.0 && safety <= 1.0, "above 0, at most 1")?;
        OutOfRange::require("stable", stable.len(), !stable.is_empty(), "at least 1 rate")?;
        for at in stable {
            let field = format!("stable rate at update {}", at.update);
            OutOfRange::require(field, at.rate, at.rate > 0.0, "above 0")?;
        }
        let Some(last) = stable.iter().max_by_key(|at| at.update) else {
            return Ok(Warmup::NotNeeded);
        };
        if peak > safety * last.rate {
            let highest_peak = safety * last.rate;
            return Ok(Warmup::NotMeasured { last: last.update, highest_peak });
        }
        let lengths = stable.iter().map(|at| (self.length(at), at.update));
        Ok(match lengths.max_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1))) {
            Some((length @ 1.., binds_at)) => Warmup::Updates { length, binds_at },
            _ => Warmup::NotNeeded,
        })
    }

    /// The length of the warm-up that one update requires.
    fn length(&self, at: &StableAt) -> u64 {
        let allowed = self.safety * at.rate;
        let count = (at.update as f64 + 1.0) * (self.peak / allowed);
        // The quotient may exceed a whole number by rounding alone.
        let count = (count * (1.0 - 4.0 * f64::EPSILON)).ceil();
        if self.peak <= allowed { 0 } else { (count as u64).saturating_sub(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Answer = Result<f64, OutOfRange>;

    proptest! {
        /// 2‖g‖²/(gᵀHg) along the gradient of a quadratic.
        #[test]
        fn the_largest_stable_rate_of_a_quadratic_is_found(
            all in prop::collection::vec((1e-3..1e3f64, 0.1..2.0f64), 1..6),
            tolerance in prop::sample::select(vec![1.0 + 1e-9, 1.01, 1.5]),
        ) {
            let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 { all.iter().map(|&(l, w)| of(l, w)).sum() };
            let loss = |rate: f64| sum(&|l, w| 0.5 * l * (w - rate * l * w).powi(2));
            let exact = 2.0 * sum(&|l, w| (l * w).powi(2)) / sum(&|l, w| l * (l * w).powi(2));
            let found = FirstRate::new(1e-6, 1e6)
                .tolerance(tolerance)
                .find(loss(0.0), |rate| Answer::Ok(loss(rate)))
                .unwrap();
            let LargestStable::Between { stable, rises } = found.largest else {
                panic!("{found:?}");
            };
            // As exact as the computed loss.
            prop_assert!(stable <= exact * (1.0 + 1e-9) && exact <= rises * (1.0 + 1e-9));
            prop_assert!(rises / stable <= tolerance);
        }

        /// Every length from 0 on, tried at every measured update.
        #[test]
        fn the_warm_up_is_the_shortest(
            measured in prop::collection::vec((0..60u64, 0.05..3.0f64), 1..6),
            peak in 0.05..2.0f64,
            safety in 0.1..1.0f64,
        ) {
            let stable: Vec<StableAt> =
                measured.iter().map(|&(update, rate)| StableAt { update, rate }).collect();
            let keeps = |length: u64| stable.iter().all(|at| {
                let share = ((at.update + 1) as f64 / (length + 1) as f64).min(1.0);
                peak * share <= safety * at.rate * (1.0 + 1e-12)
            });
            let shortest = (0..100_000).find(|&length| keeps(length)).unwrap();
            let last = stable.iter().max_by_key(|at| at.update).unwrap();
            match WarmupAdvice::new(peak).safety(safety).advise(&stable).unwrap() {
                Warmup::NotNeeded => prop_assert_eq!(shortest, 0),
                Warmup::Updates { length, binds_at } => {
                    prop_assert_eq!(length, shortest);
                    let share = (binds_at + 1) as f64 / length as f64;
                    let binds = |at: &StableAt| {
                        at.update == binds_at && peak * share.min(1.0) > safety * at.rate
                    };
                    prop_assert!(stable.iter().any(binds));
                }
                Warmup::NotMeasured { last: update, highest_peak } => {
                    prop_assert!(update == last.update && highest_peak < peak);
                }
            }
        }
    }

    #[test]
    fn ends_have_answers_of_their_own() {
        let find = |loss: fn(f64) -> f64| {
            FirstRate::new(1e-7, 10.0).find(1.0, |rate| Answer::Ok(loss(rate))).unwrap()
        };
        let below = FoundRate { largest: LargestStable::Below { lowest: 1e-7 }, evaluations: 1 };
        assert_eq!(find(|_| 2.0), below);
        assert_eq!(find(|_| f64::NAN), below);
        assert_eq!(find(|_| f64::INFINITY), below);
        assert_eq!(find(|_| f64::NEG_INFINITY), below);
        let found = find(|_| 1.0);
        assert_eq!(found.largest, LargestStable::AtLeast { highest: 10.0 });
        // 1e-7 · 2, 2³, 2⁷, 2¹⁵, and then 10.
        assert_eq!((found.evaluations, found.largest.rate()), (6, Some(10.0)));
    }

    #[test]
    fn evaluations_are_counted_and_few() {
        for exponent in -6..1 {
            let mut asked = 0;
            let limit = 3.0 * 10f64.powi(exponent);
            let loss = |rate: f64| {
                asked += 1;
                Answer::Ok(if rate <= limit { 0.5 } else { f64::NAN })
            };
            let found = FirstRate::new(1e-7, 10.0).find(1.0, loss).unwrap();
            assert_eq!(found.evaluations, asked);
            // 6 rates upwards, and 27 factors of 2 halved 8 times.
            assert!(asked <= 14, "{limit}: {asked}");
        }
    }

    #[test]
    fn errors_come_back() {
        let broken = OutOfRange::require("loss", 0, false, "nothing");
        let mut broken = Some(broken.unwrap_err());
        let found = FirstRate::new(0.1, 1.0).find(1.0, |_| Err(broken.take().unwrap()));
        assert!(matches!(found, Err(OutOfRange { field, .. }) if field == "loss"));
        let field = |rule: FirstRate, loss: f64| match rule.find(loss, |_| Answer::Ok(0.0)) {
            Err(OutOfRange { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(field(FirstRate::new(0.0, 1.0), 1.0), "lowest");
        assert_eq!(field(FirstRate::new(1.0, 1.0), 1.0), "highest");
        assert_eq!(field(FirstRate::new(0.1, 1.0).tolerance(1.0), 1.0), "tolerance");
        assert_eq!(field(FirstRate::new(0.1, 1.0), f64::NAN), "loss_before");
        let advise = |advice: WarmupAdvice, rates: &[f64]| {
            let at = |rate: &f64| StableAt { update: 3, rate: *rate };
            match advice.advise(&rates.iter().map(at).collect::<Vec<_>>()) {
                Err(OutOfRange { field, .. }) => field,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(advise(WarmupAdvice::new(f64::NAN), &[1.0]), "peak");
        assert_eq!(advise(WarmupAdvice::new(1.0).safety(1.1), &[1.0]), "safety");
        assert_eq!(advise(WarmupAdvice::new(1.0), &[]), "stable");
        for rate in [0.0, -1.0, f64::NAN] {
            assert_eq!(advise(WarmupAdvice::new(1.0), &[rate]), "stable rate at update 3");
        }
    }

    #[test]
    fn a_warm_up_answers_at_its_edges() {
        let at = |update, rate| StableAt { update, rate };
        let advise = |stable: &[StableAt]| WarmupAdvice::new(0.1).advise(stable).unwrap();
        assert_eq!(advise(&[at(0, 0.2)]), Warmup::NotNeeded);
        assert_eq!(advise(&[at(0, f64::INFINITY)]), Warmup::NotNeeded);
        assert_eq!(advise(&[at(0, 0.1), at(9, 0.2)]), Warmup::Updates { length: 1, binds_at: 0 });
        let low = Warmup::NotMeasured { last: 9, highest_peak: 0.05 };
        assert_eq!(advise(&[at(9, 0.1), at(0, 1.0)]), low);
        let long = advise(&[at(0, 1e-300), at(9, 1.0)]);
        assert!(matches!(
            long,
            Warmup::Updates { length: u64::MAX.., .. } | Warmup::Updates { .. }
        ));
    }
}
