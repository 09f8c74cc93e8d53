//! Everything that can end an example early.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn_anneal::control::{AnnounceError, ControlError};
use burn_anneal::prelude::{
    BuildError, CheckpointError, EnsembleError, FederationError, FileError, FindError, GroupError,
    MergeError, ScheduleError, Span, UpdateError,
};
use burn_anneal::{EvaluateError, PruningError, SplitError};

use burn_anneal::plan::SearchError;

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
    /// A controller, or what it is asked, is wrong.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Nobody hears of what is announced.
    #[error(transparent)]
    Announce(#[from] AnnounceError),
    /// The network cannot be pruned so.
    #[error(transparent)]
    Pruning(#[from] PruningError),
    /// The groups do not fit the network or the run.
    #[error(transparent)]
    Groups(#[from] GroupError),
    /// Layers would begin to train after the end of the run.
    #[error(
        "--unfreeze-every {percent}: the lowest of {layers} layers would begin to train after the last \
         of {updates} updates; allowed: 0 to {most} with {layers} layers"
    )]
    UnfreezeEvery {
        /// The value of the flag.
        percent: f64,
        /// How many layers there are.
        layers: usize,
        /// The updates of the run.
        updates: u64,
        /// The largest value with which all layers train.
        most: f64,
    },
    /// Weights cannot forget over such a time.
    #[error("--time-scale {span}: {source}")]
    TimeScale {
        /// The value of the flag.
        span: Span,
        /// What is wrong with the weight decay that it makes.
        source: ScheduleError,
    },
    /// A search cannot be made.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// No rate can be looked for.
    #[error(transparent)]
    Finder(#[from] FindError),
    /// The learner cannot be built.
    #[error(transparent)]
    Learner(BuildError),
    /// The checkpoints of the run to resume cannot be used.
    #[error("{}{}", .0, flag_of_the_rule(.0))]
    Checkpoint(#[from] CheckpointError),
    /// Models cannot answer together.
    #[error(transparent)]
    Ensemble(#[from] EnsembleError),
    /// A network could not be tested.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// Checkpoints that cannot be merged.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// Clients cannot be trained together.
    #[error(transparent)]
    Federation(#[from] FederationError),
    /// Items cannot be dealt to clients.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// A run of a comparison failed.
    #[error("{run}: {source}")]
    OfRun {
        /// The method or schedule, and the seed.
        run: String,
        /// Why it failed.
        source: Box<Self>,
    },
    /// Too few images are left to train and test on.
    #[error(
        "--limit {limit}{}: too few images to train and test on; allowed: at least {least}",
        if *.hold_out { " with --hold-out" } else { "" }
    )]
    LimitTooLow {
        /// The value of the flag.
        limit: usize,
        /// Whether some of the images are held out to test on.
        hold_out: bool,
        /// The least value that is allowed.
        least: usize,
    },
    /// There are not so many images of each class.
    #[error("--shots {shots}: there are not so many images of each class; allowed: 1 to {most}")]
    TooManyShots {
        /// The value of the flag.
        shots: usize,
        /// How many there are.
        most: usize,
    },
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
    #[error("--resume: {} holds no run, and is not empty: give another --out", path.display())]
    NothingToResume {
        /// The folder that was searched.
        path: PathBuf,
    },
    /// The run to continue has come to its end.
    #[error(
        "--resume: the run in {} has already finished {epochs} epochs, so that nothing is left to \
         train; to train more, give more --epochs and --on-mismatch keep-step",
        path.display()
    )]
    AlreadyFinished {
        /// The run's folder.
        path: PathBuf,
        /// The epochs that it has trained.
        epochs: usize,
    },
    /// The probe to read again was trained for fewer epochs.
    #[error(
        "--resume: --epochs is {epochs}, but the probe in {} was trained with {trained}; to train it \
         anew give --on-mismatch keep-step",
        path.display()
    )]
    ShorterProbe {
        /// The probe's folder.
        path: PathBuf,
        /// The epochs that it was trained for.
        trained: usize,
        /// The epochs asked for.
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
    /// A model file could not be written or read.
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

/// The library has a rule for checkpoints of another schedule, or of other groups; the examples have a
/// flag for it.
fn flag_of_the_rule(error: &CheckpointError) -> &'static str {
    match error {
        CheckpointError::DifferentSchedule { .. }
        | CheckpointError::DifferentEpochs { .. }
        | CheckpointError::DifferentGroups { .. }
        | CheckpointError::ForeignScheduler { .. } => "; the rule is the flag --on-mismatch",
        _ => "",
    }
}

impl From<BuildError> for ExampleError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Checkpoint(error) => Self::Checkpoint(error),
            error => Self::Learner(error),
        }
    }
}

impl From<Arc<UpdateError>> for ExampleError {
    fn from(error: Arc<UpdateError>) -> Self {
        Self::stopped(error)
    }
}

impl ExampleError {
    pub(crate) fn file(path: &Path, source: std::io::Error) -> Self {
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

    pub(crate) fn stopped(reason: impl ToString) -> Self {
        Self::Stopped { reason: reason.to_string() }
    }
}
