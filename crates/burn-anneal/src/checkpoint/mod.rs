//! Checkpoints: finds complete ones, reads them once, and writes them completely or not at all.

mod check;
mod error;
mod store;
mod together;

pub use error::CheckpointError;
pub use store::Checkpoints;

pub(crate) use store::{Store, save_epoch};

use crate::SavedStep;
use crate::average::with_averages;
use crate::precision::with_master_weights;
use crate::update::{Saved, saved_state};
use burn::lr_scheduler::LrSchedulerRecord;
use burn::module::Module;
use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use burn::tensor::Bytes;
use std::fmt;
use std::path::{Path, PathBuf};

/// The saved state of a run after an epoch or in mid-epoch.
///
/// It consists of three files in the run's folder `checkpoint/`: `model-N.bpk`, `optim-N.bpk` and `scheduler-N.bpk`,
/// where N is the number of finished epochs; `3+120` means three epochs and 120 batches per device of the fourth.
/// Burn's own checkpointers write such files too, each from its own thread, so a killed run may leave some of them
/// missing.
///
/// ```no_run
/// use burn_anneal::Checkpoint;
/// if let Some(saved) = Checkpoint::newest("runs/cifar")? {
///     println!("resuming after {saved}");
///     // builder.resume_from(&saved)
/// }
/// # Ok::<(), burn_anneal::CheckpointError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    directory: PathBuf,
    place: Named,
}

/// The name of a checkpoint, ordered as a run saves them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Named {
    /// Finished epochs.
    pub epoch: usize,
    /// Batches per device of the next epoch.
    pub batches: usize,
}

impl Named {
    fn parse(name: &str) -> Option<Self> {
        let (epoch, batches) = match name.split_once('+') {
            Some((epoch, batches)) => (epoch, batches.parse().ok()?),
            None => (name, 0),
        };
        Some(Self { epoch: epoch.parse().ok()?, batches })
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.batches {
            0 => write!(f, "{}", self.epoch),
            batches => write!(f, "{}+{batches}", self.epoch),
        }
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.batches {
            0 => write!(f, "epoch {}", self.place.epoch),
            batches => write!(f, "epoch {} and {batches} batches", self.place.epoch),
        }
    }
}

/// The files of a checkpoint. The last one is written last, so that its presence means that all are complete.
pub(crate) const FILES: [&str; 3] = ["model", "optim", "scheduler"];

/// The suffix of a file that is being written.
pub(crate) const PARTIAL: &str = ".partial";

/// The contents of a checkpoint's files, each read once.
pub(crate) struct Records {
    pub model: ModuleRecord,
    pub optimizer: OptimizerRecord,
    pub run: SavedRun,
    /// The error of a newer checkpoint that was skipped.
    pub skipped: Option<String>,
}

/// The state of the run in a checkpoint.
pub(crate) struct SavedRun {
    pub step: Option<SavedStep>,
    /// `None` if it was not saved by one of this crate's learners.
    pub state: Option<Saved>,
}

impl Checkpoint {
    /// The newest complete checkpoint in the run's `directory` (the one given to `SupervisedTraining::new`); `None` if
    /// nothing was saved yet.
    ///
    /// # Errors
    /// [`CheckpointError::NoneWhole`] if there are checkpoints, but none is complete.
    pub fn newest(directory: impl AsRef<Path>) -> Result<Option<Self>, CheckpointError> {
        Ok(Self::newest_records(directory.as_ref())?.map(|(saved, _)| saved))
    }

    /// The newest complete checkpoint and its contents: the last one of the run that was started or resumed last.
    pub(crate) fn newest_records(
        directory: &Path,
    ) -> Result<Option<(Self, Records)>, CheckpointError> {
        let folder = folder(directory);
        let half_written = half_written(&folder)?;
        let at = |place| Self { directory: directory.to_path_buf(), place };
        let mut all: Vec<Self> = all_named(&folder)?.into_iter().map(at).collect();
        all.retain(|saved| !half_written.contains(&saved.place));
        // An unreadable checkpoint comes first, so that it is reported.
        let generation = |saved: &Self| match saved.saved_run() {
            Ok(run) => run.state.map_or(0, |state| state.generation),
            Err(_) => u64::MAX,
        };
        all.sort_by_cached_key(|saved| (generation(saved), saved.place));
        let mut newest_error: Option<CheckpointError> = None;
        for saved in all.into_iter().rev() {
            match saved.read() {
                Ok(records) => {
                    let skipped = newest_error.map(|error| error.to_string());
                    return Ok(Some((saved, Records { skipped, ..records })));
                }
                Err(error) => newest_error = newest_error.or(Some(error)),
            }
        }
        match newest_error {
            None => Ok(None),
            Some(error) => {
                Err(CheckpointError::NoneWhole { directory: folder, newest: Box::new(error) })
            }
        }
    }

