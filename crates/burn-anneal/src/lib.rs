//! Learning-rate schedules, weight decay, momentum, per-layer rates, weight averages, half precision and a learner
//! builder for [Burn](https://burn.dev).
//!
//! ```
//! use burn_anneal::prelude::*;
//!
//! let run = RunLength::from_items(50_000, 64).epochs(10);
//! let schedule = cosine(3e-4).end(1e-6).warmup(Span::percent(5.0));
//!
//! // One line of a hand-written loop:
//! let mut scheduler = Scheduler::new(schedule, run)?;
//! let rate = scheduler.step();
//! # assert!(rate > 0.0);
//! # Ok::<(), ScheduleError>(())
//! ```
//!
//! [`LearnerBuilder`] combines model, optimizer and schedule. [`launch`](LearnerBuilder::launch) trains them with
//! Burn's `SupervisedTraining`, which sets the length of the run. The builder also makes a Burn `Learner` for Burn's
//! own loop, a [`TrainingLoop`] for your own, or a [`PrivateLoop`] with differential privacy.
//! `Learner::new(model, optimizer, Scheduler::new(schedule, run)?)` works too.

mod annealed;
mod average;
mod build_error;
mod builder;
mod checkpoint;
pub mod decay;
mod deep_copy;
mod ensemble;
mod epoch_events;
mod explore;
mod federation;
mod finder;
#[cfg(feature = "flex")]
mod fused;
pub mod groups;
#[cfg(test)]
mod guarantees;
mod launch;
mod loader;
mod merge;
pub mod momentum;
mod optimizers;
pub mod precision;
mod private;
mod pruning;
mod resume;
pub mod schedule_free;
mod scheduler;
mod search;
mod snapshots;
mod tasks;
mod training_loop;
mod update;

pub use anneal_config as config;
pub use anneal_config::{ControllerConfig, GradientReduction, NotFinite, TrainingConfig};
pub use anneal_control as control;
pub use anneal_plan as plan;
pub use anneal_schedule as schedule;
pub use annealed::Annealed;
pub use average::{
    Average, AverageError, AveragedModel, EvaluateError, Evaluation, Weights, evaluate,
    recompute_statistics,
};
pub use build_error::BuildError;
pub use builder::{LearnerBuilder, Resume};
pub use checkpoint::{Checkpoint, CheckpointError, Checkpoints};
pub use ensemble::{Ensemble, EnsembleError, MeanOf, Pairs, PredictionDiversity, WeightDiversity};
pub use epoch_events::EpochEvents;
pub use explore::{Candidate, ExploreError, ExploreTrainings};
pub use federation::{
    ClientSplit, Federation, FederationBuilder, FederationError, Round, SplitError,
};
pub use finder::{FindError, FinderProgress, FirstRateFound, LrFinder, WarmupFound};
#[cfg(feature = "flex")]
pub use fused::{Fusable, Fused, FusedState};
pub use launch::Finished;
pub use loader::{ChaCha8Rng, EpochStart, SeededBatcher, SeededLoader};
pub use merge::{MergeError, SavedWeights, merge};
pub use private::{BestRate, DifferentialPrivacy, PoissonLoader, PrivateLoop};
pub use pruning::{MagnitudePruning, PruningError, PruningMask};
pub use resume::OnMismatch;
pub use scheduler::{SavedStep, Scheduler};
pub use search::{SearchTrainings, Searched};
pub use snapshots::{Snapshot, Snapshots};
pub use tasks::{NoCosine, TaskCosine, TaskError, TaskGradients, TaskLoss};
pub use training_loop::TrainingLoop;
pub use update::{
    ClipError, Clipped, GlobalNormClip, LogUpdates, Monitor, Monitored, OnSkip, RunMetrics,
    ScaledBackward, UpdateError, UpdateMetric, Updated, Watch,
};

/// Everything for a training program: schedule builders, spans, run lengths, and this crate's types.
pub mod prelude {
    pub use crate::Resume::{self, Newest};
    pub use crate::decay::{Decayed, TakeWeightDecay};
    pub use crate::groups::{
        Group, GroupError, GroupsConfig, LayerMap, ResolveGroups, Selection, layer_decay,
    };
    pub use crate::momentum::{
        RateInsideSgd, ScheduledAdam, ScheduledAdamConfig, ScheduledMomentum,
    };
    pub use crate::precision::{HalfPrecision, LossScaling, MasterWeights, OverflowCap};
    pub use crate::schedule_free::ScheduleFree;
    pub use crate::{
        Annealed, Average, AverageError, AveragedModel, BestRate, BuildError, Checkpoint,
        CheckpointError, Checkpoints, ClientSplit, DifferentialPrivacy, Ensemble, EnsembleError,
        EpochEvents, EpochStart, ExploreError, ExploreTrainings, Federation, FederationBuilder,
        FederationError, FindError, Finished, GlobalNormClip, GradientReduction, LearnerBuilder,
        LogUpdates, LrFinder, MagnitudePruning, MeanOf, MergeError, Monitored, NotFinite,
        OnMismatch, OnSkip, PoissonLoader, PrivateLoop, PruningMask, RunMetrics, ScaledBackward,
        Scheduler, SearchTrainings, SeededBatcher, SeededLoader, Snapshot, Snapshots,
        TaskGradients, TrainingConfig, TrainingLoop, UpdateError, Watch, Weights, merge,
    };
    pub use anneal_control::Describe;
    pub use anneal_schedule::prelude::{
        AfterEnd, AnnealStrategy, CycleScaling, Decay, DecayShape, FileError, Level, OutOfRange,
        Ramp, RateDrop, RunLength, Schedule, ScheduleConfig, ScheduleError, ScheduleExt, Span,
        Stable, TextError, WeightDecay, constant, cosine, cyclic, exponential, inverse_sqrt,
        inverse_time, linear, multi_step, noam, one_cycle, piecewise_constant,
        piecewise_interpolate, polynomial, power_law, stable_decay, step_decay, warm_restarts,
        warmup_stable_decay,
    };
    pub use burn::lr_scheduler::LrScheduler;
}

/// The code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
