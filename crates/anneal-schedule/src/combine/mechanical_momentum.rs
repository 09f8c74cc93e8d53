//! A momentum that follows the rate.

use crate::curve::{Describe, Rate};
use crate::{Length, ScheduleConfig, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// β(t) = 1 − friction · √η(t), where the inner schedule gives the rate η: a schedule of momentum, not of
/// rates.
///
/// Heavy-ball updates then follow one particle under constant friction, x″ = −γ x′ − ∇f(x), sampled at
/// intervals of √η. When the rate falls the momentum rises, and the motion stays the same.
///
/// A momentum is below 1: if the rate is so small that β would round to 1, it is the largest number below 1.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `friction` | γ, per √(learning rate) | above 0, at most 1/√peak of the rate, so that β ≥ 0 |
///
/// If only a bound of the rate's peak is known, an inner [`Cap`](super::Cap) lowers it.
///
/// Source: Qian 1999, "On the momentum term in gradient descent learning algorithms".
///
/// ```
/// use anneal_schedule::prelude::*;
/// let momentum = step_decay(0.01, Span::steps(10), 0.01).mechanical_momentum(1.0)
///     .resolve(RunLength::updates(20))?;
/// assert!((momentum.rate(0) - 0.9).abs() < 1e-15);
/// assert!((momentum.rate(10) - 0.99).abs() < 1e-15);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
pub struct MechanicalMomentum<L: Length = Span> {
    /// γ: the friction.
    pub friction: f64,
    /// η: the rate.
    pub schedule: Box<ScheduleConfig<L>>,
}

/// The largest number below 1.
const BELOW_ONE: f64 = 1.0 - f64::EPSILON / 2.0;

impl Describe for MechanicalMomentum {
    type Resolved = MechanicalMomentum<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<MechanicalMomentum<u64>, ScheduleError> {
        let friction = scope.positive("friction", self.friction)?;
        let schedule = Box::new(self.schedule.resolve_in(&scope.inside("schedule")?)?);
        let peak = schedule.peak();
        let allowed = format!("at most 1/√peak of the rate, {:?}", 1.0 / peak.sqrt());
        scope.require("friction", friction, friction * peak.sqrt() <= 1.0, &allowed)?;
        Ok(MechanicalMomentum { friction, schedule })
    }
}

impl MechanicalMomentum<u64> {
    fn momentum(&self, rate: f64) -> f64 {
        (1.0 - self.friction * rate.sqrt()).clamp(0.0, BELOW_ONE)
    }
}

impl Rate for MechanicalMomentum<u64> {
    fn rate(&self, step: u64) -> f64 {
        self.momentum(self.schedule.rate(step))
    }

    fn end_rate(&self, step: u64) -> f64 {
        self.momentum(self.schedule.end_rate(step))
    }

    /// The bound of any momentum, because the lowest rate is unknown.
    fn peak(&self) -> f64 {
        BELOW_ONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::combine::ScheduleExt;
    use crate::curve::{constant, linear, refused, resolved, step_decay};

    /// The heavy ball x ← x + β Δx − η λ x, from x = 1 at rest, at time 10 = n √η.
    fn heavy_ball(rate: f64, momentum: f64, curvature: f64) -> f64 {
        let (mut x, mut delta) = (1.0, 0.0);
        for _ in 0..(10.0 / rate.sqrt()).round() as u64 {
            delta = momentum * delta - rate * curvature * x;
            x += delta;
        }
        x
    }

    /// x″ = −γ x′ − λ x with γ² < 4λ, from 1 at rest: e^(−γt/2) (cos ωt + γ/(2ω) sin ωt).
    #[test]
    fn the_particle_moves_alike_at_every_rate() {
        let (friction, curvature) = (0.6, 1.0);
        let omega = f64::sqrt(curvature - friction * friction / 4.0);
        let swing = f64::cos(omega * 10.0) + friction / (2.0 * omega) * f64::sin(omega * 10.0);
        let exact = f64::exp(-friction * 5.0) * swing;
        let rates = step_decay(1e-4, Span::steps(1), 0.01);
        let momentum = resolved(rates.clone().mechanical_momentum(friction), 3);
        for step in [0, 1] {
            let rate = resolved(rates.clone(), 3).rate(step);
            let x = heavy_ball(rate, momentum.rate(step), curvature);
            // The discretization's error is of the order of the interval √η.
            assert!((x - exact).abs() < 0.5 * rate.sqrt(), "{rate}: {x}, not {exact}");
            // With the other rate's momentum it moves differently.
            let wrong = heavy_ball(rate, momentum.rate(1 - step), curvature);
            assert!((wrong - exact).abs() > 0.02, "{rate}: {wrong}");
        }
    }

    #[test]
    fn stays_in_its_range() {
        let schedule = resolved(linear(0.25, 0.0).mechanical_momentum(2.0), 4);
        assert_eq!(schedule.rate(0), 0.0);
        assert!(schedule.rate(4) < 1.0 && schedule.rate(4) > 0.999_999_999);
        let tiny = resolved(constant(1e-300).mechanical_momentum(1.0), 4);
        assert_eq!(tiny.rate(0), BELOW_ONE);
    }

    #[test]
    fn refuses_each_field() {
        for friction in [0.0, -1.0, 2.001, f64::NAN, f64::INFINITY] {
            let config = linear(0.25, 0.0).mechanical_momentum(friction);
            assert_eq!(refused(config), "mechanical_momentum.friction");
        }
        let bound = constant(0.125).plus(constant(0.125)).cap(0.16).mechanical_momentum(2.5);
        assert_eq!(resolved(bound, 10).rate(0), 0.0);
        let nan = constant(f64::NAN).mechanical_momentum(1.0);
        assert_eq!(refused(nan), "mechanical_momentum.schedule.constant.rate");
    }
}
