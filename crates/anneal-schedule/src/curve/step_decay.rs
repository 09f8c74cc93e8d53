//! Step decay.

use super::pieces::{MAX_PIECES, Piece, Shape, cut};
use super::{Describe, Rate, tail::Tail};
use crate::{Length, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// η(t) = peak · γ^⌊t / every⌋: the rate drops by a factor at regular intervals.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `peak` | learning rate | finite, above 0 |
/// | `every` | span | inside the run |
/// | `gamma` | factor per drop | (0, 1]; default 0.1 in files and texts |
///
/// Source: He et al. 2016, "Deep residual learning"; torch `StepLR`.
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = step_decay(0.1, Span::epochs(30), 0.1)
///     .resolve(RunLength::updates_per_epoch(100).epochs(90))?;
/// assert_eq!(schedule.rate(2_999), 0.1);
/// assert!((schedule.rate(3_000) - 0.01).abs() < 1e-15);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
pub struct StepDecay<L: Length = Span> {
    /// The rate before the first drop.
    pub peak: f64,
    /// The interval between drops.
    pub every: L,
    /// The factor of each drop.
    #[serde(default = "super::tenth")]
    pub gamma: f64,
}

/// A [`StepDecay`] from `peak` by the factor `gamma` after each `every`.
pub fn step_decay(peak: f64, every: Span, gamma: f64) -> StepDecay {
    StepDecay { peak, every, gamma }
}

impl Describe for StepDecay {
    type Resolved = StepDecay<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<StepDecay<u64>, ScheduleError> {
        Ok(StepDecay {
            peak: scope.positive("peak", self.peak)?,
            every: scope.length("every", self.every)?,
            gamma: scope.factor("gamma", self.gamma)?,
        })
    }
}

impl Rate for StepDecay<u64> {
    fn rate(&self, step: u64) -> f64 {
        self.peak * self.gamma.powf((step / self.every) as f64)
    }

    /// Computes one power per level instead of one per update.
    fn fill(&self, mut first: u64, mut rates: &mut [f64]) {
        while !rates.is_empty() {
            let left = usize::try_from(self.every - first % self.every).unwrap_or(usize::MAX);
            let (level, rest) = rates.split_at_mut(left.min(rates.len()));
            level.fill(self.rate(first));
            first = first.saturating_add(level.len() as u64);
            rates = rest;
        }
    }

    fn end_rate(&self, step: u64) -> f64 {
        self.rate(step.saturating_sub(1))
    }

    fn peak(&self) -> f64 {
        self.peak
    }

    fn tail(&self) -> Tail {
        if self.gamma < 1.0 { Tail::Geometric } else { Tail::settled(self.peak) }
    }

    fn pieces(&self, steps: u64) -> Option<Vec<Piece>> {
        if self.gamma == 1.0 {
            return Some(cut([(steps, Shape::Constant(self.peak))], steps));
        }
        let levels = steps.div_ceil(self.every);
        let level = |n| (self.every, Shape::Constant(self.rate(n * self.every)));
        (levels <= MAX_PIECES).then(|| cut((0..levels).map(level), steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{refused, resolved};

    #[test]
    fn halves_every_three_updates() {
        let schedule = resolved(step_decay(8.0, Span::steps(3), 0.5), 12);
        let rates: Vec<f64> = (0..12).map(|step| schedule.rate(step)).collect();
        assert_eq!(rates, [8.0, 8.0, 8.0, 4.0, 4.0, 4.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn refuses_each_field() {
        assert_eq!(refused(step_decay(0.0, Span::steps(3), 0.5)), "step_decay.peak");
        for every in [Span::steps(0), Span::steps(101), Span::epochs(-1), Span::percent(f64::NAN)] {
            assert_eq!(refused(step_decay(1.0, every, 0.5)), "step_decay.every");
        }
        for gamma in [0.0, -0.5, 1.1, f64::NAN] {
            assert_eq!(refused(step_decay(1.0, Span::steps(3), gamma)), "step_decay.gamma");
        }
    }
}
