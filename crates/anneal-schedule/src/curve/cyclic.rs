//! Cyclic rate: triangles.

use super::{Describe, Rate, mix, tail::Tail};
use crate::{Length, Level, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// Rises linearly from `base` to `peak` over u updates and falls linearly over d, repeatedly. With cycle n =
/// ⌊t/(u+d)⌋ and r = t − n(u+d) the update within it:
///
/// ```text
/// η(t) = base + (peak − base) · s(t) · r/u              r ≤ u
/// η(t) = base + (peak − base) · s(t) · (u + d − r)/d    r > u
/// s(t) = 1, 2^(−n) or γ^t
/// ```
///
/// [`momentum`](Cyclic::momentum) returns the momentum curve that mirrors it.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `base` | learning rate at t = 0, or share of the peak | finite, at least 0 |
/// | `peak` | learning rate at the turn of a full cycle | finite, above 0; if below `base`, the rate falls first |
/// | `up` | u, span | inside the run, at least 1 update |
/// | `down` | d, span | inside the run, at least 1 update; default u |
/// | `scaling` | s, how cycles shrink | see [`CycleScaling`]; default triangular: they do not |
///
/// Source: Smith 2017, "Cyclical learning rates for training neural networks"; torch `CyclicLR`.
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = cyclic(0.2, 1.0, Span::steps(4)).down(Span::steps(2))
///     .resolve(RunLength::updates(12))?;
/// let rates = [0, 2, 4, 5, 6, 10].map(|step| schedule.rate(step));
/// assert_eq!(rates, [0.2, 0.6, 1.0, 0.6, 0.2, 1.0]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
#[must_use]
pub struct Cyclic<L: Length = Span> {
    /// The rate at the start and end of every cycle.
    pub base: L::Level,
    /// The rate at the turn of a cycle.
    pub peak: f64,
    /// u: the updates from `base` to `peak`.
    pub up: L,
    /// d: the updates back to `base`; default `up`.
    #[serde(default)]
    pub down: Option<L>,
    /// How cycles shrink.
    #[serde(default)]
    pub scaling: CycleScaling,
}

/// How the cycles of a [`Cyclic`] shrink over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum CycleScaling {
    /// All cycles have the same height.
    #[default]
    Triangular,
    /// Each cycle is half as high as the previous one.
    Triangular2,
    /// The height is multiplied by γ in (0, 1] at every update.
    ExpRange(f64),
}

/// A [`Cyclic`] between `base` and `peak`, with `up` updates up and as many down.
pub fn cyclic(base: impl Into<Level>, peak: f64, up: Span) -> Cyclic {
    Cyclic { base: base.into(), peak, up, down: None, scaling: CycleScaling::Triangular }
}

impl Cyclic {
    /// Falls over `down` instead of `up`.
    pub fn down(mut self, down: Span) -> Self {
        self.down = Some(down);
        self
    }

    /// Sets how cycles shrink.
    pub fn scaling(mut self, scaling: CycleScaling) -> Self {
        self.scaling = scaling;
        self
    }

    /// The momentum curve of the same cycles: from `max` down to `base` where the rate peaks, and back. It is
    /// an ordinary schedule, with values in (0, 1).
    pub fn momentum(self, base: f64, max: f64) -> Self {
        Self { base: max.into(), peak: base, ..self }
    }
}

impl Describe for Cyclic {
    type Resolved = Cyclic<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<Cyclic<u64>, ScheduleError> {
        if let CycleScaling::ExpRange(gamma) = self.scaling {
            scope.factor("scaling.exp_range", gamma)?;
        }
        let peak = scope.positive("peak", self.peak)?;
        let base = scope.within("base", scope.level("base", self.base, peak)?, 0.0..=f64::MAX)?;
        let up = scope.length("up", self.up)?;
        let down = self.down.map(|down| scope.length("down", down)).transpose()?.unwrap_or(up);
        Ok(Cyclic { base, peak, up, down: Some(down), scaling: self.scaling })
    }
}

impl Rate for Cyclic<u64> {
    fn rate(&self, step: u64) -> f64 {
        // Nothing may be left of the run; then both are 0.
        let (up, down) = (self.up.max(1), self.down.unwrap_or(self.up).max(1));
        let length = up.saturating_add(down);
        let (cycle, within) = (step / length, step % length);
        let height = if within <= up {
            within as f64 / up as f64
        } else {
            (length - within) as f64 / down as f64
        };
        let scale = match self.scaling {
            CycleScaling::Triangular => 1.0,
            CycleScaling::Triangular2 => (-(cycle as f64)).exp2(),
            CycleScaling::ExpRange(gamma) => gamma.powf(step as f64),
        };
        mix(self.peak, self.base, height * scale)
    }

