//! Run lengths, counted as Burn's training loop steps.

use crate::clock::{Clock, Epoch};
use crate::ramp::{Counts, Measures, Ramp, Shape, Stages, Steps};
use crate::{OutOfRange, ScheduleError, Span};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The description of a run's length.
///
/// One update is one call of the optimizer. Each epoch of Burn's `SupervisedTraining` has
///
/// ```text
/// batches = ⌈items / batch_size⌉
/// updates = ⌈batches / gradient_accumulation⌉
/// ```
///
/// The last short batch and the last short accumulation count, and accumulation restarts in every epoch. With
/// several devices, each takes ⌊items / devices⌋ items and the last one also the remainder; an epoch has as
/// many rounds as the device with the most items has batches.
///
/// A run without epochs counts [samples](Self::samples), [tokens](Self::tokens) or [updates](Self::updates).
/// Positions and lengths may be given in any of these units: see [`Span`]. Where batches grow during the run, all of
/// them are exact.
///
/// In a file it is a table of the given numbers, named after these functions: `items`, `samples` or `tokens` with
/// `batch_size`, or `updates_per_epoch`, `updates` or `unbounded = true`; and `epochs`, `gradient_accumulation`,
/// `devices`, `after`, `tokens_per_sample`, `percent_of_samples`, `batch_size_multiple`, and one of
/// `gradient_accumulation_ramp`, `gradient_accumulation_steps`, `batch_size_ramp` and `batch_size_steps`.
///
/// ```
/// use anneal_schedule::RunLength;
/// let run = RunLength::from_items(50_000, 64).epochs(10).gradient_accumulation(4).resolve()?;
/// assert_eq!(run.updates_per_epoch(), Some(196)); // ⌈782 / 4⌉
/// assert_eq!(run.updates(), Some(1_960));
/// # Ok::<(), anneal_schedule::ScheduleError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct RunLength {
    pub(crate) count: Count,
    pub(crate) epochs: Option<u64>,
    pub(crate) gradient_accumulation: Option<u64>,
    pub(crate) ramp: Option<Ramp>,
    pub(crate) batch_size_multiple: Option<u64>,
    pub(crate) tokens_per_sample: Option<u64>,
    pub(crate) percent_of_samples: bool,
    pub(crate) devices: Option<u64>,
    /// Updates at the beginning that are already done.
    pub(crate) done: u64,
}

/// The make-up of a run that is counted in items.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeOf {
    /// Items per epoch.
    pub items: u64,
    /// Items per batch.
    pub batch_size: u64,
    /// Batches of each device per update.
    pub accumulation: u64,
    /// Number of devices.
    pub devices: u64,
}

impl fmt::Display for MadeOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { items, batch_size, accumulation, devices } = self;
        write!(f, "{items} items in batches of {batch_size}")?;
        if *accumulation > 1 {
            write!(f, ", {accumulation} of them per update")?;
        }
        if *devices > 1 {
            write!(f, ", on {devices} devices")?;
        }
        Ok(())
    }
}

/// What the run counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    Training,
    Items { items: u64, batch_size: u64 },
    Samples { samples: u64, batch_size: u64 },
    Tokens { tokens: u64, batch_size: u64 },
    UpdatesPerEpoch(u64),
    Updates(u64),
    Unbounded,
}

impl RunLength {
    /// Epochs over `items` items in batches of `batch_size`; `items` is the loader's `num_items()`.
    pub fn from_items(items: usize, batch_size: usize) -> Self {
        Self::new(Count::Items { items: items as u64, batch_size: batch_size as u64 })
    }

    /// `samples` samples in all, in batches of `batch_size`, without epochs; the last update may be short.
    ///
    /// ```
    /// use anneal_schedule::RunLength;
    /// assert_eq!(RunLength::samples(1_000_000, 256).resolve()?.updates(), Some(3_907));
    /// # Ok::<(), anneal_schedule::ScheduleError>(())
    /// ```
    pub fn samples(samples: u64, batch_size: usize) -> Self {
        Self::new(Count::Samples { samples, batch_size: batch_size as u64 })
    }

    /// `tokens` tokens in all, in batches of `batch_size` samples, without epochs; give also
    /// [`tokens_per_sample`](Self::tokens_per_sample).
    ///
    /// ```
    /// use anneal_schedule::RunLength;
    /// // 3.3 million tokens an update, as GPT-3 175B at 2,048 tokens a sample.
    /// let run = RunLength::tokens(300_000_000_000, 1_600).tokens_per_sample(2_048);
    /// assert_eq!(run.resolve()?.updates(), Some(91_553));
    /// # Ok::<(), anneal_schedule::ScheduleError>(())
    /// ```
    pub fn tokens(tokens: u64, batch_size: usize) -> Self {
        Self::new(Count::Tokens { tokens, batch_size: batch_size as u64 })
    }

    /// Epochs of `updates` updates each.
    pub fn updates_per_epoch(updates: u64) -> Self {
        Self::new(Count::UpdatesPerEpoch(updates))
    }

    /// `updates` updates in all, without epochs: spans in epochs cannot be resolved.
    pub fn updates(updates: u64) -> Self {
        Self::new(Count::Updates(updates))
    }

    /// A run without an end: spans in epochs, in percent, or of the rest cannot be resolved.
    pub fn unbounded() -> Self {
        Self::new(Count::Unbounded)
    }

