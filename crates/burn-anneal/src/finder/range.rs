//! The range test.

use super::batches::Batches;
use super::steered::held_at;
use super::{FindError, Seeded, Subject, notes};
use crate::annealed::optimize;
use crate::builder::LearnerBuilder;
use crate::training_loop::TrainingLoop;
use crate::update::{Monitored, UpdateError, Updated};
use anneal_plan::{OutOfRange, RangeTests, Sweep};
use anneal_schedule::Span;
use burn::module::Module;
use burn::train::{LearnerModel, TrainLoader, TrainOutput, TrainStep};
use std::fmt;
use std::sync::Arc;

/// A learning-rate range test: trains copies of a model at rates from very low to very high, and chooses a rate by
/// their losses.
///
/// It sweeps the whole training: the schedule is held where its rate is highest, and the rates of all groups are
/// multiplied together, with their weight decay, momentum, clipping and precision. The result is the new peak of the
/// schedule. Groups that are frozen where the schedule is held stay frozen. Loss scaling stays on; other controllers
/// and the cap on the rate are disabled, because they would react to the sweep.
///
/// The model, the optimizer, the schedule and a [`SeededLoader`](crate::SeededLoader) stay bit for bit unchanged, even
/// after an error. Notes report what cannot be restored: Burn's random generators are seeded with [`seed`](Self::seed)
/// before each sweep and again at the end; a loader that shuffles and is not a `SeededLoader` has advanced.
///
/// | | | default |
/// | --- | --- | --- |
/// | [`sweep`](Self::sweep) | the rates and the number of updates | 100 updates from 1e-7 to 10 |
/// | [`seeds`](Self::seeds) | the number of sweeps, each with other batches and random numbers | 3 |
/// | [`at`](Self::at) | where the schedule is held | where its rate is highest |
/// | [`seed`](Self::seed) | the seed of Burn's generators | 0 |
///
/// [`first_rate`](Self::first_rate) and [`warmup`](Self::warmup) use the ends of the sweep as bounds, and one seed.
///
/// ```no_run
/// use burn::train::{LearnerModel, TrainLoader};
/// use burn_anneal::plan::Sweep;
/// use burn_anneal::prelude::*;
///
/// # fn find<M: LearnerModel>(builder: LearnerBuilder<M>, loader: TrainLoader<M>) -> Result<(), Box<dyn std::error::Error>> {
/// let found = builder.find_rate(&loader)?;
/// println!("{found}");
/// if let Some(rate) = found.suggestion() {
///     println!("cosine({rate:.1e})");
/// }
///
/// // In other bounds, with progress:
/// let finder = LrFinder::new()
///     .sweep(Sweep::new(1e-6, 1.0).updates(200))
///     .on_progress(|progress| eprintln!("{progress}"));
/// std::fs::write("range_test.svg", finder.find(&builder, &loader)?.svg())?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct LrFinder {
    pub(super) sweep: Sweep,
    seeds: u64,
    pub(super) at: Option<Span>,
    pub(super) seed: u64,
    pub(super) progress: Arc<dyn Fn(&FinderProgress) + Send + Sync>,
}

/// The progress of a range test.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct FinderProgress {
    /// The current seed, from 1, and the number of seeds.
    pub seed: (u64, u64),
    /// The updates done with this seed, and their number if training does not diverge.
    pub update: (u64, u64),
    /// The rate of the last update.
    pub rate: f64,
    /// The loss before it; may be NaN.
    pub loss: f64,
    /// Whether this was the last update of the seed.
    pub ended: bool,
}

impl fmt::Display for FinderProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((seed, seeds), (update, updates)) = (self.seed, self.update);
        let (rate, loss) = (self.rate, self.loss);
        write!(
            f,
            "seed {seed} of {seeds}, update {update} of {updates}: rate {rate:.2e}, loss {loss:.4}"
        )
    }
}

impl Default for LrFinder {
    fn default() -> Self {
        Self {
            sweep: Sweep::default(),
            seeds: 3,
            at: None,
            seed: 0,
            progress: Arc::new(|progress| match progress.ended {
                true => log::info!("rate finder: {progress}"),
                false => log::debug!("rate finder: {progress}"),
            }),
        }
    }
}

impl fmt::Debug for LrFinder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sweep, seeds, at, seed, .. } = self;
        let mut shown = f.debug_struct("LrFinder");
        shown.field("sweep", sweep).field("seeds", seeds).field("at", at).field("seed", seed);
        shown.finish_non_exhaustive()
    }
}

impl LrFinder {
    /// Three sweeps of 100 updates from 1e-7 to 10.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the rates and the number of updates.
    pub fn sweep(mut self, sweep: Sweep) -> Self {
        self.sweep = sweep;
        self
    }

    /// Sets the number of sweeps, at least 1: each starts from the same weights, with other batches and random numbers.
    /// One sweep is quick, but does not show whether another would give the same result.
    pub fn seeds(mut self, seeds: u64) -> Self {
        self.seeds = seeds;
        self
    }

    /// Holds the schedule, and with it the frozen groups, at this position instead of where its rate is highest.
    pub fn at(mut self, at: impl Into<Span>) -> Self {
        self.at = Some(at.into());
        self
    }

