//! Saves the model at the end of each cycle of the schedule, or at regular intervals.

mod writer;

pub(crate) use writer::Writer;

use crate::checkpoint::{CheckpointError, file_names, load_model};
use anneal_schedule::Span;
use burn::module::Module;
use std::fmt;
use std::path::{Path, PathBuf};

/// Saves the model at the end of each cycle of the schedule, or at [regular intervals](Self::every).
///
/// A snapshot is the model's record in its `valid()` form, after the last update of a cycle, also in mid-epoch, and
/// after the last update of the run: [`Schedule::cycle_ends`](anneal_schedule::Schedule::cycle_ends) lists them. After
/// a restart the weights move elsewhere, so one training gives several models, which an [`Ensemble`](crate::Ensemble)
/// averages. A snapshot holds the master weights in f32 in half precision, and the averages in a run that averages. If
/// the last update of a cycle is skipped, the snapshot is written anyway.
///
/// A thread writes each snapshot during training, completely or not at all. A checkpoint is written only after all
/// earlier snapshots, so a killed and resumed run lacks none; it removes those of later updates, which it repeats.
///
/// Source: Huang et al. 2017, "Snapshot ensembles: train 1, get M for free" (arXiv 1704.00109).
///
/// ```
/// use burn_anneal::prelude::*;
/// # use burn::nn::LinearConfig;
/// # use burn::optim::SgdConfig;
/// # use burn::tensor::{Device, Tensor};
/// # use burn::train::TrainOutput;
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// # let device = Device::default().autodiff();
/// # let model = LinearConfig::new(2, 2).init(&device);
/// // Three cycles of four updates; any of launch, build and build_loop.
/// let mut training = LearnerBuilder::new(model, SgdConfig::new().build(), warm_restarts(0.1, Span::steps(4)))
///     .run(RunLength::updates(12))
///     .snapshots(Snapshots::new(directory))
///     .build_loop()?;
/// for _ in 0..12 {
///     training.pass(|model| {
///         let loss = model.forward(Tensor::<2>::ones([1, 2], &device)).powi_scalar(2).sum();
///         TrainOutput::new(model, loss.backward(), loss)
///     });
///     training.update()?;
/// }
/// let snapshots = Snapshots::list(directory)?;
/// assert_eq!(snapshots.iter().map(Snapshot::update).collect::<Vec<_>>(), [3, 7, 11]);
/// let model = snapshots[0].load(training.into_model())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshots {
    directory: PathBuf,
    every: Option<Span>,
    last: Option<usize>,
}

impl Snapshots {
    /// Saves in `snapshots/` of the run's folder, and keeps all.
    pub fn new(directory: impl AsRef<Path>) -> Self {
        Self { directory: directory.as_ref().to_path_buf(), every: None, last: None }
    }

    /// Saves at intervals of this many updates, epochs or percent of the run, and after its last update, instead of at
    /// the ends of cycles; above 0. A shorter run saves only the last. [`merge`](crate::merge()) needs such snapshots
    /// of a phase at a constant rate.
    ///
    /// The n-th is saved after n times the span, rounded to a whole update: a third of an epoch of ten updates gives 3,
    /// 7, 10, 13, …
    ///
    /// ```
    /// use burn_anneal::prelude::*;
    /// let snapshots = Snapshots::new("runs/mine").every(Span::percent(2)).keep_last(10);
    /// ```
    #[must_use]
    pub fn every(mut self, span: impl Into<Span>) -> Self {
        self.every = Some(span.into());
        self
    }

    /// Keeps the last `count`, at least 1; each new snapshot deletes the oldest.
    #[must_use]
    pub fn keep_last(mut self, count: usize) -> Self {
        self.last = Some(count);
        self
    }

    /// Whether snapshots are saved at the ends of cycles.
    pub(crate) fn follow_cycles(&self) -> bool {
        self.every.is_none()
    }

    /// The snapshots in the run's folder, in the order of their updates; empty if nothing was saved.
    ///
    /// # Errors
    /// [`CheckpointError::Read`] if the folder cannot be read.
    pub fn list(directory: impl AsRef<Path>) -> Result<Vec<Snapshot>, CheckpointError> {
        let folder = folder(directory.as_ref());
        let parse = |name: &String| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok();
        let updates = file_names(&folder)?;
        let mut updates: Vec<u64> = updates.iter().filter_map(parse).collect();
        updates.sort_unstable();
        Ok(updates.into_iter().map(|update| Snapshot::at(&folder, update)).collect())
    }
}

const PREFIX: &str = "update-";
const SUFFIX: &str = ".bpk";

fn folder(directory: &Path) -> PathBuf {
    directory.join("snapshots")
}

/// A file with the model after an update; see [`Snapshots`].
///
/// It can be a member of an [`Ensemble`](crate::Ensemble), and several can be [merged](crate::merge()).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    path: PathBuf,
    update: u64,
}

impl Snapshot {
    fn at(folder: &Path, update: u64) -> Self {
        // Padded to the longest number, so that files sort by update.
        Self { path: folder.join(format!("{PREFIX}{update:020}{SUFFIX}")), update }
    }

    /// The update after which it was saved, from 0.
    pub fn update(&self) -> u64 {
        self.update
    }

    /// The file: a Burn record of the model.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Loads the model with its weights, in f32 if it was trained in half precision.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] if the file is missing, damaged, or from another model.
    pub fn load<M: Module>(&self, model: M) -> Result<M, CheckpointError> {
        load_model(&self.path, model)
    }
}

impl AsRef<Path> for Snapshot {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "update {}", self.update)
    }
}
