//! Writes snapshots during training.

use super::{PREFIX, SUFFIX, Snapshot, Snapshots, folder};
use crate::build_error::BuildError;
use crate::checkpoint::{CheckpointError, file_names};
use crate::update::{UpdateError, panic_message};
use anneal_schedule::{Every, OutOfRange, Run, Span};
use burn::store::ModuleRecord;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Writes the snapshots of a run.
pub(crate) struct Writer {
    snapshots: Snapshots,
    every: Option<Every>,
    state: Mutex<Writing>,
}

#[derive(Default)]
struct Writing {
    /// The update of the last snapshot; replicas of a model reach the same one.
    last: Option<u64>,
    thread: Option<JoinHandle<Result<(), UpdateError>>>,
}

impl Writer {
    /// Prepares the folder for the snapshots of a run; `next` is its next update, and `goes_on` tells whether it
    /// resumes.
    pub fn open(
        snapshots: &Snapshots,
        run: Run,
        next: u64,
        goes_on: bool,
    ) -> Result<Self, BuildError> {
        if snapshots.last == Some(0) {
            return Err(BuildError::Snapshots(OutOfRange::new("keep_last", 0, "at least 1")));
        }
        let check = |span: Span| {
            Every::new(span, run)
                .map_err(|allowed| BuildError::Snapshots(OutOfRange::new("every", span, allowed)))
        };
        let every = snapshots.every.map(check).transpose()?;
        let there = Snapshots::list(&snapshots.directory)?;
        if !goes_on && !there.is_empty() {
            let directory = snapshots.directory.clone();
            return Err(BuildError::OldSnapshots { directory });
        }
        let folder = folder(&snapshots.directory);
        let failed = |path: &Path, error: io::Error| {
            let (path, reason) = (path.to_path_buf(), error.to_string());
            BuildError::from(CheckpointError::Write { path, reason })
        };
        fs::create_dir_all(&folder).map_err(|error| failed(&folder, error))?;
        let later = there.into_iter().filter(|snapshot| snapshot.update >= next);
        // Burn writes to a temporary file, and renames it.
        let is_scratch = |name: &String| name.starts_with(PREFIX) && name.ends_with(".tmp");
        let scratch = file_names(&folder)?.into_iter().filter(is_scratch);
        let left = later.map(|snapshot| snapshot.path).chain(scratch.map(|name| folder.join(name)));
        for path in left {
            fs::remove_file(&path).map_err(|error| failed(&path, error))?;
        }
        // Reports a folder that is not writable now, not after the first cycle.
        let probe = folder.join(format!("{PREFIX}{SUFFIX}.tmp"));
        fs::write(&probe, "")
            .and_then(|()| fs::remove_file(&probe))
            .map_err(|error| failed(&probe, error))?;
        Ok(Self { snapshots: snapshots.clone(), every, state: Mutex::default() })
    }

    /// Whether a snapshot is due after this update of the run; `None` if the schedule decides.
    pub fn is_due(&self, update: u64) -> Option<bool> {
        Some(self.every?.is_after(update.saturating_add(1)))
    }

    /// Writes the model after an update, once the last snapshot is written.
    pub fn write(&self, update: u64, model: ModuleRecord) -> Result<(), UpdateError> {
        self.wait()?;
        let mut state = self.state();
        if state.last.replace(update) == Some(update) {
            return Ok(());
        }
        let snapshots = self.snapshots.clone();
        state.thread = Some(std::thread::spawn(move || snapshots.save(update, model)));
        Ok(())
    }

    /// Waits until the last snapshot is written.
    pub fn wait(&self) -> Result<(), UpdateError> {
        match self.state().thread.take() {
            Some(thread) => thread.join().unwrap_or_else(|panic| {
                let path = folder(&self.snapshots.directory);
                Err(UpdateError::Snapshot { path, reason: panic_message(&*panic) })
            }),
            None => Ok(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, Writing> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Err(error) = self.wait() {
            log::error!("{error}");
        }
    }
}

impl Snapshots {
    fn save(&self, update: u64, model: ModuleRecord) -> Result<(), UpdateError> {
        let failed = |path: &Path, reason: String| UpdateError::Snapshot {
            path: path.to_path_buf(),
            reason,
        };
        let new = Snapshot::at(&folder(&self.directory), update);
        model.save(&new.path).map_err(|error| failed(&new.path, error.to_string()))?;
        let Some(kept) = self.last else { return Ok(()) };
        let all = Self::list(&self.directory);
        let all = all.map_err(|error| failed(&new.path, error.to_string()))?;
        for old in all.into_iter().rev().skip(kept) {
            fs::remove_file(&old.path).map_err(|error| failed(&old.path, error.to_string()))?;
        }
        Ok(())
    }
}
