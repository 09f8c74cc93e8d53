//! transformers' decays that no other curve covers.

use crate::curve::cycle::{last_of_cycle, lowest_of_wave};
use crate::curve::{Describe, Rate, half_cosine};
use crate::{ScheduleError, scope::Scope};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// A phase of a schedule as computed by transformers, if no curve of this crate is equal:
///
/// ```text
/// η = base_lr · max(0, r + (1 − r) · f(x))     x = (step + offset)/length
/// ```
///
/// with r = `min_lr_rate` and the f of [`Falling`].
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `base_lr` | learning rate | finite, above 0 |
/// | `length` | updates | 1 to 2⁶² |
/// | `shape` | f | see [`Falling`] |
/// | `min_lr_rate` | r, share of `base_lr`; if negative, the rate is clamped at 0 | finite; default 0 |
/// | `offset` | skipped updates of the curve | 0 to 2⁶²; default 0 |
///
/// Written by [`translate`](super::translate); it has no builder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TransformersDecay {
    /// The rate at x = 0.
    pub base_lr: f64,
    /// The updates from x = 0 to x = 1.
    pub length: u64,
    /// The shape of the decay.
    pub shape: Falling,
    /// The final share of `base_lr`.
    #[serde(default)]
    pub min_lr_rate: f64,
    /// The skipped updates of the curve.
    #[serde(default)]
    pub offset: u64,
}

/// The shape of a [`TransformersDecay`], from 1 at x = 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Falling {
    /// 1 − x, and 0 from x = 1 on.
    Straight,
    /// 1 − √x, and 0 from x = 1 on.
    OneMinusSqrt,
    /// ½(1 + cos(2πcx)), without end; c in [−10⁹, 10⁹].
    Waves(f64),
    /// ½(1 + cos(π(cx mod 1))), and 0 from x = 1 on; c in [−10⁹, 10⁹]. The remainder is of the rounded
    /// product, so a restart may come an update late.
    Restarts(f64),
}

/// Longer than any run, and small enough for every file format.
const MOST: u64 = 1 << 62;

/// More waves look like noise.
const MAX_CYCLES: f64 = 1e9;

impl Describe for TransformersDecay {
    type Resolved = Self;

    fn resolve(&self, scope: &Scope<'_>) -> Result<Self, ScheduleError> {
        if !(1..=MOST).contains(&self.length) {
            return Err(scope.out_of_range("length", self.length.to_string(), "1 to 2^62"));
        }
        if self.offset > MOST {
            return Err(scope.out_of_range("offset", self.offset.to_string(), "0 to 2^62"));
        }
        let cycles = |field: &str, cycles| scope.within(field, cycles, -MAX_CYCLES..=MAX_CYCLES);
        let resolved = Self {
            base_lr: scope.positive("base_lr", self.base_lr)?,
            shape: match self.shape {
                Falling::Waves(count) => Falling::Waves(cycles("shape.waves", count)?),
                Falling::Restarts(count) => Falling::Restarts(cycles("shape.restarts", count)?),
                shape => shape,
            },
            min_lr_rate: scope.within("min_lr_rate", self.min_lr_rate, f64::MIN..=f64::MAX)?,
            ..self.clone()
        };
        // The difference between the lowest and the highest must also be finite.
        let finite = (resolved.base_lr * (1.0 - resolved.min_lr_rate)).is_finite()
            && resolved.peak().is_finite();
        scope.require(
            "min_lr_rate",
            self.min_lr_rate,
            finite,
            "a share that keeps the rates finite",
        )?;
        Ok(resolved)
    }
}

impl TransformersDecay {
    fn x(&self, step: u64) -> f64 {
        step.saturating_add(self.offset) as f64 / self.length as f64
    }

    fn rate_at(&self, falling: f64) -> f64 {
        let r = self.min_lr_rate;
        let share = (falling * (1.0 - r) + r).clamp(r.min(1.0), r.max(1.0));
        self.base_lr * share.max(0.0)
    }
}

