//! Why nothing could be built.

use crate::average::AverageError;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::decay::DecayError;
use crate::groups::GroupError;
use crate::precision::{OutOfRange, PrecisionError};
use crate::update::{ClipError, UpdateError};
use anneal_control::{RestoreError, SetupError};
use anneal_schedule::{AgreementError, ScheduleError};
use burn::train::TrainingError;
use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;

/// Why no learner, and no loop, could be built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A part was given to the builder and in its groups.
    #[error("{part}: given to LearnerBuilder::{part}(…) and in its groups; give it in one place")]
    GivenTwice {
        /// The part.
        part: &'static str,
    },
    /// Loss scaling beside half precision.
    #[error(
        "loss_scaling: in half precision it is a field; give HalfPrecision {{ loss_scaling: Some(…), .. }}"
    )]
    ScalingTwice,
    /// A guard beside loss scaling.
    #[error(
        "not_finite: loss scaling skips updates that are not finite already; leave one of the two out"
    )]
    GuardedTwice,
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
    /// The optimizer has a weight decay of its own.
    #[error(transparent)]
    Decay(#[from] DecayError),
    /// The model lives on a device that records no gradients.
    #[error("model: its device records no gradients; create it on `device.autodiff()`")]
    NotAutodiff,
    /// A value of an optimizer of ours is out of its range.
    #[error(transparent)]
    Momentum(OutOfRange),
    /// A momentum schedule for an optimizer that has its own momentum.
    #[error(
        "momentum: {optimizer} does not follow it; train with ScheduledAdam, or with Burn's SGD as \
         ScheduledMomentum::from(SgdConfig::new())"
    )]
    MomentumIgnored {
        /// The optimizer.
        optimizer: String,
    },
    /// A policy for rate drops for an optimizer whose velocity does not hold the rate.
    #[error(
        "rate_drop: the velocity of {optimizer} does not hold the rate, so a drop acts on all of it at once; leave \
         rate_drop out, or train with RateInsideSgd"
    )]
    RateDropIgnored {
        /// The optimizer.
        optimizer: String,
    },
    /// A schedule that lowers a rate beside an average that takes the place of that.
    #[error(
        "schedule: {optimizer} averages weights in the place of a rate that falls, and that of `{group}` falls from \
         {before} to {rate} at update {update}; train at a constant rate, as constant(…) or \
         constant(…).warmup(…), or with another optimizer"
    )]
    RateFalls {
        /// The optimizer.
        optimizer: String,
        /// The group.
        group: String,
        /// The first update that was found with a lower rate.
        update: u64,
        /// That rate.
        rate: f64,
        /// The largest before.
        before: f64,
    },
    /// An optimizer whose master weights would not hear of what groups do to the weights.
    #[error(
        "optimizer: its master weights would not hear of rates and decays; give the bare optimizer, and call \
         LearnerBuilder::half_precision"
    )]
    MasterWeights,
    /// An optimizer that does not take a parameter that it is for.
    #[error(
        "optimizer: {optimizer} does not take `{path}`, of {rank} dimensions: {reason}; give such parameters another one with LearnerBuilder::optimizer_for"
    )]
    OptimizerRefuses {
        /// The optimizer.
        optimizer: String,
        /// The parameter.
        path: String,
        /// Its dimensions.
        rank: usize,
        /// What it says.
        reason: String,
    },
    /// An optimizer for parameters that all have another one.
    #[error(
        "optimizer_for: all of `{selection}` is selected again after it, and the last selection counts"
    )]
    OptimizerUnused {
        /// What it was for.
        selection: String,
    },
    /// A value of a controller, such as loss scaling or the cap on the rate, is out of its range.
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
    /// Controllers that cannot be together, or not with these groups.
    #[error("controller: {0}")]
    Controllers(SetupError),
    /// Two controllers of one name.
    #[error(
        "controller: there are two of the name `{name}`, or of names that are one as a file's; name them apart"
    )]
    SameController {
        /// The name.
        name: String,
    },
    /// A name that is no name of a file.
    #[error(
        "controller: `{name}` is not allowed as a name; allowed: 1 to 100 letters, digits, spaces and signs, without / \\ : * ? \" < > | and line breaks"
    )]
    ControllerName {
        /// The name.
        name: String,
    },
    /// The log of updates cannot be written, or gone on with.
    #[error("log_updates: {}: {reason}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A controller whose state does not come back as it was saved.
    #[error(
        "controller: {0}; its State must be JSON, in which numbers are finite, and restore what state() gave"
    )]
    ControllerState(RestoreError),
    /// A controller that needs a loss that nobody finds.
    #[error(
        "controller: `{controller}` needs the loss, and the output of the model's TrainStep is of a type in which \
         nobody finds it; call LearnerBuilder::loss(|output| output.loss.clone())"
    )]
    LossUnknown {
        /// Its name.
        controller: String,
    },
    /// A controller that looks at batches again, which nobody copies.
    #[error(
        "controller: `{controller}` looks at a batch again after the update; call LearnerBuilder::repeat_batches(), \
         for which the model's Input must be Clone"
    )]
    NoBatchAgain {
        /// Its name.
        controller: String,
    },
    /// A controller that cannot hear late.
    #[error(
        "delay_signals: the controller `{controller}` decides about the very update that it hears of; leave \
         delay_signals out"
    )]
    NeedsNow {
        /// Its name.
        controller: String,
    },
    /// A controller that private training makes by itself.
    #[error(
        "controller: `{controller}` holds for differentially private training only, which makes it of its own clip and noise: \
         give DifferentialPrivacy a budget or a best_rate, call LearnerBuilder::build_private_loop, and leave it out"
    )]
    OfPrivacy {
        /// Its name.
        controller: String,
    },
    /// A controller that would tell of the data of a private training.
    #[error(
        "controller: `{controller}` needs {of}; in private training only the noisy gradient may steer: use a controller that \
         needs norms of the gradient, or validation metrics"
    )]
    HearsOfData {
        /// Its name.
        controller: String,
        /// What it needs.
        of: String,
    },
    /// A part that private training does not have.
    #[error("{part}: not in private training: {reason}")]
    NotPrivate {
        /// The part.
        part: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// A batch norm in private training.
    #[error(
        "model: `{path}` is a batch norm, which normalizes by the items of a batch and keeps statistics of them, without \
         noise; take a GroupNorm or a LayerNorm in its place, or freeze it: norm.freeze()"
    )]
    MixesItems {
        /// Its path.
        path: String,
    },
    /// The operating system gives no random numbers.
    #[error("privacy: the operating system gives no random numbers: {reason}")]
    NoRandomness {
        /// What it says.
        reason: String,
    },
    /// The length of the run is not known.
    #[error(
        "run: its length is not known; give it with LearnerBuilder::run(RunLength::…), or launch, which learns it from \
         the training"
    )]
    NoRun,
    /// The run and its training say different things.
    #[error(transparent)]
    Agreement(#[from] AgreementError),
    /// A run that was launched, and stopped by an error.
    #[error("the run was stopped: {0}")]
    Stopped(Arc<TrainingError>),
    /// A new run in the folder of an old one.
    #[error(
        "checkpoints: {} holds those of an earlier run; go on with it by LearnerBuilder::resume(Newest), give another folder, \
         or remove them",
        directory.display()
    )]
    OldCheckpoints {
        /// The folder of the run.
        directory: PathBuf,
    },
    /// A value of [`Snapshots`](crate::Snapshots) is out of its range.
    #[error("snapshots: {0}")]
    Snapshots(OutOfRange),
    /// A new run that would leave its snapshots among those of an old one.
    #[error(
        "snapshots: {} holds those of an earlier run; resume that run, give another folder, or remove them",
        directory.display()
    )]
    OldSnapshots {
        /// The folder of the run.
        directory: PathBuf,
    },
    /// A part that only `launch` has a use for.
    #[error("{part}: does nothing here; call LearnerBuilder::launch, or leave it out")]
    OnlyLaunch {
        /// The part.
        part: &'static str,
    },
    /// A model that is wrapped already.
    #[error(
        "model: it is wrapped already, by the builder of another run; give the model that into_inner() takes out of \
         it, after train()"
    )]
    Annealed,
    /// Two checkpoints to resume from.
    #[error("resume: given beside resume_from; give one of the two")]
    ResumedTwice,
    /// The training was told of a checkpoint, which launch takes from the builder.
    #[error(
        "checkpoint: the training was told to go on after epoch {epoch}, and the builder {}; launch loads what \
         LearnerBuilder::resume_from names: leave SupervisedTraining::checkpoint out",
        match resume { Some(resume) => format!("after {resume}"), None => "was not".into() }
    )]
    CheckpointTwice {
        /// The epoch that the training names.
        epoch: usize,
        /// The checkpoint that the builder names.
        resume: Option<Checkpoint>,
    },
    /// A way to train on several devices that the engine does not know.
    #[error("execution: {strategy} is not possible; {instead}")]
    Execution {
        /// The strategy.
        strategy: &'static str,
        /// What to do.
        instead: &'static str,
    },
    /// The training loader gives nothing.
    #[error("training: its loader has no items; give it a data set with at least one")]
    NoItems,
    /// The training has no epochs.
    #[error("training: num_epochs is 0; allowed: at least 1")]
    NoEpochs,
    /// A loader of which an epoch cannot be gone on with.
    #[error(
        "checkpoints: nobody knows which batches the training's loader gives in an epoch, so that none can be gone on with in \
         its middle; make it a burn_anneal::SeededLoader, or save, and resume, at the ends of epochs only"
    )]
    UnknownOrder,
    /// A value of the checkpoints is out of its range.
    #[error("checkpoints.{0}")]
    Checkpoints(OutOfRange),
    /// The training loader fails.
    #[error("training: its loader fails: {reason}")]
    Loader {
        /// What it says.
        reason: String,
    },
    /// A part was given that does nothing without another.
    #[error("{part}: does nothing without {needs}; call LearnerBuilder::{needs}(…) too")]
    Needs {
        /// The part.
        part: &'static str,
        /// The part that it needs.
        needs: &'static str,
    },
    /// The model does not train in half precision.
    #[error(transparent)]
    Precision(#[from] PrecisionError),
    /// The model is in half precision already, and nothing is to keep its weights in f32.
    #[error(
        "loss_scaling: the model has parameters in half precision, which need master weights; call \
         LearnerBuilder::half_precision(…) with the model in f32"
    )]
    NoMasterWeights,
    /// The model cannot be updated.
    #[error(transparent)]
    Update(UpdateError),
    /// The checkpoint to resume from cannot be used, or belongs to another schedule.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl From<OutOfRange> for BuildError {
    fn from(error: OutOfRange) -> Self {
        Self::Momentum(error)
    }
}
