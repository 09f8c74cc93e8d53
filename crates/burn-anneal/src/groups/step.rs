//! How the number of an update reaches those who get only rates.

use crate::{OnMismatch, SavedStep, Scheduler};
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::module::{ParamGroup, ParamId};
use burn::optim::LearningRate;

/// A parameter that no model has. Burn hands an update nothing but the rates of the scheduler's groups,
/// so the number of the update goes as the "rate" of this parameter, through Burn's loops, clones and
/// records as every rate does.
const STEP: u64 = 0x616e_6e65_616c_0001;

/// What Burn's learner steps: the schedule, and the number of the update beside it.
pub(crate) fn with_step(
    scheduler: Scheduler,
    groups: Option<u64>,
    next_step: u64,
) -> ModuleLrScheduler {
    let number = StepNumber { scheduler: scheduler.clone().starting_at(next_step), groups };
    ModuleLrScheduler::new(scheduler)
        .with_group(ParamGroup::from_ids(vec![ParamId::from(STEP)]), number)
}

/// The number of the update that these rates are of; `None` for rates of another scheduler.
pub(crate) fn step_of(rates: &ModuleLearningRate) -> Option<u64> {
    let number = rates.lr_from_param(ParamId::from(STEP), None);
    (number < 0.0).then(|| (-number) as u64 - 1)
}

/// Gives −1 − the number of each update, which is no rate, and saves which groups the run was trained in, if
/// anybody asked for groups.
#[derive(Clone)]
struct StepNumber {
    scheduler: Scheduler,
    groups: Option<u64>,
}

impl LrScheduler for StepNumber {
    fn step(&mut self) -> LearningRate {
        let number = self.scheduler.next_step();
        self.scheduler.skip();
        -1.0 - number as f64
    }

    fn to_record(&self) -> LrSchedulerRecord {
        let record = self.scheduler.to_record();
        match self.groups {
            Some(groups) => record.with_scalar("groups", groups),
            None => record,
        }
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        // A run without groups saved none; the builder has read the step from the schedule's own.
        if SavedStep::from_record(&record).is_some() {
            self.scheduler.load_record(record);
        }
    }
}

/// The fingerprint of the groups that a scheduler's record was saved with; `None` where it was trained
/// without.
pub(crate) fn saved_groups(record: &LrSchedulerRecord) -> Option<u64> {
    record.record("1").scalar("groups")
}

/// The update that a run goes on with.
pub(crate) fn resumed_step(saved: Option<SavedStep>, scheduler: &Scheduler) -> u64 {
    match saved {
        Some(saved)
            if saved.is_of(scheduler.schedule())
                || scheduler.mismatch_rule() != OnMismatch::Restart =>
        {
            saved.step
        }
        _ => 0,
    }
}
