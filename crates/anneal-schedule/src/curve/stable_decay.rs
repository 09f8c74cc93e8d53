//! Stable–decay: with a warm-up before it, warm-up–stable–decay.

use super::pieces::{Piece, Shape, cut};
use super::{Describe, Rate, geometric_mix, half_cosine, mix, tail::Tail};
use crate::combine::{ScheduleExt, Warmup};
use crate::{Length, Level, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// A long stable phase and a short decay over the last d of T updates:
///
/// ```text
/// η(t) = s(t)                                 t ≤ T − d
/// η(t) = end + (s(T−d) − end) · f(x)          x = (t − (T−d)) / d
/// ```
///
/// with the stable rate s from [`Stable`] and the falling f from [`DecayShape`].
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `peak` | learning rate | finite, above 0 |
/// | `stable` | shape of the stable phase | see [`Stable`]; default constant |
/// | `decay` | d, a span | at most T |
/// | `shape` | shape of the decay | see [`DecayShape`]; default linear |
/// | `end` | learning rate at t = T, or share of the peak | [0, peak]; default 0 |
/// | `length` | T, a span | inside the run; default: the rest of it |
///
/// Source: Hu et al. 2024, "MiniCPM"; Hägele et al. 2024, "Scaling laws and compute-optimal
/// training beyond fixed training durations" (1−√x); timm, transformers.
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = warmup_stable_decay(1.0, Span::steps(10), Span::steps(20))
///     .resolve(RunLength::updates(100))?;
/// assert_eq!([9, 10, 80, 90, 100].map(|t| schedule.rate(t)), [10.0 / 11.0, 1.0, 1.0, 0.5, 0.0]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
#[must_use]
pub struct StableDecay<L: Length = Span> {
    /// The rate of the first update.
    pub peak: f64,
    /// The shape of the stable phase.
    #[serde(default)]
    pub stable: Stable<L>,
    /// d: the length of the decay.
    pub decay: L,
    /// The shape of the decay.
    #[serde(default)]
    pub shape: DecayShape,
    /// The rate at the end.
    #[serde(default)]
    pub end: L::Level,
    /// T: the length of both phases.
    #[serde(default)]
    pub length: L,
}

/// The rate in the stable phase of a [`StableDecay`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[serde(bound = "")]
#[non_exhaustive]
pub enum Stable<L: Length = Span> {
    /// s(t) = peak.
    #[default]
    Constant,
    /// s(t) = peak / √(1 + t/τ).
    Rsqrt {
        /// τ.
        timescale: L,
    },
    /// s(t) = peak · (1 + t/τ)^(−p).
    Power {
        /// τ.
        timescale: L,
        /// p, finite and at least 0.
        power: f64,
    },
}

/// How a [`StableDecay`] falls from 1 at x = 0 to 0 at x = 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum DecayShape {
    /// 1 − x.
    #[default]
    Linear,
    /// 1 − √x.
    OneMinusSqrt,
    /// ½(1 + cos πx).
    Cosine,
    /// (1 − x)^p, p finite and above 0.
    Power(f64),
    /// Geometric: the rate is s^(1−x) · end^x, so the end must be above 0.
    Exponential,
}

/// A [`StableDecay`] at `peak`, then linear decay to 0 over the last `decay` of the run.
pub fn stable_decay(peak: f64, decay: Span) -> StableDecay {
    StableDecay {
        peak,
        stable: Stable::Constant,
        decay,
        shape: DecayShape::Linear,
        end: Level::default(),
        length: Span::Rest,
    }
}

/// Warm-up–stable–decay (WSD): a linear `warmup`, then a [`StableDecay`] with the final `decay`.
#[doc(alias = "wsd")]
pub fn warmup_stable_decay(peak: f64, warmup: Span, decay: Span) -> Warmup {
    stable_decay(peak, decay).warmup(warmup)
}

impl StableDecay {
    /// Sets the shape of the stable phase.
    pub fn stable(mut self, stable: Stable) -> Self {
        self.stable = stable;
        self
    }

    /// Sets the shape of the decay.
    pub fn shape(mut self, shape: DecayShape) -> Self {
        self.shape = shape;
        self
    }

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
}

impl Describe for StableDecay {
    type Resolved = StableDecay<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<StableDecay<u64>, ScheduleError> {
        let peak = scope.positive("peak", self.peak)?;
        let stable = match self.stable {
            Stable::Constant => Stable::Constant,
            Stable::Rsqrt { timescale } => Stable::Rsqrt {
                timescale: scope.time_constant("stable.rsqrt.timescale", timescale)?,
            },
            Stable::Power { timescale, power } => Stable::Power {
                timescale: scope.time_constant("stable.power.timescale", timescale)?,
                power: scope.within("stable.power.power", power, 0.0..=f64::MAX)?,
            },
        };
        let end = scope.end(self.end, peak)?;
        match self.shape {
            DecayShape::Power(power) => {
                scope.positive("shape.power", power)?;
            }
            DecayShape::Exponential => {
                scope.require("end", end, end > 0.0, "above 0 with an exponential decay")?;
            }
            _ => {}
        }
        let length = scope.length("length", self.length)?;
        let most = scope.rounded_length("decay", self.decay)?;
        scope.check_fits("decay", self.decay, most, Some(length))?;
        let decay = length.saturating_sub(scope.turn("decay", self.decay, self.length)?);
        Ok(StableDecay { peak, stable, decay, shape: self.shape, end, length })
    }
}

