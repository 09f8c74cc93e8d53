//! Why a run cannot go on.

use crate::groups::GroupError;
use crate::tasks::TaskError;
use anneal_control::Stopped;
use std::path::PathBuf;
use thiserror::Error;

/// Why a run was stopped.
///
/// In a learner the weights are as they were before the update; so they are in a loop of one's own, except after
/// the errors that show only when the optimizer has run.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// A controller says so.
    #[error("stopped by the controller {0}")]
    Controller(Stopped),
    /// The log of updates cannot be written.
    #[error("log_updates: {}: {reason}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A snapshot cannot be written, or an old one not deleted.
    #[error("snapshots: {}: {reason}", path.display())]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The data that running statistics are recomputed over cannot be had.
    #[error("recompute_statistics: {reason}")]
    Statistics {
        /// Why.
        reason: String,
    },
    /// The gradients are not those of a scaled loss.
    #[error(
        "loss scaling is on, but the loss was not scaled; write `loss.scaled_backward()` in the place of \
         `loss.backward()`, with burn_anneal::prelude::ScaledBackward, once in each pass and on the thread that it \
         runs on"
    )]
    NotScaled,
    /// An update is of more or fewer batches than the run says.
    #[error(
        "update {update} is of {found} batches, and the run says {expected}; give RunLength the gradient_accumulation \
         and the devices that you train with, or launch, which takes them from the training"
    )]
    OtherBatches {
        /// The update.
        update: u64,
        /// The batches that it is of.
        found: u64,
        /// Those that the run says.
        expected: u64,
    },
    /// An epoch has more or fewer updates than the run says.
    #[error(
        "epoch {epoch} has {found} updates, and the run says {expected}; give RunLength the items, the batch size and the \
         gradient_accumulation that you train with, or launch, which takes them from the training"
    )]
    OtherEpoch {
        /// The epoch.
        epoch: u64,
        /// The updates that it has.
        found: u64,
        /// Those that the run says.
        expected: u64,
    },
    /// An epoch of `launch` has other updates than its first batches promised.
    #[error(
        "epoch {epoch} has {found} updates, and by its first batches it would have {expected}; the batches of the training's \
         loader must be of one size, the last of an epoch excepted"
    )]
    UnevenBatches {
        /// The epoch.
        epoch: u64,
        /// The updates that it has.
        found: u64,
        /// Those that were expected.
        expected: u64,
    },
    /// The builder was told of a checkpoint, which nobody loaded.
    #[error(
        "LearnerBuilder::resume_from named a checkpoint, and the training did not load it, so that the weights are fresh \
         ones; call SupervisedTraining::checkpoint({epoch}) too, or launch, which needs no more"
    )]
    NotLoaded {
        /// Its epoch.
        epoch: usize,
    },
    /// Nobody told controllers of an epoch.
    #[error(
        "the controller `{controller}` needs metrics of an epoch, and nobody told it of epoch {epoch}; launch, or under \
         Burn's own loop train with with_checkpointing_strategy(EpochEvents::of(&learner.model(), strategy)), or in a \
         loop of your own call TrainingLoop::end_epoch"
    )]
    EpochUnheard {
        /// Its name.
        controller: String,
        /// The epoch.
        epoch: u64,
    },
    /// The first pass of a model in half precision failed.
    #[error(
        "half_precision: a pass of the model failed ({reason}); its inputs are of type {input}. Say how to cast them with LearnerBuilder::cast_inputs, as in .cast_inputs(|batch: Batch, dtype| Batch {{ images: \
         batch.images.cast(dtype), ..batch }}), or cast them in the model"
    )]
    InputsNotCast {
        /// The type of the inputs.
        input: &'static str,
        /// What Burn says.
        reason: String,
    },
    /// Several losses of one pass were scaled, of which each would be scaled by itself.
    #[error(
        "scaled_backward() was called {calls} times in one pass, TaskGradients counting as once, which must go backward \
         once, from the whole loss; add the losses and call it on their sum, or give each to TaskGradients"
    )]
    ScaledTwice {
        /// How often.
        calls: usize,
    },
    /// Batches of one update had several scales.
    #[error(
        "the batches of one update were scaled by {first} and by {other}; a pass and its update must be those of \
         one learner"
    )]
    MixedScales {
        /// The scale of the first batch.
        first: f64,
        /// The scale of another.
        other: f64,
    },
    /// The optimizer ran where its update does not.
    #[error(
        "the optimizer ran on another thread than the update, where it knows no rates: {reached} of {gradients} \
         parameters were reached; call it on the thread that TrainStep::optimize is called on"
    )]
    NoContext {
        /// Parameters that were reached.
        reached: usize,
        /// Parameters that have a gradient.
        gradients: usize,
    },
    /// No parameter was updated.
    #[error(
        "the update reached none of the {gradients} parameters that have a gradient; the model's \
         TrainStep::optimize must call the optimizer that it is given. To leave an update out, answer it with a skip \
         from a controller"
    )]
    NothingReached {
        /// Parameters that have a gradient.
        gradients: usize,
    },
    /// Parameters of which nobody knows the group.
    #[error(
        "the optimizer does not know {count} parameters that it was to update; load its record and that of the model \
         together, before the first update"
    )]
    UnknownParameters {
        /// How many.
        count: usize,
    },
    /// Other groups were frozen in the forward pass than in the update.
    #[error(
        "the update is one of step {step} of the schedule, and its forward pass was one of step {expected}, in which \
         other groups were frozen; name the checkpoint to LearnerBuilder::resume_from"
    )]
    OtherStep {
        /// The step of the update.
        step: u64,
        /// The step that the model was frozen for.
        expected: u64,
    },
    /// A parameter of distributed data-parallel training.
    #[error(
        "`{path}` is distributed: Burn's DDP trains a clone of the learner on each device, whose gradients, scales \
         and controllers nobody brings together; train with ExecutionStrategy::multi(devices, \
         MultiDeviceOptim::OptimMainDevice)"
    )]
    Distributed {
        /// Its path.
        path: String,
    },
    /// Parameters that should train and do not.
    #[error(
        "`{}` got no gradient in any of the first {updates} updates that should have trained {}; use {} in the loss, \
         freeze {} with Group::frozen(), or look longer, or not at all, with \
         LearnerBuilder::expect_gradients_within",
        paths.join("`, `"),
        if paths.len() == 1 { "it" } else { "them" },
        if paths.len() == 1 { "it" } else { "them" },
        if paths.len() == 1 { "it" } else { "them" },
    )]
    NoGradient {
        /// Their paths.
        paths: Vec<String>,
        /// How many updates were looked at.
        updates: u64,
    },
    /// A parameter that came in mid-run fits no group.
    #[error("a parameter that came in mid-run: {0}")]
    NewParameter(GroupError),
    /// A rate in the place of 0, which no factor gives.
    #[error(
        "the model's TrainStep::optimize made the rate {rate} of a rate of 0; what it makes of a rate must be a \
         factor of it"
    )]
    RateForZero {
        /// The rate.
        rate: f64,
    },
    /// The model is in a learner that its builder did not make.
    #[error(
        "the model is that of another run: it trains only in the learner that LearnerBuilder::build gave; take it \
         out with into_inner(), call train() on it, and build a learner anew"
    )]
    Foreign,
    /// The scheduler's record fits nothing here.
    #[error("the record of the scheduler: {reason}")]
    Record {
        /// What is wrong with it.
        reason: String,
    },
    /// The budget of a private training allows no further update.
    #[error(
        "the privacy budget is spent: after {updates} updates another one would make ε more than {epsilon} at a δ of {delta}"
    )]
    BudgetSpent {
        /// The updates that were made.
        updates: u64,
        /// The ε that may be spent.
        epsilon: f64,
        /// The δ at which it is.
        delta: f64,
    },
    /// The dataset of a private training fails.
    #[error("the dataset of the PoissonLoader fails: {reason}")]
    Items {
        /// What it says.
        reason: String,
    },
    /// A pass of a private training leaves something of its item in the model.
    #[error(
        "private training: a pass moves `{}`, which {} not trained, and so leaves what it saw of an item there without noise; \
         take layers that keep no running statistics",
        paths.join("`, `"),
        if paths.len() == 1 { "is" } else { "are" },
    )]
    MovesStatistics {
        /// Their paths.
        paths: Vec<String>,
    },
    /// A controller needs the loss, which is not in the output of a pass.
    #[error(
        "a controller needs the loss, and the output of the pass is of a type in which nobody finds it; name it with \
         LearnerBuilder::loss(|output| output.loss.clone()), or in a loop of your own give the loss as the output"
    )]
    LossUnknown,
    /// A controller needs the cosine between task gradients, and no pass said what its tasks are.
    #[error(
        "a controller needs the cosine between task gradients, and no pass of the update has tasks; give each loss to \
         TaskGradients::of(&model) as a task of its own, and the pass its output"
    )]
    NoTasks,
    /// The tasks of a pass cannot be trained.
    #[error("TaskGradients: {0}")]
    Tasks(TaskError),
    /// A controller looks at a batch again, which nobody can repeat.
    #[error(
        "a controller looks at a batch again after the update; call LearnerBuilder::repeat_batches, or in a loop of \
         your own TrainingLoop::update_with"
    )]
    NoBatchAgain,
}

impl From<Stopped> for UpdateError {
    fn from(error: Stopped) -> Self {
        Self::Controller(error)
    }
}

impl From<TaskError> for UpdateError {
    fn from(error: TaskError) -> Self {
        Self::Tasks(error)
    }
}
