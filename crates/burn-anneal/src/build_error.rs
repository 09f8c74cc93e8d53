//! The errors of the builder.

use crate::average::AverageError;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::decay::DecayError;
use crate::groups::GroupError;
use crate::precision::{OutOfRange, PrecisionError};
use crate::update::{ClipError, UpdateError};
use anneal_config::ConfigError;
use anneal_control::{RestoreError, SetupError};
use anneal_schedule::{AgreementError, ScheduleError};
use burn::train::TrainingError;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;

/// Why a learner or a loop cannot be built or launched.
#[derive(Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A value in the file of the training is wrong, or does not fit the model.
    #[error("{place}: {error}")]
    InFile {
        /// File, line and column.
        place: String,
        /// What is wrong.
        error: Box<ConfigError>,
    },
    /// Parts of the description contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The schedule does not fit the run, or has a field out of its range.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The norm to clip to is out of its range.
    #[error(transparent)]
    Clip(#[from] ClipError),
    /// The groups do not fit the model or the run.
    #[error(transparent)]
    Groups(#[from] GroupError),
    /// The averages do not fit the model or the run.
    #[error(transparent)]
    Average(#[from] AverageError),
    /// The weight decay does not fit the optimizer.
    #[error(transparent)]
    Decay(#[from] DecayError),
    /// The device of the model records no gradients.
    #[error("model: its device records no gradients; create it on `device.autodiff()`")]
    NotAutodiff,
    /// A value of one of this crate's optimizers is out of its range.
    #[error(transparent)]
    Momentum(OutOfRange),
    /// A momentum schedule is given for an optimizer that does not follow it.
    #[error(
        "momentum: {optimizer} does not follow a momentum schedule; train with ScheduledAdam, or wrap Burn's SGD: \
         ScheduledMomentum::from(SgdConfig::new())"
    )]
    MomentumIgnored {
        /// The optimizer.
        optimizer: String,
    },
    /// A policy for rate drops is given for an optimizer whose velocity does not contain the rate.
    #[error(
        "rate_drop: the velocity of {optimizer} does not contain the rate, so a drop takes full effect at once; remove \
         rate_drop, or train with RateInsideSgd"
    )]
    RateDropIgnored {
        /// The optimizer.
        optimizer: String,
    },
    /// The schedule lowers a rate under an optimizer that averages weights instead.
    #[error(
        "schedule: {optimizer} replaces a falling rate by averaging, but the rate of `{group}` falls from \
         {before} to {rate} at update {update}; train at a constant rate, with constant(…) or \
         constant(…).warmup(…), or with another optimizer"
    )]
    RateFalls {
        /// The optimizer.
        optimizer: String,
        /// The group.
        group: String,
        /// The first update with a lower rate.
        update: u64,
        /// Its rate.
        rate: f64,
        /// The largest rate before it.
        before: f64,
    },
    /// The optimizer is wrapped in master weights, which the builder adds itself.
    #[error(
        "optimizer: the builder cannot set rates and decays inside MasterWeights; give the bare optimizer, and call \
         LearnerBuilder::half_precision"
    )]
    MasterWeights,
    /// The optimizer does not support one of its parameters.
    #[error(
        "optimizer: {optimizer} does not support `{path}`, which has {rank} dimensions: {reason}; give such parameters another optimizer with LearnerBuilder::optimizer_for"
    )]
    OptimizerRefuses {
        /// The optimizer.
        optimizer: String,
        /// The parameter.
        path: String,
        /// Its dimensions.
        rank: usize,
        /// What the optimizer reports.
        reason: String,
    },
    /// All parameters of an optimizer get another one.
    #[error(
        "optimizer_for: later calls select all parameters of `{selection}` again, and the last one wins; remove this call"
    )]
    OptimizerUnused {
        /// What the optimizer was given for.
        selection: String,
    },
    /// A value of a built-in controller, for example loss scaling or the cap on the rate, is out of its range.
    #[error("{part}: {error}")]
    Control {
        /// The part of the builder.
        part: &'static str,
        /// What is wrong with it.
        error: OutOfRange,
    },
    /// A value of a controller is out of its range.
    #[error("controller: `{controller}`: {error}")]
    Controller {
        /// Its name.
        controller: String,
        /// What is wrong with it.
        error: OutOfRange,
    },
    /// The controllers do not fit together, or do not fit the groups.
    #[error("controller: {0}")]
    Controllers(SetupError),
    /// The log of updates cannot be written or continued.
    #[error("log_updates: {}: {reason}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The state of a controller is not restored as it was saved.
    #[error(
        "controller: {0}; its State must be JSON with finite numbers, and restore must accept what state() returns"
    )]
    ControllerState(RestoreError),
    /// A controller needs the loss, which is not known.
    #[error(
        "controller: `{controller}` needs the loss, but the output type of the model's TrainStep is unknown; call \
         LearnerBuilder::loss(|output| output.loss.clone())"
    )]
    LossUnknown {
        /// Its name.
        controller: String,
    },
    /// A controller repeats batches, which are not kept.
    #[error(
        "controller: `{controller}` repeats a batch after the update; call LearnerBuilder::repeat_batches(), which \
         needs the model's Input to be Clone"
    )]
    NoBatchAgain {
        /// Its name.
        controller: String,
    },
    /// A controller does not work with delayed signals.
    #[error(
        "delay_signals: the controller `{controller}` decides about the current update and needs its signals at once; \
         remove delay_signals"
    )]
    NeedsNow {
        /// Its name.
        controller: String,
    },
    /// A controller was added that private training creates itself.
    #[error(
        "controller: `{controller}` is only for differentially private training, which creates it from its own clip and \
         noise: give DifferentialPrivacy a budget or a best_rate, call LearnerBuilder::build_private_loop, and remove it"
    )]
    OfPrivacy {
        /// Its name.
        controller: String,
    },
    /// A controller would leak the data of private training.
    #[error(
        "controller: `{controller}` needs {of}, but in private training only the noisy gradient may steer; use a \
         controller that needs gradient norms or validation metrics"
    )]
    HearsOfData {
        /// Its name.
        controller: String,
        /// What it needs.
        of: String,
    },
    /// Private training does not support a part.
    #[error("{part}: not supported in private training: {reason}")]
    NotPrivate {
        /// The part.
        part: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// The model of private training has a batch norm.
    #[error(
        "model: `{path}` is a batch norm, which mixes the items of a batch and keeps statistics of them without noise; \
         use a GroupNorm or a LayerNorm instead, or freeze it: norm.freeze()"
    )]
    MixesItems {
        /// Its path.
        path: String,
    },
    /// The operating system gives no random numbers.
    #[error("privacy: the operating system gives no random numbers: {reason}")]
    NoRandomness {
        /// What the system reports.
        reason: String,
    },
    /// The length of the run is not known.
    #[error(
        "run: its length is not known; set it with LearnerBuilder::run(RunLength::…), or call launch, which takes it \
         from the training"
    )]
    NoRun,
    /// The run length and the training disagree.
    #[error(transparent)]
    Agreement(#[from] AgreementError),
    /// An error stopped a launched run.
    #[error("the run was stopped: {0}")]
    Stopped(Arc<TrainingError>),
    /// The folder of a new run has checkpoints of an old one.
    #[error(
        "checkpoints: {} holds those of an earlier run; continue it with LearnerBuilder::resume(Newest), choose another \
         folder, or remove them",
        directory.display()
    )]
    OldCheckpoints {
        /// The folder of the run.
        directory: PathBuf,
    },
    /// A value of [`Snapshots`](crate::Snapshots) is out of its range.
    #[error("snapshots: {0}")]
    Snapshots(OutOfRange),
    /// The folder of a new run has snapshots of an old one.
    #[error(
        "snapshots: {} holds those of an earlier run; resume that run, choose another folder, or remove them",
        directory.display()
    )]
    OldSnapshots {
        /// The folder of the run.
        directory: PathBuf,
    },
    /// A part works with `launch` only.
    #[error("{part}: has no effect here; call LearnerBuilder::launch, or remove it")]
    OnlyLaunch {
        /// The part.
        part: &'static str,
    },
    /// The model is already wrapped.
    #[error(
        "model: the builder of another run has already wrapped it; give the model that into_inner() returns, after \
         train()"
    )]
    Annealed,
    /// Both `resume` and `resume_from` are given.
    #[error("resume: resume_from is given too; remove one of the two")]
    ResumedTwice,
    /// The training names a checkpoint, but `launch` takes it from the builder.
    #[error(
        "checkpoint: the training resumes after epoch {epoch}, but the builder {}; launch loads what \
         LearnerBuilder::resume_from names: remove SupervisedTraining::checkpoint",
        match resume { Some(resume) => format!("resumes after {resume}"), None => "does not resume".into() }
    )]
    CheckpointTwice {
        /// The epoch that the training names.
        epoch: usize,
        /// The checkpoint that the builder names.
        resume: Option<Checkpoint>,
    },
    /// The execution strategy is not supported.
    #[error("execution: {strategy} is not supported; {instead}")]
    Execution {
        /// The strategy.
        strategy: &'static str,
        /// What to do.
        instead: &'static str,
    },
    /// The training loader is empty.
    #[error("training: its loader has no items; give it a dataset with at least one")]
    NoItems,
    /// The training has no epochs.
    #[error("training: num_epochs is 0; allowed: at least 1")]
    NoEpochs,
    /// The loader cannot resume in mid-epoch.
    #[error(
        "checkpoints: the order of the loader's batches is unknown, so no run can resume in mid-epoch; use a \
         burn_anneal::SeededLoader, or save and resume only at the end of an epoch"
    )]
    UnknownOrder,
    /// A value of the checkpoints is out of its range.
    #[error("checkpoints.{0}")]
    Checkpoints(OutOfRange),
    /// The training loader fails.
    #[error("training: its loader fails: {reason}")]
    Loader {
        /// What the loader reports.
        reason: String,
    },
    /// A part needs another one, which is missing.
    #[error("{part}: has no effect without {needs}; call LearnerBuilder::{needs}(…) too")]
    Needs {
        /// The part.
        part: &'static str,
        /// The part that it needs.
        needs: &'static str,
    },
    /// The model cannot train in half precision.
    #[error(transparent)]
    Precision(#[from] PrecisionError),
    /// The model is already in half precision, without master weights in f32.
    #[error(
        "loss_scaling: the model has parameters in half precision, which need master weights; give the model in f32, \
         and call LearnerBuilder::half_precision(…)"
    )]
    NoMasterWeights,
    /// The model cannot be updated.
    #[error(transparent)]
    Update(UpdateError),
    /// The checkpoint to resume from cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// The message, so that `unwrap` and a `main` that returns it print what to do.
impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<OutOfRange> for BuildError {
    fn from(error: OutOfRange) -> Self {
        Self::Momentum(error)
    }
}
