//! Where, and under which schedule, a resumed run continues.

use crate::build_error::BuildError;
use crate::checkpoint::{Checkpoint, CheckpointError, SavedRun};
use crate::scheduler::SavedStep;
use crate::update::{Clock, Place, State};
use anneal_schedule::{MadeOf, RunLength, Schedule, ScheduleConfig, ScheduleExt};
use serde::{Deserialize, Serialize};

/// What to do if a run is resumed under another schedule, or with another batch size, more devices, or other data.
///
/// [`explain`](crate::Monitored::explain) reports what was done. Groups that had thawed stay trained, whatever their
/// start is under the new schedule.
///
/// ```no_run
/// # use burn::train::{LearnerModel, SupervisedTraining};
/// use burn_anneal::prelude::*;
///
/// # fn go_on<M: LearnerModel>(
/// #     builder: LearnerBuilder<M>, training: SupervisedTraining<M>,
/// # ) -> Result<M, BuildError> {
/// // The same data, in batches of twice the size.
/// builder
///     .checkpoints(Checkpoints::new("runs/mine"))
///     .resume(Newest)
///     .on_mismatch(OnMismatch::KeepEpoch)
///     .launch(training)?
///     .finished()
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnMismatch {
    /// Returns an error.
    #[default]
    Refuse,
    /// Continues at the saved step, which counts updates: "train ten more epochs".
    KeepStep,
    /// Continues at the saved epoch: at step·n/m if an epoch had m updates and now has n.
    KeepEpoch,
    /// Continues at the same number of samples.
    KeepSamples,
    /// Starts the schedule at step 0, over the rest of the training, so that it reaches its end there.
    Restart,
}

/// Where and how a run starts or continues.
pub(crate) struct Course {
    /// The schedule over the run after `origin`.
    pub schedule: Schedule,
    /// The run that the schedule was resolved for.
    pub run: RunLength,
    pub clock: Clock,
    pub place: Place,
    pub origin: u64,
    pub updates_per_epoch: Option<u64>,
    made_of: Option<MadeOf>,
    pub restarts: bool,
    said: Option<String>,
}

impl Course {
    /// The course of a new run. A loop that counts items has seen none.
    pub fn begin(
        config: &ScheduleConfig,
        run: RunLength,
        counts_items: bool,
    ) -> Result<Self, BuildError> {
        let place = Place { items: counts_items.then_some(0), ..Place::default() };
        Ok(Self::new(config.clone().resolve(run)?, run, Clock::default(), place, 0))
    }

    /// The course of a run that resumes from a checkpoint.
    pub fn resume(
        checkpoint: &Checkpoint,
        saved: &SavedRun,
        config: &ScheduleConfig,
        run: RunLength,
        on_mismatch: OnMismatch,
    ) -> Result<Self, BuildError> {
        let was = Was::of(checkpoint, saved);
        let resolve = |origin| config.clone().resolve(run.after(origin));
        // If fewer updates are left than were made before the schedule began, it is another schedule.
        if let Some(schedule) = resolve(was.origin).ok().filter(|schedule| was.is_of(schedule, run))
        {
            let said = format!("resumed after {checkpoint}, at update {}", was.clock.number);
            let course = Self::new(schedule, run, was.clock, was.place, was.origin);
            return Ok(Self { said: Some(said), ..course });
        }
        if run.has_ramp() && !was.is_made_of(run) && on_mismatch != OnMismatch::Refuse {
            let checkpoint = checkpoint.clone();
            return Err(CheckpointError::Ramp {
                checkpoint,
                saved: was.epoch(),
                now: epoch_of(run),
            }
            .into());
        }
        let number = match on_mismatch {
            OnMismatch::Refuse => return Err(was.refused(&resolve(was.origin)?, run)),
            OnMismatch::KeepStep => was.step()?,
            OnMismatch::KeepEpoch => was.by_epoch(run)?,
            OnMismatch::KeepSamples => was.by_samples(run)?,
            OnMismatch::Restart => was.restarted(run),
        };
        if let Some(updates) = run.resolve()?.updates().filter(|updates| number >= *updates) {
            let checkpoint = checkpoint.clone();
            return Err(CheckpointError::NothingLeft { checkpoint, done: number, updates }.into());
        }
        let restarts = on_mismatch == OnMismatch::Restart;
        let origin = if restarts { number } else { was.share_of(was.origin, number) };
        let waited = if restarts { 0 } else { was.clock.behind.saturating_sub(was.origin) };
        let skipped = was.clock.skipped;
        let clock = Clock {
            number,
            behind: origin + waited,
            skipped_steps: 0,
            skipped,
            ..Clock::default()
        };
        let schedule = resolve(origin)?;
        let how = match restarts {
            true => "the schedule starts at step 0, over the rest of the training".to_string(),
            false => format!("the run continues at step {} of the schedule", clock.next_step()),
        };
        let before = saved.step.as_ref().map_or("another scheduler", |step| &step.schedule);
        let said = format!(
            "resumed after {checkpoint}, at update {number}, under another schedule: {how}. Saved: `{before}`{}; now: \
             `{schedule}`{}",
            of(was.made_of),
            of(run.made_of()),
        );
        let course = Self::new(schedule, run, clock, was.place_at(number, run), origin);
        Ok(Self { restarts, said: Some(said), ..course })
    }

