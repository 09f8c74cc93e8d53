//! The errors of an example before it trains.

use std::path::{Path, PathBuf};

use burn_anneal::prelude::{BuildError, CheckpointError, ScheduleError};

use crate::backend::BackendError;
use crate::data::DataError;

/// Why an example fails, in one line that tells what to change.
#[derive(Debug, thiserror::Error)]
pub enum ExampleError {
    /// The images cannot be loaded.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The backend cannot be used.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The schedule does not fit the run.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The learner cannot be built or resumed.
    #[error(transparent)]
    Learner(#[from] BuildError),
    /// The checkpoints of the run to resume cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The folder for a new run is not empty.
    #[error(
        "--out {} is not empty: choose a new folder, or add --resume to continue the run in it",
        path.display()
    )]
    FolderInUse {
        /// The folder.
        path: PathBuf,
    },
    /// There is no run to continue.
    #[error("--resume: {} holds no run, and is not empty: give another --out", path.display())]
    NothingToResume {
        /// The folder that was searched.
        path: PathBuf,
    },
    /// The run to continue has finished.
    #[error(
        "--resume: the run in {} has already finished {epochs} epochs, so nothing is left to \
         train; to train more, give more --epochs and --on-mismatch keep-step",
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
    /// A file or folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system reports.
        source: std::io::Error,
    },
    /// A file of a run is damaged.
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
}

impl ExampleError {
    /// Makes an error for a file or folder that cannot be read or written.
    pub fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }

    pub(crate) fn other_settings(
        folder: &Path,
        flag: &str,
        given: &dyn ToString,
        started: &dyn ToString,
    ) -> Self {
        Self::OtherSettings {
            path: folder.to_owned(),
            flag: flag.to_owned(),
            given: given.to_string(),
            started: started.to_string(),
        }
    }
}