    /// The length of the training itself, for `LearnerBuilder::launch`, which takes it from the training and
    /// its loader. Any other settings, for example
    /// [`gradient_accumulation_ramp`](Self::gradient_accumulation_ramp), are compared with theirs.
    pub fn of_training() -> Self {
        Self::new(Count::Training)
    }

    fn new(count: Count) -> Self {
        Self {
            count,
            epochs: None,
            gradient_accumulation: None,
            ramp: None,
            batch_size_multiple: None,
            tokens_per_sample: None,
            percent_of_samples: false,
            devices: None,
            done: 0,
        }
    }

    /// The number of epochs, at least 1; default 1, as in Burn. Allowed only if updates are counted by
    /// epochs.
    pub fn epochs(mut self, epochs: usize) -> Self {
        self.epochs = Some(epochs as u64);
        self
    }

    /// The number of batches whose gradients make one update, at least 1; default 1. If updates are counted
    /// directly, it does not change their number.
    pub fn gradient_accumulation(mut self, batches: usize) -> Self {
        self.gradient_accumulation = Some(batches as u64);
        self
    }

    /// Begins with updates of `from` batches, and reaches the [`gradient_accumulation`](Self::gradient_accumulation) k
    /// in a straight line: an update that begins after a share x of `over` has round(from + (k − from)·x) batches.
    /// `from` is at least 1. YOLOv5 does this during its warm-up.
    ///
    /// ```
    /// use anneal_schedule::RunLength;
    /// let run = RunLength::from_items(100, 10).gradient_accumulation(5).gradient_accumulation_ramp(1, 4);
    /// assert_eq!([0, 1, 2, 3, 4, 5].map(|update| run.accumulation_of(update)), [1, 2, 3, 4, 5, 5]);
    /// assert_eq!(run.resolve()?.updates(), Some(4)); // 1 + 2 + 3 + 4 batches of 10
    /// # Ok::<(), anneal_schedule::ScheduleError>(())
    /// ```
    pub fn gradient_accumulation_ramp(self, from: usize, over: impl Into<Span>) -> Self {
        self.line(Counts::Batches, from, over.into())
    }

    /// Changes the number of batches from each of the given positions on; before the first of them it is
    /// [`gradient_accumulation`](Self::gradient_accumulation). 1 to 16 pairs of a position and its batches, at least 1.
    /// Positions ascend, and are all in updates, or all in samples, tokens, epochs or percent.
    ///
    /// ```
    /// use anneal_schedule::RunLength;
    /// let run = RunLength::from_items(100, 10).gradient_accumulation_steps(&[(2, 2), (4, 4)]);
    /// assert_eq!([0, 1, 2, 3, 4, 5].map(|update| run.accumulation_of(update)), [1, 1, 2, 2, 4, 4]);
    /// assert_eq!(run.resolve()?.updates(), Some(5)); // 1 + 1 + 2 + 2 + 4 batches of 10
    /// # Ok::<(), anneal_schedule::ScheduleError>(())
    /// ```
    pub fn gradient_accumulation_steps<S: Into<Span> + Copy>(self, steps: &[(S, usize)]) -> Self {
        self.steps(Counts::Batches, steps)
    }

    /// Begins with updates of `from` samples, and reaches the full batch in a straight line: an update that begins
    /// after a share x of `over` has from + (full − from)·x samples, rounded to a multiple of
    /// [`batch_size_multiple`](Self::batch_size_multiple). The full batch is the batch size × gradient accumulation ×
    /// devices.
    ///
    /// In a training, an update has whole batches of the loader: its size and `from` are multiples of batch size ×
    /// devices, and [`accumulation_of`](Self::accumulation_of) tells how many.
    ///
    /// ```
    /// use anneal_schedule::{RunLength, Span};
    /// // GPT-3 175B: from 32 thousand tokens an update to 3.2 million over the first 12 billion tokens.
    /// let run = RunLength::tokens(300_000_000_000, 1_600).tokens_per_sample(2_048);
    /// let run = run.batch_size_ramp(16, Span::tokens(12e9)).batch_size_multiple(16);
    /// let resolved = run.resolve()?;
    /// assert_eq!(resolved.batch_of(0), Some(16));
    /// assert_eq!(resolved.batch_of(20_000), Some(1_600));
    /// # Ok::<(), anneal_schedule::ScheduleError>(())
    /// ```
    pub fn batch_size_ramp(self, from: usize, over: impl Into<Span>) -> Self {
        self.line(Counts::Samples, from, over.into())
    }

    /// Changes the samples of an update from each of the given positions on; before the first of them it has the full
    /// batch. As [`gradient_accumulation_steps`](Self::gradient_accumulation_steps), in samples.
    ///
    /// ```
    /// use anneal_schedule::{RunLength, Span};
    /// let run = RunLength::samples(1_000_000, 100).batch_size_steps(&[(Span::percent(25), 200), (Span::percent(50), 400)]);
    /// let resolved = run.resolve()?;
    /// assert_eq!(resolved.updates(), Some(2_500 + 1_250 + 1_250));
    /// assert_eq!(Span::samples(300_000).update_in(&resolved), Some(2_750));
    /// # Ok::<(), anneal_schedule::ScheduleError>(())
    /// ```
    pub fn batch_size_steps<S: Into<Span> + Copy>(self, steps: &[(S, usize)]) -> Self {
        self.steps(Counts::Samples, steps)
    }

