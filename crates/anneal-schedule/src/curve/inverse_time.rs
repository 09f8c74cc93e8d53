//! Inverse-time (hyperbolic) decay.

use super::{Describe, Rate, periods, tail::Tail};
use crate::{Length, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// η(t) = peak / (1 + β · t/per): hyperbolic decay. With `staircase`, t/per is rounded down.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `peak` | learning rate | finite, above 0 |
/// | `decay` | β | finite, at least 0 |
/// | `per` | a span | at least 1 update; may exceed the run |
/// | `staircase` | | default false |
///
/// With β = 1, `per` is the time to half the peak.
///
/// Source: keras `InverseTimeDecay`.
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = inverse_time(1.0, 0.5, Span::steps(1)).resolve(RunLength::updates(100))?;
/// assert_eq!([0, 2, 6].map(|step| schedule.rate(step)), [1.0, 0.5, 0.25]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
#[must_use]
pub struct InverseTime<L: Length = Span> {
    /// The rate of the first update.
    pub peak: f64,
    /// β: the growth of the divisor over each `per`.
    pub decay: f64,
    /// The span over which the divisor grows by β.
    pub per: L,
    /// Whether the rate falls in steps, one after each `per`.
    #[serde(default)]
    pub staircase: bool,
}

/// An [`InverseTime`] decay from `peak` whose divisor grows by `decay` over each `per`.
pub fn inverse_time(peak: f64, decay: f64, per: Span) -> InverseTime {
    InverseTime { peak, decay, per, staircase: false }
}

impl InverseTime {
    /// Falls in steps, one after each `per`.
    pub fn staircase(mut self) -> Self {
        self.staircase = true;
        self
    }
}

impl Describe for InverseTime {
    type Resolved = InverseTime<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<InverseTime<u64>, ScheduleError> {
        Ok(InverseTime {
            peak: scope.positive("peak", self.peak)?,
            decay: scope.within("decay", self.decay, 0.0..=f64::MAX)?,
            per: scope.time_constant("per", self.per)?,
            staircase: self.staircase,
        })
    }
}

impl Rate for InverseTime<u64> {
    fn rate(&self, step: u64) -> f64 {
        self.peak / (1.0 + self.decay * periods(step, self.per, self.staircase))
    }

    fn end_rate(&self, step: u64) -> f64 {
        self.rate(if self.staircase { step.saturating_sub(1) } else { step })
    }

    fn peak(&self) -> f64 {
        self.peak
    }

    fn tail(&self) -> Tail {
        if self.decay > 0.0 { Tail::Power(1.0) } else { Tail::settled(self.peak) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{refused, resolved};

    #[test]
    fn has_its_formula_at_any_step() {
        let schedule = resolved(inverse_time(2.0, 0.3, Span::steps(7)), 1 << 62);
        for step in [0, 1, 6, 7, 1_000, 1_000_000_000_000] {
            let expected = 2.0 * 7.0 / (7.0 + 0.3 * step as f64);
            assert!((schedule.rate(step) / expected - 1.0).abs() < 1e-14, "{step}");
        }
    }

    #[test]
    fn a_staircase_falls_after_each_period() {
        let schedule = resolved(inverse_time(1.0, 1.0, Span::steps(10)).staircase(), 30);
        assert_eq!(
            [0, 9, 10, 19, 20, 30].map(|step| schedule.rate(step)),
            [1.0, 1.0, 0.5, 0.5, 1.0 / 3.0, 1.0 / 3.0]
        );
    }

    #[test]
    fn an_extreme_decay_ends_at_zero() {
        let schedule = resolved(inverse_time(1.0, f64::MAX, Span::steps(1)), 100);
        assert_eq!([0, 2, 99].map(|step| schedule.rate(step)), [1.0, 0.0, 0.0]);
    }

    #[test]
    fn refuses_each_field() {
        let one = Span::steps(1);
        assert_eq!(refused(inverse_time(-1.0, 1.0, one)), "inverse_time.peak");
        assert_eq!(refused(inverse_time(1.0, -0.1, one)), "inverse_time.decay");
        assert_eq!(refused(inverse_time(1.0, f64::INFINITY, one)), "inverse_time.decay");
        assert_eq!(refused(inverse_time(1.0, 1.0, Span::steps(0))), "inverse_time.per");
    }
}
