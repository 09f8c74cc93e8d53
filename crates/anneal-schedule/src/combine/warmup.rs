//! Warm-up.

use crate::curve::pieces::{Piece, Shape, cut};
use crate::curve::{Describe, Inner, Rate, half_cosine, tail::Tail};
use crate::{ScheduleConfig, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// A rise over n updates to the inner schedule:
///
/// ```text
/// prefix:   η(t) = w((t+1)/(n+1)) · inner(0)   for t < n,   inner(t − n)   from n on
/// overlay:  η(t) = w((t+1)/(n+1)) · inner(t)   for t < n,   inner(t)       from n on
/// w(x) = start + (1 − start) · ramp(x)
/// ```
///
/// The first update does not waste a rate of 0, and the peak is not used twice. A prefix shifts the schedule
/// and leaves at least one update for it; an overlay does neither. If n rounds to 0 updates there is no
/// warm-up.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `length` | n, a span | inside the run; a prefix must be shorter than what is left of it |
/// | `ramp` | shape of the rise | see [`Ramp`]; default linear |
/// | `start` | share of the peak that the rise starts from | [0, 1); exponential: (0, 1); default 0 |
/// | `overlay` | | default false |
///
/// Source: Goyal et al. 2017, "Accurate, large minibatch SGD"; timm (`warmup_prefix`),
/// transformers (`warmup_type`).
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = constant(1.0).warmup(Span::steps(3)).resolve(RunLength::updates(10))?;
/// assert_eq!([0, 1, 2, 3].map(|step| schedule.rate(step)), [0.25, 0.5, 0.75, 1.0]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound(deserialize = "L: Deserialize<'de> + Default"))]
#[must_use]
pub struct Warmup<L = Span> {
    /// n: the updates of the rise.
    pub length: L,
    /// The shape of the rise.
    #[serde(default)]
    pub ramp: Ramp,
    /// The share of the peak that the rise starts from.
    #[serde(default)]
    pub start: f64,
    /// Whether it overlaps the schedule instead of preceding it.
    #[serde(default)]
    pub overlay: bool,
    /// The schedule it rises to.
    pub schedule: Box<ScheduleConfig<L>>,
}

/// How a [`Warmup`] rises from 0 at x = 0 to 1 at x = 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ramp {
    /// x.
    #[default]
    Linear,
    /// ½(1 − cos πx).
    Cosine,
    /// Geometric: w(x) = start^(1−x), so the start must be above 0.
    Exponential,
    /// 1 − √(1 − x).
    OneMinusSqrt,
}

impl Warmup {
    /// A linear prefix of `length` before `schedule`.
    pub fn new(length: Span, schedule: impl Into<ScheduleConfig>) -> Self {
        Self {
            length,
            ramp: Ramp::Linear,
            start: 0.0,
            overlay: false,
            schedule: Box::new(schedule.into()),
        }
    }

    /// Sets the shape of the rise.
    pub fn ramp(mut self, ramp: Ramp) -> Self {
        self.ramp = ramp;
        self
    }

    /// Rises from this share of the peak.
    pub fn start(mut self, start: f64) -> Self {
        self.start = start;
        self
    }

    /// Overlaps the schedule instead of shifting it.
    pub fn overlay(mut self) -> Self {
        self.overlay = true;
        self
    }
}

impl Describe for Warmup {
    type Resolved = Warmup<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<Warmup<u64>, ScheduleError> {
        if self.length == Span::Rest {
            let allowed = "updates, epochs or a percentage";
            return Err(scope.out_of_range("length", self.length.to_string(), allowed));
        }
        let (ok, allowed) = match self.ramp {
            Ramp::Exponential => {
                (self.start > 0.0 && self.start < 1.0, "in (0, 1) with an exponential ramp")
            }
            _ => ((0.0..1.0).contains(&self.start), "in [0, 1)"),
        };
        let start = scope.require("start", self.start, ok, allowed)? + 0.0;
        let (length, inside) = if self.overlay {
            (scope.rounded_length("length", self.length)?, scope.inside("schedule")?)
        } else {
            let (length, start) = scope.prefix("length", self.length)?;
            (length, scope.inside_from("schedule", start)?)
        };
        let schedule = Box::new(self.schedule.resolve_in(&inside)?);
        Ok(Warmup { length, ramp: self.ramp, start, overlay: self.overlay, schedule })
    }
}

impl Warmup<u64> {
    fn weight(&self, step: u64) -> f64 {
        let x = (step as f64 + 1.0) / (self.length as f64 + 1.0);
        let rise = match self.ramp {
            Ramp::Linear => x,
            Ramp::Cosine => 1.0 - half_cosine(x),
            Ramp::Exponential => return self.start.powf(1.0 - x),
            Ramp::OneMinusSqrt => 1.0 - (1.0 - x).sqrt(),
        };
        self.start + (1.0 - self.start) * rise
    }
}

impl Warmup<u64> {
    /// The weights as a shape with known sums.
    fn rise_shape(&self) -> Option<Shape> {
        let step = 1.0 / (self.length as f64 + 1.0);
        match self.ramp {
            Ramp::Linear => {
                Some(Shape::Linear { first: self.weight(0), slope: (1.0 - self.start) * step })
            }
            Ramp::Cosine => {
                Some(Shape::HalfCosine { from: self.start, to: 1.0, start: step, step })
            }
            Ramp::Exponential => {
                Some(Shape::Geometric { first: self.weight(0), log_ratio: -self.start.ln() * step })
            }
            Ramp::OneMinusSqrt => None,
        }
    }
}

