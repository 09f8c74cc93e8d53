//! Finding a checkpoint of Burn's `SupervisedTraining` that is whole.

use crate::groups::saved_groups;
use crate::precision::{precisions, with_master_weights};
use crate::{OnMismatch, SavedStep};
use anneal_schedule::Schedule;
use burn::lr_scheduler::LrSchedulerRecord;
use burn::module::Module;
use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// An epoch that `SupervisedTraining::with_default_checkpointers` has saved, of which all files are
/// whole.
///
/// Burn writes three files for an epoch (`model-N.bpk`, `optim-N.bpk`, `scheduler-N.bpk` in
/// `checkpoint/`), each from a thread of its own, so a run that is killed may leave some of them
/// missing or cut off.
///
/// ```no_run
/// use burn_anneal::SavedEpoch;
/// if let Some(saved) = SavedEpoch::newest("runs/cifar")? {
///     println!("resuming after epoch {}", saved.epoch());
///     // builder.resume_from(&saved), training.checkpoint(saved.epoch())
/// }
/// # Ok::<(), burn_anneal::CheckpointError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedEpoch {
    directory: PathBuf,
    epoch: usize,
}

/// Why a checkpoint cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The folder cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file is missing, cut off or no Burn record.
    #[error("checkpoint {}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There are checkpoints, but none is whole.
    #[error(
        "no epoch in {} is whole; the newest fails with: {newest}. Remove the folder and start \
         without resuming",
        directory.display()
    )]
    NoneWhole {
        /// The folder of the checkpoints.
        directory: PathBuf,
        /// What is wrong with the newest.
        newest: Box<CheckpointError>,
    },
    /// The checkpoint was saved by a scheduler that is not Anneal's.
    #[error(
        "checkpoint {}: it was saved by another scheduler and has no step to go on from; to start \
         the schedule at its step 0 choose the mismatch rule restart",
        path.display()
    )]
    ForeignScheduler {
        /// The scheduler's file.
        path: PathBuf,
    },
    /// The checkpoint was saved under another schedule.
    #[error(
        "the checkpoint of epoch {epoch} was saved under another schedule; saved: `{saved}`; now: \
         `{now}`; to go on at step {step} under the new one choose the mismatch rule extend, to \
         start it at its step 0 restart"
    )]
    DifferentSchedule {
        /// The epoch of the checkpoint.
        epoch: usize,
        /// The step it would go on from.
        step: u64,
        /// The schedule it was saved under.
        saved: String,
        /// The schedule asked for now.
        now: String,
    },
    /// The checkpoint was saved by a run of another precision.
    #[error(
        "the checkpoint of epoch {epoch} has its parameters in {saved}, and the model of now in {now}; \
         resume in the precision of that run, or start anew from its weights, which \
         SavedEpoch::load_in_f32 reads"
    )]
    DifferentPrecision {
        /// The epoch of the checkpoint.
        epoch: usize,
        /// The precision of the checkpoint.
        saved: String,
        /// The precision of the model.
        now: String,
    },
    /// The checkpoint was saved by a run whose parameters were in other groups, or in none.
    #[error(
        "the checkpoint of epoch {epoch} was trained {}, and now {}; give the builder the groups of \
         that run, or to go on with others choose the mismatch rule extend",
        if *saved { "in groups" } else { "without groups" },
        match (*saved, *now) {
            (true, true) => "their rates, members or starts are others",
            (_, true) => "there are groups",
            (_, false) => "there are none",
        }
    )]
    DifferentGroups {
        /// The epoch of the checkpoint.
        epoch: usize,
        /// Whether it was trained in groups.
        saved: bool,
        /// Whether groups are asked for now.
        now: bool,
    },
}

impl SavedEpoch {
    /// The newest epoch in the run's `directory` (the one given to `SupervisedTraining::new`) of
    /// which all files are whole; `None` where nothing was saved yet.
    ///
    /// # Errors
    /// [`CheckpointError::NoneWhole`] where files were saved and no epoch of them is whole.
    pub fn newest(directory: impl AsRef<Path>) -> Result<Option<Self>, CheckpointError> {
        let directory = directory.as_ref();
        let mut newest_error = None;
        for epoch in saved_epochs(&checkpoint_folder(directory))?.into_iter().rev() {
            match Self::open(directory, epoch) {
                Ok(saved) => return Ok(Some(saved)),
                Err(error) => newest_error = newest_error.or(Some(error)),
            }
        }
        match newest_error {
            None => Ok(None),
            Some(error) => Err(CheckpointError::NoneWhole {
                directory: checkpoint_folder(directory),
                newest: Box::new(error),
            }),
        }
    }

    /// The given epoch in the run's `directory`.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] names the first file that is not whole.
    pub fn open(directory: impl AsRef<Path>, epoch: usize) -> Result<Self, CheckpointError> {
        let saved = Self { directory: directory.as_ref().to_path_buf(), epoch };
        saved.model()?;
        OptimizerRecord::load(saved.path("optim"))
            .map_err(|error| saved.damaged("optim", error))?;
        saved.scheduler_record()?;
        Ok(saved)
    }

    /// The number that `SupervisedTraining::checkpoint` takes.
    pub fn epoch(&self) -> usize {
        self.epoch
    }

