//! The scheduler of a learner, which keeps its state.

use super::error::UpdateError;
use super::monitor::Link;
use super::state::{Saved, Slot, State};
use crate::scheduler::{OnMismatch, SavedStep, read_text, write_text};
use anneal_schedule::Schedule;
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::module::{ParamGroup, ParamId};
use burn::optim::LearningRate;
use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A parameter that no model has. Burn hands an update and a metric nothing but the rates of the scheduler's
/// groups, so the number of the update, and whose it is, go as the "rate" of this parameter, through Burn's loops
/// and clones as every rate does.
const TAG: u64 = 0x616e_6e65_616c_0001;

/// What an update knows of itself by its rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub slot: u32,
    pub number: u64,
}

/// Numbers of updates below it; with 16 bits of slots they are exact in an f64.
const NUMBERS: u64 = 1 << 36;

impl Tag {
    /// That of these rates; `None` for those of another scheduler.
    pub fn of(rates: &ModuleLearningRate) -> Option<Self> {
        let tag = rates.lr_from_param(ParamId::from(TAG), None);
        (tag <= -1.0).then(|| {
            let packed = (-tag) as u64 - 1;
            Self { slot: (packed / NUMBERS) as u32, number: packed % NUMBERS }
        })
    }

    fn rate(self) -> LearningRate {
        let packed = u64::from(self.slot) * NUMBERS + self.number % NUMBERS;
        -1.0 - packed as f64
    }
}

thread_local! {
    /// That of the last step on this thread: Burn steps the groups of a scheduler one after the other.
    static LAST: Cell<Option<Tag>> = const { Cell::new(None) };
}

/// What Burn's learner steps: the schedule at the clock of the run, and the tag of the update beside it.
pub(crate) fn learner_scheduler(
    schedule: Arc<Schedule>,
    slot: Slot,
    on_mismatch: OnMismatch,
) -> ModuleLrScheduler {
    let scheduler = LearnerScheduler { schedule, slot, on_mismatch };
    ModuleLrScheduler::new(scheduler)
        .with_group(ParamGroup::from_ids(vec![ParamId::from(TAG)]), TagOfLast)
}

struct LearnerScheduler {
    schedule: Arc<Schedule>,
    slot: Slot,
    on_mismatch: OnMismatch,
}

thread_local! {
    /// The link of the last model that was cloned on this thread: Burn clones the model of a learner first, and its
    /// scheduler last.
    static CLONED: RefCell<Weak<Mutex<Slot>>> = const { RefCell::new(Weak::new()) };
}

/// Notes a clone of a model.
pub(super) fn cloned(link: &Link) {
    CLONED.set(Arc::downgrade(link));
}

/// A clone is that of a learner, which goes its own way, and its model with it.
impl Clone for LearnerScheduler {
    fn clone(&self) -> Self {
        let slot = self.slot.detached();
        if let Some(link) = CLONED.take().upgrade() {
            let mut of_model = link.lock().unwrap_or_else(PoisonError::into_inner);
            if of_model.number == self.slot.number {
                *of_model = slot.clone();
            }
        }
        Self { schedule: self.schedule.clone(), slot, ..*self }
    }
}

impl LrScheduler for LearnerScheduler {
    fn step(&mut self) -> LearningRate {
        let (number, step) = self.slot.lock().clock.issue();
        LAST.set(Some(Tag { slot: self.slot.number, number }));
        self.schedule.rate(step)
    }

    fn to_record(&self) -> LrSchedulerRecord {
        let mut state = self.slot.lock();
        let record = SavedStep::of(&self.schedule, state.clock.next_step()).into_record();
        write_text(record, STATE, &state.save())
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        let mut state = self.slot.lock();
        if let Err(reason) = restore(&mut state, &record, &self.schedule, self.on_mismatch) {
            log::error!("the record of the scheduler: {reason}");
            state.failure = Some(Arc::new(UpdateError::Record { reason }));
        }
    }
}

/// The state's name in the record.
const STATE: &str = "state";

/// What a scheduler's record says of a run; `None` where it is that of another scheduler.
pub(crate) fn saved_state(record: &LrSchedulerRecord) -> Option<Result<Saved, String>> {
    Some(Saved::read(&read_text(record, STATE)?))
}

/// Goes on with what a record says.
pub(crate) fn restore(
    state: &mut State,
    record: &LrSchedulerRecord,
    schedule: &Schedule,
    on_mismatch: OnMismatch,
) -> Result<(), String> {
    let step = SavedStep::from_record(record);
    let restarts = on_mismatch == OnMismatch::Restart
        && !step.as_ref().is_some_and(|step| step.is_of(schedule));
    let Some(step) = step else {
        return match restarts {
            true => Ok(()),
            false => Err(
                "it is of another scheduler and has no step to go on from; to start the schedule \
                          at its step 0 choose OnMismatch::Restart"
                    .into(),
            ),
        };
    };
    if !step.is_of(schedule) {
        let change = format!("saved: {}; now: {schedule}", step.schedule);
        match on_mismatch {
            OnMismatch::Exact => {
                return Err(format!(
                    "it is of another schedule ({change}); to go on at step {} under the new one choose \
                     OnMismatch::Extend, to start it anew OnMismatch::Restart",
                    step.step
                ));
            }
            OnMismatch::Extend => {
                log::info!("extending at step {} under a new schedule ({change})", step.step);
            }
            OnMismatch::Restart => log::info!("starting a new schedule at step 0 ({change})"),
        }
    }
    match saved_state(record) {
        Some(saved) => {
            let saved = saved?;
            let (was, now) = (&saved.identity, &state.identity);
            if was.optimizer != now.optimizer {
                return Err(format!(
                    "it was trained with {}, not with {}",
                    was.optimizer, now.optimizer
                ));
            }
            if was.groups != now.groups && on_mismatch == OnMismatch::Exact {
                return Err("it was trained in other groups; to go on with others choose OnMismatch::Extend".into());
            }
            state.restore(saved)?;
        }
        None if state.controllers.is_empty() && state.identity.groups.is_none() || restarts => {
            state.clock.number = step.step;
        }
        None => {
            return Err("it says nothing of groups and controllers; it was saved without a learner of Anneal's, \
                        or by an earlier version"
                .into());
        }
    }
    if restarts {
        state.restart();
    }
    Ok(())
}

/// Gives the tag of the update that was stepped just before.
#[derive(Clone)]
struct TagOfLast;

impl LrScheduler for TagOfLast {
    fn step(&mut self) -> LearningRate {
        LAST.take().map_or(0.0, Tag::rate)
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new()
    }

    fn load_record(&mut self, _record: LrSchedulerRecord) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_exact_to_the_last_number() {
        for tag in [(0, 0), (0, 1), (1, 0), (65_535, NUMBERS - 1), (7, 123_456_789_012 % NUMBERS)] {
            let tag = Tag { slot: tag.0, number: tag.1 };
            assert_eq!(Tag::of(&tag.rate().into()), Some(tag));
        }
        assert_eq!(Tag::of(&0.1.into()), None);
        assert_eq!(Tag::of(&0.0.into()), None);
    }
}
