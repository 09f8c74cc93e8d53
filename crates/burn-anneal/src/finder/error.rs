//! Why no rate could be looked for.

use crate::build_error::BuildError;
use crate::update::UpdateError;
use anneal_plan::OutOfRange;
use anneal_schedule::{AgreementError, Span};
use std::sync::Arc;
use thiserror::Error;

/// Why no rate could be looked for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FindError {
    /// A setting out of its range.
    #[error(transparent)]
    Plan(#[from] OutOfRange),
    /// What would train could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Training cannot go on.
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
    /// There is nothing to compare with.
    #[error(
        "the loss is {loss} before the update; look for NaN in the data, and for what overflows in the model: no rate mends that"
    )]
    NotFinite {
        /// It.
        loss: f64,
    },
    /// The schedule cannot be held there.
    #[error(
        "at: {at} is no place in this run; give it in updates, or tell the builder the length of the run"
    )]
    At {
        /// The place.
        at: Span,
    },
    /// The schedule has no rate to multiply.
    #[error(
        "the rate of the schedule is 0 at step {step}, and from there on nowhere larger; a rate is found by multiplying \
         that of the schedule: begin with one above 0"
    )]
    NoRate {
        /// The step.
        step: u64,
    },
}
