//! A trailing moving average.

use crate::curve::{Describe, Inner, Rate, tail::Tail};
use crate::{Length, ScheduleConfig, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// η(t) = (1/k) Σ inner(t − i) over i = 0 … k − 1, with inner(0) at steps below 0: the mean over the last k
/// updates.
///
/// A jump of the inner schedule becomes k steps of a k-th of it. The largest jump shrinks, the total
/// variation does not grow, and every level is reached k − 1 updates later.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `window` | k, a span | inside the run; at most [`MAX_EVALUATIONS`] updates if the mean has no closed form |
///
/// The mean of a constant, a straight line and an endless exponential decay, and of multiples of them, has a
/// closed form. Any other schedule costs min(k, t + 1) inner rates, as many at step 10¹² as at step k. The
/// costs of nested averages multiply, and their product has the same limit.
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = step_decay(1.0, Span::steps(10), 0.5).smooth(Span::steps(5))
///     .resolve(RunLength::updates(20))?;
/// let rates = [9, 10, 11, 12, 13, 14, 15].map(|step| (schedule.rate(step) * 10.0).round() / 10.0);
/// assert_eq!(rates, [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.5]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
pub struct Smooth<L: Length = Span> {
    /// k: the number of updates in the average.
    pub window: L,
    /// The averaged schedule.
    pub schedule: Box<ScheduleConfig<L>>,
}

/// The maximum number of inner rates that one rate of the average may cost: well under a millisecond.
pub const MAX_EVALUATIONS: u64 = 10_000;

impl Describe for Smooth {
    type Resolved = Smooth<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<Smooth<u64>, ScheduleError> {
        let window = scope.length("window", scope.stated("window", self.window)?)?;
        let most = MAX_EVALUATIONS / scope.evaluations();
        // A schedule with a closed form needs one evaluation and contains no averages.
        let times = if window > most { 1 } else { window };
        let schedule = self.schedule.resolve_in(&scope.inside_times("schedule", times)?)?;
        if window > most && schedule.mean(0, window).is_none() {
            let allowed = format!(
                "at most {most} updates: each rate needs as many rates of the inner schedule, and \
                 the limit is {MAX_EVALUATIONS} over all nested averages"
            );
            return Err(scope.out_of_range("window", format!("{window} updates"), allowed));
        }
        Ok(Smooth { window, schedule: Box::new(schedule) })
    }
}

impl Smooth<u64> {
    /// The mean with `last` as the rate at `step`. A running mean stays between the lowest and the highest
    /// rate, where a sum might overflow, and is exact if all rates are equal.
    fn average(&self, step: u64, last: f64) -> f64 {
        if let Some(mean) = self.schedule.mean(step, self.window) {
            return mean;
        }
        let first = step.saturating_sub(self.window - 1);
        if first == step {
            return last;
        }
        let mut mean = self.schedule.rate(first);
        // The first rate also stands for the steps below 0.
        let mut count = self.window - (step - first);
        for at in first + 1..=step {
            let rate = if at == step { last } else { self.schedule.rate(at) };
            count += 1;
            mean += (rate - mean) / count as f64;
        }
        mean
    }
}

impl Rate for Smooth<u64> {
    fn rate(&self, step: u64) -> f64 {
        self.average(step, self.schedule.rate(step))
    }

    fn end_rate(&self, step: u64) -> f64 {
        self.average(step, self.schedule.end_rate(step))
    }

    fn peak(&self) -> f64 {
        self.schedule.peak()
    }

    fn tail(&self) -> Tail {
        // The average keeps the tail of its schedule, except that averaged waves may vanish.
        match self.schedule.tail() {
            Tail::Waves(_) => Tail::Unknown,
            tail => tail,
        }
    }

    fn inner(&self) -> Vec<Inner<'_>> {
        vec![Inner::whole(&self.schedule)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ScheduleConfig;
    use crate::combine::{ScheduleExt, maximum};
    use crate::curve::{
        Decay, constant, exponential, linear, refused, resolved, step_decay, table,
    };

    /// The definition, as a plain sum.
    fn defined(rates: &[f64], step: usize, k: usize) -> f64 {
        (0..k).map(|i| rates[step.saturating_sub(i)]).sum::<f64>() / k as f64
    }

    #[test]
    fn has_its_formula_also_at_its_start() {
        let rates: Vec<f64> = (0..40).map(|i| f64::from(i * 7 % 11)).collect();
        for k in [1, 2, 3, 10, 39] {
            let schedule = resolved(table(rates.clone()).smooth(Span::steps(k)), 40);
            for step in 0..40 {
                let expected = defined(&rates, step, k as usize);
                let rate = schedule.rate(step as u64);
                assert!((rate - expected).abs() < 1e-13, "{k} at {step}: {rate}, not {expected}");
            }
        }
    }

    #[test]
    fn lowers_the_largest_jump_to_a_part_of_it() {
        let largest = |schedule: &crate::Schedule| {
            (1..100).map(|t| (schedule.rate(t) - schedule.rate(t - 1)).abs()).fold(0.0, f64::max)
        };
        let steps = || step_decay(1.0, Span::steps(25), 0.1);
        let (jumps, smooth) =
            (resolved(steps(), 100), resolved(steps().smooth(Span::steps(10)), 100));
        assert!((largest(&jumps) - 0.9).abs() < 1e-15);
        assert!((largest(&smooth) - 0.09).abs() < 1e-15);
    }

    #[test]
    fn the_same_rates_have_exactly_their_mean() {
        for rate in [0.1, f64::MAX, 5e-324] {
            let schedule = resolved(table([rate]).smooth(Span::steps(77)), 100);
            assert_eq!([0, 50, 76, 99, 100].map(|t| schedule.rate(t)), [rate; 5]);
        }
        // A sum of these would overflow.
        let large = resolved(table([f64::MAX, 0.0]).smooth(Span::steps(2)), 10);
        assert_eq!(large.rate(1), f64::MAX / 2.0);
    }

    #[test]
    fn closed_forms_equal_the_definition() {
        let half_life = |n: u64| Decay::HalfLife(Span::steps(n));
        let factor = |factor: f64| Decay::Factor { factor, per: Span::steps(3) };
        let curves: [ScheduleConfig; 9] = [
            constant(0.7).into(),
            linear(1.0, 0.25).length(Span::steps(50)).into(),
            linear(0.1, 3.0).length(Span::steps(1)).into(),
            linear(1.0, 0.0).length(Span::steps(200)).scale(0.3).into(),
            exponential(2.0, half_life(20)).into(),
            exponential(1.0, half_life(1_000_000_000)).into(),
            exponential(1.0, factor(1.0)).into(),
            exponential(1.0, factor(0.01)).into(),
            exponential(1.0, Decay::Kappa(f64::MAX)).scale(2.0).into(),
        ];
        for curve in curves {
            let plain = resolved(curve.clone(), 200);
            let rates: Vec<f64> = (0..=200).map(|step| plain.rate(step)).collect();
            for k in [1, 2, 7, 60, 200] {
                let smooth = resolved(curve.clone().smooth(Span::steps(k)), 200);
                // The maximum of a single schedule is that schedule, without a closed form.
                let loops = resolved(maximum([curve.clone()]).smooth(Span::steps(k)), 200);
                for step in [0, 1, 6, 7, 49, 50, 51, 59, 60, 110, 199, 200] {
                    let expected = defined(&rates, step, k as usize);
                    for schedule in [&smooth, &loops] {
                        let rate = schedule.rate(step as u64);
                        let error = (rate - expected).abs();
                        assert!(error <= 1e-13 * expected, "{schedule} at {step}: {rate}");
                    }
                }
            }
        }
    }

    #[test]
    fn closed_forms_have_no_limit() {
        let run = crate::RunLength::updates(1 << 62);
        let half = Span::steps(1 << 61);
        let line = linear(1.0, 0.0).smooth(half).resolve(run).unwrap();
        // Half of the window lies before the start; the mean of ½ … 1 is then ¾.
        assert_eq!([0, (1 << 60) - 1].map(|t| line.rate(t)), [1.0, 1.0 - 1.0 / 16.0]);
        assert!((line.rate(1 << 61) - 0.75).abs() < 1e-15);
        let average = |t: u64| linear(1.0, 0.0).smooth(half).resolve(run).unwrap().rate(t);
        assert!((average(u64::MAX) - 0.25).abs() < 1e-15);
        let decay = exponential(1.0, Decay::HalfLife(half)).smooth(half).resolve(run).unwrap();
        // ∫ 2^(−x) over [0, 1] is 1/(2 ln 2).
        assert!((decay.rate(1 << 61) - 0.5 / 2f64.ln()).abs() < 1e-12);
        assert!(maximum([linear(1.0, 0.0)]).smooth(half).resolve(run).is_err());
    }

    #[test]
    fn a_line_is_the_line_some_updates_before() {
        // The mean of k points of a line is its middle, (k − 1)/2 updates back.
        let schedule = resolved(linear(1.0, 0.0).smooth(Span::steps(1_001)), 1_000_000);
        for step in [1_000, 54_321, 999_999] {
            let expected = 1.0 - (step - 500) as f64 / 1e6;
            assert!((schedule.rate(step) - expected).abs() < 1e-12, "{step}");
        }
    }

    #[test]
    fn holds_what_it_has_reached() {
        // The drop at 4 is not reached in a run of 4.
        let steps = step_decay(1.0, Span::steps(4), 0.5).smooth(Span::steps(2));
        assert_eq!(resolved(steps.clone(), 4).rate(4), 1.0);
        assert_eq!(resolved(steps, 5).rate(5), 0.5);
    }

    #[test]
    fn averages_in_averages_share_the_limit() {
        let twice = |outer, inner| {
            table([1.0]).smooth(Span::steps(inner)).smooth(Span::steps(outer)).scale(2.0)
        };
        let run = crate::RunLength::updates(100_000);
        assert!(twice(100, 100).resolve(run).is_ok());
        let error = twice(100, 101).resolve(run).unwrap_err().to_string();
        assert!(error.starts_with("scale.schedule.smooth.schedule.smooth.window: 101"), "{error}");
        assert!(error.contains("at most 100 updates"), "{error}");
        let error = table([1.0]).smooth(Span::steps(10_001)).resolve(run).unwrap_err();
        assert!(error.to_string().contains("at most 10000 updates"), "{error}");
    }

    #[test]
    fn refuses_each_field() {
        for window in [Span::steps(0), Span::steps(101), Span::percent(-1), Span::Rest] {
            assert_eq!(refused(constant(1.0).smooth(window)), "smooth.window");
        }
        assert_eq!(refused(constant(0.0).smooth(Span::steps(5))), "smooth.schedule.constant.rate");
    }
}
