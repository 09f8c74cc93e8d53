//! Lower and upper bounds of the rate.

use crate::curve::{Describe, Inner, Rate, pieces::Piece, tail::Tail};
use crate::{Length, ScheduleConfig, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// η(t) = max(inner(t), floor).
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `floor` | learning rate, or share of the peak of the schedule inside | above 0, at most that peak |
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = linear(1.0, 0.0).floor(0.3).resolve(RunLength::updates(4))?;
/// assert_eq!([0, 2, 3, 4].map(|step| schedule.rate(step)), [1.0, 0.5, 0.3, 0.3]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
pub struct Floor<L: Length = Span> {
    /// The lowest rate.
    pub floor: L::Level,
    /// The schedule to bound.
    pub schedule: Box<ScheduleConfig<L>>,
}

/// η(t) = min(inner(t), cap).
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `cap` | learning rate, or share of the peak of the schedule inside | finite, above 0 |
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = linear(1.0, 0.0).cap(0.6).resolve(RunLength::updates(4))?;
/// assert_eq!([0, 2].map(|step| schedule.rate(step)), [0.6, 0.5]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
pub struct Cap<L: Length = Span> {
    /// The highest rate.
    pub cap: L::Level,
    /// The schedule to bound.
    pub schedule: Box<ScheduleConfig<L>>,
}

impl Describe for Floor {
    type Resolved = Floor<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<Floor<u64>, ScheduleError> {
        let schedule = Box::new(self.schedule.resolve_in(&scope.inside("schedule")?)?);
        let peak = schedule.peak();
        let allowed = format!("above 0, at most the schedule's peak {peak:?}");
        let floor = scope.level("floor", self.floor, peak)?;
        let ok = floor > 0.0 && floor <= peak;
        Ok(Floor { floor: scope.require("floor", floor, ok, &allowed)?, schedule })
    }
}

impl Rate for Floor<u64> {
    fn rate(&self, step: u64) -> f64 {
        self.schedule.rate(step).max(self.floor)
    }

    fn end_rate(&self, step: u64) -> f64 {
        self.schedule.end_rate(step).max(self.floor)
    }

    fn peak(&self) -> f64 {
        self.schedule.peak()
    }

    fn tail(&self) -> Tail {
        self.schedule.tail().floored(self.floor)
    }

    fn pieces(&self, steps: u64) -> Option<Vec<Piece>> {
        let clip = |piece: Piece| piece.clipped(self.floor, |rate| rate < self.floor);
        Some(self.schedule.pieces(steps)?.into_iter().flat_map(clip).collect())
    }

    fn inner(&self) -> Vec<Inner<'_>> {
        vec![Inner::whole(&self.schedule)]
    }
}

impl Describe for Cap {
    type Resolved = Cap<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<Cap<u64>, ScheduleError> {
        let schedule = Box::new(self.schedule.resolve_in(&scope.inside("schedule")?)?);
        let cap = scope.level("cap", self.cap, schedule.peak())?;
        Ok(Cap { cap: scope.positive("cap", cap)?, schedule })
    }
}

impl Rate for Cap<u64> {
    fn rate(&self, step: u64) -> f64 {
        self.schedule.rate(step).min(self.cap)
    }

    fn end_rate(&self, step: u64) -> f64 {
        self.schedule.end_rate(step).min(self.cap)
    }

    fn peak(&self) -> f64 {
        self.schedule.peak().min(self.cap)
    }

    fn tail(&self) -> Tail {
        self.schedule.tail().capped(self.cap)
    }

    fn pieces(&self, steps: u64) -> Option<Vec<Piece>> {
        let clip = |piece: Piece| piece.clipped(self.cap, |rate| rate > self.cap);
        Some(self.schedule.pieces(steps)?.into_iter().flat_map(clip).collect())
    }

    fn inner(&self) -> Vec<Inner<'_>> {
        vec![Inner::whole(&self.schedule)]
    }
}

#[cfg(test)]
mod tests {
    use crate::combine::ScheduleExt;
    use crate::curve::{constant, cosine, refused};

    #[test]
    fn a_floor_above_the_peak_is_refused() {
        for floor in [0.0, -1.0, 1.5, f64::NAN] {
            assert_eq!(refused(cosine(1.0).floor(floor)), "floor.floor");
        }
        assert_eq!(refused(cosine(1.0).cap(0.5).floor(0.6)), "floor.floor");
    }

    #[test]
    fn a_cap_must_leave_a_rate() {
        for cap in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(refused(constant(1.0).cap(cap)), "cap.cap");
        }
    }
}
