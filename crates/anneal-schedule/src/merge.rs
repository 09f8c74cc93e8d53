//! Coefficients that merge checkpoints of a constant rate into the weights of a decay.

use crate::analysis::MAX_SUMMED;
use crate::analysis::accumulator::Accumulator;
use crate::{RunLength, Schedule, ScheduleConfig, ScheduleError, ScheduleExt};
use std::ops::Range;
use thiserror::Error;

/// Returns the coefficients c₀ … c_k that merge checkpoints θ₀ … θ_k of a constant-rate phase into the result
/// of a decay over that phase.
///
/// `updates` has the number of updates made when each checkpoint was saved, in ascending order; only the
/// differences matter. `decay` is resolved over the T = t_k − t₀ updates between the first and the last:
///
/// ```text
/// w_j = mean of η(t)/η(0) over t_{j−1} − t₀ ≤ t < t_j − t₀              j = 1 … k
/// c₀ = 1 − w₁      c_j = w_j − w_{j+1}      c_k = w_k
///
/// Σ c_j θ_j = θ₀ + Σ w_j (θ_j − θ_{j−1})
/// ```
///
/// Each movement between checkpoints is thus scaled as the decay would have scaled it. If gradients do not
/// depend on the weights and the optimizer has no memory, the result is exactly the weights of a decay in k
/// steps w_j: of `decay` itself if there is a checkpoint for each update or the gradient is constant between
/// checkpoints. Otherwise it is an approximation.
///
/// Coefficients are at least 0 and add up to 1. The peak of `decay` does not matter; the curve must not rise,
/// or some coefficients would be negative.
///
/// A linear decay to 0 gives equally spaced checkpoints equal coefficients, except that the first and the
/// last get about half.
///
/// # Errors
/// [`MergeRecipeError`] for fewer than two checkpoints, updates that do not ascend, and a decay that rises,
/// is 0 from its start, or cannot be resolved over T updates.
///
/// Source: Tian et al. 2025, "WSM: Decay-free learning rate schedule via checkpoint merging for LLM pre-training" (arXiv 2507.17634).
///
/// ```
/// use anneal_schedule::merge_coefficients;
/// use anneal_schedule::prelude::*;
/// // The rates are 1, 0.75, 0.5 and 0.25.
/// let each = merge_coefficients(linear(1.0, 0.0), &[100, 101, 102, 103, 104])?;
/// assert_eq!(each, [0.0, 0.25, 0.25, 0.25, 0.25]);
/// // Of the first two together, and of the last two.
/// let apart = merge_coefficients(linear(1.0, 0.0), &[0, 2, 4])?;
/// assert_eq!(apart, [0.125, 0.5, 0.375]);
/// # Ok::<(), anneal_schedule::MergeRecipeError>(())
/// ```
pub fn merge_coefficients(
    decay: impl Into<ScheduleConfig>,
    updates: &[u64],
) -> Result<Vec<f64>, MergeRecipeError> {
    let (Some(&first), Some(&last), 2..) = (updates.first(), updates.last(), updates.len()) else {
        return Err(MergeRecipeError::TooFew { found: updates.len() });
    };
    let pairs = || updates.windows(2).map(|pair| (pair[0], pair[1]));
    if let Some((index, (before, update))) = pairs().enumerate().find(|(_, (a, b))| a >= b) {
        return Err(MergeRecipeError::NotAscending { index: index + 1, before, update });
    }
    let length = last - first;
    if length > MAX_SUMMED {
        return Err(MergeRecipeError::TooLong { updates: length });
    }
    let mut curve = Falling::new(decay.into().resolve(RunLength::updates(length))?);
    // Each at most the one before; only rounding could break this.
    let (mut coefficients, mut before) = (vec![], 1.0_f64);
    for (from, to) in pairs() {
        let weight = curve.mean(from - first..to - first)?.min(before);
        coefficients.push(before - weight);
        before = weight;
    }
    if curve.first == 0.0 {
        return Err(MergeRecipeError::Zero { schedule: curve.schedule.to_string() });
    }
    coefficients.push(before);
    Ok(coefficients)
}

/// The rise that rounding may cause, relative to the first rate.
const ROUNDING: f64 = 1e-12;

/// A curve that must not rise, so that its first rate is its largest.
struct Falling {
    schedule: Schedule,
    first: f64,
    lowest: f64,
}

