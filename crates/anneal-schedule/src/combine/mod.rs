//! The combinators: schedules from schedules, and the builder calls that make them.

mod bounds;
mod pointwise;
mod sequence;
mod warmup;

pub use bounds::{Cap, Floor};
pub use pointwise::{Maximum, Minimum, Product, Scale, Sum, maximum, minimum, product, sum};
pub use sequence::{Part, Sequence, sequence};
pub use warmup::{Ramp, Warmup};

use crate::{RunLength, Schedule, ScheduleConfig, ScheduleError, Span};

/// The builder calls that every description has: curves, combinators and [`ScheduleConfig`].
///
/// Growing a description never fails; [`resolve`](Build::resolve) checks it all at once.
///
/// ```
/// use anneal_schedule::prelude::*;
/// let config = cosine(3e-4).floor(1e-6).warmup(Span::percent(5.0));
/// assert_eq!(config.to_string(), "cosine(0.0003).floor(1e-6).warmup(5%)");
/// # Ok::<(), ScheduleError>(())
/// ```
pub trait Build: Into<ScheduleConfig> {
    /// Puts a linear [`Warmup`] of `length` before it, which shifts it.
    fn warmup(self, length: Span) -> Warmup {
        Warmup::new(length, self)
    }

    /// Goes on with `next` after `length`: a [`Sequence`].
    fn then(self, length: Span, next: impl Into<ScheduleConfig>) -> Sequence {
        Sequence::start(self.into()).then(length, next)
    }

    /// Never below `floor`: a [`Floor`].
    fn floor(self, floor: f64) -> Floor {
        Floor { floor, schedule: Box::new(self.into()) }
    }

    /// Never above `cap`: a [`Cap`].
    fn cap(self, cap: f64) -> Cap {
        Cap { cap, schedule: Box::new(self.into()) }
    }

    /// `factor` times as much: a [`Scale`].
    fn scale(self, factor: f64) -> Scale {
        Scale { factor, schedule: Box::new(self.into()) }
    }

    /// The [`Product`] with `other`, point by point.
    fn times(self, other: impl Into<ScheduleConfig>) -> Product {
        product([self.into(), other.into()])
    }

    /// The [`Sum`] with `other`, point by point.
    fn plus(self, other: impl Into<ScheduleConfig>) -> Sum {
        sum([self.into(), other.into()])
    }

    /// Checks the whole description against the length of the run and gives the schedule.
    ///
    /// # Errors
    /// [`ScheduleError`] names the field, the value and the allowed range.
    fn resolve(self, run: RunLength) -> Result<Schedule, ScheduleError> {
        Schedule::new(&self.into(), run.resolve()?)
    }
}

impl<T: Into<ScheduleConfig>> Build for T {}
