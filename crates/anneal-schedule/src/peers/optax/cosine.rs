//! A power of a cosine, possibly rising.

use crate::curve::{Describe, Rate, fraction, half_cosine, mix};
use crate::{ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// η(t) = end + (start − end) · (½(1 + cos(π t/T)))^exponent, then `end`, as computed by optax: the end may
/// be above the start.
///
/// Only a translation gives it; this crate's own [`Cosine`](crate::Cosine) falls.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `start` | learning rate at t = 0 | finite, above 0 |
/// | `end` | learning rate at t = T | finite, at least 0 |
/// | `length` | T, a span | inside the run; default: the rest of it |
/// | `exponent` | | finite, above 0 |
///
/// Source: optax `cosine_decay_schedule`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound(deserialize = "L: Deserialize<'de> + Default"))]
pub struct OptaxCosine<L = Span> {
    /// The rate of the first update.
    pub start: f64,
    /// The rate from `length` on.
    pub end: f64,
    /// T: the updates from `start` to `end`.
    #[serde(default)]
    pub length: L,
    /// The power of the wave.
    pub exponent: f64,
}

impl Describe for OptaxCosine {
    type Resolved = OptaxCosine<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<OptaxCosine<u64>, ScheduleError> {
        Ok(OptaxCosine {
            start: scope.positive("start", self.start)?,
            end: scope.within("end", self.end, 0.0..=f64::MAX)?,
            length: scope.length("length", self.length)?,
            exponent: scope.positive("exponent", self.exponent)?,
        })
    }
}

impl Rate for OptaxCosine<u64> {
    fn rate(&self, step: u64) -> f64 {
        let weight = half_cosine(fraction(step, self.length)).powf(self.exponent);
        mix(self.start, self.end, weight)
    }

    fn peak(&self) -> f64 {
        self.start.max(self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{refused, resolved};

    fn rising(start: f64, end: f64, length: u64, exponent: f64) -> OptaxCosine {
        OptaxCosine { start, end, length: Span::steps(length), exponent }
    }

    #[test]
    fn rises_by_its_formula() {
        let schedule = resolved(rising(1.0, 3.0, 4, 2.0), 10);
        // ½(1 + cos(π/2)) = ½, squared a quarter.
        assert!((schedule.rate(2) - 2.5).abs() < 1e-15);
        assert_eq!([0, 4, 9].map(|t| schedule.rate(t)), [1.0, 3.0, 3.0]);
    }

    #[test]
    fn refuses_each_field() {
        assert_eq!(refused(rising(0.0, 1.0, 4, 2.0)), "optax_cosine.start");
        assert_eq!(refused(rising(1.0, -1.0, 4, 2.0)), "optax_cosine.end");
        assert_eq!(refused(rising(1.0, 2.0, 101, 2.0)), "optax_cosine.length");
        assert_eq!(refused(rising(1.0, 2.0, 4, 0.0)), "optax_cosine.exponent");
    }
}