    /// The number of samples that each batch size of a linear ramp is a multiple of. By default 1, and in a training
    /// the samples of one batch on each device. It divides both ends of the ramp.
    pub fn batch_size_multiple(mut self, samples: usize) -> Self {
        self.batch_size_multiple = Some(samples as u64);
        self
    }

    /// The tokens of each sample, at least 1: for positions and lengths in tokens.
    pub fn tokens_per_sample(mut self, tokens: usize) -> Self {
        self.tokens_per_sample = Some(tokens as u64);
        self
    }

    /// Lets percentages count the samples of the run, which are its tokens too, instead of its updates. The two
    /// differ where batches grow.
    ///
    /// ```
    /// use anneal_schedule::{RunLength, Span};
    /// let run = RunLength::samples(1_000, 10).batch_size_steps(&[(Span::samples(500), 50)]);
    /// let half = |run: RunLength| Span::percent(50).update_in(&run.resolve().unwrap());
    /// assert_eq!(half(run), Some(30)); // of 60 updates
    /// assert_eq!(half(run.percent_of_samples()), Some(50));
    /// ```
    pub fn percent_of_samples(mut self) -> Self {
        self.percent_of_samples = true;
        self
    }

    fn line(mut self, counts: Counts, from: usize, over: Span) -> Self {
        self.ramp = Some(Ramp { counts, shape: Shape::Line { from: from as u64, over } });
        self
    }

    fn steps<S: Into<Span> + Copy>(mut self, counts: Counts, steps: &[(S, usize)]) -> Self {
        self.ramp = Some(Ramp { counts, shape: Shape::Steps(Steps::new(steps)) });
        self
    }

    /// The number of devices that share the batches of an update, at least 1; default 1. If updates are
    /// counted directly, it does not change their number.
    pub fn devices(mut self, devices: usize) -> Self {
        self.devices = Some(devices as u64);
        self
    }

    /// The part of the run that is left after `updates` updates, which must be fewer than it has.
    ///
    /// ```
    /// use anneal_schedule::RunLength;
    /// let run = RunLength::from_items(640, 64).epochs(4).after(25).resolve()?;
    /// assert_eq!((run.updates(), run.updates_per_epoch()), (Some(15), Some(10)));
    /// # Ok::<(), anneal_schedule::ScheduleError>(())
    /// ```
    pub fn after(mut self, updates: u64) -> Self {
        self.done = updates;
        self
    }

    /// The number of batches of each device in update `number`, counted from 0; the last update of an epoch may have
    /// fewer. If a ramp of the batch size counts samples of no loader, it is the gradient accumulation.
    pub fn accumulation_of(&self, number: u64) -> u64 {
        let full = self.gradient_accumulation.unwrap_or(1);
        let Some(ramp) = self.ramp else { return full };
        if ramp.counts == Counts::Samples && self.made_of().is_none() {
            return full;
        }
        match self.batches() {
            Ok((_, Some(clock))) => clock.accumulation(number),
            Ok((Some(stages), None)) => stages.at(number, 0).0,
            _ => full,
        }
    }

    /// The batches summed in update `number`, unless it is the last of an epoch: gradient accumulation ×
    /// devices.
    pub fn batches_per_update(&self, number: u64) -> u64 {
        self.accumulation_of(number).saturating_mul(self.devices.unwrap_or(1))
    }

    /// The batches of the largest update.
    fn max_batches(&self, stages: Option<Stages>) -> u64 {
        let full = self.gradient_accumulation.unwrap_or(1);
        let is_of_loader = self.made_of().is_some()
            || self.ramp.is_some_and(|ramp| ramp.counts == Counts::Batches);
        let most = stages.filter(|_| is_of_loader).map_or(full, |stages| stages.most());
        most.saturating_mul(self.devices.unwrap_or(1))
    }

    /// The samples that an update of this run counts in: one batch on each device, or what a ramp of the batch size
    /// rounds to.
    fn measures(&self) -> Result<Measures, ScheduleError> {
        let least_1 = |field, value: Option<u64>| at_least_1(field, value.unwrap_or(1));
        let accumulation = least_1("gradient_accumulation", self.gradient_accumulation)?;
        let devices = least_1("devices", self.devices)?;
        least_1("tokens_per_sample", self.tokens_per_sample)?;
        let tokens_per_sample = self.tokens_per_sample;
        let (epoch, total, batch_size) = match self.count {
            Count::Items { items, batch_size } => {
                let total = items as f64 * self.epochs.unwrap_or(1) as f64;
                (Some(at_least_1("items", items)?), Some(total), batch_size)
            }
            Count::Samples { samples, batch_size } => {
                (None, Some(at_least_1("samples", samples)? as f64), batch_size)
            }
            Count::Tokens { tokens, batch_size } => {
                let Some(each) = tokens_per_sample else {
                    let allowed = "the tokens of a sample, in a run of tokens";
                    return Err(out_of_range("tokens_per_sample", "none", allowed));
                };
                (None, Some(at_least_1("tokens", tokens)? as f64 / each as f64), batch_size)
            }
            _ => {
                let (unit, epoch, total, multiple) = (None, None, None, None);
                return Ok(Measures {
                    unit,
                    full: accumulation,
                    epoch,
                    total,
                    tokens_per_sample,
                    multiple,
                });
            }
        };
        let batch = at_least_1("batch_size", batch_size)?.saturating_mul(devices);
        let multiple = self.batch_size_multiple;
        let is_free =
            epoch.is_none() && self.ramp.is_some_and(|ramp| ramp.counts == Counts::Samples);
        let (unit, full) = match is_free {
            true => (1, batch.saturating_mul(accumulation)),
            false => (batch, accumulation),
        };
        Ok(Measures { unit: Some(unit), full, epoch, total, tokens_per_sample, multiple })
    }

