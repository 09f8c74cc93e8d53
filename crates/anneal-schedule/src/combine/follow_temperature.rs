//! A rate that follows the temperature of a contrastive loss.

use crate::curve::{Describe, Inner, Rate, tail::Tail};
use crate::{Length, OutOfRange, ScheduleConfig, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// η(t) = ratio · τ(t), where the inner schedule gives the temperature τ: η/τ stays constant.
///
/// The gradient of a loss of similarities divided by τ grows as 1/τ; the length of an SGD update, η/τ times
/// the gradient at temperature 1, then depends on the similarities alone.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `ratio` | η/τ, learning rate per unit of temperature | finite, above 0 |
///
/// Source: the temperature of Chen et al. 2020, "A simple framework for contrastive learning of
/// visual representations".
///
/// ```
/// use anneal_schedule::prelude::*;
/// let temperature = linear(0.5, 0.1);
/// let schedule = temperature.follow_temperature(0.3 / 0.5).resolve(RunLength::updates(2))?;
/// assert_eq!([0, 1].map(|step| schedule.rate(step)), [0.3, 0.18]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
pub struct FollowTemperature<L: Length = Span> {
    /// η/τ.
    pub ratio: f64,
    /// τ: the temperature.
    pub schedule: Box<ScheduleConfig<L>>,
}

/// The factor per drop with which a step decay keeps η/τ at each drop, for a temperature τ = τ₀ e^(−ρt) and
/// drops every Δ = `every` updates: e^(−ρΔ).
///
/// Between drops, η/τ grows by up to e^(ρΔ). To keep it at every update, follow the temperature itself:
/// [`FollowTemperature`].
///
/// # Errors
/// [`ScheduleError`] if ρ is negative or not finite, if there are no updates between drops, or if the factor
/// would round to 0.
///
/// ```
/// use anneal_schedule::{prelude::*, temperature_drop_factor};
/// let gamma = temperature_drop_factor(0.01, 100)?;
/// assert_eq!(gamma, (-1.0f64).exp());
/// let schedule = step_decay(0.1, Span::steps(100), gamma).resolve(RunLength::updates(1_000))?;
/// # Ok::<(), ScheduleError>(())
/// ```
pub fn temperature_drop_factor(rho: f64, every: u64) -> Result<f64, ScheduleError> {
    let wrong = |field: &str, value: String, allowed: &str| {
        Err(OutOfRange::new(format!("temperature_drop_factor.{field}"), value, allowed).into())
    };
    if every == 0 {
        return wrong("every", "0".into(), "at least 1 update");
    }
    let factor = (-rho * every as f64).exp();
    if factor > 0.0 && factor <= 1.0 {
        Ok(factor)
    } else {
        wrong(
            "rho",
            format!("{rho:?}"),
            "at least 0, with a factor e^(−ρΔ) that does not round to 0",
        )
    }
}

impl Describe for FollowTemperature {
    type Resolved = FollowTemperature<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<FollowTemperature<u64>, ScheduleError> {
        let ratio = scope.positive("ratio", self.ratio)?;
        let schedule = Box::new(self.schedule.resolve_in(&scope.inside("schedule")?)?);
        let resolved = FollowTemperature { ratio, schedule };
        let finite = resolved.peak().is_finite();
        scope.require("ratio", ratio, finite, "a ratio that keeps the rates finite")?;
        Ok(resolved)
    }
}

impl Rate for FollowTemperature<u64> {
    fn rate(&self, step: u64) -> f64 {
        self.ratio * self.schedule.rate(step)
    }

    fn end_rate(&self, step: u64) -> f64 {
        self.ratio * self.schedule.end_rate(step)
    }

    fn peak(&self) -> f64 {
        self.ratio * self.schedule.peak()
    }

    fn tail(&self) -> Tail {
        self.schedule.tail().scaled(self.ratio)
    }

    fn inner(&self) -> Vec<Inner<'_>> {
        vec![Inner::whole(&self.schedule)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::combine::ScheduleExt;
    use crate::curve::{Decay, constant, exponential, refused, resolved, step_decay};

    #[test]
    fn the_ratio_stays() {
        let temperature = || exponential(0.5, Decay::Kappa(0.01));
        let (tau, eta) = (
            resolved(temperature(), 1_000),
            resolved(temperature().follow_temperature(0.6), 1_000),
        );
        for step in 0..=1_000 {
            assert!((eta.rate(step) / tau.rate(step) - 0.6).abs() < 1e-15, "{step}");
        }
    }

    #[test]
    fn drops_by_the_factor_keep_the_ratio_at_each_drop() {
        let (rho, every) = (0.003, 70);
        let gamma = temperature_drop_factor(rho, every).unwrap();
        let steps = resolved(step_decay(0.3, Span::steps(every), gamma), 1_000);
        for n in 0..14 {
            let tau = 0.5 * (-rho * (n * every) as f64).exp();
            assert!((steps.rate(n * every) / tau - 0.6).abs() < 1e-14, "drop {n}");
            let before = 0.5 * (-rho * (n * every + every - 1) as f64).exp();
            assert!(steps.rate(n * every + every - 1) / before < 0.6 * (rho * 70.0).exp());
        }
    }

    #[test]
    fn the_factor_refuses_each_argument() {
        for (rho, every, found) in [
            (0.1, 0, "temperature_drop_factor.every: 0"),
            (-0.1, 1, "temperature_drop_factor.rho: -0.1"),
            (f64::NAN, 1, "temperature_drop_factor.rho: NaN"),
            (f64::INFINITY, 1, "temperature_drop_factor.rho: inf"),
            (1.0, 1_000, "temperature_drop_factor.rho: 1.0"),
        ] {
            let error = temperature_drop_factor(rho, every).unwrap_err().to_string();
            assert!(error.starts_with(found), "{error}");
        }
        assert_eq!(temperature_drop_factor(0.0, 5).unwrap(), 1.0);
    }

    #[test]
    fn refuses_each_field() {
        for ratio in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let config = constant(1.0).follow_temperature(ratio);
            assert_eq!(refused(config), "follow_temperature.ratio");
        }
        let large = constant(1e300).follow_temperature(1e300);
        assert_eq!(refused(large), "follow_temperature.ratio");
        let none = constant(0.0).follow_temperature(1.0);
        assert_eq!(refused(none), "follow_temperature.schedule.constant.rate");
    }
}
