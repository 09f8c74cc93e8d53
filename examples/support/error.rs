//! Everything that can end an example early.

use std::path::{Path, PathBuf};

use burn_anneal::prelude::{BuildError, CheckpointError, FileError, GroupError, ScheduleError};

use crate::backend::BackendError;
use crate::data::DataError;
use crate::weights::WeightsError;

/// Why an example could not do its work, in one line that says what to change.
#[derive(Debug, thiserror::Error)]
pub enum ExampleError {
    /// The images could not be loaded.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The backend cannot be used.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The weights to start from cannot be used.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The schedule file cannot be used.
    #[error(transparent)]
    ScheduleFile(#[from] FileError),
    /// The schedule does not fit the run.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The groups do not fit the network or the run.
    #[error(transparent)]
    Groups(#[from] GroupError),
    /// The learner cannot be built.
    #[error(transparent)]
    Learner(#[from] BuildError),
    /// The checkpoints of the run to resume cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The folder for a new run holds something already.
    #[error(
        "--out {} is not empty: choose a new folder, or add --resume to continue the run in it",
        path.display()
    )]
    FolderInUse {
        /// The folder.
        path: PathBuf,
    },
    /// There is no run to continue.
    #[error("--resume: {} holds no run with a whole epoch: start one without --resume", path.display())]
    NothingToResume {
        /// The folder that was searched.
        path: PathBuf,
    },
    /// The run to continue has come to its end.
    #[error(
        "--resume: the run in {} has already finished {epochs} epochs; to train more, give more \
         --epochs and --on-mismatch extend",
        path.display()
    )]
    AlreadyFinished {
        /// The run's folder.
        path: PathBuf,
        /// The epochs that it has trained.
        epochs: usize,
    },
    /// The run to continue was started with another value.
    #[error(
        "--resume: {flag} is {given}, but the run in {} was started with {started}: give the same \
         value, or start a new run",
        path.display()
    )]
    OtherSettings {
        /// The run's folder.
        path: PathBuf,
        /// The flag that differs.
        flag: String,
        /// Its value now.
        given: String,
        /// Its value when the run was started.
        started: String,
    },
    /// The device failed while a number was read from it.
    #[error("the device failed: {0}")]
    Device(#[from] burn::tensor::TensorReadError),
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file of a run is not what it should be.
    #[error("{} is damaged: {source}", path.display())]
    DamagedFile {
        /// The file.
        path: PathBuf,
        /// Where it is damaged.
        source: serde_json::Error,
    },
    /// The history of a run to continue has a gap.
    #[error("{} lacks epoch {epoch}: start a new run without --resume", path.display())]
    MissingEpoch {
        /// The file.
        path: PathBuf,
        /// The first epoch that is missing.
        epoch: usize,
    },
    /// The seeds of a comparison do not fit into 64 bits.
    #[error("--seed: {seed} is not allowed with --seeds {seeds}; allowed: at most 2^64 - {seeds}")]
    SeedTooLarge {
        /// The first seed.
        seed: u64,
        /// How many there are to be.
        seeds: usize,
    },
    /// A model or checkpoint file could not be written or read.
    #[error("{}: {reason}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What Burn said.
        reason: String,
    },
    /// Training or testing stopped before its end.
    #[error("training stopped: {reason}")]
    Stopped {
        /// What Burn said.
        reason: String,
    },
}

impl ExampleError {
    pub(crate) fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }

    pub(crate) fn stopped(reason: impl ToString) -> Self {
        Self::Stopped { reason: reason.to_string() }
    }
}
