//! The errors of a run.

use crate::groups::GroupError;
use crate::tasks::TaskError;
use anneal_control::Stopped;
use std::path::PathBuf;
use thiserror::Error;

/// Why a run stopped.
///
/// The weights are those from before the update. In your own loop, errors that show only after the optimizer has run
/// are the exception.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// A controller stopped the run.
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
    /// A snapshot cannot be written, or an old one cannot be deleted.
    #[error("snapshots: {}: {reason}", path.display())]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The data for recomputing running statistics cannot be loaded.
    #[error("recompute_statistics: {reason}")]
    Statistics {
        /// Why.
        reason: String,
    },
    /// The loss was not scaled before the backward pass.
    #[error(
        "loss scaling is on, but the loss was not scaled; write `loss.scaled_backward()` instead of \
         `loss.backward()`, with burn_anneal::prelude::ScaledBackward, once in each pass and on the thread of the \
         pass"
    )]
    NotScaled,
    /// An update has more or fewer batches than the run states.
    #[error(
        "update {update} has {found} batches, but the run states {expected}; give RunLength the gradient_accumulation \
         and the devices of the training, or call launch, which takes them from the training"
    )]
    OtherBatches {
        /// The update.
        update: u64,
        /// The batches that it has.
        found: u64,
        /// The batches that the run states.
        expected: u64,
    },
    /// An epoch has more or fewer updates than the run states.
    #[error(
        "epoch {epoch} has {found} updates, but the run states {expected}; give RunLength the items, the batch size and \
         the gradient_accumulation of the training, or call launch, which takes them from the training"
    )]
    OtherEpoch {
        /// The epoch.
        epoch: u64,
        /// The updates that it has.
        found: u64,
        /// The updates that the run states.
        expected: u64,
    },
    /// An epoch of `launch` has more or fewer updates than its first batches implied.
    #[error(
        "epoch {epoch} has {found} updates, but its first batches implied {expected}; all batches of the training's \
         loader must have the same size, except the last of an epoch"
    )]
    UnevenBatches {
        /// The epoch.
        epoch: u64,
        /// The updates that it has.
        found: u64,
        /// The expected updates.
        expected: u64,
    },
    /// The training did not load the checkpoint that the builder names.
    #[error(
        "LearnerBuilder::resume_from names a checkpoint that the training did not load, so the weights are new; call \
         SupervisedTraining::checkpoint({epoch}) too, or call launch, which loads it"
    )]
    NotLoaded {
        /// Its epoch.
        epoch: usize,
    },
    /// Controllers did not hear of an epoch.
    #[error(
        "the controller `{controller}` needs metrics of an epoch, but did not hear of epoch {epoch}; call launch; or, \
         under Burn's own loop, train with with_checkpointing_strategy(EpochEvents::of(&learner.model(), strategy)); or, \
         in your own loop, call TrainingLoop::end_epoch"
    )]
    EpochUnheard {
        /// Its name.
        controller: String,
        /// The epoch.
        epoch: u64,
    },
    /// The first pass of a model in half precision failed.
    #[error(
        "half_precision: a pass of the model failed ({reason}); its input type is {input}. Cast the inputs with \
         LearnerBuilder::cast_inputs, for example .cast_inputs(|batch: Batch, dtype| Batch {{ images: batch.images.cast(dtype), ..batch }}), or in the model"
    )]
    InputsNotCast {
        /// The type of the inputs.
        input: &'static str,
        /// What Burn reports.
        reason: String,
    },
    /// Several losses of one pass were scaled.
    #[error(
        "scaled_backward() was called {calls} times in one pass (TaskGradients counts once), but a pass has one backward \
         pass, from the whole loss; call it on the sum of the losses, or give each loss to TaskGradients"
    )]
    ScaledTwice {
        /// The number of calls.
        calls: usize,
    },
    /// The batches of one update had different scales.
    #[error(
        "the batches of one update were scaled by {first} and by {other}; a pass and its update must belong to the same \
         learner"
    )]
    MixedScales {
        /// The scale of the first batch.
        first: f64,
        /// The scale of another.
        other: f64,
    },
    /// The optimizer ran on another thread than its update.
    #[error(
        "the optimizer ran on another thread than the update, where it has no rates: it reached {reached} of {gradients} \
         parameters; call it on the thread that calls TrainStep::optimize"
    )]
    NoContext {
        /// Parameters that the optimizer reached.
        reached: usize,
        /// Parameters that have a gradient.
        gradients: usize,
    },
    /// No parameter was updated.
    #[error(
        "the update reached none of the {gradients} parameters that have a gradient; the model's TrainStep::optimize \
         must call the optimizer that it is given. To skip an update, let a controller answer with a skip"
    )]
    NothingReached {
        /// Parameters that have a gradient.
        gradients: usize,
    },
    /// The groups of some parameters are not known.
    #[error(
        "the optimizer does not know {count} of the parameters to update; load its record together with the model's, \
         before the first update"
    )]
    UnknownParameters {
        /// The number of parameters.
        count: usize,
    },
    /// The frozen groups differ between the forward pass and the update.
    #[error(
        "the update is at step {step} of the schedule, but its forward pass was at step {expected}, where other groups \
         were frozen; pass the checkpoint to LearnerBuilder::resume_from"
    )]
    OtherStep {
        /// The step of the update.
        step: u64,
        /// The step that the model was frozen for.
        expected: u64,
    },
    /// The model trains with distributed data parallelism.
    #[error(
        "`{path}` is distributed: Burn's DDP trains a clone of the learner on each device, without synchronizing \
         gradients, scales and controllers; train with ExecutionStrategy::multi(devices, \
         MultiDeviceOptim::OptimMainDevice)"
    )]
    Distributed {
        /// Its path.
        path: String,
    },
    /// Parameters should train but get no gradient.
    #[error(
        "`{}` got no gradient in any of the first {updates} updates that should have trained {}; use {} in the loss, \
         freeze {} with Group::frozen(), or check for longer, or not at all, with \
         LearnerBuilder::expect_gradients_within",
        paths.join("`, `"),
        if paths.len() == 1 { "it" } else { "them" },
        if paths.len() == 1 { "it" } else { "them" },
        if paths.len() == 1 { "it" } else { "them" },
    )]
    NoGradient {
        /// Their paths.
        paths: Vec<String>,
        /// The number of updates checked.
        updates: u64,
    },
    /// A parameter that was added in mid-run fits no group.
    #[error("a parameter that was added in mid-run: {0}")]
    NewParameter(GroupError),
    /// The model changed a rate of 0, which no factor can.
    #[error(
        "the model's TrainStep::optimize changed a rate of 0 to {rate}; it may only multiply a rate by a factor"
    )]
    RateForZero {
        /// The rate.
        rate: f64,
    },
    /// The model is in a learner that its builder did not make.
    #[error(
        "the model belongs to another run: it trains only in the learner that LearnerBuilder::build returned; take it \
         out with into_inner(), call train() on it, and build a new learner"
    )]
    Foreign,
    /// The scheduler's record does not fit.
    #[error("the record of the scheduler: {reason}")]
    Record {
        /// What is wrong with it.
        reason: String,
    },
    /// The budget of a private training allows no further update.
    #[error(
        "the privacy budget is spent: after {updates} updates, another one would raise ε above {epsilon} at a δ of {delta}"
    )]
    BudgetSpent {
        /// The updates so far.
        updates: u64,
        /// The ε of the budget.
        epsilon: f64,
        /// The δ of the budget.
        delta: f64,
    },
    /// The dataset of a private training fails.
    #[error("the dataset of the PoissonLoader fails: {reason}")]
    Items {
        /// What the dataset reports.
        reason: String,
    },
    /// A pass of a private training changes parameters that are not trained.
    #[error(
        "private training: a pass changes `{}`, which {} not trained, and so stores data of an item without noise; use \
         layers without running statistics",
        paths.join("`, `"),
        if paths.len() == 1 { "is" } else { "are" },
    )]
    MovesStatistics {
        /// Their paths.
        paths: Vec<String>,
    },
    /// A controller needs the loss, which is not known.
    #[error(
        "a controller needs the loss, but the output type of the pass is unknown; name the loss with \
         LearnerBuilder::loss(|output| output.loss.clone()), or, in your own loop, return the loss as the output"
    )]
    LossUnknown,
    /// A controller needs the cosine between task gradients, but no pass has tasks.
    #[error(
        "a controller needs the cosine between task gradients, but no pass of the update has tasks; give each loss to \
         TaskGradients::of(&model) as a separate task, and return its output from the pass"
    )]
    NoTasks,
    /// The tasks of a pass cannot be trained.
    #[error("TaskGradients: {0}")]
    Tasks(TaskError),
    /// A controller repeats a batch, which is not kept.
    #[error(
        "a controller repeats a batch after the update; call LearnerBuilder::repeat_batches, or, in your own loop, \
         TrainingLoop::update_with"
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