    /// How the batches of an update change, and how samples pass: `None` in a run that does not count them.
    fn batches(&self) -> Result<(Option<Stages>, Option<Clock>), ScheduleError> {
        let measures = self.measures()?;
        let Measures { unit, full, epoch, .. } = measures;
        let epoch = epoch.map(|samples| {
            let rounds = self.rounds_in_epoch().unwrap_or(1);
            Epoch { samples, rounds }
        });
        let clock = unit.map(|unit| Clock { unit, epoch, full, stages: None });
        let rounds_of = |samples| clock.map_or(0.0, |clock: Clock| clock.rounds_after(samples));
        let stages = self.ramp.map(|ramp| ramp.resolve(&measures, rounds_of)).transpose()?;
        Ok((stages, clock.map(|clock| Clock { stages, ..clock })))
    }

    /// Whether all batches of update `index` of an epoch, counted from 0, have the same number of items; the
    /// last batch of a device may be short. True if unknown, without epochs or with a ramp.
    #[doc(hidden)]
    pub fn has_even_batches(&self, index: u64) -> bool {
        let in_epoch = self.resolve().ok().and_then(|run| run.updates_per_epoch());
        let Some(in_epoch) = in_epoch.filter(|_| !self.has_ramp()) else { return true };
        let index = index % in_epoch;
        let Some(MadeOf { items, batch_size, accumulation, devices }) = self.made_of() else {
            return index + 1 < in_epoch;
        };
        let each = items / devices;
        let is_even = items % devices == 0 && each % batch_size == 0;
        is_even || (index + 1).saturating_mul(accumulation).saturating_mul(batch_size) <= each
    }

