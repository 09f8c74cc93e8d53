//! The errors of merging checkpoints.

use crate::checkpoint::CheckpointError;
use anneal_schedule::MergeRecipeError;
use std::path::PathBuf;
use thiserror::Error;

/// Why [`merge`](crate::merge()) fails.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MergeError {
    /// There are fewer than two checkpoints, or the curve rises or cannot be resolved.
    #[error("merge: {0}")]
    Recipe(MergeRecipeError),
    /// A checkpoint is not later than the one before it.
    #[error(
        "merge: {} was saved after {updates} updates, but the one before it after {before}; give each checkpoint \
         once, in the order they were saved",
        path.display()
    )]
    Order {
        /// The file.
        path: PathBuf,
        /// Its updates.
        updates: u64,
        /// The updates of the checkpoint before it.
        before: u64,
    },
    /// A file is missing, truncated, or from another model.
    #[error("merge: {0}")]
    Checkpoint(CheckpointError),
    /// A file has weights that are NaN or infinite.
    #[error("merge: {}: `{parameter}` is NaN or infinite; remove this checkpoint", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The parameter.
        parameter: String,
    },
    /// The precision of the model cannot hold a merged weight.
    #[error(
        "merge: `{parameter}` has values that its precision in the model cannot hold; give a model in f32"
    )]
    OutOfPrecision {
        /// The parameter.
        parameter: String,
    },
}

impl From<CheckpointError> for MergeError {
    fn from(error: CheckpointError) -> Self {
        Self::Checkpoint(error)
    }
}
