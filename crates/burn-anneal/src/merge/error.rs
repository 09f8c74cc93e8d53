//! Why checkpoints cannot be merged.

use crate::checkpoint::CheckpointError;
use anneal_schedule::MergeRecipeError;
use std::path::PathBuf;
use thiserror::Error;

/// Why [`merge`](crate::merge()) has no result.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MergeError {
    /// There are fewer than two checkpoints, or the curve is no recipe: it rises, or cannot be resolved.
    #[error("merge: {0}")]
    Recipe(MergeRecipeError),
    /// A checkpoint is not later than the one before it.
    #[error(
        "merge: {} was saved after {updates} updates, and the one before it after {before}; give each once, in the order in \
         which they were saved",
        path.display()
    )]
    Order {
        /// The file.
        path: PathBuf,
        /// The updates that were made.
        updates: u64,
        /// Those of the checkpoint before it.
        before: u64,
    },
    /// A file is missing, cut off, or of another model.
    #[error("merge: {0}")]
    Checkpoint(CheckpointError),
    /// A file has weights that are NaN or infinite.
    #[error("merge: {}: `{parameter}` is NaN or infinite; leave this checkpoint out", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The parameter.
        parameter: String,
    },
    /// A merged weight that the precision of the model cannot hold.
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
