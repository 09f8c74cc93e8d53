//! The one-cycle policy.

use super::pieces::{Piece, Shape, cut};
use super::{Describe, Rate, half_cosine, mix, tail::Tail};
use crate::{Length, Level, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// Rises from `start` to `peak`, then falls to `end`, over T updates.
///
/// Two phases (the default), with r = pct_start · T:
///
/// ```text
/// start → peak over t in [0, r]     peak → end over t in [r, T]
/// ```
///
/// Three phases: start → peak over [0, r], back to start over [r, 2r], then to end at T. Each phase is half a
/// cosine wave or a straight line. [`momentum`](OneCycle::momentum) returns the momentum curve that mirrors
/// it.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `peak` | learning rate | finite, above 0 |
/// | `start` | learning rate at t = 0, or share of the peak | finite, above 0; default peak / 25 |
/// | `end` | learning rate at t = T, or share of the peak | finite, at least 0; default start / 10⁴ |
/// | `pct_start` | share of T that rises | (0, 1), with three phases (0, ½); default 0.3 |
/// | `anneal` | shape of each phase | cosine (default) or linear |
/// | `three_phase` | | default false |
/// | `length` | T, a span | inside the run; default: the rest of it |
///
/// Source: Smith and Topin 2018, "Super-convergence"; torch `OneCycleLR` (whose phases end one
/// update earlier), fastai `fit_one_cycle`.
///
/// ```
/// use anneal_schedule::prelude::*;
/// let config = one_cycle(0.1);
/// let run = RunLength::updates(100);
/// let (rate, momentum) = (config.clone().resolve(run)?, config.momentum(0.85, 0.95).resolve(run)?);
/// assert_eq!((rate.rate(0), momentum.rate(0)), (0.1 / 25.0, 0.95));
/// assert_eq!((rate.rate(30), momentum.rate(30)), (0.1, 0.85));
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
#[must_use]
pub struct OneCycle<L: Length = Span> {
    /// The highest rate.
    pub peak: f64,
    /// The rate of the first update; default peak / 25.
    #[serde(default)]
    pub start: Option<L::Level>,
    /// The last rate; default start / 10,000.
    #[serde(default)]
    pub end: Option<L::Level>,
    /// The share of the length during which the rate rises.
    #[serde(default = "default_pct_start")]
    pub pct_start: f64,
    /// The shape of each phase.
    #[serde(default)]
    pub anneal: AnnealStrategy,
    /// Whether the rate returns to its start before it goes on to its end.
    #[serde(default)]
    pub three_phase: bool,
    /// T: the total length of all phases.
    #[serde(default)]
    pub length: L,
}

/// The shape of each phase of a [`OneCycle`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AnnealStrategy {
    /// Half a cosine wave.
    #[default]
    Cosine,
    /// A straight line.
    Linear,
}

fn default_pct_start() -> f64 {
    0.3
}

/// A [`OneCycle`] through `peak` over the rest of the run.
pub fn one_cycle(peak: f64) -> OneCycle {
    OneCycle {
        peak,
        start: None,
        end: None,
        pct_start: default_pct_start(),
        anneal: AnnealStrategy::Cosine,
        three_phase: false,
        length: Span::Rest,
    }
}

impl OneCycle {
    /// Starts at `start`.
    pub fn start(mut self, start: impl Into<Level>) -> Self {
        self.start = Some(start.into());
        self
    }

    /// Ends at `end`.
    pub fn end(mut self, end: impl Into<Level>) -> Self {
        self.end = Some(end.into());
        self
    }

    /// Rises for this share of the length.
    pub fn pct_start(mut self, pct_start: f64) -> Self {
        self.pct_start = pct_start;
        self
    }

    /// Sets the shape of the phases.
    pub fn anneal(mut self, anneal: AnnealStrategy) -> Self {
        self.anneal = anneal;
        self
    }

    /// Returns to the start before going on to the end.
    pub fn three_phase(mut self) -> Self {
        self.three_phase = true;
        self
    }

    /// Finishes after `length` instead of at the end of the run.
    pub fn length(mut self, length: Span) -> Self {
        self.length = length;
        self
    }

    /// The momentum curve of the same phases: from `max` down to `base` where the rate peaks, and back. It is
    /// an ordinary schedule, with values in (0, 1).
    pub fn momentum(self, base: f64, max: f64) -> Self {
        Self { peak: base, start: Some(max.into()), end: Some(max.into()), ..self }
    }
}

impl Describe for OneCycle {
    type Resolved = OneCycle<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<OneCycle<u64>, ScheduleError> {
        let peak = scope.positive("peak", self.peak)?;
        let level = |field, level: Option<Level>, default| match level {
            Some(level) => scope.level(field, level, peak),
            None => Ok(default),
        };
        let start = scope.positive("start", level("start", self.start, peak / 25.0)?)?;
        let end = scope.within("end", level("end", self.end, start / 1e4)?, 0.0..=f64::MAX)?;
        let (ok, allowed) = if self.three_phase {
            (self.pct_start > 0.0 && self.pct_start < 0.5, "in (0, 0.5) with three phases")
        } else {
            (self.pct_start > 0.0 && self.pct_start < 1.0, "in (0, 1)")
        };
        Ok(OneCycle {
            peak,
            start: Some(start),
            end: Some(end),
            pct_start: scope.require("pct_start", self.pct_start, ok, allowed)?,
            anneal: self.anneal,
            three_phase: self.three_phase,
            length: scope.length("length", self.length)?,
        })
    }
}