    /// Seeds Burn's random generators with `seed` + i for sweep i, from 0, and with `seed` after the test.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Calls this function for each update. By default, progress is logged: the end of each seed at info level, the
    /// rest at debug level.
    pub fn on_progress(
        mut self,
        progress: impl Fn(&FinderProgress) + Send + Sync + 'static,
    ) -> Self {
        self.progress = Arc::new(progress);
        self
    }

    /// The step at which the schedule of a run is held.
    pub(super) fn step_of<M: Module>(&self, run: &TrainingLoop<M>) -> Result<u64, FindError> {
        let next = run.monitor().slot().lock().clock.next_step();
        held_at(run.groups().schedule(), next, self.at)
    }

    /// Sweeps copies of `base`; `update` makes one update of the sweep with the given number.
    fn sweep_all<M: Module>(
        &self,
        base: &TrainingLoop<M>,
        mut update: impl FnMut(&mut TrainingLoop<M>, u64) -> Result<Updated, FindError>,
    ) -> Result<RangeTests, FindError> {
        let planned = self.sweep.begin()?;
        OutOfRange::require("seeds", self.seeds, self.seeds > 0, "at least 1")?;
        let rates: Vec<f64> = (0..self.sweep.length()).map(|i| self.sweep.rate(i)).collect();
        let step = self.step_of(base)?;
        let seeded = Seeded::new(base.model(), self.seed);
        let mut tests = vec![];
        for number in 0..self.seeds {
            seeded.begin(number);
            let mut copy = base.steered(step, rates.clone());
            let mut sweeping = planned.clone();
            let mut done = 0;
            while let Some(rate) = sweeping.rate() {
                let loss = match update(&mut copy, number) {
                    Err(FindError::Training(error)) if is_divergence(&error) => f64::NAN,
                    Err(error) => return Err(error),
                    Ok(_) => copy.observation().loss.unwrap_or(f64::NAN),
                };
                let skipped = copy.last_update().is_some_and(|last| last.skipped.is_some());
                match skipped && loss.is_finite() {
                    true => sweeping.skip(),
                    false => sweeping.hear(loss),
                }
                done += 1;
                (self.progress)(&FinderProgress {
                    seed: (number + 1, self.seeds),
                    update: (done, self.sweep.length()),
                    rate,
                    loss,
                    ended: sweeping.rate().is_none(),
                });
            }
            tests.push(sweeping.finish());
        }
        Ok(RangeTests::new(tests)?)
    }
}

/// Whether this error means divergence: a guard gave up.
fn is_divergence(error: &UpdateError) -> bool {
    matches!(error, UpdateError::Controller(_))
}

impl<M: LearnerModel> LearnerBuilder<M> {
    /// Finds the peak of the schedule with a range test of this training, on batches of this loader; see [`LrFinder`]
    /// for the settings.
    ///
    /// # Errors
    /// [`FindError`] if the run cannot be built or cannot train.
    pub fn find_rate(&self, loader: &TrainLoader<M>) -> Result<RangeTests, FindError> {
        LrFinder::new().find(self, loader)
    }
}

impl LrFinder {
    /// Sweeps the training of a builder, on batches of this loader.
    ///
    /// # Errors
    /// [`FindError`] if a setting is out of its range, or the run cannot be built or cannot train.
    pub fn find<M: LearnerModel>(
        &self,
        builder: &LearnerBuilder<M>,
        loader: &TrainLoader<M>,
    ) -> Result<RangeTests, FindError> {
        let Subject { base, loader, stays } = builder.subject(loader)?;
        let stride = self.seeds.max(1);
        let mut current = None;
        let mut repeated = 0;
        let found = self.sweep_all(&base, |copy, number| {
            if current.as_ref().is_none_or(|(of, _)| *of != number) {
                current = Some((number, Batches::new(&loader, number + 1, stride)));
            }
            let Some((_, batches)) = &mut current else { return Err(FindError::NoBatches) };
            for _ in 0..copy.batches_per_update() {
                copy.pass_batch(batches.next()?, TrainStep::step);
            }
            repeated = repeated.max(batches.ended);
            Ok(copy.make(&optimize, None)?)
        })?;
        Ok(notes(repeated, stays).into_iter().fold(found, RangeTests::note))
    }

    /// Sweeps a custom loop from its current place, to find the rate to continue with: `pass` runs one forward and
    /// backward pass of the next batch, and an update takes as many passes as the run of the builder states. The
    /// schedule is held where its rate is highest from here on. The loop stays unchanged; the source of the batches of
    /// `pass` has advanced.
    ///
    /// # Errors
    /// [`FindError`] if a setting is out of its range, or training cannot continue.
    pub fn find_in<M: Module, O: 'static>(
        &self,
        training: &TrainingLoop<M>,
        mut pass: impl FnMut(&M) -> TrainOutput<O>,
    ) -> Result<RangeTests, FindError> {
        self.sweep_all(training, |copy, _| {
            for _ in 0..copy.batches_per_update() {
                copy.pass(&mut pass);
            }
            Ok(copy.update()?)
        })
    }
}
