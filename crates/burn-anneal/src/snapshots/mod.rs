//! The model at the end of each cycle of the schedule, or every so often, in a file of its own.

mod writer;

pub(crate) use writer::Writer;

use crate::checkpoint::{CheckpointError, file_names, load_model};
use anneal_schedule::Span;
use burn::module::Module;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where a run leaves the model at the end of each cycle of its schedule, or [every](Self::every) so often, and which it keeps.
///
/// A snapshot is the model's record, in its `valid()` form, after the last update of a cycle, in mid-epoch too, and
/// after the last of the run: [`Schedule::cycle_ends`](anneal_schedule::Schedule::cycle_ends) of the run's schedule says
/// which those are. A restart then takes the weights elsewhere, so that one training leaves several models, which an
/// [`Ensemble`](crate::Ensemble) averages. In half precision it holds the master weights, in f32, and in a run that averages the averages. Where the last update
/// of a cycle is skipped, it is written after that all the same.
///
/// A thread writes it while training goes on, whole or not at all. No checkpoint is written before those before it are
/// there, so a run that is killed and resumed lacks none; those of later updates, which it makes again, it removes.
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
    /// In `snapshots/` of the run's folder. All are kept.
    pub fn new(directory: impl AsRef<Path>) -> Self {
        Self { directory: directory.as_ref().to_path_buf(), every: None, last: None }
    }

    /// After every so many updates of the run, epochs, or percent of it, and after its last update, in place of the ends of
    /// cycles; above 0. A run that is shorter leaves the last alone. What [`merge`](crate::merge()) needs of a phase at a constant rate.
    ///
    /// The n-th is written after n times the span, rounded to a whole update: every third of an epoch of ten updates after 3, 7,
    /// 10, 13, …
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

    /// Keeps the last `count`, at least 1; an older one is deleted when a newer one is there.
    #[must_use]
    pub fn keep_last(mut self, count: usize) -> Self {
        self.last = Some(count);
        self
    }

    /// Whether they are written at the ends of cycles.
    pub(crate) fn follow_cycles(&self) -> bool {
        self.every.is_none()
    }

    /// Those in the run's folder, in the order of their updates; none where nothing was saved.
    ///
    /// # Errors
    /// [`CheckpointError::Read`] where the folder cannot be read.
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

/// The model after an update, in a file: see [`Snapshots`].
///
/// As a path it is a member of an [`Ensemble`](crate::Ensemble); several can be [merged](crate::merge()).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    path: PathBuf,
    update: u64,
}

impl Snapshot {
    fn at(folder: &Path, update: u64) -> Self {
        // As long as the longest, so that files stand in the order of their updates.
        Self { path: folder.join(format!("{PREFIX}{update:020}{SUFFIX}")), update }
    }

    /// The update that it was written after, from 0.
    pub fn update(&self) -> u64 {
        self.update
    }

    /// The file: a Burn record of the model.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The model with its weights, in f32 where it was trained in half precision.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] where it is not there, not whole, or of another model.
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