impl Falling {
    fn new(schedule: Schedule) -> Self {
        let first = schedule.rate(0);
        Self { schedule, first, lowest: first }
    }

    /// The mean of η(t)/η(0) over the next updates.
    fn mean(&mut self, updates: Range<u64>) -> Result<f64, MergeRecipeError> {
        let count = updates.end - updates.start;
        let mut sum = Accumulator::default();
        for update in updates {
            let rate = self.schedule.rate(update);
            if rate > self.lowest + ROUNDING * self.first {
                let (schedule, before) = (self.schedule.to_string(), self.lowest);
                return Err(MergeRecipeError::Rises { schedule, update, before, rate });
            }
            self.lowest = self.lowest.min(rate);
            sum.add(rate / self.first);
        }
        Ok(sum.total() / count as f64)
    }
}

/// Why checkpoints cannot be merged by a decay.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum MergeRecipeError {
    /// Fewer than two checkpoints.
    #[error("checkpoints: {found} is not allowed; allowed: at least 2")]
    TooFew {
        /// The number of checkpoints.
        found: usize,
    },
    /// A checkpoint that is not later than the one before it.
    #[error(
        "checkpoint {index}, counted from 0: it was saved after {update} updates, and the one before it after {before}; \
         allowed: each later than the one before"
    )]
    NotAscending {
        /// Index of the checkpoint.
        index: usize,
        /// The updates after which the previous one was saved.
        before: u64,
        /// The updates after which it was saved.
        update: u64,
    },
    /// More updates than can be summed.
    #[error(
        "{updates} updates lie between the first checkpoint and the last; allowed: at most {MAX_SUMMED}"
    )]
    TooLong {
        /// The updates.
        updates: u64,
    },
    /// A curve that rises.
    #[error(
        "{schedule}: the rate rises from {before:?} to {rate:?} by update {update}, which would make a coefficient \
         negative; allowed: a curve that never rises, so no warm-up and no restarts"
    )]
    Rises {
        /// The curve.
        schedule: String,
        /// The first update, counted from 0, whose rate is above an earlier one.
        update: u64,
        /// The lowest rate before that update.
        before: f64,
        /// The rate at that update.
        rate: f64,
    },
    /// A curve that is 0 from its start.
    #[error("{schedule}: every rate is 0; allowed: a first rate above 0")]
    Zero {
        /// The curve.
        schedule: String,
    },
    /// A description that does not resolve over the updates between the first checkpoint and the last.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::custom;
    use crate::prelude::*;

    fn of(decay: impl Into<ScheduleConfig>, updates: &[u64]) -> Vec<f64> {
        merge_coefficients(decay, updates).unwrap()
    }

    /// Checks that Σ c_j θ_j is θ₀ + Σ η(t) Δ(t) if each update of an interval moves equally far.
    fn check(decay: impl Into<ScheduleConfig>, updates: &[u64], rate: impl Fn(f64) -> f64) {
        let found = of(decay, updates);
        let length = (updates[updates.len() - 1] - updates[0]) as f64;
        // A separate movement for each interval.
        let movement = |j: usize| (7.0 * j as f64).sin();
        let (mut theta, mut decayed, mut merged) = (1.0, 1.0, found[0]);
        for j in 1..updates.len() {
            let moved = movement(j) / (updates[j] - updates[j - 1]) as f64;
            for t in updates[j - 1] - updates[0]..updates[j] - updates[0] {
                theta += moved;
                decayed += rate(t as f64 / length) * moved;
            }
            merged += found[j] * theta;
        }
        assert!((merged - decayed).abs() < 1e-12, "{merged}, not {decayed}");
        assert!(found.iter().all(|c| (0.0..=1.0).contains(c)), "{found:?}");
        assert!((found.iter().sum::<f64>() - 1.0).abs() < 1e-14, "{found:?}");
    }

    #[test]
    fn merging_equals_decaying_at_any_distances() {
        let root = stable_decay(3.0, Span::percent(100)).shape(DecayShape::OneMinusSqrt);
        let tail = stable_decay(1.0, Span::percent(20));
        for updates in [&[5, 6][..], &[0, 10, 20, 30], &[3, 4, 11, 12, 80], &[7, 900, 1_000]] {
            check(linear(2.0, 0.0), updates, |x| 1.0 - x);
            check(linear(2.0, 1.0), updates, |x| 1.0 - 0.5 * x);
            check(cosine(0.1), updates, |x| 0.5 * (1.0 + (std::f64::consts::PI * x).cos()));
            check(root.clone(), updates, |x| 1.0 - x.sqrt());
            check(constant(0.3), updates, |_| 1.0);
        }
        check(tail, &[0, 50, 80, 90, 100], |x| ((1.0 - x) / 0.2).min(1.0));
        check(step_decay(1.0, Span::steps(4), 0.5), &[0, 2, 9, 12], |x| {
            0.5f64.powi((12.0 * x + 1e-9) as i32 / 4)
        });
    }

    #[test]
    fn a_constant_rate_is_the_last_checkpoint() {
        assert_eq!(of(constant(0.3), &[0, 7, 9, 1_000]), [0.0, 0.0, 0.0, 1.0]);
    }

    /// The mean of 1 − t/T over a million updates, in closed form.
    #[test]
    fn long_intervals_keep_their_digits() {
        let n = 1_000_000_u64;
        let found = of(linear(1.0, 0.0), &[0, n, 2 * n, 3 * n]);
        let weight = |j: f64| 1.0 - ((j - 0.5) * n as f64 - 0.5) / (3 * n) as f64;
        let expected =
            [1.0 - weight(1.0), weight(1.0) - weight(2.0), weight(2.0) - weight(3.0), weight(3.0)];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-15, "{found}, not {expected}");
        }
        // A plain sum of a million tenths has a relative error of 1e-12.
        let steps = of(step_decay(1.0, Span::steps(n), 0.1), &[0, n, 2 * n]);
        assert!((steps[2] - 0.1).abs() < 1e-15, "{steps:?}");
    }

    #[test]
    fn peaks_cancel_as_large_or_as_small_as_they_are() {
        let updates = [0, 3, 10, 20];
        for peak in [1e-300, 1e300] {
            for (found, expected) in
                of(linear(peak, 0.0), &updates).iter().zip(of(linear(1.0, 0.0), &updates))
            {
                assert!((found - expected).abs() < 1e-15, "{found}, not {expected}");
            }
        }
    }

    #[test]
    fn refuses_what_is_no_recipe() {
        let error = |decay: ScheduleConfig, updates: &[u64]| {
            merge_coefficients(decay, updates).unwrap_err()
        };
        let falling = || ScheduleConfig::from(cosine(1.0));
        assert_eq!(error(falling(), &[]), MergeRecipeError::TooFew { found: 0 });
        assert_eq!(error(falling(), &[4]), MergeRecipeError::TooFew { found: 1 });
        for (updates, index, before, update) in [(&[4, 4][..], 1, 4, 4), (&[1, 5, 9, 7], 3, 9, 7)] {
            assert_eq!(
                error(falling(), updates),
                MergeRecipeError::NotAscending { index, before, update }
            );
        }
        assert_eq!(
            error(falling(), &[1, u64::MAX]),
            MergeRecipeError::TooLong { updates: u64::MAX - 1 }
        );
        // The warm-up ends within the first interval, whose mean is above that of the next.
        let warmed = cosine(1.0).warmup(Span::steps(2)).into();
        let text = error(warmed, &[0, 50, 100]).to_string();
        assert!(text.contains("rises") && text.contains("by update 1"), "{text}");
        // Too slow to see from one update to the next.
        let slow = linear(1.0, 1.0 + 1e-9).into();
        assert!(matches!(error(slow, &[0, 50_000]), MergeRecipeError::Rises { .. }));
        let cycles = warm_restarts(1.0, Span::percent(50)).into();
        assert!(matches!(error(cycles, &[0, 10]), MergeRecipeError::Rises { update: 5, .. }));
        let late = linear(0.0, 1.0).into();
        assert!(matches!(error(late, &[0, 10]), MergeRecipeError::Rises { update: 1, .. }));
        assert!(matches!(
            error(custom("zero", |_| 0.0).into(), &[0, 10]),
            MergeRecipeError::Zero { .. }
        ));
        let epochs = linear(1.0, 0.0).length(Span::epochs(1)).into();
        assert!(matches!(error(epochs, &[0, 10]), MergeRecipeError::Schedule(_)));
        let nan = cosine(f64::NAN).into();
        assert!(matches!(error(nan, &[0, 10]), MergeRecipeError::Schedule(_)));
    }
}