    /// The name of a ramp that does not end before the run does; `None` if it ends, or the run has no ramp.
    pub fn unreached_ramp(&self) -> Option<&'static str> {
        let (stages, clock) = self.batches().ok()?;
        let end = self.done + self.resolve().ok()?.updates()?;
        let rounds = clock.map_or(0, |clock| clock.rounds_before(end));
        let ends = stages?.ends_by(end, rounds);
        self.ramp.filter(|_| !ends).map(|ramp| ramp.field())
    }

    /// Whether the number of batches per update changes.
    pub fn has_ramp(&self) -> bool {
        self.ramp.is_some()
    }

    /// The items seen after `epochs` epochs and `batches` batches of each device in the next.
    #[doc(hidden)]
    pub fn items_after(&self, epochs: u64, batches: u64) -> Option<u64> {
        let MadeOf { items, batch_size, devices, .. } = self.made_of()?;
        let begun = batches.saturating_mul(batch_size).saturating_mul(devices).min(items);
        Some(epochs.saturating_mul(items).saturating_add(begun))
    }

    /// The number of batches summed in update `index` of an epoch, counted from 0; its last updates have
    /// fewer. `None` if the items are unknown or a ramp makes epochs unequal.
    #[doc(hidden)]
    pub fn batches_in_epoch(&self, index: u64) -> Option<u64> {
        let Count::Items { items, batch_size } = self.count else { return None };
        let (devices, accumulation) = (self.devices.unwrap_or(1), self.accumulation_of(u64::MAX));
        if batch_size == 0 || devices == 0 || self.has_ramp() {
            return None;
        }
        let first = index.saturating_mul(accumulation);
        let end = first.saturating_add(accumulation);
        let rounds = |items: u64| items.div_ceil(batch_size).clamp(first, end) - first;
        let each = items / devices;
        Some(rounds(each) * (devices - 1) + rounds(items - each * (devices - 1)))
    }

    /// The rounds of an epoch; in each, every device that has items left takes a batch.
    #[doc(hidden)]
    pub fn rounds_in_epoch(&self) -> Option<u64> {
        let MadeOf { items, batch_size, devices, .. } = self.made_of()?;
        (batch_size > 0 && devices > 0).then(|| rounds(items, batch_size, devices))
    }

    /// The make-up of the run, if it is counted in items.
    #[doc(hidden)]
    pub fn made_of(&self) -> Option<MadeOf> {
        let Count::Items { items, batch_size } = self.count else { return None };
        let accumulation = self.gradient_accumulation.unwrap_or(1);
        Some(MadeOf { items, batch_size, accumulation, devices: self.devices.unwrap_or(1) })
    }

    /// Checks that update `index` of an epoch may have `batches` batches.
    ///
    /// # Errors
    /// The expected number of batches.
    #[doc(hidden)]
    pub fn expects(&self, index: u64, batches: u64) -> Result<(), u64> {
        let in_epoch = self.resolve().ok().and_then(|run| run.updates_per_epoch());
        let index = in_epoch.map_or(index, |updates| index % updates);
        let full = self.batches_per_update(u64::MAX);
        let expected = match self.batches_in_epoch(index) {
            Some(expected) => expected,
            None if self.has_ramp() => return Ok(()),
            // The last update of an epoch, or one for which some devices have no batches left.
            None if batches < full
                && (self.devices > Some(1)
                    || in_epoch.is_none_or(|updates| index + 1 == updates)) =>
            {
                return Ok(());
            }
            None => full,
        };
        if batches == expected { Ok(()) } else { Err(expected) }
    }

    /// The number of whole updates in `seen` items. `None` if the run is not counted in items.
    #[doc(hidden)]
    pub fn updates_of_items(&self, seen: u64) -> Option<u64> {
        let Count::Items { items, batch_size } = self.count else { return None };
        let in_epoch = self.resolve().ok()?.updates_per_epoch()?;
        let rest = seen % items / (batch_size * self.batches_per_update(u64::MAX));
        Some(seen / items * in_epoch + rest)
    }

    /// Counts the updates.
    ///
    /// # Errors
    /// [`ScheduleError::OutOfRange`] for a count of 0, epochs in a run without any, a length that only the
    /// training knows, or more than 2⁶³ updates.
    pub fn resolve(&self) -> Result<Run, ScheduleError> {
        let (stages, clock) = self.batches()?;
        let run = self.whole(clock)?;
        let has_line = self.ramp.is_some_and(|ramp| matches!(ramp.shape, Shape::Line { .. }));
        if let Some(multiple) = self.batch_size_multiple.filter(|_| !has_line || clock.is_none()) {
            let allowed = "only with a linear ramp, in a run that counts samples";
            return Err(out_of_range("batch_size_multiple", multiple, allowed));
        }
        if self.percent_of_samples && clock.is_none() {
            let allowed = "only in a run that counts samples: from_items, samples or tokens";
            return Err(out_of_range("percent_of_samples", true, allowed));
        }
        let run = Run {
            batch_size: clock.map(|_| self.batch_size()),
            max_batches: self.max_batches(stages),
            clock,
            tokens_per_sample: self.tokens_per_sample,
            percent_of_samples: self.percent_of_samples,
            done: self.done,
            ..run
        };
        match run.updates {
            Some(updates) if self.done >= updates => {
                let allowed = format!("fewer than the {updates} updates of the run");
                Err(out_of_range("after", self.done, &allowed))
            }
            updates => Ok(Run { updates: updates.map(|updates| updates - self.done), ..run }),
        }
    }

    fn batch_size(&self) -> u64 {
        match self.count {
            Count::Items { batch_size, .. }
            | Count::Samples { batch_size, .. }
            | Count::Tokens { batch_size, .. } => batch_size,
            _ => 1,
        }
    }

    fn whole(&self, clock: Option<Clock>) -> Result<Run, ScheduleError> {
        match self.count {
            Count::Training => {
                let allowed = "only with launch; elsewhere use RunLength::from_items, updates_per_epoch or updates";
                Err(out_of_range("length", "that of the training", allowed))
            }
            Count::Items { items, batch_size } => {
                at_least_1("items", items)?;
                at_least_1("batch_size", batch_size)?;
                match clock {
                    Some(clock) if self.has_ramp() => self.ramped(clock),
                    _ => {
                        let rounds = rounds(items, batch_size, self.devices.unwrap_or(1));
                        self.of_epochs(rounds.div_ceil(self.gradient_accumulation.unwrap_or(1)))
                    }
                }
            }
            Count::Samples { .. } | Count::Tokens { .. } => {
                self.no_epochs()?;
                let total = self.measures()?.total.unwrap_or(0.0);
                let updates = clock.map_or(0, |clock| {
                    let (whole, part) = clock.update_after(total);
                    whole + u128::from(part > 0.0)
                });
                let field =
                    if matches!(self.count, Count::Samples { .. }) { "samples" } else { "tokens" };
                Ok(Run { updates: Some(at_most_all(field, total, updates)?), ..Run::default() })
            }
            Count::UpdatesPerEpoch(updates) => {
                self.of_epochs(at_least_1("updates_per_epoch", updates)?)
            }
            Count::Updates(updates) => {
                self.no_epochs()?;
                if updates == 0 || updates > MAX_UPDATES {
                    return Err(out_of_range("updates", updates, "1 to 2^63"));
                }
                Ok(Run { updates: Some(updates), ..Run::default() })
            }
            Count::Unbounded => {
                self.no_epochs()?;
                Ok(Run::default())
            }
        }
    }

    fn ramped(&self, clock: Clock) -> Result<Run, ScheduleError> {
        let epochs = at_least_1("epochs", self.epochs.unwrap_or(1))?;
        let updates = at_most_all("epochs", epochs, clock.updates_of_epochs(epochs))?;
        Ok(Run { updates: Some(updates), ..Run::default() })
    }

    fn of_epochs(&self, updates_per_epoch: u64) -> Result<Run, ScheduleError> {
        let epochs = at_least_1("epochs", self.epochs.unwrap_or(1))?;
        let updates = updates_per_epoch
            .checked_mul(epochs)
            .filter(|&updates| updates <= MAX_UPDATES)
            .ok_or_else(|| {
                let allowed =
                    format!("at most 2^63 updates in total, {updates_per_epoch} per epoch");
                out_of_range("epochs", epochs, &allowed)
            })?;
        let updates_per_epoch = Some(updates_per_epoch);
        Ok(Run { updates: Some(updates), updates_per_epoch, ..Run::default() })
    }

    fn no_epochs(&self) -> Result<(), ScheduleError> {
        match self.epochs {
            None => Ok(()),
            Some(epochs) => {
                let allowed = "epochs only with RunLength::from_items or updates_per_epoch";
                Err(out_of_range("epochs", epochs, allowed))
            }
        }
    }
}

