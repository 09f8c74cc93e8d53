//! Run lengths, counted as Burn's training loop steps.

use crate::ramp::{Ramp, Steps};
use crate::{OutOfRange, ScheduleError};
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
/// In a file it is a table of the given numbers, named after these functions: `items` with `batch_size`,
/// `updates_per_epoch`, `updates` or `unbounded = true`, and `epochs`, `gradient_accumulation`, `devices`,
/// `after`, `gradient_accumulation_ramp` and `gradient_accumulation_steps`.
///
/// ```
/// use anneal_schedule::RunLength;
/// let run = RunLength::from_items(50_000, 64).epochs(10).gradient_accumulation(4).resolve()?;
/// assert_eq!(run.updates_per_epoch(), Some(196)); // ⌈782 / 4⌉
/// assert_eq!(run.updates(), Some(1_960));
/// # Ok::<(), anneal_schedule::ScheduleError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct RunLength {
    pub(crate) count: Count,
    pub(crate) epochs: Option<u64>,
    pub(crate) gradient_accumulation: Option<u64>,
    pub(crate) ramp: Option<Ramp>,
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
    UpdatesPerEpoch(u64),
    Updates(u64),
    Unbounded,
}

impl RunLength {
    /// Epochs over `items` items in batches of `batch_size`; `items` is the loader's `num_items()`.
    pub fn from_items(items: usize, batch_size: usize) -> Self {
        Self::new(Count::Items { items: items as u64, batch_size: batch_size as u64 })
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

    /// Uses fewer batches in the first updates: update t of the first n has round(from + (k − from)·t/n)
    /// batches, where k is the [`gradient_accumulation`](Self::gradient_accumulation); later updates have k.
    /// `from` is at least 1, n is 1 to 10⁶. YOLOv5 does this during its warm-up.
    ///
    /// Epochs then have no fixed number of updates, so lengths in epochs cannot be resolved.
    ///
    /// ```
    /// use anneal_schedule::RunLength;
    /// let run = RunLength::from_items(100, 10).gradient_accumulation(5).gradient_accumulation_ramp(1, 4);
    /// assert_eq!([0, 1, 2, 3, 4, 5].map(|update| run.accumulation_of(update)), [1, 2, 3, 4, 5, 5]);
    /// assert_eq!(run.resolve()?.updates(), Some(4)); // 1 + 2 + 3 + 4 batches of 10
    /// # Ok::<(), anneal_schedule::ScheduleError>(())
    /// ```
    pub fn gradient_accumulation_ramp(mut self, from: usize, updates: u64) -> Self {
        self.ramp = Some(Ramp::Line { from: from as u64, updates });
        self
    }

    /// Changes the number of batches from each of the given updates on; before the first of them it is
    /// [`gradient_accumulation`](Self::gradient_accumulation). 1 to 16 pairs of an update and its batches;
    /// the updates ascend, the batches are at least 1. Replaces a
    /// [`gradient_accumulation_ramp`](Self::gradient_accumulation_ramp).
    ///
    /// Epochs then have no fixed number of updates, so lengths in epochs cannot be resolved.
    ///
    /// ```
    /// use anneal_schedule::RunLength;
    /// let run = RunLength::from_items(100, 10).gradient_accumulation_steps(&[(2, 2), (4, 4)]);
    /// assert_eq!([0, 1, 2, 3, 4, 5].map(|update| run.accumulation_of(update)), [1, 1, 2, 2, 4, 4]);
    /// assert_eq!(run.resolve()?.updates(), Some(5)); // 1 + 1 + 2 + 2 + 4 batches of 10
    /// # Ok::<(), anneal_schedule::ScheduleError>(())
    /// ```
    pub fn gradient_accumulation_steps(mut self, steps: &[(u64, usize)]) -> Self {
        self.ramp = Some(Ramp::Steps(Steps::new(steps)));
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

    /// The number of batches of each device in update `number`, counted from 0; the last update of an epoch
    /// may have fewer.
    pub fn accumulation_of(&self, number: u64) -> u64 {
        let full = self.gradient_accumulation.unwrap_or(1);
        self.ramp.map_or(full, |ramp| ramp.at(number, full).0)
    }

    /// The batches summed in update `number`, unless it is the last of an epoch: gradient accumulation ×
    /// devices.
    pub fn batches_per_update(&self, number: u64) -> u64 {
        self.accumulation_of(number).saturating_mul(self.devices.unwrap_or(1))
    }

    /// The batches of the largest update.
    fn max_batches(&self) -> u64 {
        let full = self.gradient_accumulation.unwrap_or(1);
        let most = self.ramp.map_or(full, |ramp| ramp.most(full));
        most.saturating_mul(self.devices.unwrap_or(1))
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
        at_least_1("gradient_accumulation", self.gradient_accumulation.unwrap_or(1))?;
        at_least_1("devices", self.devices.unwrap_or(1))?;
        if let Some(ramp) = self.ramp {
            ramp.check()?;
        }
        let run = self.whole()?;
        let run = Run {
            batch_size: self.made_of().map(|made_of| made_of.batch_size),
            max_batches: self.max_batches(),
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

    fn whole(&self) -> Result<Run, ScheduleError> {
        match self.count {
            Count::Training => {
                let allowed = "only with launch; elsewhere use RunLength::from_items, updates_per_epoch or updates";
                Err(out_of_range("length", "that of the training", allowed))
            }
            Count::Items { items, batch_size } => {
                at_least_1("items", items)?;
                at_least_1("batch_size", batch_size)?;
                let rounds = rounds(items, batch_size, self.devices.unwrap_or(1));
                match self.ramp {
                    None => self.of_epochs(rounds.div_ceil(self.accumulation_of(0))),
                    Some(ramp) => self.ramped(rounds, ramp),
                }
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

    fn ramped(&self, rounds: u64, ramp: Ramp) -> Result<Run, ScheduleError> {
        let epochs = at_least_1("epochs", self.epochs.unwrap_or(1))?;
        let updates = ramp.updates(epochs, rounds, self.gradient_accumulation.unwrap_or(1));
        let updates = u64::try_from(updates).ok().filter(|updates| *updates <= MAX_UPDATES);
        let too_many = || out_of_range("epochs", epochs, "at most 2^63 updates in total");
        Ok(Run { updates: Some(updates.ok_or_else(too_many)?), ..Run::default() })
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

/// The longest run: more updates than any machine makes, and small enough not to overflow.
pub(crate) const MAX_UPDATES: u64 = 1 << 63;

pub(crate) fn at_least_1(field: &str, value: u64) -> Result<u64, ScheduleError> {
    if value == 0 { Err(out_of_range(field, value, "at least 1")) } else { Ok(value) }
}

pub(crate) fn out_of_range(field: &str, value: impl fmt::Display, allowed: &str) -> ScheduleError {
    OutOfRange::new(format!("run.{field}"), value, allowed).into()
}

/// A run with a known number of updates, or without an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    updates: Option<u64>,
    updates_per_epoch: Option<u64>,
    batch_size: Option<u64>,
    max_batches: u64,
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

    /// Updates of one epoch; `None` for a run without epochs.
    pub fn updates_per_epoch(&self) -> Option<u64> {
        self.updates_per_epoch
    }

    /// Items per full batch; `None` for a run that is not counted in items.
    pub fn batch_size(&self) -> Option<u64> {
        self.batch_size
    }

    /// Batches of the largest update, summed over devices.
    pub fn max_batches_per_update(&self) -> u64 {
        self.max_batches
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
            (ok.gradient_accumulation_ramp(0, 3), "run.gradient_accumulation_ramp.from"),
            (ok.gradient_accumulation_ramp(1, 0), "run.gradient_accumulation_ramp.updates"),
        ] {
            match run.resolve() {
                Err(ScheduleError::OutOfRange(found)) => assert_eq!(found.field, field),
                other => panic!("{field}: {other:?}"),
            }
        }
    }
}
