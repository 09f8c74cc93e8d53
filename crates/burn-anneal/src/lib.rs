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
mod checkpoint;
mod clip;
pub mod decay;
pub mod groups;
mod learner;
pub mod momentum;
pub mod precision;
mod scheduler;

pub use anneal_schedule as schedule;
pub use annealed::Annealed;
pub use checkpoint::{CheckpointError, SavedEpoch};
pub use clip::{ClipError, Clipped, GlobalNormClip};
pub use learner::{BuildError, GradientReduction, LearnerBuilder};
pub use scheduler::{InitScheduler, OnMismatch, SavedStep, Scheduler};

/// What a training program needs: the builders of schedules, spans, the run's length, and what
/// makes a Burn `Learner` of them.
pub mod prelude {
    pub use crate::decay::{Decayed, TakeWeightDecay};
    pub use crate::groups::{Group, GroupError, GroupsConfig, LayerMap, Selection, layer_decay};
    pub use crate::momentum::{RateInsideSgd, ScheduledAdam, ScheduledMomentum};
    pub use crate::precision::{
        GradScaler, LossScaling, MasterWeights, OnSkip, RateCap, ScaleLoss,
    };
    pub use crate::{
        Annealed, BuildError, CheckpointError, GlobalNormClip, GradientReduction, InitScheduler,
        LearnerBuilder, OnMismatch, SavedEpoch, Scheduler,
    };
    pub use anneal_schedule::prelude::*;
    pub use burn::lr_scheduler::LrScheduler;
}
