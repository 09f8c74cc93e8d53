//! Multi-step decay.

use super::pieces::{Piece, Shape, cut};
use super::{Describe, Rate, tail::Tail};
use crate::{Length, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// η(t) = peak · γ^(number of milestones ≤ t).
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `peak` | learning rate | finite, above 0 |
/// | `milestones` | spans from the start of the schedule | 0 … end of the run, at least one; any order; a repeated one drops twice |
/// | `gamma` | factor per milestone | (0, 1]; default 0.1 in files and texts |
///
/// Source: torch `MultiStepLR`. A milestone of 0 is allowed: the first update then has the lower rate.
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = multi_step(0.1, [Span::percent(50), Span::percent(75)], 0.1)
///     .resolve(RunLength::updates(200))?;
/// assert_eq!(schedule.rate(99), 0.1);
/// assert!((schedule.rate(150) - 0.001).abs() < 1e-15);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
pub struct MultiStep<L: Length = Span> {
    /// The rate before the first milestone.
    pub peak: f64,
    /// The positions of the drops.
    pub milestones: Vec<L>,
    /// The factor of each drop.
    #[serde(default = "super::tenth")]
    pub gamma: f64,
}

/// A [`MultiStep`] decay from `peak` by the factor `gamma` at each of `milestones`.
pub fn multi_step(peak: f64, milestones: impl Into<Vec<Span>>, gamma: f64) -> MultiStep {
    MultiStep { peak, milestones: milestones.into(), gamma }
}

impl Describe for MultiStep {
    type Resolved = MultiStep<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<MultiStep<u64>, ScheduleError> {
        if self.milestones.is_empty() {
            return Err(scope.out_of_range("milestones", "[]".into(), "at least one milestone"));
        }
        let mut milestones = self
            .milestones
            .iter()
            .enumerate()
            .map(|(i, &span)| scope.milestone(&format!("milestones[{i}]"), span))
            .collect::<Result<Vec<u64>, _>>()?;
        milestones.sort_unstable();
        Ok(MultiStep {
            peak: scope.positive("peak", self.peak)?,
            milestones,
            gamma: scope.factor("gamma", self.gamma)?,
        })
    }
}

impl Rate for MultiStep<u64> {
    fn rate(&self, step: u64) -> f64 {
        let passed = self.milestones.partition_point(|&milestone| milestone <= step);
        self.peak * self.gamma.powf(passed as f64)
    }

    fn end_rate(&self, step: u64) -> f64 {
        self.rate(step.saturating_sub(1))
    }

    fn peak(&self) -> f64 {
        self.peak
    }

    fn tail(&self) -> Tail {
        Tail::settled(self.rate(u64::MAX))
    }

    fn pieces(&self, steps: u64) -> Option<Vec<Piece>> {
        let starts = std::iter::once(0).chain(self.milestones.iter().copied());
        let ends = self.milestones.iter().copied().chain([u64::MAX]);
        let levels = starts.zip(ends);
        Some(cut(
            levels.map(|(start, end)| (end - start, Shape::Constant(self.rate(start)))),
            steps,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{refused, resolved};

    #[test]
    fn drops_at_milestones_in_any_order_and_at_zero() {
        let steps = [5, 0, 2, 5].map(Span::steps);
        let schedule = resolved(multi_step(16.0, steps, 0.5), 10);
        let rates: Vec<f64> = (0..7).map(|step| schedule.rate(step)).collect();
        assert_eq!(rates, [8.0, 8.0, 4.0, 4.0, 4.0, 1.0, 1.0]);
    }

    #[test]
    fn refuses_each_field() {
        let at = [Span::steps(5)];
        assert_eq!(refused(multi_step(-1.0, at, 0.5)), "multi_step.peak");
        assert_eq!(refused(multi_step(1.0, [], 0.5)), "multi_step.milestones");
        let late = [Span::steps(5), Span::steps(101)];
        assert_eq!(refused(multi_step(1.0, late, 0.5)), "multi_step.milestones[1]");
        assert_eq!(refused(multi_step(1.0, at, 2.0)), "multi_step.gamma");
    }
}
