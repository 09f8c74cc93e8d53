//! Checks that a checkpoint fits the run that resumes from it.

use super::{Checkpoint, CheckpointError, SavedRun};
use crate::groups::parameters;
use crate::update::{Identity, precisions};
use anneal_control::Controllers;
use burn::module::Module;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;

impl Checkpoint {
    /// Checks that it was trained with this optimizer, and with these groups unless they may differ.
    pub(crate) fn check_identity(
        &self,
        saved: &SavedRun,
        now: &Identity,
        may_differ: bool,
    ) -> Result<(), CheckpointError> {
        let Some(saved) = saved.state.as_ref().map(|state| &state.identity) else {
            return Ok(());
        };
        let checkpoint = self.clone();
        if saved.optimizer != now.optimizer {
            let (saved, now) = (saved.optimizer.clone(), now.optimizer.clone());
            return Err(CheckpointError::DifferentOptimizer { checkpoint, saved, now });
        }
        if saved.groups != now.groups && !may_differ {
            let (saved, now) = (saved.groups.is_some(), now.groups.is_some());
            return Err(CheckpointError::DifferentGroups { checkpoint, saved, now });
        }
        Ok(())
    }

    /// Checks that it was saved with these controllers.
    pub(crate) fn check_controllers(
        &self,
        saved: &SavedRun,
        controllers: &Controllers,
    ) -> Result<(), CheckpointError> {
        let Some(saved) = &saved.state else { return Ok(()) };
        let restored = controllers.clone().restore(saved.controllers.clone());
        restored.map_err(|error| CheckpointError::DifferentControllers {
            checkpoint: self.clone(),
            error,
        })
    }

    /// The model with the weights of the checkpoint, which must have the same precision.
    pub(crate) fn load_model<M: Module>(
        &self,
        record: ModuleRecord,
        model: &M,
    ) -> Result<M, CheckpointError> {
        let loaded = model.clone().try_load_record(record);
        let loaded = loaded.map_err(|error| self.damaged("model", error))?;
        let differs = precisions(&loaded).into_iter().zip(precisions(model));
        let differs = differs.zip(parameters(model)).find(|((saved, now), _)| saved != now);
        let Some(((saved, now), parameter)) = differs else { return Ok(loaded) };
        let name = |dtype| format!("{dtype:?}").to_lowercase();
        Err(CheckpointError::DifferentPrecision {
            checkpoint: self.clone(),
            path: parameter.path,
            saved: name(saved),
            now: name(now),
        })
    }

    /// The optimizer with the state of the checkpoint. Burn silently drops state that does not fit.
    pub(crate) fn load_optimizer(
        &self,
        record: OptimizerRecord,
        optimizer: &ModuleOptimizer,
    ) -> Result<ModuleOptimizer, CheckpointError> {
        let tensors = record.len();
        let loaded = optimizer.clone().load_record(record);
        match loaded.to_record().len() == tensors {
            true => Ok(loaded),
            false => Err(self.damaged("optim", "it is the state of another optimizer")),
        }
    }
}
