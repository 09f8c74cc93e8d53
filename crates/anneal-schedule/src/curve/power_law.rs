//! Power-law decay.

use super::{Describe, Rate, periods, tail::Tail};
use crate::{Length, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// η(t) = peak · (1 + t/τ)^(−p); with `staircase`, t/τ is rounded down.
///
/// For ½ < p ≤ 1 the sum of its rates is infinite and the sum of their squares is finite (the Robbins–Monro
/// conditions).
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `peak` | learning rate | finite, above 0 |
/// | `timescale` | τ, a span | at least 1 update; may exceed the run |
/// | `power` | p | finite, at least 0 |
/// | `staircase` | | default false |
///
/// Source: Robbins and Monro 1951, "A stochastic approximation method".
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = power_law(1.0, Span::steps(10), 0.5).resolve(RunLength::updates(100))?;
/// assert_eq!([0, 30, 80].map(|step| schedule.rate(step)), [1.0, 0.5, 1.0 / 3.0]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
#[must_use]
pub struct PowerLaw<L: Length = Span> {
    /// The rate of the first update.
    pub peak: f64,
    /// τ: the updates after which the rate has fallen to 2^(−p) of the peak.
    pub timescale: L,
    /// The exponent p.
    pub power: f64,
    /// Whether the rate falls in steps, one after each τ.
    #[serde(default)]
    pub staircase: bool,
}

/// A [`PowerLaw`] from `peak` with time scale `timescale` and exponent `power`.
pub fn power_law(peak: f64, timescale: Span, power: f64) -> PowerLaw {
    PowerLaw { peak, timescale, power, staircase: false }
}

impl PowerLaw {
    /// Falls in steps, one after each time scale.
    pub fn staircase(mut self) -> Self {
        self.staircase = true;
        self
    }
}

impl Describe for PowerLaw {
    type Resolved = PowerLaw<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<PowerLaw<u64>, ScheduleError> {
        Ok(PowerLaw {
            peak: scope.positive("peak", self.peak)?,
            timescale: scope.time_constant("timescale", self.timescale)?,
            power: scope.within("power", self.power, 0.0..=f64::MAX)?,
            staircase: self.staircase,
        })
    }
}

impl Rate for PowerLaw<u64> {
    fn rate(&self, step: u64) -> f64 {
        self.peak * (1.0 + periods(step, self.timescale, self.staircase)).powf(-self.power)
    }

    fn end_rate(&self, step: u64) -> f64 {
        self.rate(if self.staircase { step.saturating_sub(1) } else { step })
    }

    fn peak(&self) -> f64 {
        self.peak
    }

    fn tail(&self) -> Tail {
        if self.power > 0.0 { Tail::Power(self.power) } else { Tail::settled(self.peak) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{refused, resolved};

    #[test]
    fn has_its_formula_at_any_step() {
        let schedule = resolved(power_law(2.0, Span::steps(7), 0.75), 1 << 62);
        for step in [0, 1, 6, 7, 1_000, 1_000_000_000_000] {
            let expected = 2.0 / ((step as f64 + 7.0) / 7.0).powf(0.75);
            assert!((schedule.rate(step) / expected - 1.0).abs() < 1e-14, "{step}");
        }
    }

    #[test]
    fn a_staircase_falls_after_each_time_scale() {
        let schedule = resolved(power_law(1.0, Span::steps(10), 1.0).staircase(), 30);
        assert_eq!(
            [0, 9, 10, 19, 20, 29].map(|step| schedule.rate(step)),
            [1.0, 1.0, 0.5, 0.5, 1.0 / 3.0, 1.0 / 3.0]
        );
        assert_eq!(schedule.rate(30), 1.0 / 3.0, "the end holds the last step");
    }

    #[test]
    fn refuses_each_field() {
        let ten = Span::steps(10);
        assert_eq!(refused(power_law(0.0, ten, 1.0)), "power_law.peak");
        assert_eq!(refused(power_law(1.0, Span::steps(0), 1.0)), "power_law.timescale");
        assert_eq!(refused(power_law(1.0, ten, -0.5)), "power_law.power");
        assert_eq!(refused(power_law(1.0, ten, f64::NAN)), "power_law.power");
    }
}