    /// The checkpoint after the given epoch in the run's `directory`.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] names the first file that is missing or damaged.
    pub fn open(directory: impl AsRef<Path>, epoch: usize) -> Result<Self, CheckpointError> {
        let place = Named { epoch, batches: 0 };
        let saved = Self { directory: directory.as_ref().to_path_buf(), place };
        saved.read()?;
        Ok(saved)
    }

    /// The finished epochs: the argument of `SupervisedTraining::checkpoint`.
    pub fn epoch(&self) -> usize {
        self.place.epoch
    }

    /// The batches per device of the next epoch; 0 if it was saved at the end of an epoch.
    pub fn batches(&self) -> usize {
        self.place.batches
    }

    /// Loads the model in f32, with the [master weights](crate::precision::MasterWeights) of a run in half precision.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] if the checkpoint is from another model.
    pub fn load_in_f32<M: Module>(&self, model: M) -> Result<M, CheckpointError> {
        let model = load_model(&self.path("model"), model)?;
        Ok(with_master_weights(model, self.optimizer()?))
    }

    /// Loads the model in f32 with the averages of its weights, made by
    /// [`LearnerBuilder::average`](crate::LearnerBuilder::average) or a schedule-free optimizer. Weights and running
    /// statistics that are not (yet) averaged are as in [`load_in_f32`](Self::load_in_f32); for the statistics, see
    /// [`recompute_statistics`](crate::recompute_statistics()).
    ///
    /// # Errors
    /// [`CheckpointError::NoAverage`] if there are no averages;
    /// [`CheckpointError::Damaged`] if the checkpoint is from another model.
    pub fn load_averaged<M: Module>(&self, model: M) -> Result<M, CheckpointError> {
        let model = self.load_in_f32(model)?;
        // Parameters that no longer train may still have averages of an earlier run.
        let has_some = self.saved_run()?.state.is_some_and(|state| !state.averages.is_empty());
        if !has_some {
            return Err(CheckpointError::NoAverage { checkpoint: self.clone() });
        }
        let averaged = with_averages(&model, self.optimizer()?);
        Ok(averaged.unwrap_or(model))
    }

    /// The step saved by Anneal's scheduler; `None` if another scheduler was used.
    pub fn saved_step(&self) -> Result<Option<SavedStep>, CheckpointError> {
        Ok(SavedStep::from_record(&self.scheduler()?))
    }

    /// The updates before it, including skipped ones.
    pub(crate) fn updates(&self) -> Result<u64, CheckpointError> {
        let run = self.saved_run()?;
        let number = run.state.map(|state| state.clock.number);
        let number = number.or(run.step.map(|step| step.step));
        number.ok_or_else(|| CheckpointError::ForeignScheduler { path: self.path("scheduler") })
    }

    /// Reads all files.
    pub(crate) fn read(&self) -> Result<Records, CheckpointError> {
        let (model, optimizer) = (self.model()?, self.optimizer()?);
        Ok(Records { model, optimizer, run: self.saved_run()?, skipped: None })
    }

    /// Reads the state of its run.
    pub(crate) fn saved_run(&self) -> Result<SavedRun, CheckpointError> {
        let scheduler = self.scheduler()?;
        let state = saved_state(&scheduler).transpose();
        let state = state.map_err(|reason| self.damaged("scheduler", reason))?;
        Ok(SavedRun { step: SavedStep::from_record(&scheduler), state })
    }

    fn model(&self) -> Result<ModuleRecord, CheckpointError> {
        ModuleRecord::load(self.path("model")).map_err(|error| self.damaged("model", error))
    }

    fn optimizer(&self) -> Result<OptimizerRecord, CheckpointError> {
        OptimizerRecord::load(self.path("optim")).map_err(|error| self.damaged("optim", error))
    }