impl OneCycle<u64> {
    /// Start and end, which are always set once resolved.
    fn ends(&self) -> (f64, f64) {
        (self.start.unwrap_or(self.peak), self.end.unwrap_or(self.peak))
    }

    fn phase(&self, from: f64, to: f64, x: f64) -> f64 {
        let weight = match self.anneal {
            AnnealStrategy::Cosine => half_cosine(x),
            AnnealStrategy::Linear => 1.0 - x,
        };
        mix(from, to, weight)
    }
}

impl OneCycle<u64> {
    /// A phase from position x on, in steps of `step`, as fractions of the phase.
    fn shape(&self, from: f64, to: f64, x: f64, step: f64) -> Shape {
        match self.anneal {
            AnnealStrategy::Cosine => Shape::HalfCosine { from, to, start: x, step },
            AnnealStrategy::Linear => {
                Shape::Linear { first: from + (to - from) * x, slope: (to - from) * step }
            }
        }
    }
}

impl Rate for OneCycle<u64> {
    fn rate(&self, step: u64) -> f64 {
        let (start, end) = self.ends();
        if step >= self.length {
            return end;
        }
        let (t, total) = (step as f64, self.length as f64);
        let rise = self.pct_start * total;
        if t <= rise {
            self.phase(start, self.peak, t / rise)
        } else if !self.three_phase {
            self.phase(self.peak, end, (t - rise) / (total - rise))
        } else if t <= 2.0 * rise {
            self.phase(self.peak, start, t / rise - 1.0)
        } else {
            self.phase(start, end, (t - 2.0 * rise) / (total - 2.0 * rise))
        }
    }

    fn peak(&self) -> f64 {
        let (start, end) = self.ends();
        self.peak.max(start).max(end)
    }

    fn tail(&self) -> Tail {
        Tail::settled(self.ends().1)
    }

    fn pieces(&self, steps: u64) -> Option<Vec<Piece>> {
        let (start, end) = self.ends();
        let total = self.length as f64;
        let rise = self.pct_start * total;
        // A phase lasts to the last update not after its end, which may lie between two updates.
        let turns =
            if self.three_phase { vec![rise, 2.0 * rise, total] } else { vec![rise, total] };
        let levels = if self.three_phase {
            vec![start, self.peak, start, end]
        } else {
            vec![start, self.peak, end]
        };
        let (mut from, mut next) = (0.0, 0);
        let mut parts = vec![];
        for (i, &turn) in turns.iter().enumerate() {
            let after = if turn == total { self.length } else { turn as u64 + 1 };
            let length = after.min(self.length).saturating_sub(next);
            let shape = if length > 1 {
                let step = 1.0 / (turn - from);
                self.shape(levels[i], levels[i + 1], (next as f64 - from) * step, step)
            } else {
                // A phase may be so short that its step is infinite.
                Shape::Constant(self.rate(next))
            };
            parts.push((length, shape));
            (from, next) = (turn, next + length);
        }
        parts.push((u64::MAX, Shape::Constant(end)));
        Some(cut(parts, steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{refused, resolved};

    #[test]
    fn linear_phases_have_hand_computed_rates() {
        let config =
            one_cycle(1.0).start(0.2).end(0.0).pct_start(0.4).anneal(AnnealStrategy::Linear);
        let schedule = resolved(config, 10);
        let expected =
            [0.2, 0.4, 0.6, 0.8, 1.0, 5.0 / 6.0, 4.0 / 6.0, 0.5, 2.0 / 6.0, 1.0 / 6.0, 0.0];
        for (step, expected) in expected.into_iter().enumerate() {
            assert!((schedule.rate(step as u64) - expected).abs() < 1e-15, "{step}");
        }
    }

    #[test]
    fn three_phases_return_to_the_start() {
        let config = one_cycle(1.0).start(0.2).end(0.0).pct_start(0.25).three_phase();
        let schedule = resolved(config, 40);
        for (step, expected) in
            [(0, 0.2), (5, 0.6), (10, 1.0), (15, 0.6), (20, 0.2), (30, 0.1), (40, 0.0)]
        {
            assert!((schedule.rate(step) - expected).abs() < 1e-15, "{step}");
        }
    }

    #[test]
    fn momentum_mirrors_the_rate() {
        let config = one_cycle(1.0).start(0.1).end(0.1);
        let (rate, momentum) =
            (resolved(config.clone(), 50), resolved(config.momentum(0.85, 0.95), 50));
        for step in 0..=50 {
            let share = (rate.rate(step) - 0.1) / 0.9;
            assert!((momentum.rate(step) - (0.95 - 0.1 * share)).abs() < 1e-15, "{step}");
        }
    }

    #[test]
    fn refuses_each_field() {
        assert_eq!(refused(one_cycle(-1.0)), "one_cycle.peak");
        assert_eq!(refused(one_cycle(1.0).start(0.0)), "one_cycle.start");
        assert_eq!(refused(one_cycle(1.0).end(f64::NAN)), "one_cycle.end");
        for pct_start in [0.0, 1.0, f64::NAN] {
            assert_eq!(refused(one_cycle(1.0).pct_start(pct_start)), "one_cycle.pct_start");
        }
        assert_eq!(refused(one_cycle(1.0).pct_start(0.5).three_phase()), "one_cycle.pct_start");
        assert_eq!(refused(one_cycle(1.0).length(Span::percent(101))), "one_cycle.length");
    }
}
