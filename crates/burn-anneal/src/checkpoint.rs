//! Checkpoints: finding one that is whole, checking that it fits, and saving one of a loop of one's own.

use crate::groups::parameters;
use crate::precision::with_master_weights;
use crate::update::{Identity, Saved, precisions, saved_state};
use crate::{OnMismatch, SavedStep};
use anneal_control::RestoreError;
use anneal_schedule::Schedule;
use burn::lr_scheduler::LrSchedulerRecord;
use burn::module::Module;
use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use burn::train::checkpoint::{Checkpointer, CheckpointerError, FileCheckpointer};
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
    /// The checkpoint was saved by a run of another precision, or with other exceptions from it.
    #[error(
        "the checkpoint of epoch {epoch} has `{path}` in {saved}, and the model of now in {now}; resume in the \
         precision of that run, with its exceptions, or start anew from its weights, which \
         SavedEpoch::load_in_f32 reads"
    )]
    DifferentPrecision {
        /// The epoch of the checkpoint.
        epoch: usize,
        /// The first parameter that differs.
        path: String,
        /// Its precision in the checkpoint.
        saved: String,
        /// Its precision in the model.
        now: String,
    },
    /// The checkpoint was saved with another optimizer.
    #[error(
        "the checkpoint of epoch {epoch} was trained with `{saved}`, and now there is `{now}`, which cannot go on with \
         its state; give the builder the optimizer of that run, or start anew from its weights, which \
         SavedEpoch::load_in_f32 reads"
    )]
    DifferentOptimizer {
        /// The epoch of the checkpoint.
        epoch: usize,
        /// The optimizer of the checkpoint.
        saved: String,
        /// The optimizer of now.
        now: String,
    },
    /// The checkpoint was saved with other controllers, loss scaling among them.
    #[error("the controllers of the checkpoint of epoch {epoch}: {source}")]
    DifferentControllers {
        /// The epoch of the checkpoint.
        epoch: usize,
        /// What differs.
        source: RestoreError,
    },
    /// A file cannot be written.
    #[error("checkpoint {}: cannot be written: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
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
        Ok(SavedStep::from_record(&self.base_record()?))
    }

    /// The record of the learner's scheduler; Burn keys the schedulers of a module by the index of their group.
    pub(crate) fn base_record(&self) -> Result<LrSchedulerRecord, CheckpointError> {
        Ok(self.scheduler_record()?.record("0"))
    }

    /// What a run has come to; `None` where no learner of ours saved it.
    pub(crate) fn saved_state(&self) -> Result<Option<Saved>, CheckpointError> {
        let saved = saved_state(&self.base_record()?).transpose();
        saved.map_err(|reason| self.damaged("scheduler", reason))
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

    /// Checks that the epoch was trained with this optimizer, and in these groups, or that `on_mismatch` allows
    /// others.
    pub(crate) fn check_identity(
        &self,
        saved: &Identity,
        now: &Identity,
        on_mismatch: OnMismatch,
    ) -> Result<(), CheckpointError> {
        let epoch = self.epoch;
        if saved.optimizer != now.optimizer {
            let (saved, now) = (saved.optimizer.clone(), now.optimizer.clone());
            return Err(CheckpointError::DifferentOptimizer { epoch, saved, now });
        }
        if saved.groups != now.groups && on_mismatch == OnMismatch::Exact {
            let (saved, now) = (saved.groups.is_some(), now.groups.is_some());
            return Err(CheckpointError::DifferentGroups { epoch, saved, now });
        }
        Ok(())
    }

    /// Checks that the epoch was saved by a run of this model, in this precision.
    pub(crate) fn check_model<M: Module>(&self, model: &M) -> Result<(), CheckpointError> {
        let loaded = model.clone().try_load_record(self.model()?);
        let loaded = loaded.map_err(|error| self.damaged("model", error))?;
        let differs = precisions(&loaded).into_iter().zip(precisions(model));
        let differs = differs.zip(parameters(model)).find(|((saved, now), _)| saved != now);
        let Some(((saved, now), parameter)) = differs else { return Ok(()) };
        let name = |dtype| format!("{dtype:?}").to_lowercase();
        Err(CheckpointError::DifferentPrecision {
            epoch: self.epoch,
            path: parameter.path,
            saved: name(saved),
            now: name(now),
        })
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

/// Epochs of which a loop of one's own keeps the checkpoints.
const KEPT: usize = 2;

/// Saves the state after an epoch, in the files that Burn's training writes too.
pub(crate) fn save_epoch(
    directory: &Path,
    epoch: usize,
    model: ModuleRecord,
    optimizer: OptimizerRecord,
    scheduler: LrSchedulerRecord,
) -> Result<(), CheckpointError> {
    let folder = checkpoint_folder(directory);
    let files = |name: &str| FileCheckpointer::new(&folder, name);
    let failed = |name: &str, epoch: usize, error: CheckpointerError| CheckpointError::Write {
        path: folder.join(format!("{name}-{epoch}.bpk")),
        reason: error.to_string(),
    };
    files("model").save(epoch, model).map_err(|error| failed("model", epoch, error))?;
    files("optim").save(epoch, optimizer).map_err(|error| failed("optim", epoch, error))?;
    files("scheduler").save(epoch, scheduler).map_err(|error| failed("scheduler", epoch, error))?;
    for old in saved_epochs(&folder)?.into_iter().rev().skip(KEPT) {
        for name in ["model", "optim", "scheduler"] {
            // One that is not there is deleted already.
            let deleted = Checkpointer::<ModuleRecord>::delete(&files(name), old);
            deleted.map_err(|error| failed(name, old, error))?;
        }
    }
    Ok(())
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
