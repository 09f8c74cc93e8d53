//! Where a run goes on that is resumed, and under which schedule.

use crate::build_error::BuildError;
use crate::checkpoint::{Checkpoint, CheckpointError, SavedRun};
use crate::update::{Clock, Place, State};
use anneal_schedule::{Build, RunLength, Schedule, ScheduleConfig};

/// What a run does that is resumed under another schedule, or with epochs of another number of updates: with another
/// batch size, more devices, or other data.
///
/// What it did is in [`explain`](crate::Monitored::explain). Groups that had thawed stay so, whatever their start is
/// under the new schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMismatch {
    /// It is refused.
    #[default]
    Refuse,
    /// It goes on at the saved step, which counts updates: "train ten more epochs".
    KeepStep,
    /// It goes on at the saved epoch: with n updates an epoch where there were m, at step·n/m.
    KeepEpoch,
    /// It goes on where as many samples are seen.
    KeepSamples,
    /// The schedule starts at its step 0, over the updates that are left to train, and reaches its end with them.
    Restart,
}

/// Where and how a run goes on.
pub(crate) struct Course {
    /// Over what is left of the run after `origin`.
    pub schedule: Schedule,
    /// What the schedule was resolved for.
    pub run: RunLength,
    pub clock: Clock,
    pub place: Place,
    pub origin: u64,
    pub updates_per_epoch: Option<u64>,
    pub restarts: bool,
    said: Option<String>,
}

impl Course {
    /// That of a run that begins.
    pub fn begin(config: &ScheduleConfig, run: RunLength) -> Result<Self, BuildError> {
        Ok(Self {
            schedule: config.clone().resolve(run)?,
            run,
            clock: Clock::default(),
            place: Place { items: Some(0), ..Place::default() },
            origin: 0,
            updates_per_epoch: updates_per_epoch(run),
            restarts: false,
            said: None,
        })
    }

    /// That of a run that goes on from a checkpoint.
    pub fn resume(
        checkpoint: &Checkpoint,
        saved: &SavedRun,
        config: &ScheduleConfig,
        run: RunLength,
        on_mismatch: OnMismatch,
    ) -> Result<Self, BuildError> {
        let was = Was::of(checkpoint, saved);
        let in_epoch = updates_per_epoch(run);
        let same_epochs = match (was.updates_per_epoch, in_epoch) {
            (Some(was), Some(now)) => was == now,
            _ => true,
        };
        let resolve = |origin| config.clone().resolve(run.after(origin));
        // Where fewer updates are left than were made before the schedule began, it is another schedule.
        let same = resolve(was.origin).ok().filter(|schedule| {
            same_epochs && saved.step.as_ref().is_some_and(|step| step.is_of(schedule))
        });
        if let Some(schedule) = same {
            let said = format!("resumed after {checkpoint}, at update {}", was.clock.number);
            return Ok(Self {
                schedule,
                run: run.after(was.origin),
                clock: was.clock,
                place: was.place,
                origin: was.origin,
                updates_per_epoch: in_epoch,
                restarts: false,
                said: Some(said),
            });
        }
        let number = match on_mismatch {
            OnMismatch::Refuse => {
                return Err(was.refused(checkpoint, saved, &resolve(was.origin)?, in_epoch));
            }
            OnMismatch::KeepStep => was.step(checkpoint)?,
            OnMismatch::KeepEpoch => was.by_epoch(checkpoint, in_epoch)?,
            OnMismatch::KeepSamples => was.by_samples(checkpoint, run)?,
            OnMismatch::Restart if same_epochs && saved.step.is_some() => was.clock.number,
            OnMismatch::Restart => in_epoch.map_or(0, |in_epoch| was.in_epochs_of(in_epoch)),
        };
        if let Some(updates) = run.resolve()?.updates().filter(|updates| number >= *updates) {
            let checkpoint = checkpoint.clone();
            return Err(CheckpointError::NothingLeft { checkpoint, done: number, updates }.into());
        }
        let restarts = on_mismatch == OnMismatch::Restart;
        let origin = if restarts { number } else { was.share_of(was.origin, number) };
        let schedule = resolve(origin)?;
        let waited = was.clock.behind.saturating_sub(was.origin);
        let clock = Clock {
            number,
            behind: if restarts { number } else { origin + waited },
            left_out: 0,
            skipped: was.clock.skipped,
        };
        let place = match in_epoch.filter(|_| number != was.clock.number || !same_epochs) {
            None => was.place,
            Some(in_epoch) => {
                let updates = number % in_epoch;
                let rounds = updates * run.accumulation_of(number);
                Place { epochs: number / in_epoch, updates, rounds, ..was.place }
            }
        };
        let how = match restarts {
            true => "the schedule starts at its step 0, over what is left to train".to_string(),
            false => format!("it goes on at step {} of the schedule", clock.next_step()),
        };
        let before = saved.step.as_ref().map_or("another scheduler", |step| &step.schedule);
        let said = format!(
            "resumed after {checkpoint}, at update {number}, under another schedule: {how}. Saved: `{before}`; now: \
             `{schedule}`"
        );
        Ok(Self {
            schedule,
            run: run.after(origin),
            clock,
            place,
            origin,
            updates_per_epoch: in_epoch,
            restarts,
            said: Some(said),
        })
    }
}

