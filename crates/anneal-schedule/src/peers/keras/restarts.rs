//! Warm restarts as computed by keras.

use crate::curve::{Describe, Rate, cycle::last_of_cycle};
use crate::{ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// Cosine annealing in cycles, as computed by keras:
///
/// ```text
/// c = t/T
/// i = ⌊ln(1 − c(1 − m)) / ln m⌋   x = (c − (1 − mⁱ)/(1 − m)) / mⁱ     (i = ⌊c⌋, x = c − i for m = 1)
/// η(t) = start · ((1 − alpha) · ½ dⁱ (1 + cos πx) + alpha)
/// ```
///
/// Only a translation gives it, if [`WarmRestarts`](crate::WarmRestarts) differs: the peak decays towards
/// `alpha` instead of 0, it may grow (up to the largest f64), and the floored logarithm may find a new cycle
/// one update late.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `start` | learning rate | finite, above 0 |
/// | `cycle` | T, span of the first cycle | inside the run |
/// | `multiplier` | m, growth of the cycle length | [1, 10⁶]; default 2 |
/// | `peak_factor` | d, factor of the peak per cycle | finite, at least 0, at most 1 if alpha is above 1; default 1 |
/// | `alpha` | lowest rate, as a share of the start | finite, at least 0; default 0 |
///
/// Source: keras `CosineDecayRestarts`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound(deserialize = "L: Deserialize<'de> + Default"))]
pub struct KerasRestarts<L = Span> {
    /// The rate of the first update.
    pub start: f64,
    /// T: the length of the first cycle.
    pub cycle: L,
    /// m: the ratio of each cycle's length to the previous one's.
    #[serde(default = "two")]
    pub multiplier: f64,
    /// d: the ratio of each cycle's height to the previous one's.
    #[serde(default = "one")]
    pub peak_factor: f64,
    /// The lowest rate as a share of the start.
    #[serde(default)]
    pub alpha: f64,
}

fn one() -> f64 {
    1.0
}

fn two() -> f64 {
    2.0
}

impl Describe for KerasRestarts {
    type Resolved = KerasRestarts<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<KerasRestarts<u64>, ScheduleError> {
        let start = scope.positive("start", self.start)?;
        let alpha = scope.within("alpha", self.alpha, 0.0..=f64::MAX)?;
        let floor = start * alpha;
        scope.require("alpha", alpha, floor.is_finite(), "a share that keeps the rate finite")?;
        // If the wave is upside down, a growing one would end below 0.
        let most = if alpha > 1.0 { 1.0 } else { f64::MAX };
        Ok(KerasRestarts {
            start,
            cycle: scope.length("cycle", self.cycle)?,
            multiplier: scope.within("multiplier", self.multiplier, 1.0..=1e6)?,
            peak_factor: scope.within("peak_factor", self.peak_factor, 0.0..=most)?,
            alpha,
        })
    }
}

impl KerasRestarts<u64> {
    /// The index of the cycle, and the share of it that has passed.
    fn locate(&self, step: u64) -> (f64, f64) {
        let (completed, m) = (step as f64 / self.cycle as f64, self.multiplier);
        if m == 1.0 {
            return (completed.floor(), completed - completed.floor());
        }
        // In keras' order of operations: the boundaries depend on each rounding.
        let cycle = ((1.0 - completed * (1.0 - m)).ln() / m.ln()).floor();
        let before = (1.0 - m.powf(cycle)) / (1.0 - m);
        (cycle, (completed - before) / m.powf(cycle))
    }

    fn low(&self) -> f64 {
        self.start * self.alpha
    }
}

impl Rate for KerasRestarts<u64> {
    fn rate(&self, step: u64) -> f64 {
        let (cycle, x) = self.locate(step);
        let height = self.peak_factor.powf(cycle).min(f64::MAX);
        let wave = 0.5 * height * (1.0 + (PI * x).cos());
        (self.start * ((1.0 - self.alpha) * wave + self.alpha)).clamp(0.0, self.peak())
    }

    fn end_rate(&self, step: u64) -> f64 {
        let (cycle, x) = self.locate(step);
        // Where a cycle starts, up to a rounding error, the previous one has reached its end.
        let into = x * self.multiplier.powf(cycle) * self.cycle as f64;
        if step > 0 && into < 1e-6 { self.low() } else { self.rate(step) }
    }

    fn cycle_end(&self, from: u64) -> Option<u64> {
        last_of_cycle(from, |step| self.locate(step).0)
    }

    fn peak(&self) -> f64 {
        if self.peak_factor > 1.0 && self.alpha < 1.0 {
            f64::MAX
        } else {
            self.start.max(self.low())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{refused, resolved};

    fn restarts(cycle: u64, multiplier: f64, peak_factor: f64, alpha: f64) -> KerasRestarts {
        KerasRestarts { start: 1.0, cycle: Span::steps(cycle), multiplier, peak_factor, alpha }
    }

    #[test]
    fn peaks_decay_towards_alpha() {
        let schedule = resolved(restarts(10, 2.0, 0.5, 0.2), 100);
        assert_eq!(schedule.rate(0), 1.0);
        for (start, height) in [(10, 0.5), (30, 0.25), (70, 0.125)] {
            assert!((schedule.rate(start) - (0.8 * height + 0.2)).abs() < 1e-14, "{start}");
        }
        assert!((schedule.rate(20) - (0.8 * 0.25 + 0.2)).abs() < 1e-14);
    }

    #[test]
    fn a_cycle_that_the_logarithm_misses_begins_one_update_late() {
        // In f64, ln 243 / ln 3 is below 5, so cycle 5 of a tripling length is not found at its boundary.
        let schedule = resolved(restarts(2, 3.0, 1.0, 0.0), 1_000);
        assert!(schedule.rate(242) < 1e-15);
        assert!(schedule.rate(243) > 0.99);
    }

    #[test]
    fn the_end_of_a_run_on_a_border_does_not_hold_the_next_peak() {
        let schedule = resolved(restarts(10, 2.0, 1.0, 0.1), 30);
        assert_eq!(schedule.rate(30), 0.1);
    }

    #[test]
    fn growing_peaks_stay_finite() {
        let schedule = resolved(restarts(1, 1.0, 10.0, 0.5), 1 << 62);
        assert_eq!(schedule.rate(2), 0.5 * 100.0 + 0.5);
        assert_eq!(schedule.rate(1 << 40), 0.5 * f64::MAX);
    }

    #[test]
    fn refuses_each_field() {
        let ok = restarts(10, 2.0, 1.0, 0.0);
        let name = |field: &str| format!("keras_restarts.{field}");
        assert_eq!(refused(KerasRestarts { start: 0.0, ..ok.clone() }), name("start"));
        assert_eq!(refused(restarts(0, 2.0, 1.0, 0.0)), name("cycle"));
        assert_eq!(refused(restarts(10, 0.5, 1.0, 0.0)), name("multiplier"));
        assert_eq!(refused(restarts(10, 2.0, -1.0, 0.0)), name("peak_factor"));
        assert_eq!(refused(restarts(10, 2.0, 1.5, 1.5)), name("peak_factor"));
        assert_eq!(refused(restarts(10, 2.0, 1.0, -0.1)), name("alpha"));
        assert_eq!(refused(KerasRestarts { start: 10.0, alpha: f64::MAX, ..ok }), name("alpha"));
    }
}
