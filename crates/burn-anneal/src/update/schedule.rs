//! The scheduler of a learner, which saves the state of the run.

use super::error::UpdateError;
use super::monitor::Link;
use super::state::{Saved, Slot, State};
use crate::scheduler::{SavedStep, read_text, write_text};
use anneal_schedule::Schedule;
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::module::{ParamGroup, ParamId};
use burn::optim::LearningRate;
use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The id of a parameter that no model has. Burn passes only the rates of the scheduler's groups to an update and a
/// metric, so the number of the update and its slot travel through Burn's loops and clones as the "rate" of this
/// parameter.
const TAG: u64 = 0x616e_6e65_616c_0001;

/// Identifies an update by its rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub slot: u32,
    pub number: u64,
}

/// Numbers of updates are below this; with 16 bits of slots they are exact in an f64.
const NUMBERS: u64 = 1 << 36;

impl Tag {
    /// The tag in these rates; `None` for the rates of another scheduler.
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
    /// The tag of the last step on this thread: Burn steps the groups of a scheduler one after the other.
    static LAST: Cell<Option<Tag>> = const { Cell::new(None) };
}

/// The scheduler for Burn's learner: the schedule at the clock of the run, and the tag of the update.
pub(crate) fn learner_scheduler(schedule: Arc<Schedule>, slot: Slot) -> ModuleLrScheduler {
    let scheduler = LearnerScheduler { schedule, slot };
    ModuleLrScheduler::new(scheduler)
        .with_group(ParamGroup::from_ids(vec![ParamId::from(TAG)]), TagOfLast)
}

struct LearnerScheduler {
    schedule: Arc<Schedule>,
    slot: Slot,
}

thread_local! {
    /// The link of the model last cloned on this thread: Burn clones the model of a learner first, and its scheduler
    /// last.
    static CLONED: RefCell<Weak<Mutex<Slot>>> = const { RefCell::new(Weak::new()) };
}

/// Records a clone of a model.
pub(super) fn cloned(link: &Link) {
    CLONED.set(Arc::downgrade(link));
}

/// A clone belongs to a clone of the learner, which trains on its own, with its model.
impl Clone for LearnerScheduler {
    fn clone(&self) -> Self {
        let slot = self.slot.detached();
        if let Some(link) = CLONED.take().upgrade() {
            let mut of_model = link.lock().unwrap_or_else(PoisonError::into_inner);
            if of_model.number == self.slot.number {
                *of_model = slot.clone();
            }
        }
        Self { schedule: self.schedule.clone(), slot }
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
        if let Err(reason) = load(&mut state, &record, &self.schedule) {
            log::error!("the record of the scheduler: {reason}");
            state.failure = Some(Arc::new(UpdateError::Record { reason }));
        }
    }
}

/// The name of the state in the record.
const STATE: &str = "state";

/// The error for a record without the state of a run.
pub(crate) const SAYS_NOTHING: &str = "it has no groups and controllers; it was saved without one of Anneal's learners, or by an earlier version";

/// The state of a run in a scheduler's record; `None` if another scheduler saved it.
pub(crate) fn saved_state(record: &LrSchedulerRecord) -> Option<Result<Saved, String>> {
    Some(Saved::read(&read_text(record, STATE)?))
}

/// Restores the state from a record that Burn loads. If the builder knows the checkpoint, it has already done so.
fn load(state: &mut State, record: &LrSchedulerRecord, schedule: &Schedule) -> Result<(), String> {
    let step = SavedStep::from_record(record);
    let saved = saved_state(record).transpose()?;
    if let Some(expected) = state.expects_record.take() {
        let found = step.map(|step| step.step);
        let expected = expected.step;
        return match found == expected {
            true => Ok(()),
            false => Err(format!(
                "LearnerBuilder::resume_from names a checkpoint of step {}, but the training loads one of step {}; \
                 give SupervisedTraining::checkpoint the same epoch, or call launch, which needs only one of them",
                expected.map_or("unknown".into(), |step| step.to_string()),
                found.map_or("unknown".into(), |step| step.to_string()),
            )),
        };
    }
    let other = |what: String| {
        Err(format!(
            "{what}; pass the checkpoint to LearnerBuilder::resume_from, and choose what to do with LearnerBuilder::on_mismatch"
        ))
    };
    let Some(step) = step else {
        return other("another scheduler saved it, without a step to continue from".into());
    };
    if !step.is_of(schedule) {
        return other(format!(
            "it was saved under another schedule (saved: {}; now: {schedule})",
            step.schedule
        ));
    }
    match saved {
        Some(saved) if saved.identity.optimizer != state.identity.optimizer => Err(format!(
            "it was trained with {}, not with {}",
            saved.identity.optimizer, state.identity.optimizer
        )),
        Some(saved) if saved.identity.groups != state.identity.groups => {
            other("it was trained in other groups".into())
        }
        Some(saved) if saved.place.is_some_and(|place| place.rounds > 0) => {
            Err("it was saved in mid-epoch, where only LearnerBuilder::launch can resume".into())
        }
        Some(saved) => {
            let said = state.averages_differ(&saved.averages);
            said.into_iter().for_each(|said| log::warn!("{said}"));
            state.restore(saved)
        }
        None if state.keeps_nothing() => {
            state.clock.number = step.step;
            Ok(())
        }
        None => Err(SAYS_NOTHING.into()),
    }
}

/// Returns the tag of the update that was stepped just before.
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