    /// The model of this epoch in f32, with the [master
    /// weights](crate::precision::MasterWeights) of a run in half precision.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] where it is the checkpoint of another model.
    pub fn load_in_f32<M: Module>(&self, model: M) -> Result<M, CheckpointError> {
        let model =
            model.try_load_record(self.model()?).map_err(|error| self.damaged("model", error))?;
        Ok(with_master_weights(model, self.optimizer()?))
    }

    /// The model's record.
    pub(crate) fn model(&self) -> Result<ModuleRecord, CheckpointError> {
        ModuleRecord::load(self.path("model")).map_err(|error| self.damaged("model", error))
    }

    /// The optimizer's record.
    pub(crate) fn optimizer(&self) -> Result<OptimizerRecord, CheckpointError> {
        OptimizerRecord::load(self.path("optim")).map_err(|error| self.damaged("optim", error))
    }

    /// The step that an Anneal scheduler saved; `None` where another scheduler was used.
    pub fn saved_step(&self) -> Result<Option<SavedStep>, CheckpointError> {
        // Burn keys the schedulers of a module by the index of their group; the base is group 0.
        Ok(SavedStep::from_record(&self.scheduler_record()?.record("0")))
    }

    /// Checks that the epoch was saved under `schedule`, or that `on_mismatch` allows another one.
    ///
    /// [`LearnerBuilder::resume_from`](crate::LearnerBuilder::resume_from) calls it; a loop of one's
    /// own calls it before it loads anything.
    ///
    /// # Errors
    /// [`CheckpointError::DifferentSchedule`] prints both schedules.
    pub fn check_schedule(
        &self,
        schedule: &Schedule,
        on_mismatch: OnMismatch,
    ) -> Result<(), CheckpointError> {
        match self.saved_step()? {
            None if on_mismatch != OnMismatch::Restart => {
                Err(CheckpointError::ForeignScheduler { path: self.path("scheduler") })
            }
            Some(saved) if on_mismatch == OnMismatch::Exact && !saved.is_of(schedule) => {
                Err(CheckpointError::DifferentSchedule {
                    epoch: self.epoch,
                    step: saved.step,
                    saved: saved.schedule,
                    now: schedule.to_string(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Checks that the epoch was trained in groups of this fingerprint, or that `on_mismatch` allows
    /// others.
    pub(crate) fn check_groups(
        &self,
        groups: Option<u64>,
        on_mismatch: OnMismatch,
    ) -> Result<(), CheckpointError> {
        let saved = saved_groups(&self.scheduler_record()?);
        if saved == groups || on_mismatch != OnMismatch::Exact {
            return Ok(());
        }
        let (saved, now) = (saved.is_some(), groups.is_some());
        Err(CheckpointError::DifferentGroups { epoch: self.epoch, saved, now })
    }

    /// Checks that the epoch was saved by a run of this model, in this precision.
    pub(crate) fn check_model<M: Module>(&self, model: &M) -> Result<(), CheckpointError> {
        let loaded = model.clone().try_load_record(self.model()?);
        let loaded = loaded.map_err(|error| self.damaged("model", error))?;
        let (saved, now) = (precisions(&loaded), precisions(model));
        match saved == now {
            true => Ok(()),
            false => Err(CheckpointError::DifferentPrecision { epoch: self.epoch, saved, now }),
        }
    }

    fn scheduler_record(&self) -> Result<LrSchedulerRecord, CheckpointError> {
        LrSchedulerRecord::load(self.path("scheduler"))
            .map_err(|error| self.damaged("scheduler", error))
    }

    fn path(&self, name: &str) -> PathBuf {
        checkpoint_folder(&self.directory).join(format!("{name}-{}.bpk", self.epoch))
    }

    pub(crate) fn damaged(&self, name: &str, reason: impl ToString) -> CheckpointError {
        CheckpointError::Damaged { path: self.path(name), reason: reason.to_string() }
    }
}

fn checkpoint_folder(directory: &Path) -> PathBuf {
    directory.join("checkpoint")
}

/// The epochs of which at least one file is there, in order.
fn saved_epochs(folder: &Path) -> Result<Vec<usize>, CheckpointError> {
    let read_error = |source| CheckpointError::Read { path: folder.to_path_buf(), source };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(read_error(error)),
    };
    let mut epochs = Vec::new();
    for entry in entries {
        let name = entry.map_err(read_error)?.file_name();
        let name = name.to_string_lossy();
        let epoch: Option<usize> = ["model-", "optim-", "scheduler-"]
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix)?.strip_suffix(".bpk")?.parse().ok());
        epochs.extend(epoch);
    }
    epochs.sort_unstable();
    epochs.dedup();
    Ok(epochs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_saved_is_no_error_and_garbage_is() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(SavedEpoch::newest(directory.path()).unwrap(), None);
        let folder = checkpoint_folder(directory.path());
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("notes.txt"), "mine").unwrap();
        assert_eq!(SavedEpoch::newest(directory.path()).unwrap(), None);
        std::fs::write(folder.join("model-3.bpk"), "garbage").unwrap();
        let error = SavedEpoch::newest(directory.path()).unwrap_err().to_string();
        assert!(error.contains("model-3.bpk") && error.contains("Remove"), "{error}");
    }
}
