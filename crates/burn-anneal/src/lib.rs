//! Learning-rate schedules, weight decay, momentum, rates per layer, half precision and a learner builder for
//! [Burn](https://burn.dev).
//!
//! ```
//! use burn_anneal::prelude::*;
//!
//! let run = RunLength::from_items(50_000, 64).epochs(10);
//! let schedule = cosine(3e-4).floor(1e-6).warmup(Span::percent(5.0));
//!
//! // One line of a hand-written loop:
//! let mut scheduler = schedule.init(run)?;
//! let rate = scheduler.step();
//! # assert!(rate > 0.0);
//! # Ok::<(), ScheduleError>(())
//! ```
//!
//! With Burn's `Learner`, [`LearnerBuilder`] puts model, optimizer, schedule and run together and
//! ends in Burn's own type; `Learner::new(model, optimizer, schedule.init(run)?)` works too.

mod annealed;
mod build_error;
mod builder;
mod checkpoint;
pub mod decay;
pub mod groups;
pub mod momentum;
mod optimizers;
pub mod precision;
mod scheduler;
mod training_loop;
mod update;

pub use anneal_control as control;
pub use anneal_schedule as schedule;
pub use annealed::Annealed;
pub use build_error::BuildError;
pub use builder::{GradientReduction, LearnerBuilder, NotFinite};
pub use checkpoint::{CheckpointError, SavedEpoch};
pub use scheduler::{InitScheduler, OnMismatch, SavedStep, Scheduler};
pub use training_loop::TrainingLoop;
pub use update::{
    ClipError, Clipped, GlobalNormClip, Monitor, Monitored, OnSkip, ScaledBackward, UpdateError,
    UpdateMetric, Updated,
};

/// What a training program needs: the builders of schedules, spans, the run's length, and what
/// makes a Burn `Learner` of them.
pub mod prelude {
    pub use crate::decay::{Decayed, TakeWeightDecay};
    pub use crate::groups::{Group, GroupError, GroupsConfig, LayerMap, Selection, layer_decay};
    pub use crate::momentum::{RateInsideSgd, ScheduledAdam, ScheduledMomentum};
    pub use crate::precision::{HalfPrecision, LossScaling, MasterWeights, RateCap};
    pub use crate::{
        Annealed, BuildError, CheckpointError, GlobalNormClip, GradientReduction, InitScheduler,
        LearnerBuilder, Monitored, NotFinite, OnMismatch, OnSkip, SavedEpoch, ScaledBackward,
        Scheduler, TrainingLoop, UpdateError,
    };
    pub use anneal_schedule::prelude::*;
    pub use burn::lr_scheduler::LrScheduler;
}
