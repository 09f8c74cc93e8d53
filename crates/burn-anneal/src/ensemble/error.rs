//! The errors of ensembles.

use crate::checkpoint::CheckpointError;
use thiserror::Error;

/// Why an [`Ensemble`](crate::Ensemble) cannot predict, or its members cannot be compared.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnsembleError {
    /// It has no members.
    #[error("ensemble: it has no members; is there a snapshot in the folder?")]
    NoMembers,
    /// The loader is empty.
    #[error("ensemble: the loader gives no batches")]
    NoBatches,
    /// A member cannot be loaded, or has another architecture.
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
        "ensemble: {member} got {found} batches, but the members before it got {expected}; the loader must give the \
         same batches in every pass"
    )]
    Batches {
        /// The member.
        member: String,
        /// Its batches.
        found: usize,
        /// The batches of the members before it.
        expected: usize,
    },
    /// The output of a member has another shape than that of the members before it.
    #[error(
        "ensemble: {member} gives the shape {found:?} for batch {batch}, but the members before it give {expected:?}; \
         members must have the same classes, and the loader must give the same batches in every pass"
    )]
    Shape {
        /// The member.
        member: String,
        /// The batch, from 0.
        batch: usize,
        /// The shape of its output.
        found: Vec<usize>,
        /// The shape that the members before it give.
        expected: Vec<usize>,
    },
    /// A member predicts NaN or infinity.
    #[error("ensemble: {member} predicts values that are NaN or infinite; remove it")]
    NotFinite {
        /// The member.
        member: String,
    },
    /// The weights of a member have other shapes than those of the members before it.
    #[error("ensemble: {member} has weights of other shapes than the members before it")]
    OtherWeights {
        /// The member.
        member: String,
    },
    /// The weights of a member cannot be compared.
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