impl Rate for Warmup<u64> {
    fn rate(&self, step: u64) -> f64 {
        match (step < self.length, self.overlay) {
            (true, true) => self.weight(step) * self.schedule.rate(step),
            (true, false) => self.weight(step) * self.schedule.rate(0),
            (false, true) => self.schedule.rate(step),
            (false, false) => self.schedule.rate(step - self.length),
        }
    }

    fn end_rate(&self, step: u64) -> f64 {
        match (step < self.length, self.overlay) {
            (true, _) => self.rate(step),
            (false, true) => self.schedule.end_rate(step),
            (false, false) => self.schedule.end_rate(step - self.length),
        }
    }

    fn peak(&self) -> f64 {
        self.schedule.peak()
    }

    fn tail(&self) -> Tail {
        self.schedule.tail()
    }

    fn pieces(&self, steps: u64) -> Option<Vec<Piece>> {
        if self.length == 0 {
            return self.schedule.pieces(steps);
        }
        let rise = self.rise_shape().filter(|_| !self.overlay)?.scaled(self.schedule.rate(0));
        let mut pieces = cut([(self.length, rise)], steps);
        if steps > self.length {
            pieces.extend(self.schedule.pieces(steps - self.length)?);
        }
        Some(pieces)
    }

    fn inner(&self) -> Vec<Inner<'_>> {
        let start = if self.overlay { 0 } else { self.length };
        vec![Inner { start, ..Inner::whole(&self.schedule) }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::combine::ScheduleExt;
    use crate::curve::{constant, cosine, linear, refused, resolved};

    #[test]
    fn each_ramp_has_its_formula() {
        // n = 3: x = ¼, ½, ¾.
        let expected = |w: fn(f64) -> f64| [0.25, 0.5, 0.75].map(w);
        for (ramp, start, expected) in [
            (Ramp::Linear, 0.2, expected(|x| 0.2 + 0.8 * x)),
            (Ramp::Cosine, 0.0, expected(|x| 0.5 - 0.5 * (std::f64::consts::PI * x).cos())),
            (Ramp::Exponential, 0.01, expected(|x| 0.01f64.powf(1.0 - x))),
            (Ramp::OneMinusSqrt, 0.0, expected(|x| 1.0 - (1.0 - x).sqrt())),
        ] {
            let config = constant(1.0).warmup(Span::steps(3)).ramp(ramp).start(start);
            let schedule = resolved(config, 10);
            for (step, expected) in expected.into_iter().enumerate() {
                assert!((schedule.rate(step as u64) - expected).abs() < 1e-15, "{ramp:?} {step}");
            }
            assert_eq!(schedule.rate(3), 1.0, "{ramp:?}");
        }
    }

    #[test]
    fn a_prefix_shifts_and_an_overlay_does_not() {
        let prefix = resolved(linear(1.0, 0.0).warmup(Span::steps(4)), 12);
        assert_eq!([3, 4, 8, 12].map(|t| prefix.rate(t)), [0.8, 1.0, 0.5, 0.0]);
        let overlay = resolved(linear(1.0, 0.0).warmup(Span::steps(4)).overlay(), 10);
        assert_eq!([0, 4, 5, 10].map(|t| overlay.rate(t)), [0.2, 0.6, 0.5, 0.0]);
    }

    #[test]
    fn a_share_of_a_tiny_run_may_be_nothing() {
        let schedule = resolved(constant(1.0).warmup(Span::percent(10)), 4);
        assert_eq!(schedule.rate(0), 1.0);
    }

    #[test]
    fn a_prefix_leaves_an_update_for_the_peak() {
        // 90 % of 2 or 3 updates rounds to all of them, 50 % of 1 too.
        for (percent, updates) in [(90.0, 1), (90.0, 2), (90.0, 3), (50.0, 1)] {
            let schedule = resolved(cosine(1.0).warmup(Span::percent(percent)), updates);
            assert_eq!(schedule.rate(updates - 1), 1.0, "{percent} % of {updates}");
        }
        for all in [Span::steps(100), Span::percent(100)] {
            assert_eq!(refused(cosine(1.0).warmup(all)), "warmup.length");
        }
        assert_eq!(resolved(cosine(1.0).warmup(Span::steps(99)), 100).rate(99), 1.0);
    }

    #[test]
    fn refuses_each_field() {
        let config = |length| constant(1.0).warmup(length);
        for length in [Span::steps(0), Span::steps(101), Span::percent(-5), Span::Rest] {
            assert_eq!(refused(config(length)), "warmup.length");
        }
        let five = || config(Span::steps(5));
        assert_eq!(refused(five().start(1.0)), "warmup.start");
        assert_eq!(refused(five().start(f64::NAN)), "warmup.start");
        assert_eq!(refused(five().ramp(Ramp::Exponential)), "warmup.start");
        let inner = constant(0.0).warmup(Span::steps(5));
        assert_eq!(refused(inner), "warmup.schedule.constant.rate");
    }
}