    fn new(schedule: Schedule, run: RunLength, clock: Clock, place: Place, origin: u64) -> Self {
        Self {
            schedule,
            run: run.after(origin),
            clock,
            place,
            origin,
            updates_per_epoch: updates_per_epoch(run),
            made_of: run.made_of(),
            restarts: false,
            said: None,
        }
    }
}

impl Course {
    /// Puts the state of a run on this course.
    pub fn apply(&self, state: &mut State) {
        state.clock = self.clock;
        state.place = self.place;
        state.origin = self.origin;
        state.updates_per_epoch = self.updates_per_epoch;
        state.made_of = self.made_of;
        state.epochs_heard = self.place.epochs;
        state.prepared = self.clock.next_step();
    }

    /// Describes and logs how the run resumed.
    pub fn in_words(&self, thawed: &[String], skipped: Option<&str>) -> Option<String> {
        let kept = thawed.iter().map(|name| format!("; `{name}` had thawed and stays trained"));
        let skipped = skipped.map(|why| format!("; a newer checkpoint is damaged: {why}"));
        let said = self.said.clone()? + &kept.chain(skipped).collect::<String>();
        log::info!("{said}");
        Some(said)
    }
}

impl Checkpoint {
    /// The schedule of a run that resumes from this checkpoint.
    ///
    /// # Errors
    /// [`CheckpointError`] if `on_mismatch` refuses it, or the run cannot resume so.
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

/// The data of a run, to follow its schedule in a message.
fn of(made_of: Option<MadeOf>) -> String {
    made_of.map_or_else(String::new, |made_of| format!(" over {made_of}"))
}

/// The data of an epoch, in words.
fn epoch_of(run: RunLength) -> String {
    in_words(run.made_of(), updates_per_epoch(run))
}

fn in_words(made_of: Option<MadeOf>, updates: Option<u64>) -> String {
    match made_of {
        Some(made_of) => made_of.to_string(),
        None => format!("{} updates per epoch", updates.unwrap_or_default()),
    }
}

fn updates_per_epoch(run: RunLength) -> Option<u64> {
    run.resolve().ok()?.updates_per_epoch()
}

/// The progress of a saved run.
struct Was<'a> {
    checkpoint: &'a Checkpoint,
    step: Option<&'a SavedStep>,
    clock: Clock,
    place: Place,
    origin: u64,
    updates_per_epoch: Option<u64>,
    made_of: Option<MadeOf>,
}

impl<'a> Was<'a> {
    fn of(checkpoint: &'a Checkpoint, saved: &'a SavedRun) -> Self {
        let step = saved.step.as_ref();
        let number = step.map_or(0, |step| step.step);
        let mut was = Self {
            checkpoint,
            step,
            clock: Clock { number, ..Clock::default() },
            place: Place::default(),
            origin: 0,
            updates_per_epoch: None,
            made_of: None,
        };
        if let Some(state) = &saved.state {
            was.clock = state.clock;
            was.place = state.place.unwrap_or_default();
            was.origin = state.origin;
            was.updates_per_epoch = state.updates_per_epoch;
            was.made_of = state.made_of;
        }
        if checkpoint.batches() == 0 {
            // A loop without validation counts no epochs, but the checkpoint's name has the number.
            let epochs = checkpoint.epoch() as u64;
            was.place = Place { epochs, updates: 0, rounds: 0, ..was.place };
        }
        was
    }