    fn peak(&self) -> f64 {
        self.peak.max(self.base)
    }

    fn cycle_end(&self, from: u64) -> Option<u64> {
        // If it falls first, it is lowest at the turn.
        let first = match self.base.partial_cmp(&self.peak)? {
            Ordering::Less => 0,
            Ordering::Greater => self.up,
            Ordering::Equal => return None,
        };
        let length = self.up.saturating_add(self.down.unwrap_or(self.up)).max(1);
        let cycles = from.saturating_sub(first).div_ceil(length).max(u64::from(first == 0));
        cycles.checked_mul(length)?.checked_add(first)
    }

    fn tail(&self) -> Tail {
        match self.scaling {
            _ if self.base == self.peak => Tail::settled(self.base),
            CycleScaling::Triangular | CycleScaling::ExpRange(1.0) => Tail::Recurring,
            _ if self.base > 0.0 => Tail::Constant(self.base),
            _ => Tail::Geometric,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{refused, resolved};

    /// Each cycle, computed update by update.
    fn drawn(
        base: f64,
        peak: f64,
        up: u64,
        down: u64,
        scale: impl Fn(u64, u64) -> f64,
    ) -> Vec<f64> {
        let (mut rates, mut cycle) = (vec![], 0);
        while rates.len() < 100 {
            let heights = (0..up)
                .map(|i| i as f64 / up as f64)
                .chain((0..down).map(|i| 1.0 - i as f64 / down as f64));
            for height in heights {
                let t = rates.len() as u64;
                rates.push(base + (peak - base) * height * scale(cycle, t));
            }
            cycle += 1;
        }
        rates
    }

    #[test]
    fn equals_cycles_drawn_update_by_update() {
        type Scale = fn(u64, u64) -> f64;
        let scalings: [(CycleScaling, Scale); 3] = [
            (CycleScaling::Triangular, |_, _| 1.0),
            (CycleScaling::Triangular2, |cycle, _| 0.5f64.powi(cycle as i32)),
            (CycleScaling::ExpRange(0.9), |_, t| 0.9f64.powi(t as i32)),
        ];
        for (scaling, scale) in scalings {
            for (up, down) in [(4, 4), (3, 7), (5, 1), (1, 2)] {
                let config = cyclic(0.1, 0.7, Span::steps(up)).down(Span::steps(down));
                let schedule = resolved(config.scaling(scaling), 100);
                let expected = drawn(0.1, 0.7, up, down, scale);
                for (step, expected) in expected.into_iter().enumerate().take(100) {
                    let rate = schedule.rate(step as u64);
                    assert!((rate - expected).abs() < 1e-14, "{schedule} at {step}: {rate}");
                }
            }
        }
    }

    #[test]
    fn momentum_mirrors_the_rate() {
        let config = cyclic(0.1, 1.1, Span::steps(3)).scaling(CycleScaling::Triangular2);
        let rate = resolved(config.clone(), 50);
        let momentum = resolved(config.momentum(0.8, 0.9), 50);
        for step in 0..=50 {
            let expected = 0.9 - 0.1 * (rate.rate(step) - 0.1);
            assert!((momentum.rate(step) - expected).abs() < 1e-15, "{step}");
        }
    }

    #[test]
    fn a_cycle_is_found_far_out() {
        let schedule = resolved(cyclic(0.0, 1.0, Span::steps(3)).down(Span::steps(7)), 1 << 63);
        let far = (1 << 62) / 10 * 10;
        assert_eq!([far, far + 3, far + 10].map(|step| schedule.rate(step)), [0.0, 1.0, 0.0]);
        let halved = cyclic(0.5, 1.0, Span::steps(1)).scaling(CycleScaling::Triangular2);
        assert_eq!(resolved(halved, 1 << 63).rate((1 << 60) + 1), 0.5);
    }

    #[test]
    fn refuses_each_field() {
        let config = || cyclic(0.1, 1.0, Span::steps(4));
        assert_eq!(refused(cyclic(-0.1, 1.0, Span::steps(4))), "cyclic.base");
        assert_eq!(refused(cyclic(0.1, 0.0, Span::steps(4))), "cyclic.peak");
        assert_eq!(refused(cyclic(0.1, 1.0, Span::steps(0))), "cyclic.up");
        assert_eq!(refused(config().down(Span::steps(101))), "cyclic.down");
        for gamma in [0.0, 1.1, f64::NAN] {
            let config = config().scaling(CycleScaling::ExpRange(gamma));
            assert_eq!(refused(config), "cyclic.scaling.exp_range");
        }
    }
}
