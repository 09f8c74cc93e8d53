//! Hyperbolic-tangent decay.

use super::{Describe, Rate, mix, tail::Tail};
use crate::{Length, Level, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// Stays near the peak for long, then falls along a hyperbolic tangent:
///
/// ```text
/// η(t) = end + ½(peak − end)(1 − tanh(lower · (1 − x) + upper · x))     x = t/T, t < T
/// η(t) = end                                                            t ≥ T
/// ```
///
/// The tangent only approaches its limits: the first rate is slightly below the peak (by 8·10⁻⁷ of it with
/// the defaults), and at T the rest is a jump (0.2 % of the peak).
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `peak` | learning rate | finite, above 0 |
/// | `end` | learning rate or share of the peak | [0, peak]; default 0 |
/// | `length` | T, a span | inside the run; default: the rest of it |
/// | `lower` | start on the tangent | finite, below `upper`; default −7 |
/// | `upper` | end on the tangent | finite; default 3 |
///
/// Source: Hsueh, Li and Wu 2019, "Stochastic gradient descent with hyperbolic-tangent decay on
/// classification"; timm `TanhLRScheduler`.
///
/// ```
/// use anneal_schedule::{prelude::*, tanh};
/// let schedule = tanh(1.0).length(Span::steps(10)).resolve(RunLength::updates(20))?;
/// assert!((schedule.rate(7) - 0.5).abs() < 1e-15);
/// assert_eq!(schedule.rate(10), 0.0);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
#[must_use]
pub struct Tanh<L: Length = Span> {
    /// The rate just above the first one.
    pub peak: f64,
    /// The rate from `length` on.
    #[serde(default)]
    pub end: L::Level,
    /// T: the updates until `end`.
    #[serde(default)]
    pub length: L,
    /// The start on the tangent.
    #[serde(default = "lower")]
    pub lower: f64,
    /// The end on the tangent.
    #[serde(default = "upper")]
    pub upper: f64,
}

fn lower() -> f64 {
    -7.0
}

fn upper() -> f64 {
    3.0
}

/// A [`Tanh`] decay from `peak` to 0 over the rest of the run.
pub fn tanh(peak: f64) -> Tanh {
    Tanh { peak, end: Level::default(), length: Span::Rest, lower: lower(), upper: upper() }
}

impl Tanh {
    /// Ends at `end` instead of 0.
    pub fn end(mut self, end: impl Into<Level>) -> Self {
        self.end = end.into();
        self
    }

    /// Finishes after `length` instead of at the end of the run.
    pub fn length(mut self, length: Span) -> Self {
        self.length = length;
        self
    }

    /// Starts at `lower` on the tangent: the closer to 0, the earlier the rate falls.
    pub fn lower(mut self, lower: f64) -> Self {
        self.lower = lower;
        self
    }

    /// Ends at `upper` on the tangent: the larger, the longer the rate stays low.
    pub fn upper(mut self, upper: f64) -> Self {
        self.upper = upper;
        self
    }
}

impl Describe for Tanh {
    type Resolved = Tanh<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<Tanh<u64>, ScheduleError> {
        let peak = scope.positive("peak", self.peak)?;
        let upper = scope.within("upper", self.upper, f64::MIN..=f64::MAX)?;
        let below = format!("finite, below upper = {upper:?}");
        let ok = self.lower.is_finite() && self.lower < upper;
        Ok(Tanh {
            peak,
            end: scope.end(self.end, peak)?,
            length: scope.length("length", self.length)?,
            lower: scope.require("lower", self.lower, ok, &below)? + 0.0,
            upper,
        })
    }
}

/// The falling tangent at `x` in [0, 1]: strictly between 1 and 0.
pub(crate) fn falling_tanh(x: f64, lower: f64, upper: f64) -> f64 {
    0.5 * (1.0 - (lower * (1.0 - x) + upper * x).tanh())
}

impl Rate for Tanh<u64> {
    fn rate(&self, step: u64) -> f64 {
        if step >= self.length {
            return self.end;
        }
        let x = step as f64 / self.length as f64;
        mix(self.peak, self.end, falling_tanh(x, self.lower, self.upper))
    }

    fn peak(&self) -> f64 {
        self.peak
    }

    fn tail(&self) -> Tail {
        Tail::settled(self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{refused, resolved};

    #[test]
    fn has_its_formula_and_holds_its_end() {
        let config = tanh(2.0).end(0.5).length(Span::steps(8)).lower(-2.0).upper(1.0);
        let schedule = resolved(config, 20);
        for step in 0..8 {
            // tanh z = (e^2z − 1)/(e^2z + 1)
            let wave = f64::exp(2.0 * (-2.0 + 3.0 * step as f64 / 8.0));
            let expected = 0.5 + 0.75 * (1.0 - (wave - 1.0) / (wave + 1.0));
            assert!((schedule.rate(step) - expected).abs() < 1e-15, "{step}");
        }
        assert_eq!([8, 9, 20, 100].map(|step| schedule.rate(step)), [0.5; 4]);
    }

    #[test]
    fn begins_just_below_the_peak() {
        let below = 1.0 - resolved(tanh(1.0), 10).rate(0);
        // ½(1 − tanh 7) = 1/(e^14 + 1)
        assert!((below - 1.0 / (14f64.exp() + 1.0)).abs() < 1e-15, "{below}");
    }

    #[test]
    fn refuses_each_field() {
        assert_eq!(refused(tanh(f64::INFINITY)), "tanh.peak");
        assert_eq!(refused(tanh(1.0).end(1.1)), "tanh.end");
        assert_eq!(refused(tanh(1.0).length(Span::steps(0))), "tanh.length");
        for lower in [3.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(refused(tanh(1.0).lower(lower)), "tanh.lower");
        }
        assert_eq!(refused(tanh(1.0).upper(f64::NAN)), "tanh.upper");
    }
}
