//! Why models cannot answer together.

use crate::checkpoint::CheckpointError;
use thiserror::Error;

/// Why an [`Ensemble`](crate::Ensemble) cannot answer, or be compared.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnsembleError {
    /// It has no members.
    #[error("ensemble: it has no members; is there a snapshot in the folder?")]
    NoMembers,
    /// There is nothing to answer to.
    #[error("ensemble: the loader gives no batches")]
    NoBatches,
    /// A member cannot be loaded, or is of another architecture.
    #[error("ensemble: {member}: {error}")]
    Member {
        /// The member.
        member: String,
        /// Why.
        error: Box<CheckpointError>,
    },
    /// A batch cannot be loaded.
    #[error("ensemble: the loader: {reason}")]
    Data {
        /// Why.
        reason: String,
    },
    /// The loader gave another number of batches than before.
    #[error(
        "ensemble: {member} was given {found} batches, and those before it {expected}; the loader must give the same \
         batches in every pass"
    )]
    Batches {
        /// The member.
        member: String,
        /// Its batches.
        found: usize,
        /// Those of the members before.
        expected: usize,
    },
    /// A member gives something of another shape than those before it.
    #[error(
        "ensemble: {member} gives {found:?} for batch {batch}, and those before it {expected:?}; members must have the \
         same classes, and the loader must give the same batches in every pass"
    )]
    Shape {
        /// The member.
        member: String,
        /// The batch, from 0.
        batch: usize,
        /// The shape that it gives.
        found: Vec<usize>,
        /// That of the members before.
        expected: Vec<usize>,
    },
    /// A member predicts what is no number.
    #[error("ensemble: {member} predicts values that are NaN or infinite; leave it out")]
    NotFinite {
        /// The member.
        member: String,
    },
    /// A member has other weights than those before it.
    #[error("ensemble: {member} has weights of other shapes than those before it")]
    OtherWeights {
        /// The member.
        member: String,
    },
    /// A member has weights that cannot be compared.
    #[error("ensemble: the weights of {member} have the norm {norm}; allowed: finite and above 0")]
    Norm {
        /// The member.
        member: String,
        /// ‖w‖₂.
        norm: f64,
    },
    /// The device failed.
    #[error("ensemble: the device: {reason}")]
    Device {
        /// Why.
        reason: String,
    },
}