    /// Whether it was saved under this schedule, with the same data.
    fn is_of(&self, schedule: &Schedule, run: RunLength) -> bool {
        self.is_made_of(run) && self.step.is_some_and(|step| step.is_of(schedule))
    }

    /// Whether the data of an epoch are the same as now, as far as is known.
    fn is_made_of(&self, run: RunLength) -> bool {
        let updates = self.updates_per_epoch.zip(updates_per_epoch(run));
        let made_of = self.made_of.zip(run.made_of());
        updates.is_none_or(|(was, now)| was == now) && made_of.is_none_or(|(was, now)| was == now)
    }

    fn refused(&self, now: &Schedule, run: RunLength) -> BuildError {
        let checkpoint = self.checkpoint.clone();
        let error = match self.step {
            None => self.foreign(),
            // A schedule with lengths in percent or epochs differs too, but the data are the cause.
            Some(_) if !self.is_made_of(run) => CheckpointError::DifferentEpochs {
                checkpoint,
                saved: self.epoch(),
                now: epoch_of(run),
            },
            Some(step) => match now.length().filter(|updates| self.clock.number >= *updates) {
                Some(updates) => {
                    CheckpointError::NothingLeft { checkpoint, done: self.clock.number, updates }
                }
                None => CheckpointError::DifferentSchedule {
                    checkpoint,
                    step: step.step,
                    rate: now.rate(step.step),
                    saved: step.schedule.clone(),
                    now: now.to_string(),
                },
            },
        };
        error.into()
    }

    /// The data of an epoch of the saved run, in words.
    fn epoch(&self) -> String {
        in_words(self.made_of, self.updates_per_epoch)
    }

    fn foreign(&self) -> CheckpointError {
        CheckpointError::ForeignScheduler { path: self.checkpoint.path("scheduler") }
    }

    fn step(&self) -> Result<u64, CheckpointError> {
        self.step.map(|_| self.clock.number).ok_or_else(|| self.foreign())
    }

    fn by_epoch(&self, run: RunLength) -> Result<u64, CheckpointError> {
        let needs = "a run whose epochs have a fixed number of updates";
        let number = updates_per_epoch(run).map(|in_epoch| self.in_epochs_of(in_epoch));
        number.ok_or_else(|| self.not_counted("KeepEpoch", needs))
    }

    fn by_samples(&self, run: RunLength) -> Result<u64, CheckpointError> {
        let needs = "counted samples, as launch counts them, and a run length in samples";
        let number = self.place.items.and_then(|items| run.updates_of_items(items));
        number.ok_or_else(|| self.not_counted("KeepSamples", needs))
    }

    fn not_counted(&self, choice: &'static str, needs: &'static str) -> CheckpointError {
        CheckpointError::NotCounted { checkpoint: self.checkpoint.clone(), choice, needs }
    }

    /// The update of the run at which a restarted schedule begins.
    fn restarted(&self, run: RunLength) -> u64 {
        match updates_per_epoch(run) {
            Some(in_epoch) if !self.is_made_of(run) || self.step.is_none() => {
                self.in_epochs_of(in_epoch)
            }
            _ => self.clock.number,
        }
    }

    /// The saved epochs in updates, at this many updates per epoch.
    fn in_epochs_of(&self, in_epoch: u64) -> u64 {
        let was = self.updates_per_epoch.unwrap_or(in_epoch);
        self.place.epochs * in_epoch + self.place.updates * in_epoch / was.max(1)
    }

    /// Converts `updates` of the saved run, whose updates so far now count as `number`.
    fn share_of(&self, updates: u64, number: u64) -> u64 {
        match self.clock.number {
            0 => updates,
            made => (u128::from(updates) * u128::from(number) / u128::from(made)) as u64,
        }
    }

    /// The place of update `number` in the current data.
    fn place_at(&self, number: u64, run: RunLength) -> Place {
        let Some(in_epoch) = updates_per_epoch(run) else { return self.place };
        if number == self.clock.number && self.is_made_of(run) {
            return self.place;
        }
        let (epochs, updates) = (number / in_epoch, number % in_epoch);
        let rounds = updates * run.accumulation_of(number);
        let items = self.place.items.and_then(|_| run.items_after(epochs, rounds));
        Place { epochs, updates, rounds, items }
    }
}