    /// The record of the run's scheduler; Burn keys the schedulers of a module by the index of their group.
    fn scheduler(&self) -> Result<LrSchedulerRecord, CheckpointError> {
        let record = LrSchedulerRecord::load(self.path("scheduler"));
        Ok(record.map_err(|error| self.damaged("scheduler", error))?.record("0"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        file(&folder(&self.directory), name, self.place)
    }

    pub(crate) fn damaged(&self, name: &str, reason: impl ToString) -> CheckpointError {
        CheckpointError::Damaged { path: self.path(name), reason: reason.to_string() }
    }
}

/// Loads a model from a file, and reads all weights at once. Burn reads them only when they are first used, when the
/// file may be gone or replaced.
pub(crate) fn load_model<M: Module>(path: &Path, model: M) -> Result<M, CheckpointError> {
    let damaged = |reason: String| CheckpointError::Damaged { path: path.to_path_buf(), reason };
    let bytes = std::fs::read(path).map_err(|error| damaged(error.to_string()))?;
    let record = ModuleRecord::from_bytes(Bytes::from_bytes_vec(bytes));
    let loaded = record.and_then(|record| model.try_load_record(record));
    loaded.map_err(|error| damaged(error.to_string()))
}

/// The folder of a run's checkpoints.
pub(crate) fn folder(directory: &Path) -> PathBuf {
    directory.join("checkpoint")
}

fn file(folder: &Path, name: &str, place: Named) -> PathBuf {
    folder.join(format!("{name}-{place}.bpk"))
}

/// Files that a killed process was writing, each with its checkpoint.
pub(crate) fn left_over(folder: &Path) -> Result<Vec<(String, Named)>, CheckpointError> {
    let of = |name: &String| {
        let rest = FILES.iter().find_map(|kind| name.strip_prefix(kind)?.strip_prefix('-'))?;
        let (place, end) = rest.split_once(".bpk")?;
        let end = end.strip_prefix(PARTIAL).unwrap_or(end);
        // Burn's own scratch files end in `.PID-N.tmp`.
        let is_scratch = || {
            let (process, count) = end.strip_prefix('.')?.strip_suffix(".tmp")?.split_once('-')?;
            let is_number = |text: &str| text.parse::<u64>().is_ok();
            Some(is_number(process) && is_number(count))
        };
        let is_left = end.is_empty() && rest.ends_with(PARTIAL) || is_scratch() == Some(true);
        Some((name.clone(), Named::parse(place)?)).filter(|_| is_left)
    };
    Ok(file_names(folder)?.iter().filter_map(of).collect())
}

/// Checkpoints that are incomplete because the process writing them was killed.
pub(crate) fn half_written(folder: &Path) -> Result<Vec<Named>, CheckpointError> {
    let is_complete = |place: &Named| FILES.iter().all(|name| file(folder, name, *place).exists());
    let left = left_over(folder)?.into_iter().map(|(_, place)| place);
    Ok(left.filter(|place| !is_complete(place)).collect())
}

/// The checkpoints with at least one file, in order.
pub(crate) fn all_named(folder: &Path) -> Result<Vec<Named>, CheckpointError> {
    let named = |name: &String| {
        let parts = FILES.iter().find_map(|kind| name.strip_prefix(kind)?.strip_prefix('-'));
        Named::parse(parts?.strip_suffix(".bpk")?)
    };
    let mut all: Vec<Named> = file_names(folder)?.iter().filter_map(named).collect();
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// The names of all files in a folder; empty if there is no folder.
pub(crate) fn file_names(folder: &Path) -> Result<Vec<String>, CheckpointError> {
    let read_error = |error| CheckpointError::Read { path: folder.to_path_buf(), error };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(read_error(error)),
    };
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        Ok(entry.map_err(read_error)?.file_name().to_string_lossy().into_owned())
    };
    entries.map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_saved_is_no_error_and_garbage_is() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Checkpoint::newest(directory.path()).unwrap(), None);
        let folder = folder(directory.path());
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("notes.txt"), "mine").unwrap();
        assert_eq!(Checkpoint::newest(directory.path()).unwrap(), None);
        std::fs::write(folder.join("model-3.bpk"), "garbage").unwrap();
        let error = Checkpoint::newest(directory.path()).unwrap_err().to_string();
        assert!(error.contains("model-3.bpk") && error.contains("Remove"), "{error}");
        // A partial file of the same checkpoint shows that it is incomplete.
        std::fs::write(folder.join("optim-3.bpk.partial"), "garbage").unwrap();
        assert_eq!(Checkpoint::newest(directory.path()).unwrap(), None);
    }

    #[test]
    fn names_stand_in_the_order_of_the_run() {
        let names = ["0+7", "1", "1+5", "1+40", "2", "10"];
        let places = names.map(|name| Named::parse(name).unwrap());
        assert!(places.is_sorted());
        assert_eq!(places.map(|place| place.to_string()), names);
        for name in ["", "1+", "+3", "a", "1+2+3", "model"] {
            assert_eq!(Named::parse(name), None, "{name}");
        }
    }
}
