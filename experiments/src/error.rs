//! The errors of experiments.

use std::path::PathBuf;
use std::sync::Arc;

use anneal_examples::arguments::ScheduleArgumentError;
use anneal_examples::backend::BackendError;
use anneal_examples::data::DataError;
use anneal_examples::error::ExampleError;
use anneal_examples::terminal::flag_of_the_rule;
use anneal_examples::weights::WeightsError;
use burn::data::dataset::DatasetError;
use burn_anneal::control::{AnnounceError, OutOfRange};
use burn_anneal::plan::SearchError;
use burn_anneal::prelude::{
    BuildError, CheckpointError, EnsembleError, FederationError, FindError, GroupError, MergeError,
    ScheduleError, Span, UpdateError,
};
use burn_anneal::{EvaluateError, PruningError, SplitError};

/// Why an experiment fails, in one line that tells what to change.
#[derive(Debug, thiserror::Error)]
pub enum ExperimentError {
    /// The images could not be loaded.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The backend cannot be used.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The weights to start from cannot be used.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The run of a comparison cannot start or continue.
    #[error("{}{}", .0, flag_of_the_rule(.0))]
    Example(#[from] ExampleError),
    /// A loader fails.
    #[error(transparent)]
    Loader(#[from] DatasetError),
    /// `--schedule` gives no schedule.
    #[error(transparent)]
    ScheduleArgument(#[from] ScheduleArgumentError),
    /// The schedule does not fit the run.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// A controller has a value out of its range.
    #[error(transparent)]
    Control(#[from] OutOfRange),
    /// No controller listens to an announcement.
    #[error(transparent)]
    Announce(#[from] AnnounceError),
    /// The network cannot be pruned.
    #[error(transparent)]
    Pruning(#[from] PruningError),
    /// The groups do not fit the network or the run.
    #[error(transparent)]
    Groups(#[from] GroupError),
    /// Layers would start to train after the end of the run.
    #[error(
        "--unfreeze-every {percent}: the lowest of {layers} layers would start to train after the last \
         of {updates} updates; allowed: 0 to {most} with {layers} layers"
    )]
    UnfreezeEvery {
        /// The value of the flag.
        percent: f64,
        /// The number of layers.
        layers: usize,
        /// The updates of the run.
        updates: u64,
        /// The largest value with which all layers train.
        most: f64,
    },
    /// The time scale of the weight decay is not possible.
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
    /// The rate finder failed.
    #[error(transparent)]
    Finder(#[from] FindError),
    /// The learner cannot be built.
    #[error("{}{}", .0, flag_of_the_rule(.0))]
    Learner(#[from] BuildError),
    /// The checkpoints of the run to resume cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// An ensemble failed.
    #[error(transparent)]
    Ensemble(#[from] EnsembleError),
    /// A network could not be tested.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// Checkpoints cannot be merged.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// A federation failed.
    #[error(transparent)]
    Federation(#[from] FederationError),
    /// Items cannot be split among clients.
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
    /// A class has too few images.
    #[error("--shots {shots}: there are too few images of each class; allowed: 1 to {most}")]
    TooManyShots {
        /// The value of the flag.
        shots: usize,
        /// How many there are.
        most: usize,
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

impl From<Arc<UpdateError>> for ExperimentError {
    fn from(error: Arc<UpdateError>) -> Self {
        Self::stopped(error)
    }
}

impl ExperimentError {
    pub(crate) fn stopped(reason: impl ToString) -> Self {
        Self::Stopped { reason: reason.to_string() }
    }
}
