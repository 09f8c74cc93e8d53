//! Why a run cannot go on.

use crate::groups::GroupError;
use anneal_control::Stopped;
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
    Controller(#[from] Stopped),
    /// The gradients are not those of a scaled loss.
    #[error(
        "loss scaling is on, but the loss was not scaled; write `loss.scaled_backward()` in the place of \
         `loss.backward()`, with burn_anneal::prelude::ScaledBackward, once in each pass and on the thread that it \
         runs on"
    )]
    NotScaled,
    /// Several losses of one pass were scaled, of which each would be scaled by itself.
    #[error(
        "scaled_backward() was called {calls} times in one pass, which must go backward once, from the whole \
         loss; add the losses and call it on their sum"
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
    Strangers {
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
    /// A controller needs the loss, which is not in the output of a pass.
    #[error(
        "a controller needs the loss, and the output of the pass is of a type in which nobody finds it; name it with \
         LearnerBuilder::loss(|output| output.loss.clone()), or in a loop of your own give the loss as the output"
    )]
    LossUnknown,
    /// A controller looks at a batch again, which nobody can repeat.
    #[error(
        "a controller looks at a batch again after the update; call LearnerBuilder::repeat_batches, or in a loop of \
         your own TrainingLoop::update_with"
    )]
    NoBatchAgain,
}