impl StableDecay<u64> {
    fn stable_rate(&self, step: u64) -> f64 {
        let t = step as f64;
        let rate = match self.stable {
            Stable::Constant => self.peak,
            Stable::Rsqrt { timescale } => self.peak / (1.0 + t / timescale as f64).sqrt(),
            Stable::Power { timescale, power } => {
                self.peak * (1.0 + t / timescale as f64).powf(-power)
            }
        };
        rate.max(self.end)
    }
}

impl Rate for StableDecay<u64> {
    fn rate(&self, step: u64) -> f64 {
        let turn = self.length - self.decay;
        if step >= self.length {
            return self.end;
        }
        if step <= turn {
            return self.stable_rate(step);
        }
        let x = (step - turn) as f64 / self.decay as f64;
        let level = self.stable_rate(turn);
        let weight = match self.shape {
            DecayShape::Linear => 1.0 - x,
            DecayShape::OneMinusSqrt => 1.0 - x.sqrt(),
            DecayShape::Cosine => half_cosine(x),
            DecayShape::Power(power) => (1.0 - x).powf(power),
            DecayShape::Exponential => return geometric_mix(level, self.end, 1.0 - x),
        };
        mix(level, self.end, weight)
    }

    fn peak(&self) -> f64 {
        self.peak
    }

    fn tail(&self) -> Tail {
        Tail::settled(self.end)
    }

    fn pieces(&self, steps: u64) -> Option<Vec<Piece>> {
        let decay = match (self.stable, self.shape) {
            (Stable::Constant, DecayShape::Linear) => Shape::line,
            (Stable::Constant, DecayShape::Cosine) => Shape::half_cosine,
            (Stable::Constant, DecayShape::Exponential) => Shape::geometric,
            _ => return None,
        };
        let parts = [
            (self.length - self.decay, Shape::Constant(self.peak)),
            (self.decay, decay(self.peak, self.end, self.decay)),
            (u64::MAX, Shape::Constant(self.end)),
        ];
        Some(cut(parts, steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{constant, linear, refused, resolved};

    fn shaped(shape: DecayShape) -> crate::Schedule {
        resolved(stable_decay(1.0, Span::steps(4)).end(0.0625).shape(shape), 10)
    }

    #[test]
    fn each_decay_has_its_formula() {
        // Two updates into a decay of four: x = ½.
        for (shape, weight) in [
            (DecayShape::Linear, 0.5),
            (DecayShape::OneMinusSqrt, 1.0 - 0.5f64.sqrt()),
            (DecayShape::Cosine, 0.5),
            (DecayShape::Power(2.0), 0.25),
        ] {
            let schedule = shaped(shape);
            assert_eq!(schedule.rate(6), 1.0, "{shape:?}");
            assert!((schedule.rate(8) - (0.0625 + 0.9375 * weight)).abs() < 1e-15, "{shape:?}");
            assert_eq!(schedule.rate(10), 0.0625, "{shape:?}");
        }
        assert_eq!(shaped(DecayShape::Exponential).rate(8), 0.25);
    }

    #[test]
    fn each_stable_phase_has_its_formula_and_joins_the_decay() {
        let config = stable_decay(1.0, Span::steps(10));
        let rsqrt =
            resolved(config.clone().stable(Stable::Rsqrt { timescale: Span::steps(30) }), 100);
        assert!((rsqrt.rate(90) - 0.5).abs() < 1e-15);
        assert!((rsqrt.rate(95) - 0.25).abs() < 1e-15);
        let power = Stable::Power { timescale: Span::steps(30), power: 2.0 };
        let power = resolved(config.stable(power), 100);
        assert!((power.rate(30) - 0.25).abs() < 1e-15);
        assert!((power.rate(90) - 1.0 / 16.0).abs() < 1e-15);
    }

    #[test]
    fn it_turns_where_a_sequence_of_the_same_spans_does() {
        // 15 updates: 50 % is 7.5, so both turn at update 8.
        let half = Span::percent(50);
        let curve = resolved(stable_decay(1.0, half), 15);
        let parts = resolved(constant(1.0).then(half, linear(1.0, 0.0)), 15);
        for step in 0..=15 {
            assert!((curve.rate(step) - parts.rate(step)).abs() < 1e-15, "{step}");
        }
    }

    #[test]
    fn refuses_each_field() {
        let config = || stable_decay(1.0, Span::steps(10));
        let power = |timescale, power| config().stable(Stable::Power { timescale, power });
        assert_eq!(refused(stable_decay(0.0, Span::steps(10))), "stable_decay.peak");
        assert_eq!(refused(power(Span::steps(0), 1.0)), "stable_decay.stable.power.timescale");
        assert_eq!(refused(power(Span::steps(1), -1.0)), "stable_decay.stable.power.power");
        let rsqrt = Stable::Rsqrt { timescale: Span::steps(0) };
        assert_eq!(refused(config().stable(rsqrt)), "stable_decay.stable.rsqrt.timescale");
        assert_eq!(refused(config().end(1.5)), "stable_decay.end");
        assert_eq!(refused(config().shape(DecayShape::Exponential)), "stable_decay.end");
        assert_eq!(refused(config().shape(DecayShape::Power(0.0))), "stable_decay.shape.power");
        assert_eq!(refused(stable_decay(1.0, Span::steps(101))), "stable_decay.decay");
        let short = config().length(Span::steps(9));
        assert_eq!(refused(short), "stable_decay.decay");
        assert_eq!(refused(config().length(Span::steps(0))), "stable_decay.length");
    }
}
