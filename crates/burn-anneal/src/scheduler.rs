//! A Burn `LrScheduler` that follows a schedule.

use anneal_schedule::{
    Fingerprint, RunLength, Schedule, ScheduleConfig, ScheduleError, ScheduleExt,
};
use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::optim::LearningRate;
use std::sync::Arc;

/// Steps through a [`Schedule`], as the scheduler of Burn's `Learner` or of a custom loop.
///
/// The first [`step`](LrScheduler::step) gives the rate of update 0. Steps beyond the schedule's length hold its last
/// rate; the first of them warns in the log and on stderr. The record holds the step, and the schedule's fingerprint
/// and text to recognize it; there is no other state. Burn's `load_record` cannot return an error, so it keeps the step
/// of another schedule and warns; [`LearnerBuilder`](crate::LearnerBuilder) refuses it before training. A few rates are
/// computed in advance.
///
/// ```
/// use burn_anneal::prelude::*;
/// let run = RunLength::updates(4);
/// let mut scheduler = Scheduler::new(linear(1.0, 0.0), run)?;
/// assert_eq!([0; 5].map(|_| scheduler.step()), [1.0, 0.75, 0.5, 0.25, 0.0]);
///
/// let mut resumed = Scheduler::new(linear(1.0, 0.0), run)?;
/// resumed.load_record(scheduler.to_record());
/// assert_eq!(resumed.next_step(), 5);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Scheduler {
    schedule: Arc<Schedule>,
    next_step: u64,
    /// The rates of a few updates; after the first `used`, those from `next_step` on.
    rates: [f64; AHEAD],
    used: usize,
    warned_of_end: bool,
}

/// The number of rates computed at once: finding the curve costs more than a rate.
const AHEAD: usize = 16;

impl Scheduler {
    /// Makes a scheduler at step 0 of this schedule, in a run of this length.
    ///
    /// `Learner::new(model, optimizer, Scheduler::new(schedule, run)?)` is all that Burn needs.
    ///
    /// # Errors
    /// [`ScheduleError`] names the field, the value and the allowed range.
    pub fn new(schedule: impl Into<ScheduleConfig>, run: RunLength) -> Result<Self, ScheduleError> {
        schedule.resolve(run).map(Self::from)
    }

    /// The schedule.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The update whose rate the next [`step`](LrScheduler::step) gives.
    pub fn next_step(&self) -> u64 {
        self.next_step
    }
}

impl From<Schedule> for Scheduler {
    fn from(schedule: Schedule) -> Self {
        Self {
            schedule: Arc::new(schedule),
            next_step: 0,
            rates: [0.0; AHEAD],
            used: AHEAD,
            warned_of_end: false,
        }
    }
}

impl LrScheduler for Scheduler {
    fn step(&mut self) -> LearningRate {
        if self.used == AHEAD {
            self.schedule.fill(self.next_step, &mut self.rates);
            self.used = 0;
        }
        let rate = self.rates[self.used];
        self.used += 1;
        if !self.warned_of_end && self.schedule.length().is_some_and(|end| self.next_step >= end) {
            self.warned_of_end = true;
            tell(&past_end(&self.schedule, rate));
        }
        self.next_step = self.next_step.saturating_add(1);
        rate
    }

    fn to_record(&self) -> LrSchedulerRecord {
        SavedStep::of(&self.schedule, self.next_step).into_record()
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        self.used = AHEAD;
        match SavedStep::from_record(&record) {
            Some(saved) => {
                self.next_step = saved.step;
                if !saved.is_of(&self.schedule) {
                    tell(&format!(
                        "the scheduler's record was saved under another schedule; its step {} is kept; saved: {}; now: {}",
                        saved.step, saved.schedule, self.schedule
                    ));
                }
            }
            None => tell(&format!(
                "another scheduler saved the scheduler's record, without a step; continuing at step {} of {}",
                self.next_step, self.schedule
            )),
        }
    }
}

/// Warns where no error can be returned: in the log, which Burn writes to a file, and on stderr.
pub(crate) fn tell(words: &str) {
    log::warn!("{words}");
    eprintln!("{words}");
}

/// The warning that training continues after the end of its schedule.
pub(crate) fn past_end(schedule: &Schedule, rate: f64) -> String {
    format!(
        "training continues after the last update of {schedule}; holding the rate {rate:?}. Give RunLength the epochs, \
         batch size and gradient accumulation of the training"
    )
}

