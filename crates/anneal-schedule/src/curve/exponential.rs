//! Exponential decay.

use super::pieces::{Piece, Shape, cut};
use super::{Describe, Rate, fraction, geometric_mix, tail::Tail};
use crate::{Length, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};
use std::f64::consts::LN_2;

/// η(t) = peak · e^(−κt), given in one of four ways: see [`Decay`].
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `peak` | learning rate | finite, above 0 |
/// | `decay` | speed of the decay | see [`Decay`] |
///
/// Source: torch `ExponentialLR`, optax `exponential_decay`.
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = exponential(0.1, Decay::HalfLife(Span::steps(10)))
///     .resolve(RunLength::updates(100))?;
/// assert!((schedule.rate(20) - 0.025).abs() < 1e-15);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
pub struct Exponential<L: Length = Span> {
    /// The rate of the first update.
    pub peak: f64,
    /// The speed of the decay.
    pub decay: Decay<L>,
}

/// The speed of an [`Exponential`] decay.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[serde(bound = "")]
#[non_exhaustive]
pub enum Decay<L: Length = Span> {
    /// peak · e^(−κt) with κ ≥ 0 per update.
    Kappa(f64),
    /// peak · α^(t / per) with the factor α in (0, 1].
    Factor {
        /// The factor α.
        factor: f64,
        /// The span over which the rate falls by this factor; it may exceed the run.
        per: L,
    },
    /// peak · 2^(−t / h) with the half-life h, which may exceed the run.
    HalfLife(L),
    /// peak^(1−x) · end^x with x = t / length, held afterwards. The only form that may also rise.
    Toward {
        /// The rate from `length` on, or its share of the peak; above 0.
        end: L::Level,
        /// The updates until `end` is reached.
        #[serde(default)]
        length: L,
    },
}

/// A factor per update, like torch's `gamma`.
impl From<f64> for Decay {
    fn from(factor: f64) -> Self {
        Self::Factor { factor, per: Span::Steps(1) }
    }
}

/// An [`Exponential`] decay from `peak`, with a [`Decay`] or a factor per update.
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = exponential(0.1, 0.5).resolve(RunLength::updates(3))?;
/// assert_eq!([0, 1, 2].map(|step| schedule.rate(step)), [0.1, 0.05, 0.025]);
/// # Ok::<(), ScheduleError>(())
/// ```
pub fn exponential(peak: f64, decay: impl Into<Decay>) -> Exponential {
    Exponential { peak, decay: decay.into() }
}

impl Describe for Exponential {
    type Resolved = Exponential<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<Exponential<u64>, ScheduleError> {
        let peak = scope.positive("peak", self.peak)?;
        let decay = match self.decay {
            Decay::Kappa(kappa) => {
                Decay::Kappa(scope.within("decay.kappa", kappa, 0.0..=f64::MAX)?)
            }
            Decay::Factor { factor, per } => Decay::Factor {
                factor: scope.factor("decay.factor.factor", factor)?,
                per: scope.time_constant("decay.factor.per", per)?,
            },
            Decay::HalfLife(span) => Decay::HalfLife(scope.time_constant("decay.half_life", span)?),
            Decay::Toward { end, length } => {
                let end = scope.level("decay.toward.end", end, peak)?;
                Decay::Toward {
                    end: scope.positive("decay.toward.end", end)?,
                    length: scope.length("decay.toward.length", length)?,
                }
            }
        };
        Ok(Exponential { peak, decay })
    }
}

impl Rate for Exponential<u64> {
    fn rate(&self, step: u64) -> f64 {
        let t = step as f64;
        match self.decay {
            Decay::Kappa(kappa) => self.peak * (-kappa * t).exp(),
            Decay::Factor { factor, per } => self.peak * factor.powf(t / per as f64),
            Decay::HalfLife(half_life) => self.peak * (-t / half_life as f64).exp2(),
            Decay::Toward { end, length } => {
                geometric_mix(self.peak, end, 1.0 - fraction(step, length))
            }
        }
    }

    fn peak(&self) -> f64 {
        match self.decay {
            Decay::Toward { end, .. } => self.peak.max(end),
            _ => self.peak,
        }
    }

    /// A geometric series: Σ e^(−κs) for s = a … a + n − 1 is e^(−κa) (1 − e^(−κn)) / (1 − e^(−κ)).
    fn mean(&self, step: u64, window: u64) -> Option<f64> {
        let kappa = match self.decay {
            Decay::Kappa(kappa) => kappa,
            Decay::Factor { factor, per } => -factor.ln() / per as f64,
            Decay::HalfLife(half_life) => LN_2 / half_life as f64,
            Decay::Toward { .. } => return None,
        };
        // No decay, or one so slow that 1 − e^(−κ) has lost its precision.
        if kappa < f64::MIN_POSITIVE {
            return Some(self.peak);
        }
        let first = step.saturating_sub(window - 1);
        let terms = (step - first) as f64 + 1.0;
        let series = (-kappa * first as f64).exp() * (-kappa * terms).exp_m1() / (-kappa).exp_m1();
        let before_0 = window as f64 - terms;
        Some(self.peak * ((before_0 + series) / window as f64).min(1.0))
    }

