//! The errors of the rate finders.

use crate::build_error::BuildError;
use crate::update::UpdateError;
use anneal_plan::OutOfRange;
use anneal_schedule::{AgreementError, Span};
use std::sync::Arc;
use thiserror::Error;

/// Why a rate finder cannot run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FindError {
    /// A setting is out of its range.
    #[error(transparent)]
    Plan(#[from] OutOfRange),
    /// The training cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Training cannot continue.
    #[error(transparent)]
    Training(#[from] Arc<UpdateError>),
    /// The run contradicts the loader.
    #[error(transparent)]
    Run(#[from] AgreementError),
    /// A batch cannot be loaded.
    #[error("the loader gives no batch: {reason}")]
    Loader {
        /// Why.
        reason: String,
    },
    /// The loader is empty.
    #[error("the loader has no batches; give it a dataset with at least one item")]
    NoBatches,
    /// The loss is not finite before the update.
    #[error(
        "the loss is {loss} before the update; look for NaN in the data and for overflows in the model: no rate can fix this"
    )]
    NotFinite {
        /// The loss.
        loss: f64,
    },
    /// The position is not in the run.
    #[error(
        "at: {at} is no position in this run; give it in updates, or set the length of the run in the builder"
    )]
    At {
        /// The position.
        at: Span,
    },
    /// The schedule has no rate above 0 to multiply.
    #[error(
        "the rate of the schedule is 0 from step {step} on; the finder multiplies the schedule's rate: start with one \
         above 0"
    )]
    NoRate {
        /// The step.
        step: u64,
    },
}
