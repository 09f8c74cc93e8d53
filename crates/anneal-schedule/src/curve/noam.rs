//! The Noam schedule.

use super::{Describe, Rate, tail::Tail};
use crate::{Length, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// A linear rise over w updates, then inverse square-root decay:
///
/// ```text
/// η(t) = factor · d^(−½) · min(s^(−½), s · w^(−3/2))     s = t + 1
/// ```
///
/// As in Burn, the first update has s = 1. The highest rate, factor / √(d·w), is that of the last update of
/// the rise, s = w.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `factor` | | finite, above 0 |
/// | `model_size` | d, the width of the model | at least 1 |
/// | `warmup_length` | w, a span | inside the run, at least 1 update |
///
/// Source: Vaswani et al. 2017, "Attention is all you need", equation 3; Burn `NoamLrScheduler`.
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = noam(1.0, 512, Span::steps(4_000)).resolve(RunLength::updates(100_000))?;
/// assert!((schedule.rate(3_999) - 1.0 / (512.0f64 * 4_000.0).sqrt()).abs() < 1e-18);
/// assert!(schedule.rate(3_998) < schedule.rate(3_999));
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
pub struct Noam<L: Length = Span> {
    /// The factor of all rates.
    pub factor: f64,
    /// d: the width of the model.
    pub model_size: u64,
    /// w: the updates of the rise.
    pub warmup_length: L,
}

/// A [`Noam`] schedule for a model of width `model_size`, rising over `warmup_length`.
pub fn noam(factor: f64, model_size: u64, warmup_length: Span) -> Noam {
    Noam { factor, model_size, warmup_length }
}

/// Wider than any model, and small enough for every file format and the text form.
const WIDEST: u64 = 1 << 53;

impl Describe for Noam {
    type Resolved = Noam<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<Noam<u64>, ScheduleError> {
        let model_size = self.model_size;
        if !(1..=WIDEST).contains(&model_size) {
            return Err(scope.out_of_range("model_size", model_size.to_string(), "1 to 2^53"));
        }
        Ok(Noam {
            factor: scope.positive("factor", self.factor)?,
            model_size,
            warmup_length: scope.length("warmup_length", self.warmup_length)?,
        })
    }
}

impl Noam<u64> {
    fn scaled(&self, shape: f64) -> f64 {
        self.factor * (self.model_size as f64).powf(-0.5) * shape
    }
}

impl Rate for Noam<u64> {
    fn rate(&self, step: u64) -> f64 {
        let s = step as f64 + 1.0;
        // A run of no updates has no rise.
        let w = self.warmup_length.max(1) as f64;
        self.scaled(s.powf(-0.5).min(s * w.powf(-1.5)))
    }

    fn peak(&self) -> f64 {
        self.scaled((self.warmup_length.max(1) as f64).powf(-0.5))
    }

    fn tail(&self) -> Tail {
        Tail::Power(0.5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{refused, resolved};

    #[test]
    fn equals_burns_loop() {
        // Burn increments its step before it computes the rate.
        let (factor, size, warmup): (f64, f64, f64) = (10.0, 64.0, 100.0);
        let schedule = resolved(noam(factor, 64, Span::steps(100)), 1_000);
        let mut step = 0.0;
        for t in 0..1_000 {
            step += 1.0;
            let (arg1, arg2) = (f64::powf(step, -0.5), step * warmup.powf(-1.5));
            let expected = factor * size.powf(-0.5) * f64::min(arg1, arg2);
            assert!((schedule.rate(t) / expected - 1.0).abs() < 1e-15, "{t}");
        }
    }

    #[test]
    fn peaks_at_the_end_of_the_rise() {
        let schedule = resolved(noam(1.0, 16, Span::steps(25)), 100);
        assert!((schedule.peak() - 0.05).abs() < 1e-15);
        assert!((schedule.rate(24) - 0.05).abs() < 1e-15);
        assert!((schedule.rate(0) - 0.05 / 25.0).abs() < 1e-15);
        assert!((schedule.rate(99) - 0.025).abs() < 1e-15);
    }

    #[test]
    fn refuses_each_field() {
        let ten = Span::steps(10);
        for factor in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(refused(noam(factor, 1, ten)), "noam.factor");
        }
        for model_size in [0, u64::MAX] {
            assert_eq!(refused(noam(1.0, model_size, ten)), "noam.model_size");
        }
        for length in [Span::steps(0), Span::steps(101), Span::percent(-1)] {
            assert_eq!(refused(noam(1.0, 1, length)), "noam.warmup_length");
        }
    }
}