    fn tail(&self) -> Tail {
        match self.decay {
            Decay::Kappa(0.0) | Decay::Factor { factor: 1.0, .. } => Tail::settled(self.peak),
            Decay::Toward { end, .. } => Tail::settled(end),
            _ => Tail::Geometric,
        }
    }

    fn pieces(&self, steps: u64) -> Option<Vec<Piece>> {
        let log_ratio = match self.decay {
            Decay::Kappa(kappa) => -kappa,
            Decay::Factor { factor, per } => factor.ln() / per as f64,
            Decay::HalfLife(half_life) => -LN_2 / half_life as f64,
            Decay::Toward { end, length } => {
                let fall = Shape::geometric(self.peak, end, length);
                return Some(cut([(length, fall), (u64::MAX, Shape::Constant(end))], steps));
            }
        };
        Some(cut([(steps, Shape::Geometric { first: self.peak, log_ratio })], steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;
    use crate::combine::ScheduleExt;
    use crate::curve::{constant, refused, resolved};

    #[test]
    fn the_ways_of_saying_it_agree() {
        let half_life = resolved(exponential(1.0, Decay::HalfLife(Span::steps(7))), 1000);
        let kappa = resolved(exponential(1.0, Decay::Kappa(2f64.ln() / 7.0)), 1000);
        let factor = Decay::Factor { factor: 0.25, per: Span::steps(14) };
        let factor = resolved(exponential(1.0, factor), 1000);
        let toward = Decay::Toward { end: Level::Rate(2f64.powi(-20)), length: Span::steps(140) };
        let toward = resolved(exponential(1.0, toward), 1000);
        for step in [0, 1, 7, 13, 140] {
            let expected = 2f64.powf(-(step as f64) / 7.0);
            for schedule in [&half_life, &kappa, &factor, &toward] {
                let rate = schedule.rate(step);
                assert!((rate / expected - 1.0).abs() < 1e-14, "{schedule} at {step}: {rate}");
            }
        }
        assert_eq!(toward.rate(141), 2f64.powi(-20));
    }

    #[test]
    fn rises_to_an_extreme_end_without_overflow() {
        let up = Decay::Toward { end: Level::Rate(1e300), length: Span::Rest };
        let schedule = resolved(exponential(1e-300, up), 100);
        assert_eq!((schedule.rate(0), schedule.rate(100)), (1e-300, 1e300));
        assert!((schedule.rate(50) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn extreme_ends_stay_finite_and_nothing_left_is_no_nan() {
        let flat = Decay::Toward { end: Level::Rate(f64::MAX), length: Span::Rest };
        let schedule = resolved(exponential(f64::MAX, flat), 100);
        assert!((0..=100).all(|step| schedule.rate(step) == f64::MAX));
        let tiny =
            constant(1.0).then(Span::steps(10), exponential(1.0, Decay::HalfLife(Span::Rest)));
        assert_eq!(resolved(tiny, 10).rate(10), 1.0);
    }

    #[test]
    fn a_time_constant_may_be_longer_than_the_run() {
        let schedule = resolved(exponential(1.0, Decay::HalfLife(Span::percent(150))), 100);
        assert!((schedule.rate(75) - 0.5f64.sqrt()).abs() < 1e-15);
    }

    #[test]
    fn refuses_each_field() {
        let per = Span::steps(1);
        for (decay, field) in [
            (Decay::Kappa(-0.1), "decay.kappa"),
            (Decay::Kappa(f64::NAN), "decay.kappa"),
            (Decay::Factor { factor: 1.5, per }, "decay.factor.factor"),
            (Decay::Factor { factor: 0.5, per: Span::steps(0) }, "decay.factor.per"),
            (Decay::HalfLife(Span::epochs(-1)), "decay.half_life"),
            (Decay::Toward { end: Level::Rate(0.0), length: per }, "decay.toward.end"),
            (
                Decay::Toward { end: Level::Rate(0.1), length: Span::steps(101) },
                "decay.toward.length",
            ),
        ] {
            assert_eq!(refused(exponential(1.0, decay)), format!("exponential.{field}"));
        }
        assert_eq!(refused(exponential(0.0, Decay::Kappa(0.1))), "exponential.peak");
    }
}
