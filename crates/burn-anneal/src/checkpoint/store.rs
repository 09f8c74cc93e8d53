//! Writes checkpoints completely or not at all.

use super::{
    Checkpoint, CheckpointError, FILES, Named, PARTIAL, all_named, file, folder, half_written,
    left_over,
};
use burn::lr_scheduler::LrSchedulerRecord;
use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use burn::train::checkpoint::{Checkpoint as Record, Checkpointer, CheckpointerError};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Configures where and how often [`launch`](crate::LearnerBuilder::launch) saves checkpoints.
///
/// At the end of an epoch, the training's `CheckpointingStrategy` decides what to save and delete. Burn's default keeps
/// the last two epochs and the one with the lowest validation loss. Optional checkpoints in mid-epoch are kept until
/// the end of the epoch, the last two of them; an interrupted run saves one more, after its current update. A
/// checkpoint is written to temporary files, which are renamed when it is complete.
///
/// ```
/// use burn_anneal::Checkpoints;
/// let checkpoints = Checkpoints::new("runs/cifar").every_updates(500).every_minutes(10.0);
/// ```
#[derive(Clone, Debug)]
pub struct Checkpoints {
    directory: PathBuf,
    updates: Option<u64>,
    minutes: Option<f64>,
}

impl Checkpoints {
    /// Saves in `checkpoint/` of the run's folder, at the end of each epoch.
    pub fn new(directory: impl AsRef<Path>) -> Self {
        Self { directory: directory.as_ref().to_path_buf(), updates: None, minutes: None }
    }

    /// Saves in mid-epoch too, after every n updates of the run; at least 1. The training loader must be a
    /// [`SeededLoader`](crate::SeededLoader), which can resume in mid-epoch.
    #[must_use]
    pub fn every_updates(mut self, updates: u64) -> Self {
        self.updates = Some(updates);
        self
    }

    /// Saves in mid-epoch too, at the first update that is this many minutes after the last checkpoint; above 0.
    #[must_use]
    pub fn every_minutes(mut self, minutes: f64) -> Self {
        self.minutes = Some(minutes);
        self
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// How often it saves in mid-epoch.
    pub(crate) fn intervals(&self) -> (Option<u64>, Option<Duration>) {
        (self.updates, self.minutes.map(|minutes| Duration::from_secs_f64(60.0 * minutes)))
    }

    /// The value that is out of its range: field, value, allowed range.
    pub(crate) fn wrong(&self) -> Option<(&'static str, String, &'static str)> {
        if let Some(updates) = self.updates.filter(|updates| *updates == 0) {
            return Some(("every_updates", updates.to_string(), "at least 1"));
        }
        let allowed = |minutes: &f64| *minutes > 0.0 && *minutes <= 1e9;
        let minutes = self.minutes.filter(|minutes| !allowed(minutes))?;
        Some(("every_minutes", minutes.to_string(), "above 0, at most 1e9"))
    }
}

/// The number of mid-epoch checkpoints to keep.
const KEPT_IN_EPOCH: usize = 2;
/// The number of checkpoints that a custom loop keeps.
const KEPT_EPOCHS: usize = 2;

/// Writes the checkpoints of a folder. Clones write the same checkpoints, each from its own thread.
#[derive(Clone)]
pub(crate) struct Store {
    folder: PathBuf,
    /// The files already written of each checkpoint.
    written: Arc<Mutex<BTreeMap<Named, Vec<&'static str>>>>,
}

impl Store {
    /// The store of a run's directory.
    pub fn of(directory: &Path) -> Self {
        Self { folder: folder(directory), written: Arc::default() }
    }

    /// Whether there are checkpoints in it.
    pub fn is_empty(&self) -> Result<bool, CheckpointError> {
        let half_written = half_written(&self.folder)?;
        Ok(all_named(&self.folder)?.iter().all(|place| half_written.contains(place)))
    }

