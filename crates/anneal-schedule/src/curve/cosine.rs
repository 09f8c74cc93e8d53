//! Cosine annealing.

use super::pieces::{Piece, Shape, cut};
use super::{Describe, Rate, cycle::lowest_of_wave, mix, power, tail::Tail};
use crate::{Length, Level, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;

/// η(t) = end + (peak − end) · (½(1 + cos(2π · cycles · (t/T)^k)))^exponent.
///
/// With the defaults this is η(t) = end + ½(peak − end)(1 + cos(π t/T)). It reaches its end at t = T and
/// holds it; [`AfterEnd::Continue`] continues the wave as torch does.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `peak` | learning rate | finite, above 0 |
/// | `end` | learning rate or share of the peak | [0, peak]; default 0 |
/// | `length` | T, a span | inside the run; default: the rest of it |
/// | `exponent` | | finite, above 0; default 1 (optax) |
/// | `k` | k-decay | finite, above 0; default 1 (timm) |
/// | `cycles` | full waves in T | (0, 10⁹]; default ½: from the peak to the end (transformers) |
/// | `after` | after T | hold (default) or continue |
///
/// Source: Loshchilov and Hutter 2017, "SGDR"; k: Zhang and Li 2020, "k-decay".
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = cosine(3e-4).end(1e-6).resolve(RunLength::updates(100))?;
/// assert_eq!(schedule.rate(0), 3e-4);
/// assert!((schedule.rate(50) - 1.505e-4).abs() < 1e-18);
/// assert_eq!(schedule.rate(100), 1e-6);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
#[must_use]
pub struct Cosine<L: Length = Span> {
    /// The rate of the first update.
    pub peak: f64,
    /// The lowest rate.
    #[serde(default)]
    pub end: L::Level,
    /// T: the length of the wave in updates.
    #[serde(default)]
    pub length: L,
    /// The power of the wave.
    #[serde(default = "one")]
    pub exponent: f64,
    /// The power of t/T.
    #[serde(default = "one")]
    pub k: f64,
    /// The number of full waves in T.
    #[serde(default = "half")]
    pub cycles: f64,
    /// What happens after T.
    #[serde(default)]
    pub after: AfterEnd,
}

/// What a [`Cosine`] does after its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AfterEnd {
    /// Holds the rate it has reached.
    #[default]
    Hold,
    /// Continues the wave, as torch's `CosineAnnealingLR` does.
    Continue,
}

/// More waves look like noise, and their phase would lose precision.
const MAX_CYCLES: f64 = 1e9;

fn one() -> f64 {
    1.0
}

fn half() -> f64 {
    0.5
}

/// A [`Cosine`] from `peak` to 0 over the rest of the run.
pub fn cosine(peak: f64) -> Cosine {
    Cosine {
        peak,
        end: Level::default(),
        length: Span::Rest,
        exponent: one(),
        k: one(),
        cycles: half(),
        after: AfterEnd::Hold,
    }
}

impl Cosine {
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

    /// Raises the wave to a power.
    pub fn exponent(mut self, exponent: f64) -> Self {
        self.exponent = exponent;
        self
    }

    /// Raises t/T to a power: above 1 the rate stays high longer.
    pub fn k(mut self, k: f64) -> Self {
        self.k = k;
        self
    }

    /// Runs through `cycles` full waves; ½ goes from the peak to the end once.
    pub fn cycles(mut self, cycles: f64) -> Self {
        self.cycles = cycles;
        self
    }

    /// Sets what happens after the length.
    pub fn after(mut self, after: AfterEnd) -> Self {
        self.after = after;
        self
    }
}

impl Describe for Cosine {
    type Resolved = Cosine<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<Cosine<u64>, ScheduleError> {
        let peak = scope.positive("peak", self.peak)?;
        Ok(Cosine {
            peak,
            end: scope.end(self.end, peak)?,
            length: scope.length("length", self.length)?,
            exponent: scope.positive("exponent", self.exponent)?,
            k: scope.positive("k", self.k)?,
            cycles: scope.require(
                "cycles",
                self.cycles,
                self.cycles > 0.0 && self.cycles <= MAX_CYCLES,
                "in (0, 1e9]",
            )?,
            after: self.after,
        })
    }
}

impl Cosine<u64> {
    /// The number of waves passed, modulo 1, in [0, 1].
    fn phase(&self, step: u64) -> f64 {
        let step = match self.after {
            AfterEnd::Hold => step.min(self.length),
            AfterEnd::Continue => step,
        };
        if self.length == 0 {
            return self.cycles.fract();
        }
        // The usual case, nearly all updates of a run: it avoids the integer divisions below.
        if step < self.length && self.k == 1.0 && self.cycles <= 1.0 {
            return self.cycles * (step as f64 / self.length as f64);
        }
        // Whole lengths separately: far out, t/T alone would lose the phase.
        let rest = (step % self.length) as f64 / self.length as f64;
        let whole = (step / self.length) as f64;
        if self.k == 1.0 {
            ((self.cycles * whole).fract() + self.cycles * rest).fract()
        } else {
            (self.cycles * (whole + rest).powf(self.k).min(f64::MAX / MAX_CYCLES)).fract()
        }
    }
}