/// The rounds of an epoch: the batches of the device with the most items.
fn rounds(items: u64, batch_size: u64, devices: u64) -> u64 {
    (items - items / devices * (devices - 1)).div_ceil(batch_size)
}

/// The updates of a run, at most as many as are allowed.
fn at_most_all(field: &str, value: impl fmt::Display, updates: u128) -> Result<u64, ScheduleError> {
    let updates = u64::try_from(updates).ok().filter(|updates| *updates <= MAX_UPDATES);
    updates.ok_or_else(|| out_of_range(field, value, "at most 2^63 updates in total"))
}

/// The longest run: more updates than any machine makes, and small enough not to overflow.
pub(crate) const MAX_UPDATES: u64 = 1 << 63;

pub(crate) fn at_least_1(field: &str, value: u64) -> Result<u64, ScheduleError> {
    if value == 0 { Err(out_of_range(field, value, "at least 1")) } else { Ok(value) }
}

pub(crate) fn out_of_range(field: &str, value: impl fmt::Display, allowed: &str) -> ScheduleError {
    OutOfRange::new(format!("run.{field}"), value, allowed).into()
}

/// A run with a known number of updates, or without an end.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Run {
    updates: Option<u64>,
    updates_per_epoch: Option<u64>,
    batch_size: Option<u64>,
    max_batches: u64,
    /// How samples pass.
    clock: Option<Clock>,
    tokens_per_sample: Option<u64>,
    percent_of_samples: bool,
    /// Updates before the first one, which count as made.
    done: u64,
}

impl Run {
    /// The same run with a different number of updates.
    pub(crate) fn lasting(self, updates: u64) -> Self {
        Self { updates: Some(updates), ..self }
    }

    /// Updates of the whole run; `None` for a run without an end.
    pub fn updates(&self) -> Option<u64> {
        self.updates
    }

    /// Updates of one epoch; `None` for a run without epochs, or with epochs of different lengths because batches
    /// grow.
    pub fn updates_per_epoch(&self) -> Option<u64> {
        self.updates_per_epoch
    }

    /// Items per full batch; `None` for a run that does not count samples.
    pub fn batch_size(&self) -> Option<u64> {
        self.batch_size
    }

    /// Batches of the largest update, summed over devices.
    pub fn max_batches_per_update(&self) -> u64 {
        self.max_batches
    }

    /// The samples of update `update`; `None` for a run that does not count samples.
    pub fn batch_of(&self, update: u64) -> Option<u64> {
        let clock = self.clock?;
        let at = self.done.saturating_add(update);
        Some(clock.samples_before(at.saturating_add(1)) - clock.samples_before(at))
    }

    /// The samples before update `update`; `None` for a run that does not count samples.
    pub fn samples_before(&self, update: u64) -> Option<u64> {
        let clock = self.clock?;
        let before = |update| clock.samples_before(update);
        Some(before(self.done.saturating_add(update)) - before(self.done))
    }

    /// The tokens of each sample; `None` for a run that does not count tokens.
    pub fn tokens_per_sample(&self) -> Option<u64> {
        self.tokens_per_sample
    }

    /// Whether the samples of an update change; false in a run that does not count them.
    pub fn has_ramp(&self) -> bool {
        self.clock.is_some_and(|clock| clock.stages.is_some())
    }

    /// How samples pass, counted from before the run if it goes on with another; `None` if it does not count them.
    pub(crate) fn clock(&self) -> Option<Clock> {
        self.clock
    }

    /// Updates before the first one, which count as made.
    pub(crate) fn done(&self) -> u64 {
        self.done
    }

    /// The same run with each sample as an update; `None` if it does not count them.
    pub(crate) fn in_samples(&self) -> Option<Run> {
        let epoch = self.clock?.epoch.map(|epoch| epoch.samples);
        let epoch_of_samples = epoch.map(|samples| Epoch { samples, rounds: samples });
        Some(Run {
            updates: self.updates.and_then(|updates| self.samples_before(updates)),
            updates_per_epoch: epoch,
            batch_size: Some(1),
            max_batches: 1,
            clock: Some(Clock { unit: 1, epoch: epoch_of_samples, full: 1, stages: None }),
            done: self.clock?.samples_before(self.done),
            ..*self
        })
    }

    /// The updates that so many samples take in full batches, rounded up.
    pub(crate) fn updates_of(&self, samples: u64) -> u64 {
        self.clock.map_or(samples, |clock| samples.div_ceil(clock.unit.saturating_mul(clock.full)))
    }

    /// The samples of a length in a unit of samples; `None` if it has another unit, or the run does not count it.
    pub(crate) fn samples_of(&self, span: Span) -> Option<f64> {
        let clock = self.clock?;
        match span {
            Span::Samples(samples) => Some(samples),
            Span::Tokens(tokens) => Some(tokens / self.tokens_per_sample? as f64),
            Span::Epochs(epochs) if self.has_ramp() => Some(epochs * clock.epoch?.samples as f64),
            Span::Percent(percent) if self.percent_of_samples => {
                Some(self.samples_before(self.updates?)? as f64 * percent / 100.0)
            }
            _ => None,
        }
    }

