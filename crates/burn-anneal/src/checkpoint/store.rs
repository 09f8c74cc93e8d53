//! Writing checkpoints: whole, or not there.

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

/// Where [`launch`](crate::LearnerBuilder::launch) saves checkpoints, and how often besides at the ends of epochs.
///
/// At the end of an epoch the training's `CheckpointingStrategy` says what is saved and deleted: Burn's, unless
/// another was given, keeps the last two epochs and that with the lowest loss in validation. In mid-epoch, where that is
/// asked for, the last two are kept until the epoch is over; a run that somebody interrupts saves one more, after the update
/// that it is in. A checkpoint is written beside its place and renamed when it is whole.
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
    /// In `checkpoint/` of the run's folder, at the ends of epochs.
    pub fn new(directory: impl AsRef<Path>) -> Self {
        Self { directory: directory.as_ref().to_path_buf(), updates: None, minutes: None }
    }

    /// In mid-epoch too: after every n updates of the run; at least 1. The training loader must be a
    /// [`SeededLoader`](crate::SeededLoader), of which an epoch can be gone on with.
    #[must_use]
    pub fn every_updates(mut self, updates: u64) -> Self {
        self.updates = Some(updates);
        self
    }

    /// In mid-epoch too: with the first update that is so many minutes after the last checkpoint; above 0.
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

    /// What is out of its range: field, value, allowed.
    pub(crate) fn wrong(&self) -> Option<(&'static str, String, &'static str)> {
        if let Some(updates) = self.updates.filter(|updates| *updates == 0) {
            return Some(("every_updates", updates.to_string(), "at least 1"));
        }
        let allowed = |minutes: &f64| *minutes > 0.0 && *minutes <= 1e9;
        let minutes = self.minutes.filter(|minutes| !allowed(minutes))?;
        Some(("every_minutes", minutes.to_string(), "above 0, at most 1e9"))
    }
}

/// Checkpoints of mid-epoch that are kept.
const KEPT_IN_EPOCH: usize = 2;
/// Epochs of which a loop of one's own keeps the checkpoints.
const KEPT_EPOCHS: usize = 2;

/// Writes the checkpoints of a folder. Clones write the same, each from its thread.
#[derive(Clone)]
pub(crate) struct Store {
    folder: PathBuf,
    /// The files that are written of each checkpoint.
    written: Arc<Mutex<BTreeMap<Named, Vec<&'static str>>>>,
}

impl Store {
    /// That of a run's directory.
    pub fn of(directory: &Path) -> Self {
        Self { folder: folder(directory), written: Arc::default() }
    }

    /// Whether there are checkpoints in it.
    pub fn is_empty(&self) -> Result<bool, CheckpointError> {
        let half_written = half_written(&self.folder)?;
        Ok(all_named(&self.folder)?.iter().all(|place| half_written.contains(place)))
    }

    /// Makes the folder, and removes what a process has left in it that was killed while it wrote.
    pub fn prepare(&self) -> Result<(), CheckpointError> {
        let failed = |reason: std::io::Error| write_error(&self.folder, reason);
        fs::create_dir_all(&self.folder).map_err(failed)?;
        half_written(&self.folder)?.into_iter().try_for_each(|place| self.delete(place))?;
        let left = left_over(&self.folder)?.into_iter();
        left.map(|(name, _)| self.folder.join(name)).try_for_each(|path| self.remove(&path))
    }

    /// Burn's checkpointer of one of the files, at the ends of epochs.
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

    /// Writes one file beside its place, and with the last of three renames all.
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
        // The last file says that the others are its own, also of one that is written again.
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

    /// Deletes the checkpoints of mid-epoch that one makes needless.
    fn delete_older_in_epoch(&self, saved: Named) -> Result<(), CheckpointError> {
        let in_epoch = all_named(&self.folder)?.into_iter().filter(|place| place.batches > 0);
        let older: Vec<Named> = in_epoch.filter(|place| *place < saved).collect();
        let kept = if saved.batches > 0 { KEPT_IN_EPOCH - 1 } else { 0 };
        older.iter().rev().skip(kept).try_for_each(|place| self.delete(*place))
    }

    /// Deletes a checkpoint, if it is there: first the file that says that the others belong to one.
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

/// One of the files of the checkpoints at the ends of epochs, which Burn writes each from a thread of its own.
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

/// Saves the state after an epoch of a loop of one's own, and deletes all but the last two.
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

    /// Burn saves each file from a thread of its own.
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
        // Somebody keeps weights alone.
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
