//! A slower or faster schedule.

use crate::curve::{Describe, Rate, pieces::leading, tail::Tail};
use crate::{Length, ScheduleConfig, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// η(t) = inner(⌊t / factor⌋): every length inside is `factor` times as long.
///
/// Above 1 each rate is used several times, below 1 some are skipped; rates are not interpolated. The inner
/// schedule sees the run's updates divided by the factor, so a schedule that fills the run still fills it
/// once stretched.
///
/// | field | range |
/// | --- | --- |
/// | `factor` | \[10⁻⁶, 10⁶\]; exact if whole, otherwise to f64 precision |
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = step_decay(1.0, Span::steps(3), 0.5).stretch(2.0)
///     .resolve(RunLength::updates(20))?;
/// assert_eq!([0, 5, 6, 11, 12].map(|step| schedule.rate(step)), [1.0, 1.0, 0.5, 0.5, 0.25]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
pub struct Stretch<L: Length = Span> {
    /// The factor of every length.
    pub factor: f64,
    /// The stretched schedule.
    pub schedule: Box<ScheduleConfig<L>>,
}

/// The longest run; speeding up does not allow a longer one.
const MAX_UPDATES: u64 = 1 << 63;

/// ⌊step / factor⌋.
fn inner_step(step: u64, factor: f64) -> u64 {
    if factor.fract() == 0.0 {
        return step / factor as u64;
    }
    let quotient = step as f64 / factor;
    // 7 / 0.7 may miss 10 by a rounding error; tolerate 2 ulp.
    (quotient + 2.0 * f64::EPSILON * quotient) as u64
}

/// The inner updates used during `updates` outer updates, or reached at their end.
fn inner_length(updates: u64, factor: f64) -> u64 {
    let asked = inner_step(updates.saturating_sub(1), factor).saturating_add(1);
    asked.max(inner_step(updates, factor))
}

impl Describe for Stretch {
    type Resolved = Stretch<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<Stretch<u64>, ScheduleError> {
        let factor = scope.within("factor", self.factor, 1e-6..=1e6)?;
        let length = scope.left().map(|left| inner_length(left, factor).min(MAX_UPDATES));
        let inside = scope.inside_part("schedule", scope.start(), length)?;
        Ok(Stretch { factor, schedule: Box::new(self.schedule.resolve_in(&inside)?) })
    }
}

impl Rate for Stretch<u64> {
    fn rate(&self, step: u64) -> f64 {
        self.schedule.rate(inner_step(step, self.factor))
    }

    fn end_rate(&self, step: u64) -> f64 {
        let inside = inner_step(step, self.factor);
        // In the middle of an inner update its rate is already in use.
        if step > 0 && inner_step(step - 1, self.factor) == inside {
            self.schedule.rate(inside)
        } else {
            self.schedule.end_rate(inside)
        }
    }

    fn peak(&self) -> f64 {
        self.schedule.peak()
    }

    fn cycle_end(&self, from: u64) -> Option<u64> {
        let end = self.schedule.cycle_end(inner_step(from, self.factor))?;
        let until = leading(u64::MAX - from, |step| inner_step(from + step, self.factor) <= end);
        Some(from + until.saturating_sub(1))
    }

    fn tail(&self) -> Tail {
        // A constant factor in time does not change the tail.
        self.schedule.tail()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RunLength;
    use crate::combine::ScheduleExt;
    use crate::curve::{constant, cosine, linear, refused, resolved, step_decay};

    #[test]
    fn slows_down_and_speeds_up() {
        let steps = || step_decay(1.0, Span::steps(4), 0.5);
        let slow = resolved(steps().stretch(2.5), 1_000);
        assert_eq!([9, 10, 19, 20].map(|t| slow.rate(t)), [1.0, 0.5, 0.5, 0.25]);
        let fast = resolved(steps().stretch(0.5), 1_000);
        assert_eq!([1, 2, 3, 4].map(|t| fast.rate(t)), [1.0, 0.5, 0.5, 0.25]);
    }

    #[test]
    fn quotients_that_are_whole_are_not_missed() {
        for n in 1..2_000 {
            let reciprocal = 1.0 / n as f64;
            for step in [1, 2, 3, 7, 49, 1_000, 999_999] {
                assert_eq!(inner_step(step, reciprocal), step * n, "{step} / (1/{n})");
            }
            let tenth = n as f64 / 10.0;
            assert_eq!(inner_step(n, tenth), 10, "{n} / {tenth}");
            assert_eq!(inner_step(n * 1_000_000, tenth), 10_000_000, "{n} / {tenth}");
        }
    }

    #[test]
    fn whole_factors_are_exact_far_out() {
        let schedule = resolved(step_decay(1.0, Span::steps(1 << 60), 0.5).stretch(3.0), 1 << 63);
        let drop = 3 << 60;
        assert_eq!([drop - 1, drop].map(|t| schedule.rate(t)), [1.0, 0.5]);
    }

    #[test]
    fn what_fills_the_run_still_does() {
        for (factor, updates) in [(2.0, 100), (3.0, 100), (0.5, 100), (0.3, 77), (7.5, 100)] {
            let schedule = resolved(cosine(1.0).stretch(factor), updates);
            let plain = resolved(cosine(1.0), updates);
            for step in 0..updates {
                // It lags by at most one inner update plus the rounding of their number, each `factor`
                // updates long; the cosine falls by at most π/2 over the whole run.
                let behind = schedule.rate(step) - plain.rate(step);
                let most = std::f64::consts::FRAC_PI_2 * 2.0 * factor / updates as f64;
                assert!(behind.abs() <= most, "{factor}: {behind} at {step}");
            }
        }
        assert_eq!(resolved(linear(1.0, 0.0).stretch(2.0), 100).rate(100), 0.0);
        assert_eq!(resolved(linear(1.0, 0.0).stretch(0.5), 100).rate(100), 0.0);
    }

    #[test]
    fn holds_what_it_has_reached() {
        let steps = || step_decay(1.0, Span::steps(2), 0.5).stretch(3.0);
        let end = |updates: u64| resolved(steps(), updates).rate(updates);
        // The drops are at 6 and 12.
        assert_eq!([5, 6, 7, 12, 13].map(end), [1.0, 1.0, 0.5, 0.5, 0.25]);
    }

    #[test]
    fn an_endless_run_may_be_stretched() {
        let config = step_decay(1.0, Span::steps(2), 0.5).stretch(3.0);
        assert_eq!(config.resolve(RunLength::unbounded()).unwrap().rate(6), 0.5);
    }

    #[test]
    fn refuses_each_field() {
        for factor in [0.0, 1e-7, 1e7, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(refused(constant(1.0).stretch(factor)), "stretch.factor");
        }
        let long = step_decay(1.0, Span::steps(51), 0.5).stretch(2.0);
        assert_eq!(refused(long), "stretch.schedule.step_decay.every");
    }
}