impl Rate for TransformersDecay {
    fn rate(&self, step: u64) -> f64 {
        let x = self.x(step);
        self.rate_at(match self.shape {
            Falling::Straight => (1.0 - x).max(0.0),
            Falling::OneMinusSqrt => (1.0 - x.sqrt()).max(0.0),
            Falling::Waves(cycles) => 0.5 * (1.0 + (PI * cycles * 2.0 * x).cos()),
            Falling::Restarts(_) if x >= 1.0 => 0.0,
            Falling::Restarts(cycles) => half_cosine((cycles * x).rem_euclid(1.0)),
        })
    }

    fn end_rate(&self, step: u64) -> f64 {
        match (self.shape, step.checked_sub(1)) {
            // Where a cycle starts, the previous one has reached its end.
            (Falling::Restarts(cycles), Some(before))
                if (cycles * self.x(before)).floor() != (cycles * self.x(step)).floor() =>
            {
                self.rate_at(0.0)
            }
            _ => self.rate(step),
        }
    }

    fn cycle_end(&self, from: u64) -> Option<u64> {
        match self.shape {
            Falling::Waves(cycles) if cycles != 0.0 => {
                let (cycles, length) = (cycles.abs(), self.length as f64);
                let at = |passed: f64| passed / cycles * length - self.offset as f64;
                lowest_of_wave(from, |step| cycles * self.x(step), at, |step| self.rate(step))
            }
            Falling::Restarts(cycles) => {
                let end = last_of_cycle(from, |step| (cycles * self.x(step)).floor())?;
                (self.x(end.saturating_add(1)) < 1.0).then_some(end)
            }
            _ => None,
        }
    }

    fn peak(&self) -> f64 {
        self.base_lr * self.min_lr_rate.max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{refused, resolved};

    fn decay(shape: Falling) -> TransformersDecay {
        TransformersDecay { base_lr: 2.0, length: 4, shape, min_lr_rate: 0.0, offset: 0 }
    }

    #[test]
    fn each_shape_has_its_formula() {
        for (shape, expected) in [
            (Falling::Straight, [1.5, 1.0, 0.0, 0.0]),
            (Falling::OneMinusSqrt, [1.0, 2.0 * (1.0 - 0.5f64.sqrt()), 0.0, 0.0]),
            (Falling::Waves(0.5), [1.0 + 0.5f64.sqrt(), 1.0, 0.0, 1.0]),
            (Falling::Restarts(2.0), [1.0, 2.0, 0.0, 0.0]),
        ] {
            let schedule = resolved(decay(shape), 50);
            for (step, expected) in [1, 2, 4, 6].into_iter().zip(expected) {
                assert!((schedule.rate(step) - expected).abs() < 1e-15, "{shape:?} {step}");
            }
        }
    }

    #[test]
    fn a_negative_share_is_cut_at_zero_and_one_above_1_rises() {
        let below = TransformersDecay { min_lr_rate: -1.0, ..decay(Falling::Straight) };
        assert_eq!([0, 1, 2, 3].map(|t| resolved(below.clone(), 9).rate(t)), [2.0, 1.0, 0.0, 0.0]);
        let above = TransformersDecay { min_lr_rate: 2.0, offset: 2, ..decay(Falling::Straight) };
        let schedule = resolved(above, 9);
        assert_eq!([0, 2, 9].map(|t| schedule.rate(t)), [3.0, 4.0, 4.0]);
        assert_eq!(schedule.peak(), 4.0);
    }

    #[test]
    fn a_run_that_ends_on_a_restart_holds_the_end() {
        assert_eq!(resolved(decay(Falling::Restarts(2.0)), 2).rate(2), 0.0);
    }

    #[test]
    fn refuses_each_field() {
        let config = || decay(Falling::Straight);
        for (config, field) in [
            (TransformersDecay { base_lr: 0.0, ..config() }, "base_lr"),
            (TransformersDecay { length: 0, ..config() }, "length"),
            (TransformersDecay { length: u64::MAX, ..config() }, "length"),
            (TransformersDecay { offset: u64::MAX, ..config() }, "offset"),
            (TransformersDecay { min_lr_rate: f64::NAN, ..config() }, "min_lr_rate"),
            (TransformersDecay { min_lr_rate: f64::MAX, ..config() }, "min_lr_rate"),
            (decay(Falling::Waves(f64::INFINITY)), "shape.waves"),
            (decay(Falling::Restarts(2e9)), "shape.restarts"),
        ] {
            assert_eq!(refused(config), format!("transformers_decay.{field}"));
        }
    }
}
