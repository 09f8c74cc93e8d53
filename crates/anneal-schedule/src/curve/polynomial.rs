//! Polynomial and linear decay.

use super::pieces::{Piece, Shape, cut};
use super::{Describe, Rate, fraction, mix, power, tail::Tail};
use crate::{Length, Level, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// η(t) = end + (start − end)(1 − t/T)^p for t ≤ T, then end.
///
/// With `cycle`, T grows instead of the rate being held: at t > T it becomes the next multiple T·⌈t/T⌉, so
/// the rate jumps up again after each T.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `start` | learning rate at t = 0 | finite, at least 0; above 0 if the end is 0 |
/// | `end` | learning rate at t = T, or share of the start | finite, at least 0; the rate rises if it is above `start` |
/// | `length` | T, a span | inside the run; default: the rest of it |
/// | `power` | p | finite, above 0; default 1, linear |
/// | `cycle` | | default false |
///
/// Source: keras `PolynomialDecay`, torch `PolynomialLR` and `LinearLR`.
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = linear(1.0, 0.0).resolve(RunLength::updates(4))?;
/// let rates: Vec<f64> = (0..6).map(|step| schedule.rate(step)).collect();
/// assert_eq!(rates, [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
#[must_use]
pub struct Polynomial<L: Length = Span> {
    /// The rate of the first update.
    pub start: f64,
    /// The rate at `length`.
    #[serde(default)]
    pub end: L::Level,
    /// The updates from `start` to `end`.
    #[serde(default)]
    pub length: L,
    /// The exponent p.
    #[serde(default = "linear_power")]
    pub power: f64,
    /// Whether it restarts with a longer T instead of holding `end`.
    #[serde(default)]
    pub cycle: bool,
}

fn linear_power() -> f64 {
    1.0
}

/// A [`Polynomial`] from `start` to `end` with exponent `power`.
pub fn polynomial(start: f64, end: impl Into<Level>, power: f64) -> Polynomial {
    Polynomial { start, end: end.into(), length: Span::Rest, power, cycle: false }
}

/// A straight line from `start` to `end`: a [`Polynomial`] with power 1.
pub fn linear(start: f64, end: impl Into<Level>) -> Polynomial {
    polynomial(start, end, linear_power())
}

impl Polynomial {
    /// Reaches `end` after `length` instead of at the end of the run.
    pub fn length(mut self, length: Span) -> Self {
        self.length = length;
        self
    }

    /// Restarts with a longer T after each `length` instead of holding `end`.
    pub fn cycle(mut self) -> Self {
        self.cycle = true;
        self
    }
}

impl Describe for Polynomial {
    type Resolved = Polynomial<u64>;

    fn name_in_errors(&self, table: &'static str) -> &'static str {
        if self.power == linear_power() { "linear" } else { table }
    }

    fn resolve(&self, scope: &Scope<'_>) -> Result<Polynomial<u64>, ScheduleError> {
        let start = scope.within("start", self.start, 0.0..=f64::MAX)?;
        let end = scope.within("end", scope.level("end", self.end, start)?, 0.0..=f64::MAX)?;
        if end == 0.0 {
            scope.positive("start", start)?;
        }
        Ok(Polynomial {
            start,
            end,
            length: scope.length("length", self.length)?,
            power: scope.positive("power", self.power)?,
            cycle: self.cycle,
        })
    }
}

impl Rate for Polynomial<u64> {
    fn rate(&self, step: u64) -> f64 {
        let x = if self.cycle && step > self.length && self.length > 0 {
            // t / (T⌈t/T⌉), with the product in f64: it may exceed 64 bits.
            step as f64 / (self.length as f64 * step.div_ceil(self.length) as f64)
        } else {
            fraction(step, self.length)
        };
        mix(self.start, self.end, power(1.0 - x.min(1.0), self.power))
    }

    fn peak(&self) -> f64 {
        self.start.max(self.end)
    }

    /// The mean of a line is the line at the mean of t/T, clamped to [0, 1].
    fn mean(&self, step: u64, window: u64) -> Option<f64> {
        if self.power != 1.0 || self.cycle || self.length == 0 {
            return None;
        }
        // Σ min(s, T) for s = 0 … n, exact in 128 bits.
        let length = u128::from(self.length);
        let sum_to = |n: u64| {
            let within = u128::from(n.min(self.length));
            within * (within + 1) / 2 + u128::from(n.saturating_sub(self.length)) * length
        };
        let sum = sum_to(step) - step.checked_sub(window).map_or(0, sum_to);
        let x = sum as f64 / (length * u128::from(window)) as f64;
        Some(mix(self.start, self.end, 1.0 - x.min(1.0)))
    }

    fn cycle_end(&self, from: u64) -> Option<u64> {
        // The end is at T; the update after it starts a new cycle.
        let cycles = self.cycle && self.length > 1;
        from.max(1).checked_next_multiple_of(self.length).filter(|_| cycles)
    }

    fn tail(&self) -> Tail {
        // The n-th cycle ends n·T after the start and falls from about (1/n)^p.
        if self.cycle && self.end == 0.0 && self.length > 1 {
            Tail::Waves(self.power)
        } else {
            Tail::settled(self.end)
        }
    }

    fn pieces(&self, steps: u64) -> Option<Vec<Piece>> {
        if self.power != 1.0 || (self.cycle && steps > self.length) {
            return None;
        }
        let line = Shape::line(self.start, self.end, self.length);
        Some(cut([(self.length, line), (u64::MAX, Shape::Constant(self.end))], steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{refused, resolved};

    #[test]
    fn quadratic_has_its_formula() {
        let schedule = resolved(polynomial(3.0, 1.0, 2.0).length(Span::steps(10)), 20);
        for step in 0..10 {
            let expected = 1.0 + 2.0 * (1.0 - step as f64 / 10.0).powi(2);
            assert!((schedule.rate(step) - expected).abs() < 1e-15);
        }
        assert_eq!(schedule.rate(10), 1.0);
        assert_eq!(schedule.rate(u64::MAX), 1.0);
    }

    #[test]
    fn rises_when_the_end_is_higher() {
        let schedule = resolved(linear(1.0, 3.0), 4);
        assert_eq!([0, 1, 2, 4].map(|step| schedule.rate(step)), [1.0, 1.5, 2.0, 3.0]);
        let from_zero = resolved(linear(0.0, 1.0), 4);
        assert_eq!([0, 1, 4].map(|step| from_zero.rate(step)), [0.0, 0.25, 1.0]);
    }

    #[test]
    fn cycles_with_a_growing_length() {
        // keras: at step 15 of decay_steps 10 the length is 20, so 1 − 15/20.
        let schedule = resolved(linear(1.0, 0.0).length(Span::steps(10)).cycle(), 40);
        assert_eq!(
            [5, 10, 15, 20, 25].map(|t| schedule.rate(t)),
            [0.5, 0.0, 0.25, 0.0, 1.0 - 25.0 / 30.0]
        );
    }

    #[test]
    fn refuses_each_field() {
        assert_eq!(refused(linear(0.0, 0.0)), "linear.start");
        assert_eq!(refused(linear(-0.1, 1.0)), "linear.start");
        assert_eq!(refused(linear(1.0, -0.1)), "linear.end");
        assert_eq!(refused(linear(1.0, f64::INFINITY)), "linear.end");
        assert_eq!(refused(linear(1.0, 0.0).length(Span::steps(101))), "linear.length");
        assert_eq!(refused(polynomial(1.0, 0.0, 0.0)), "polynomial.power");
    }
}