    /// Creates the folder, and removes what a killed process has left in it.
    pub fn prepare(&self) -> Result<(), CheckpointError> {
        let failed = |reason: std::io::Error| write_error(&self.folder, reason);
        fs::create_dir_all(&self.folder).map_err(failed)?;
        half_written(&self.folder)?.into_iter().try_for_each(|place| self.delete(place))?;
        let left = left_over(&self.folder)?.into_iter();
        left.map(|(name, _)| self.folder.join(name)).try_for_each(|path| self.remove(&path))
    }

    /// Burn's checkpointer for one of the files, at the end of each epoch.
    pub fn checkpointer(&self, name: &'static str) -> EpochFile {
        EpochFile { name, store: self.clone() }
    }

    /// Writes all of a checkpoint.
    pub fn save(
        &self,
        place: Named,
        model: ModuleRecord,
        optimizer: OptimizerRecord,
        scheduler: LrSchedulerRecord,
    ) -> Result<(), CheckpointError> {
        self.write(place, "model", model)?;
        self.write(place, "optim", optimizer)?;
        self.write(place, "scheduler", scheduler)
    }

    /// Writes one file under a temporary name; the last of the three renames all.
    fn write<R: Record>(
        &self,
        place: Named,
        name: &'static str,
        record: R,
    ) -> Result<(), CheckpointError> {
        let path = self.partial(name, place);
        record.save(path.clone()).map_err(|error| write_error(&path, error))?;
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let files = written.entry(place).or_default();
        files.push(name);
        if files.len() < FILES.len() {
            return Ok(());
        }
        written.remove(&place);
        // The last file marks the checkpoint as complete, so it goes first if the checkpoint is written again.
        let [.., last] = FILES;
        self.remove(&file(&self.folder, last, place))?;
        for name in FILES {
            let (from, to) = (self.partial(name, place), file(&self.folder, name, place));
            fs::rename(&from, &to).map_err(|error| write_error(&to, error))?;
        }
        self.delete_older_in_epoch(place)
    }

    fn partial(&self, name: &str, place: Named) -> PathBuf {
        let mut path = file(&self.folder, name, place).into_os_string();
        path.push(PARTIAL);
        path.into()
    }

    /// Deletes the mid-epoch checkpoints that a newer one replaces.
    fn delete_older_in_epoch(&self, saved: Named) -> Result<(), CheckpointError> {
        let in_epoch = all_named(&self.folder)?.into_iter().filter(|place| place.batches > 0);
        let older: Vec<Named> = in_epoch.filter(|place| *place < saved).collect();
        let kept = if saved.batches > 0 { KEPT_IN_EPOCH - 1 } else { 0 };
        older.iter().rev().skip(kept).try_for_each(|place| self.delete(*place))
    }

    /// Deletes a checkpoint if it exists, starting with the file that marks it as complete.
    fn delete(&self, place: Named) -> Result<(), CheckpointError> {
        let mut files = FILES.iter().rev();
        files.try_for_each(|name| self.remove(&file(&self.folder, name, place)))
    }

    fn remove(&self, path: &Path) -> Result<(), CheckpointError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(write_error(path, error))
            }
            _ => Ok(()),
        }
    }
}

fn write_error(path: &Path, reason: impl ToString) -> CheckpointError {
    CheckpointError::Write { path: path.to_path_buf(), reason: reason.to_string() }
}

/// One of the three files of each epoch's checkpoint, which Burn writes each from its own thread.
pub(crate) struct EpochFile {
    name: &'static str,
    store: Store,
}

impl<R: Record> Checkpointer<R> for EpochFile {
    fn save(&self, epoch: usize, record: R) -> Result<(), CheckpointerError> {
        let place = Named { epoch, batches: 0 };
        self.store.write(place, self.name, record).map_err(in_words)
    }

    /// Burn asks each of the three; the first deletes all.
    fn delete(&self, epoch: usize) -> Result<(), CheckpointerError> {
        self.store.delete(Named { epoch, batches: 0 }).map_err(in_words)
    }

    fn restore(&self, epoch: usize) -> Result<R, CheckpointerError> {
        R::load(file(&self.store.folder, self.name, Named { epoch, batches: 0 }))
    }
}

