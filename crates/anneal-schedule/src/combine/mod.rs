//! The combinators, which make schedules from schedules, and the builder calls that create them.

mod bounds;
mod by_samples;
mod delay;
mod follow_batch_size;
mod follow_momentum;
mod follow_noise;
mod follow_temperature;
mod list;
mod mechanical_momentum;
mod phase;
mod pointwise;
mod repeat;
mod sequence;
mod smooth;
mod stretch;
mod truncate;
mod warmup;

pub use bounds::{Cap, Floor};
pub use by_samples::BySamples;
pub use delay::Delay;
pub use follow_batch_size::{FollowBatchSize, linear_scaling, square_root_scaling};
pub use follow_momentum::FollowMomentum;
pub use follow_noise::{FollowNoise, noise_weights};
pub use follow_temperature::{FollowTemperature, temperature_drop_factor};
pub use list::IntoList;
pub use mechanical_momentum::MechanicalMomentum;
pub use phase::Phase;
pub use pointwise::{Maximum, Minimum, Product, Scale, Sum, maximum, minimum, product, sum};
pub use repeat::Repeat;
pub use sequence::{Part, Sequence, sequence};
pub use smooth::{MAX_EVALUATIONS, Smooth};
pub use stretch::Stretch;
pub use truncate::Truncate;
pub(crate) use truncate::untruncated;
pub use warmup::{Ramp, Warmup};

use crate::{Level, RunLength, Schedule, ScheduleConfig, ScheduleError, Span};

/// The builder calls that every description has: curves, combinators and [`ScheduleConfig`].
///
/// Extending a description never fails; [`resolve`](ScheduleExt::resolve) checks it as a whole.
///
/// ```
/// use anneal_schedule::prelude::*;
/// let config = cosine(3e-4).end(1e-6).warmup(Span::percent(5.0));
/// assert_eq!(config.to_string(), "cosine(0.0003).end(1e-6).warmup(5%)");
/// # Ok::<(), ScheduleError>(())
/// ```
pub trait ScheduleExt: Into<ScheduleConfig> {
    /// Adds a linear [`Warmup`] of `length` before this schedule, which shifts it.
    fn warmup(self, length: Span) -> Warmup {
        Warmup::new(length, self)
    }

    /// Continues with `next` after `length`: a [`Sequence`].
    fn then(self, length: Span, next: impl Into<ScheduleConfig>) -> Sequence {
        Sequence::start(self.into()).then(length, next)
    }

    /// Bounds the rate below by `floor`: a [`Floor`].
    fn floor(self, floor: impl Into<Level>) -> Floor {
        Floor { floor: floor.into(), schedule: Box::new(self.into()) }
    }

    /// Bounds the rate above by `cap`: a [`Cap`].
    fn cap(self, cap: impl Into<Level>) -> Cap {
        Cap { cap: cap.into(), schedule: Box::new(self.into()) }
    }

    /// Multiplies the rate by `factor`: a [`Scale`].
    fn scale(self, factor: f64) -> Scale {
        Scale { factor, schedule: Box::new(self.into()) }
    }

    /// Repeats it every `every` to the end of the run: a [`Repeat`].
    fn repeat_every(self, every: Span) -> Repeat {
        Repeat { every, count: None, schedule: Box::new(self.into()) }
    }

    /// Repeats it `count` times in equal parts of the run: a [`Repeat`].
    fn repeat_times(self, count: u64) -> Repeat {
        Repeat { every: Span::Rest, count: Some(count), schedule: Box::new(self.into()) }
    }

    /// Delays it by `length`, during which its first rate is held: a [`Delay`].
    fn delay(self, length: Span) -> Delay {
        Delay { length, schedule: Box::new(self.into()) }
    }

    /// Makes it `factor` times as slow: a [`Stretch`].
    fn stretch(self, factor: f64) -> Stretch {
        Stretch { factor, schedule: Box::new(self.into()) }
    }

    /// Makes it move with the samples rather than with the updates: a [`BySamples`].
    fn by_samples(self) -> BySamples {
        BySamples::new(self.into())
    }

    /// Cuts it off where the run ends, keeping the rates of the longer run it was made for: a [`Truncate`].
    fn truncate(self) -> Truncate {
        Truncate { length: Span::Rest, schedule: Box::new(self.into()) }
    }

    /// Starts a periodic schedule `shift` after its start: a [`Phase`].
    fn phase(self, shift: Span) -> Phase {
        Phase { shift, schedule: Box::new(self.into()) }
    }

    /// Averages it over the last `window`: a [`Smooth`].
    fn smooth(self, window: Span) -> Smooth {
        Smooth { window, schedule: Box::new(self.into()) }
    }

    /// The rate that keeps `noise_scale`, the rate per sample in a batch, if this is the batch size: a
    /// [`FollowBatchSize`].
    fn follow_batch_size(self, noise_scale: f64) -> FollowBatchSize {
        FollowBatchSize { noise_scale, schedule: Box::new(self.into()) }
    }

    /// The rate `peak` / (1 + β) if this is the β of a diffusion process: a [`FollowNoise`].
    fn follow_noise(self, peak: f64) -> FollowNoise {
        FollowNoise { peak, schedule: Box::new(self.into()) }
    }

    /// The rate that critically damps Nesterov's method at `curvature` if this is its momentum: a
    /// [`FollowMomentum`].
    fn follow_momentum(self, curvature: f64) -> FollowMomentum {
        FollowMomentum { curvature, schedule: Box::new(self.into()) }
    }

    /// The momentum of a particle under `friction` if this is the rate: a [`MechanicalMomentum`].
    fn mechanical_momentum(self, friction: f64) -> MechanicalMomentum {
        MechanicalMomentum { friction, schedule: Box::new(self.into()) }
    }

    /// The rate `ratio` times the temperature, if this is the temperature: a [`FollowTemperature`].
    fn follow_temperature(self, ratio: f64) -> FollowTemperature {
        FollowTemperature { ratio, schedule: Box::new(self.into()) }
    }

    /// The [`Product`] with `other`, point by point.
    fn times(self, other: impl Into<ScheduleConfig>) -> Product {
        product([self.into(), other.into()])
    }

    /// The [`Sum`] with `other`, point by point.
    fn plus(self, other: impl Into<ScheduleConfig>) -> Sum {
        sum([self.into(), other.into()])
    }

    /// Checks the whole description against the length of the run and returns the schedule.
    ///
    /// # Errors
    /// [`ScheduleError`] names the field, the value and the allowed range.
    fn resolve(self, run: RunLength) -> Result<Schedule, ScheduleError> {
        Schedule::new(&self.into(), run.resolve()?)
    }
}

impl<T: Into<ScheduleConfig>> ScheduleExt for T {}