    /// The position of `samples` samples after an update and its fraction, in updates.
    pub(crate) fn moved_by_samples(&self, from: (i128, f64), samples: f64) -> Option<(i128, f64)> {
        let clock = self.clock?;
        let (whole, part) = (from.0 + from.1.floor() as i128, from.1 - from.1.floor());
        let update = u64::try_from(whole.max(0)).ok()?.saturating_add(self.done);
        let (before, next) =
            (clock.samples_before(update), clock.samples_before(update.saturating_add(1)));
        let begin = before as f64 + part * (next - before) as f64;
        let (whole, part) = clock.update_after(begin + samples);
        Some((i128::try_from(whole).ok()? - i128::from(self.done), part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_round_to_the_fullest_one() {
        // Burn splits 11 items between 2 devices as 5 and 6: 2 rounds of at most 4.
        let run = RunLength::from_items(11, 4).devices(2).resolve().unwrap();
        assert_eq!(run.updates(), Some(2));
        // 7 items on 4 devices: 1, 1, 1 and 4; batches of 1 make 4 rounds.
        let run = RunLength::from_items(7, 1).devices(4).resolve().unwrap();
        assert_eq!(run.updates(), Some(4));
    }

    #[test]
    fn counted_updates_stay_as_many() {
        let counted = RunLength::updates(100).gradient_accumulation(4).devices(2);
        assert_eq!(counted.resolve().unwrap().updates(), Some(100));
        assert_eq!(counted.batches_per_update(0), 8);
        let epochs = RunLength::updates_per_epoch(100).gradient_accumulation(4).epochs(3);
        assert_eq!(epochs.resolve().unwrap().updates(), Some(300));
    }

    /// Compares with a loop over all batches.
    #[test]
    fn a_ramp_counts_as_a_loop_does() {
        for (items, full, from, over, epochs) in [
            (100, 5, 1, 4, 1),
            (100, 4, 1, 30, 7),
            (103, 3, 6, 9, 4),
            (10, 64, 1, 3, 5),
            (1, 2, 1, 9, 3),
        ] {
            let run = RunLength::from_items(items, 7).epochs(epochs).gradient_accumulation(full);
            let run = run.gradient_accumulation_ramp(from, over);
            let mut updates = 0;
            for _ in 0..epochs {
                let mut batches = 0;
                for batch in 1..=items.div_ceil(7) {
                    batches += 1;
                    if batches >= run.accumulation_of(updates) || batch == items.div_ceil(7) {
                        (updates, batches) = (updates + 1, 0);
                    }
                }
            }
            assert_eq!(run.resolve().unwrap().updates(), Some(updates), "{run:?}");
        }
    }

    /// Compares with Burn's rounds, one by one.
    #[test]
    fn the_batches_of_each_update_add_up_to_those_of_the_epoch() {
        for (items, batch, devices, accumulation) in [
            (60, 6, 1, 1),
            (61, 6, 1, 4),
            (41, 4, 2, 2),
            (7, 1, 4, 1),
            (11, 4, 2, 3),
            (100, 7, 3, 5),
        ] {
            let run = RunLength::from_items(items, batch).devices(devices);
            let run = run.gradient_accumulation(accumulation);
            let each = items / devices;
            let on =
                |device| if device + 1 == devices { items - each * (devices - 1) } else { each };
            let rounds = on(devices - 1).div_ceil(batch);
            let updates = run.resolve().unwrap().updates_per_epoch().unwrap();
            for update in 0..updates as usize {
                let rounds = update * accumulation..((update + 1) * accumulation).min(rounds);
                let batches = rounds.map(|round| {
                    (0..devices).filter(|&device| on(device).div_ceil(batch) > round).count() as u64
                });
                let expected: u64 = batches.sum();
                assert_eq!(run.batches_in_epoch(update as u64), Some(expected), "{run:?} {update}");
            }
        }
        assert_eq!(RunLength::updates(4).batches_in_epoch(0), None);
    }

    /// Compares with the items of every batch, one by one.
    #[test]
    fn updates_with_a_short_batch_are_known() {
        for (items, batch, devices, accumulation) in
            [(60, 6, 1, 4), (61, 6, 1, 4), (41, 4, 2, 2), (40, 5, 2, 3), (100, 7, 3, 5)]
        {
            let run = RunLength::from_items(items, batch).devices(devices);
            let run = run.gradient_accumulation(accumulation);
            let each = items / devices;
            let updates = run.resolve().unwrap().updates_per_epoch().unwrap();
            for update in 0..2 * updates as usize {
                let is_full = |device: usize, round: usize| {
                    let last = device + 1 == devices;
                    let on = if last { items - each * (devices - 1) } else { each };
                    on >= (round + 1) * batch || on <= round * batch
                };
                let first = update % updates as usize * accumulation;
                let mut rounds = first..first + accumulation;
                let full = rounds.all(|round| (0..devices).all(|device| is_full(device, round)));
                // A device without a batch shows that another may have a short one.
                assert!(full || !run.has_even_batches(update as u64), "{run:?} {update}");
                let whole = (first + accumulation) * batch <= each;
                assert!(!whole || run.has_even_batches(update as u64), "{run:?} {update}");
            }
        }
        assert!(RunLength::from_items(60, 6).gradient_accumulation(4).has_even_batches(2));
        let counted = RunLength::updates_per_epoch(3);
        assert_eq!(
            [0, 1, 2, 3, 5].map(|i| counted.has_even_batches(i)),
            [true, true, false, true, false]
        );
        assert!(RunLength::updates(3).has_even_batches(2));
    }

    #[test]
    fn a_run_knows_its_batches() {
        let of = |run: RunLength| {
            let run = run.resolve().unwrap();
            (run.batch_size(), run.max_batches_per_update())
        };
        let items = RunLength::from_items(100, 5);
        assert_eq!(of(items.gradient_accumulation(4).devices(2)), (Some(5), 8));
        assert_eq!(of(items.gradient_accumulation_steps(&[(3, 7), (5, 2)])), (Some(5), 7));
        assert_eq!(of(items.gradient_accumulation_ramp(6, 3)), (Some(5), 6));
        assert_eq!(of(RunLength::updates(9)), (None, 1));
    }

    #[test]
    fn an_update_of_other_batches_is_noticed() {
        let run = RunLength::from_items(60, 6).gradient_accumulation(4); // 4, 4 and 2 batches
        assert_eq!([(0, 4), (1, 4), (2, 2), (3, 4)].map(|(i, n)| run.expects(i, n)), [Ok(()); 4]);
        assert_eq!([(0, 1), (2, 4)].map(|(i, n)| run.expects(i, n)), [Err(4), Err(2)]);
        let counted = RunLength::updates_per_epoch(3);
        assert_eq!(counted.expects(0, 4), Err(1), "one batch, unless it is said otherwise");
        let counted = counted.gradient_accumulation(4);
        assert_eq!([(0, 4), (2, 1)].map(|(i, n)| counted.expects(i, n)), [Ok(()); 2]);
        assert_eq!([(0, 1), (2, 5)].map(|(i, n)| counted.expects(i, n)), [Err(4); 2]);
        let updates = RunLength::updates(10).gradient_accumulation(2);
        assert_eq!([1, 2].map(|n| updates.expects(0, n)), [Ok(()); 2]);
        assert_eq!(updates.expects(0, 3), Err(2));
    }

    #[test]
    fn items_become_updates() {
        let run = RunLength::from_items(100, 10).gradient_accumulation(3); // 4 updates per epoch
        let of = |seen| run.updates_of_items(seen).unwrap();
        assert_eq!([0, 29, 30, 89, 100, 200, 245].map(of), [0, 0, 1, 2, 4, 8, 9]);
    }

    #[test]
    fn wrong_counts_name_their_field() {
        let ok = RunLength::from_items(10, 2);
        for (run, field) in [
            (RunLength::from_items(0, 2), "run.items"),
            (RunLength::from_items(10, 0), "run.batch_size"),
            (ok.epochs(0), "run.epochs"),
            (ok.gradient_accumulation(0), "run.gradient_accumulation"),
            (ok.devices(0), "run.devices"),
            (RunLength::updates(0), "run.updates"),
            (RunLength::updates(u64::MAX), "run.updates"),
            (RunLength::updates(5).epochs(2), "run.epochs"),
            (RunLength::unbounded().epochs(2), "run.epochs"),
            (RunLength::updates_per_epoch(0), "run.updates_per_epoch"),
            (RunLength::updates_per_epoch(1 << 62).epochs(3), "run.epochs"),
            (RunLength::of_training(), "run.length"),
            (ok.after(5), "run.after"),
            (RunLength::samples(0, 2), "run.samples"),
            (RunLength::samples(5, 0), "run.batch_size"),
            (RunLength::samples(5, 2).epochs(2), "run.epochs"),
            (RunLength::tokens(5, 2), "run.tokens_per_sample"),
            (RunLength::tokens(5, 2).tokens_per_sample(0), "run.tokens_per_sample"),
            (RunLength::tokens(0, 2).tokens_per_sample(1), "run.tokens"),
            (ok.batch_size_multiple(2), "run.batch_size_multiple"),
            (ok.batch_size_multiple(2).batch_size_steps(&[(1, 4)]), "run.batch_size_multiple"),
            (RunLength::updates(5).batch_size_multiple(2), "run.batch_size_multiple"),
            (RunLength::updates(5).percent_of_samples(), "run.percent_of_samples"),
            (RunLength::updates(5).batch_size_ramp(1, 3), "run.batch_size_ramp.from"),
            (ok.batch_size_ramp(1, 3), "run.batch_size_ramp.from"),
            (ok.batch_size_ramp(2, Span::tokens(9)), "run.batch_size_ramp.over"),
            (ok.batch_size_ramp(2, Span::samples(-1)), "run.batch_size_ramp.over"),
            (ok.batch_size_ramp(2, Span::Rest), "run.batch_size_ramp.over"),
            (ok.batch_size_ramp(2, Span::samples(0)), "run.batch_size_ramp.over"),
            (ok.batch_size_ramp(2, 3).batch_size_multiple(3), "run.batch_size_multiple"),
            (ok.batch_size_ramp(2, 3).batch_size_multiple(0), "run.batch_size_multiple"),
            (ok.batch_size_steps(&[(Span::steps(1), 3)]), "run.batch_size_steps"),
            (
                ok.batch_size_steps(&[(Span::steps(1), 4), (Span::percent(50), 2)]),
                "run.batch_size_steps",
            ),
            (
                RunLength::samples(1 << 60, 1 << 40).batch_size_ramp(1, Span::percent(50)),
                "run.batch_size_ramp",
            ),
            (ok.gradient_accumulation_ramp(0, 3), "run.gradient_accumulation_ramp.from"),
            (ok.gradient_accumulation_ramp(1, 0), "run.gradient_accumulation_ramp.over"),
        ] {
            match run.resolve() {
                Err(ScheduleError::OutOfRange(found)) => assert_eq!(found.field, field),
                other => panic!("{field}: {other:?}"),
            }
        }
    }
}
