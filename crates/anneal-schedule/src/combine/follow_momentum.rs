//! A rate that follows the momentum.

use crate::curve::{Describe, Rate};
use crate::{Length, ScheduleConfig, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// η(t) = ((1 − μ(t)) / (1 + μ(t)))² / curvature, where the inner schedule gives the momentum μ: the rate at
/// which Nesterov's method is critically damped on a quadratic of that curvature.
///
/// With a smaller rate the error shrinks more slowly; with a larger one it oscillates.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `curvature` | λ, an eigenvalue of the Hessian | finite, above 0, with 1/λ finite |
/// | `schedule` | μ, momentum | peak below 1; use a [`Cap`](super::Cap) if only a bound is known |
///
/// Source: the double root of x² − (1 + μ)(1 − ηλ) x + μ(1 − ηλ); Lucas et al. 2019, "Aggregated
/// momentum"; O'Donoghue and Candès 2015, "Adaptive restart for accelerated gradient schemes".
///
/// ```
/// use anneal_schedule::prelude::*;
/// let momentum = constant(0.5).then(Span::steps(5), constant(0.9));
/// let schedule = momentum.follow_momentum(1.0).resolve(RunLength::updates(10))?;
/// assert!((schedule.rate(0) - 1.0 / 9.0).abs() < 1e-15);
/// assert!((schedule.rate(5) - 1.0 / 361.0).abs() < 1e-15);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
pub struct FollowMomentum<L: Length = Span> {
    /// λ: the curvature at which the motion is critically damped.
    pub curvature: f64,
    /// μ: the momentum.
    pub schedule: Box<ScheduleConfig<L>>,
}

impl Describe for FollowMomentum {
    type Resolved = FollowMomentum<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<FollowMomentum<u64>, ScheduleError> {
        let ok = self.curvature.is_finite()
            && self.curvature > 0.0
            && (1.0 / self.curvature).is_finite();
        let allowed = "finite and above 0, and its inverse too";
        let curvature = scope.require("curvature", self.curvature, ok, allowed)?;
        let schedule = Box::new(self.schedule.resolve_in(&scope.inside("schedule")?)?);
        let peak = schedule.peak();
        scope.require("schedule", peak, peak < 1.0, "a momentum whose peak is below 1")?;
        Ok(FollowMomentum { curvature, schedule })
    }
}

impl FollowMomentum<u64> {
    fn critical(&self, momentum: f64) -> f64 {
        ((1.0 - momentum) / (1.0 + momentum)).powi(2) / self.curvature
    }
}

impl Rate for FollowMomentum<u64> {
    fn rate(&self, step: u64) -> f64 {
        self.critical(self.schedule.rate(step))
    }

    fn end_rate(&self, step: u64) -> f64 {
        self.critical(self.schedule.end_rate(step))
    }

    /// The rate without momentum, because the lowest momentum is unknown.
    fn peak(&self) -> f64 {
        1.0 / self.curvature
    }
}

#[cfg(test)]
mod tests {
    use crate::combine::ScheduleExt;
    use crate::curve::{constant, linear, refused, resolved};

    /// Nesterov's method on ½ λ w² from w = 1 at rest: the errors of `updates` updates.
    fn nesterov(rate: f64, momentum: f64, curvature: f64, updates: usize) -> Vec<f64> {
        let (mut w, mut before) = (1.0, 1.0);
        (0..updates)
            .map(|_| {
                let ahead = w + momentum * (w - before);
                (before, w) = (w, ahead - rate * curvature * ahead);
                w
            })
            .collect()
    }

    #[test]
    fn the_motion_is_critically_damped() {
        let (curvature, momentum) = (2.5, 0.8);
        let rate = resolved(constant(momentum).follow_momentum(curvature), 10).rate(0);
        // Critically damped: (A + B t) r^t with the double root r = (1 + μ)(1 − ηλ)/2.
        let root = (1.0 + momentum) * (1.0 - rate * curvature) / 2.0;
        let errors = nesterov(rate, momentum, curvature, 200);
        let b = errors[0] / root - 1.0;
        for (i, error) in errors.iter().enumerate() {
            let t = i as f64 + 1.0;
            assert!((error - (1.0 + b * t) * root.powf(t)).abs() < 1e-12, "{t}");
        }
        // With a larger rate it swings through 0, with a smaller one it is slower.
        assert!(errors.iter().all(|&error| error > 0.0));
        assert!(nesterov(1.2 * rate, momentum, curvature, 200).iter().any(|&error| error < 0.0));
        assert!(nesterov(0.8 * rate, momentum, curvature, 200)[199] > 100.0 * errors[199]);
    }

    #[test]
    fn without_momentum_it_is_newtons_step() {
        let schedule = resolved(linear(0.9, 0.0).follow_momentum(4.0), 10);
        assert_eq!(schedule.rate(10), 0.25);
        assert_eq!(schedule.peak(), 0.25);
    }

    #[test]
    fn refuses_each_field() {
        for curvature in [0.0, -1.0, 5e-324, f64::NAN, f64::INFINITY] {
            let config = constant(0.9).follow_momentum(curvature);
            assert_eq!(refused(config), "follow_momentum.curvature");
        }
        for momentum in [1.0, 1.5] {
            let config = constant(momentum).follow_momentum(1.0);
            assert_eq!(refused(config), "follow_momentum.schedule");
            let capped = constant(momentum).cap(0.99).follow_momentum(1.0);
            assert!(resolved(capped, 10).rate(0) > 0.0);
        }
        let nan = constant(f64::NAN).follow_momentum(1.0);
        assert_eq!(refused(nan), "follow_momentum.schedule.constant.rate");
    }
}