/// The step in a scheduler's record, and its schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedStep {
    /// The update whose rate comes next.
    pub step: u64,
    /// The schedule's text.
    pub schedule: String,
    fingerprint: u64,
    fingerprint_version: u64,
}

impl SavedStep {
    pub(crate) fn of(schedule: &Schedule, step: u64) -> Self {
        Self {
            step,
            schedule: schedule.to_string(),
            fingerprint: schedule.fingerprint().value(),
            fingerprint_version: Fingerprint::VERSION,
        }
    }

    /// Whether it was saved under an equal schedule.
    pub fn is_of(&self, schedule: &Schedule) -> bool {
        self.fingerprint_version == Fingerprint::VERSION
            && self.fingerprint == schedule.fingerprint().value()
    }

    /// Reads a [`Scheduler`]'s record; `None` for the record of another scheduler.
    pub fn from_record(record: &LrSchedulerRecord) -> Option<Self> {
        Some(Self {
            step: record.scalar("step")?,
            fingerprint: record.scalar("fingerprint")?,
            fingerprint_version: record.scalar("fingerprint_version")?,
            schedule: read_text(record, "schedule")?,
        })
    }

    pub(crate) fn into_record(self) -> LrSchedulerRecord {
        let record = LrSchedulerRecord::new()
            .with_scalar("step", self.step)
            .with_scalar("fingerprint", self.fingerprint)
            .with_scalar("fingerprint_version", self.fingerprint_version);
        write_text(record, "schedule", &self.schedule)
    }
}

/// Burn's record holds only numbers, so a text is written as words of eight bytes.
pub(crate) fn write_text(record: LrSchedulerRecord, key: &str, text: &str) -> LrSchedulerRecord {
    let record = record.with_scalar(&format!("{key}_bytes"), text.len() as u64);
    text.as_bytes().chunks(8).enumerate().fold(record, |record, (i, chunk)| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        record.with_scalar(&format!("{key}_{i}"), u64::from_le_bytes(word))
    })
}

pub(crate) fn read_text(record: &LrSchedulerRecord, key: &str) -> Option<String> {
    let length = usize::try_from(record.scalar::<u64>(&format!("{key}_bytes"))?).ok()?;
    let mut bytes = Vec::new();
    for i in 0..length.div_ceil(8) {
        bytes.extend(record.scalar::<u64>(&format!("{key}_{i}"))?.to_le_bytes());
    }
    bytes.truncate(length);
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use crate::prelude::*;

    fn at_step_3(config: impl Into<ScheduleConfig>) -> Scheduler {
        let mut scheduler = Scheduler::new(config, RunLength::updates(10)).unwrap();
        (0..3).for_each(|_| {
            scheduler.step();
        });
        scheduler
    }

    #[test]
    fn the_same_schedule_resumes_through_bytes() {
        let saved = at_step_3(cosine(0.1));
        let bytes = saved.to_record().into_bytes().unwrap();
        let record = burn::lr_scheduler::LrSchedulerRecord::from_bytes(bytes).unwrap();
        let text = super::SavedStep::from_record(&record).unwrap();
        assert_eq!(text.schedule, "cosine(0.1).length(10), 10 updates");
        let mut resumed = Scheduler::new(cosine(0.1), RunLength::updates(10)).unwrap();
        resumed.load_record(record);
        assert_eq!(resumed.next_step(), 3);
    }

    #[test]
    fn another_schedule_keeps_its_step() {
        let mut scheduler = Scheduler::new(cosine(0.1), RunLength::updates(20)).unwrap();
        scheduler.load_record(at_step_3(cosine(0.1)).to_record());
        assert_eq!(scheduler.next_step(), 3);
    }

    /// Rates computed in advance belong to the old step.
    #[test]
    fn a_record_that_is_loaded_in_mid_run_decides_the_next_rate() {
        let start = || Scheduler::new(linear(1.0, 0.0), RunLength::updates(100)).unwrap();
        let mut far = start();
        (0..40).for_each(|_| {
            far.step();
        });
        let mut scheduler = start();
        scheduler.step();
        scheduler.load_record(far.to_record());
        assert!((scheduler.step() - 0.6).abs() < 1e-15);
    }

    #[test]
    fn a_foreign_record_leaves_the_step() {
        let mut scheduler = at_step_3(cosine(0.1));
        scheduler.load_record(burn::lr_scheduler::LrSchedulerRecord::new());
        assert_eq!(scheduler.next_step(), 3);
    }
}