impl Course {
    /// Sets out.
    pub fn apply(&self, state: &mut State) {
        state.clock = self.clock;
        state.place = self.place;
        state.origin = self.origin;
        state.updates_per_epoch = self.updates_per_epoch;
        state.epochs_heard = self.place.epochs;
        state.prepared = self.clock.next_step();
    }

    /// What was done, and to which groups.
    pub fn in_words(&self, thawed: &[String]) -> Option<String> {
        let kept = thawed.iter().map(|name| format!("; `{name}` had thawed and stays so"));
        let said = self.said.clone()? + &kept.collect::<String>();
        log::info!("{said}");
        Some(said)
    }
}

impl Checkpoint {
    /// The schedule that a run goes on under from here.
    ///
    /// # Errors
    /// [`CheckpointError`] where it is not to go on so.
    pub fn schedule_of(
        &self,
        schedule: &ScheduleConfig,
        run: RunLength,
        on_mismatch: OnMismatch,
    ) -> Result<Schedule, BuildError> {
        let saved = self.saved_run()?;
        Ok(Course::resume(self, &saved, schedule, run, on_mismatch)?.schedule)
    }
}

fn updates_per_epoch(run: RunLength) -> Option<u64> {
    run.resolve().ok()?.updates_per_epoch()
}

/// What a checkpoint says of the progress of its run.
struct Was {
    clock: Clock,
    place: Place,
    origin: u64,
    updates_per_epoch: Option<u64>,
    has_step: bool,
}

impl Was {
    fn of(checkpoint: &Checkpoint, saved: &SavedRun) -> Self {
        let number = saved.step.as_ref().map_or(0, |step| step.step);
        let by_name = Place { epochs: checkpoint.epoch() as u64, ..Place::default() };
        match &saved.state {
            Some(state) => Self {
                clock: state.clock,
                place: state.place.unwrap_or(by_name),
                origin: state.origin,
                updates_per_epoch: state.updates_per_epoch,
                has_step: true,
            },
            None => Self {
                clock: Clock { number, ..Clock::default() },
                place: by_name,
                origin: 0,
                updates_per_epoch: None,
                has_step: saved.step.is_some(),
            },
        }
    }

    fn refused(
        &self,
        checkpoint: &Checkpoint,
        saved: &SavedRun,
        now: &Schedule,
        in_epoch: Option<u64>,
    ) -> BuildError {
        let at = checkpoint.clone();
        let error = match (&saved.step, self.updates_per_epoch.zip(in_epoch)) {
            (None, _) => CheckpointError::ForeignScheduler { path: checkpoint.path("scheduler") },
            (Some(step), _) if !step.is_of(now) => CheckpointError::DifferentSchedule {
                checkpoint: at,
                step: step.step,
                saved: step.schedule.clone(),
                now: now.to_string(),
            },
            (_, epochs) => {
                let (saved, now) = epochs.unwrap_or_default();
                CheckpointError::DifferentEpochs { checkpoint: at, saved, now }
            }
        };
        error.into()
    }

    fn step(&self, checkpoint: &Checkpoint) -> Result<u64, CheckpointError> {
        match self.has_step {
            true => Ok(self.clock.number),
            false => Err(CheckpointError::ForeignScheduler { path: checkpoint.path("scheduler") }),
        }
    }

    fn by_epoch(
        &self,
        checkpoint: &Checkpoint,
        in_epoch: Option<u64>,
    ) -> Result<u64, CheckpointError> {
        let needs = "a run whose epochs have a fixed number of updates";
        let error = || self.not_counted(checkpoint, "KeepEpoch", needs);
        in_epoch.map(|in_epoch| self.in_epochs_of(in_epoch)).ok_or_else(error)
    }

    fn by_samples(&self, checkpoint: &Checkpoint, run: RunLength) -> Result<u64, CheckpointError> {
        let needs = "samples that were counted, as launch does, and a run that is counted in them";
        let updates = self.place.items.and_then(|items| run.updates_of_items(items));
        updates.ok_or_else(|| self.not_counted(checkpoint, "KeepSamples", needs))
    }

    fn not_counted(
        &self,
        checkpoint: &Checkpoint,
        choice: &'static str,
        needs: &'static str,
    ) -> CheckpointError {
        CheckpointError::NotCounted { checkpoint: checkpoint.clone(), choice, needs }
    }

    /// As many epochs in updates, where one has so many.
    fn in_epochs_of(&self, in_epoch: u64) -> u64 {
        let was = self.updates_per_epoch.unwrap_or(in_epoch);
        self.place.epochs * in_epoch + self.place.updates * in_epoch / was.max(1)
    }

    /// The updates before `updates` of the run, where `number` stand for those that it has made.
    fn share_of(&self, updates: u64, number: u64) -> u64 {
        match self.clock.number {
            0 => updates,
            made => (u128::from(updates) * u128::from(number) / u128::from(made)) as u64,
        }
    }
}