impl Rate for Cosine<u64> {
    fn rate(&self, step: u64) -> f64 {
        let wave = 0.5 * (1.0 + (TAU * self.phase(step)).cos());
        mix(self.peak, self.end, power(wave, self.exponent))
    }

    fn peak(&self) -> f64 {
        self.peak
    }

    fn cycle_end(&self, from: u64) -> Option<u64> {
        if self.length == 0 || self.end == self.peak {
            return None;
        }
        let length = self.length as f64;
        let waves = |step: u64| self.cycles * (step as f64 / length).powf(self.k);
        let at = |passed: f64| length * (passed / self.cycles).powf(self.k.recip());
        let end = lowest_of_wave(from, waves, at, |step| self.rate(step))?;
        // A held rate does not rise again.
        (self.after == AfterEnd::Continue || end < self.length).then_some(end)
    }

    fn tail(&self) -> Tail {
        match self.after {
            AfterEnd::Hold => Tail::settled(self.rate(self.length)),
            // With a k other than 1 the wave length changes forever.
            AfterEnd::Continue if self.k == 1.0 || self.end > 0.0 => Tail::Recurring,
            AfterEnd::Continue => Tail::Unknown,
        }
    }

    fn pieces(&self, steps: u64) -> Option<Vec<Piece>> {
        let plain = self.exponent == 1.0 && self.k == 1.0 && self.cycles == half();
        if !plain || (self.after == AfterEnd::Continue && steps > self.length) {
            return None;
        }
        let fall = Shape::half_cosine(self.peak, self.end, self.length);
        Some(cut([(self.length, fall), (u64::MAX, Shape::Constant(self.end))], steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{refused, resolved};
    use std::f64::consts::PI;

    #[test]
    fn has_its_formula_and_holds_its_end() {
        let schedule = resolved(cosine(2.0).end(0.5).length(Span::steps(10)), 30);
        for step in 0..=10 {
            let expected = 0.5 + 0.75 * (1.0 + (PI * step as f64 / 10.0).cos());
            assert!((schedule.rate(step) - expected).abs() < 1e-15, "{step}");
        }
        assert_eq!(schedule.rate(0), 2.0);
        assert_eq!([10, 11, 25].map(|step| schedule.rate(step)), [0.5; 3]);
    }

    #[test]
    fn continues_along_the_wave_when_told() {
        let wave = cosine(1.0).length(Span::steps(10)).after(AfterEnd::Continue);
        let schedule = resolved(wave, 1_000_000_000_000_000);
        assert!((schedule.rate(15) - 0.5).abs() < 1e-15);
        assert_eq!(schedule.rate(20), 1.0);
        assert_eq!(schedule.rate(999_999_999_999_980), 1.0);
        assert!((schedule.rate(999_999_999_999_985) - 0.5).abs() < 1e-15);
    }

    #[test]
    fn exponent_k_and_cycles_follow_their_peers() {
        let x: f64 = 0.3;
        let optax = resolved(cosine(1.0).exponent(2.0), 10).rate(3);
        assert!((optax - (0.5 * (1.0 + (PI * x).cos())).powi(2)).abs() < 1e-15);
        let timm = resolved(cosine(1.0).k(1.5), 10).rate(3);
        assert!((timm - 0.5 * (1.0 + (PI * x.powf(1.5)).cos())).abs() < 1e-15);
        let waves = resolved(cosine(1.0).cycles(2.0), 10).rate(3);
        assert!((waves - 0.5 * (1.0 + (2.0 * PI * 2.0 * x).cos())).abs() < 1e-15);
    }

    #[test]
    fn refuses_each_field() {
        assert_eq!(refused(cosine(f64::NAN)), "cosine.peak");
        assert_eq!(refused(cosine(1.0).end(1.1)), "cosine.end");
        assert_eq!(refused(cosine(1.0).end(-0.1)), "cosine.end");
        assert_eq!(refused(cosine(1.0).length(Span::steps(0))), "cosine.length");
        assert_eq!(refused(cosine(1.0).exponent(0.0)), "cosine.exponent");
        assert_eq!(refused(cosine(1.0).k(-1.0)), "cosine.k");
        assert_eq!(refused(cosine(1.0).cycles(f64::INFINITY)), "cosine.cycles");
    }
}