fn in_words(error: CheckpointError) -> CheckpointerError {
    CheckpointerError::Unknown(error.to_string())
}

/// Saves a checkpoint after an epoch of a custom loop, and deletes all but the last two.
pub(crate) fn save_epoch(
    directory: &Path,
    epoch: usize,
    model: ModuleRecord,
    optimizer: OptimizerRecord,
    scheduler: LrSchedulerRecord,
) -> Result<Checkpoint, CheckpointError> {
    let store = Store::of(directory);
    store.prepare()?;
    let place = Named { epoch, batches: 0 };
    store.save(place, model, optimizer, scheduler)?;
    for old in all_named(&store.folder)?.into_iter().rev().skip(KEPT_EPOCHS) {
        store.delete(old)?;
    }
    Ok(Checkpoint { directory: directory.to_path_buf(), place })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::file_names;

    fn records(step: u64) -> (ModuleRecord, OptimizerRecord, LrSchedulerRecord) {
        let model = burn::nn::LinearConfig::new(2, 2).init(&burn::tensor::Device::default());
        let scheduler = LrSchedulerRecord::new().with_scalar("0.step", step);
        (burn::module::Module::into_record(model), OptimizerRecord::default(), scheduler)
    }

    fn save(store: &Store, epoch: usize, batches: usize) {
        let (model, optimizer, scheduler) = records(epoch as u64);
        store.save(Named { epoch, batches }, model, optimizer, scheduler).unwrap();
    }

    fn names(store: &Store) -> Vec<String> {
        all_named(&store.folder).unwrap().iter().map(Named::to_string).collect()
    }

    #[test]
    fn of_mid_epoch_the_last_two_are_kept_until_the_epoch_is_over() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::of(directory.path());
        store.prepare().unwrap();
        save(&store, 1, 0);
        for batches in [5, 10, 15] {
            save(&store, 1, batches);
        }
        assert_eq!(names(&store), ["1", "1+10", "1+15"]);
        save(&store, 2, 0);
        assert_eq!(names(&store), ["1", "2"]);
    }

    /// Burn saves each file from its own thread.
    #[test]
    fn a_checkpoint_is_there_when_its_last_file_is_written_in_whatever_order() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::of(directory.path());
        store.prepare().unwrap();
        let (model, optimizer, scheduler) = records(0);
        store.checkpointer("scheduler").save(4, scheduler).unwrap();
        store.checkpointer("model").save(4, model).unwrap();
        assert_eq!(Checkpoint::newest(directory.path()).unwrap(), None);
        store.checkpointer("optim").save(4, optimizer).unwrap();
        assert_eq!(Checkpoint::newest(directory.path()).unwrap().unwrap().epoch(), 4);
        Checkpointer::<ModuleRecord>::delete(&store.checkpointer("model"), 4).unwrap();
        assert_eq!(file_names(&store.folder).unwrap(), [""; 0]);
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::of(directory.path());
        store.prepare().unwrap();
        save(&store, 1, 0);
        save(&store, 2, 0);
        for left in [
            "optim-3.bpk.partial",
            "optim-2.bpk.partial.12-0.tmp",
            "model-3.bpk",
            "optim-2+4.bpk.partial",
        ] {
            fs::write(store.folder.join(left), "half").unwrap();
        }
        // Files that the user keeps.
        for mine in ["model-notes.tmp", "optim-old.bpk.partial", "model-7.bpk"] {
            fs::write(store.folder.join(mine), "mine").unwrap();
        }
        store.prepare().unwrap();
        let mut found = file_names(&store.folder).unwrap();
        found.sort();
        let mut expected: Vec<String> =
            ["model-notes.tmp", "optim-old.bpk.partial", "model-7.bpk"].map(String::from).to_vec();
        for epoch in [1, 2] {
            expected.extend(FILES.map(|name| format!("{name}-{epoch}.bpk")));
        }
        expected.sort();
        assert_eq!(found, expected);
    }
}
