//! Checkpoints for a loop of one's own, in the files that Burn's training loop writes too, so that
//! [`SavedEpoch`] finds the newest whole one.

use std::path::{Path, PathBuf};

use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::train::checkpoint::{Checkpoint, Checkpointer, CheckpointerError, FileCheckpointer};
use burn_anneal::prelude::SavedEpoch;

use crate::error::ExampleError;

/// Epochs whose checkpoints are kept.
const KEPT: usize = 2;

/// The checkpoints of a run.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: PathBuf,
}

impl Checkpoints {
    /// The checkpoints in a run's folder.
    pub fn of_run(folder: &Path) -> Self {
        Self { folder: folder.join("checkpoint") }
    }

    /// Saves the state after an epoch and deletes the checkpoint that is no longer needed.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save<M: Module>(
        &self,
        epoch: usize,
        model: &M,
        optimizer: &ModuleOptimizer,
        scheduler: &ModuleLrScheduler,
    ) -> Result<(), ExampleError> {
        self.save_record("model", epoch, model.clone().into_record())?;
        self.save_record("optim", epoch, optimizer.to_record())?;
        self.save_record("scheduler", epoch, scheduler.to_record())
    }

    /// Puts the state after a saved epoch into a model, an optimizer and a scheduler.
    ///
    /// # Errors
    /// When a file is damaged.
    pub fn restore<M: Module>(
        &self,
        saved: &SavedEpoch,
        model: M,
        optimizer: ModuleOptimizer,
        scheduler: ModuleLrScheduler,
    ) -> Result<(M, ModuleOptimizer, ModuleLrScheduler), ExampleError> {
        let epoch = saved.epoch();
        let model = model
            .try_load_record(self.restore_record("model", epoch)?)
            .map_err(|error| self.failed("model", epoch, error))?;
        let optimizer = optimizer.load_record(self.restore_record("optim", epoch)?);
        let scheduler = scheduler.load_record(self.restore_record("scheduler", epoch)?);
        Ok((model, optimizer, scheduler))
    }

    fn save_record<R: Checkpoint>(
        &self,
        name: &str,
        epoch: usize,
        record: R,
    ) -> Result<(), ExampleError> {
        let files = FileCheckpointer::new(&self.folder, name);
        let saved = files.save(epoch, record).and_then(|()| match epoch.checked_sub(KEPT) {
            Some(old) => Checkpointer::<R>::delete(&files, old),
            None => Ok(()),
        });
        saved.map_err(|error| self.failed(name, epoch, error))
    }

    fn restore_record<R: Checkpoint>(&self, name: &str, epoch: usize) -> Result<R, ExampleError> {
        FileCheckpointer::new(&self.folder, name)
            .restore(epoch)
            .map_err(|error: CheckpointerError| self.failed(name, epoch, error))
    }

    fn failed(&self, name: &str, epoch: usize, reason: impl ToString) -> ExampleError {
        ExampleError::Record {
            path: self.folder.join(format!("{name}-{epoch}.bpk")),
            reason: reason.to_string(),
        }
    }
}
