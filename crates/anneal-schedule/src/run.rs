//! How long a run is, counted as Burn's training loop steps.

use crate::ScheduleError;

/// How long a run is: the description.
///
/// One update is one call of the optimizer. Burn's `SupervisedTraining` makes, in each epoch,
///
/// ```text
/// batches = ⌈items / batch_size⌉
/// updates = ⌈batches / gradient_accumulation⌉
/// ```
///
/// the last short batch and the last short accumulation count, and the count starts anew in every
/// epoch. On several devices each takes ⌊items / devices⌋ items and the last one the remainder
/// too; an epoch lasts as many rounds as the device with the most items has batches.
///
/// ```
/// use anneal_schedule::RunLength;
/// let run = RunLength::from_items(50_000, 64).epochs(10).gradient_accumulation(4).resolve()?;
/// assert_eq!(run.updates_per_epoch(), Some(196)); // ⌈782 / 4⌉
/// assert_eq!(run.updates(), Some(1_960));
/// # Ok::<(), anneal_schedule::ScheduleError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLength {
    count: Count,
    epochs: Option<u64>,
    gradient_accumulation: u64,
    devices: u64,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    Items { items: u64, batch_size: u64 },
    UpdatesPerEpoch(u64),
    Updates(u64),
    Unbounded,
}

impl RunLength {
    /// Epochs over `items` items in batches of `batch_size`; `items` is the loader's
    /// `num_items()`.
    pub fn from_items(items: usize, batch_size: usize) -> Self {
        Self::new(Count::Items { items: items as u64, batch_size: batch_size as u64 })
    }

    /// Epochs of `updates` updates each.
    pub fn updates_per_epoch(updates: u64) -> Self {
        Self::new(Count::UpdatesPerEpoch(updates))
    }

    /// `updates` updates in all. It has no epochs: spans in epochs cannot be resolved.
    pub fn updates(updates: u64) -> Self {
        Self::new(Count::Updates(updates))
    }

    /// A run without an end: spans in epochs, in percent, or of the rest cannot be resolved.
    pub fn unbounded() -> Self {
        Self::new(Count::Unbounded)
    }

    fn new(count: Count) -> Self {
        Self { count, epochs: None, gradient_accumulation: 1, devices: 1 }
    }

    /// The number of epochs, at least 1; 1 unless said otherwise, as in Burn. Only for
    /// [`from_items`](Self::from_items) and [`updates_per_epoch`](Self::updates_per_epoch).
    pub fn epochs(mut self, epochs: usize) -> Self {
        self.epochs = Some(epochs as u64);
        self
    }

    /// The number of batches whose gradients make one update, at least 1; 1 unless said otherwise.
    /// Where updates are counted already, it does not change their number.
    pub fn gradient_accumulation(mut self, batches: usize) -> Self {
        self.gradient_accumulation = batches as u64;
        self
    }

    /// The number of devices of Burn's `MultiDevice` strategy, at least 1; 1 unless said otherwise.
    /// Where updates are counted already, it does not change their number.
    pub fn devices(mut self, devices: usize) -> Self {
        self.devices = devices as u64;
        self
    }

    /// Micro-batches that one full update sums: gradient accumulation × devices.
    pub fn batches_per_update(&self) -> u64 {
        self.gradient_accumulation.saturating_mul(self.devices)
    }

    /// Counts the updates.
    ///
    /// # Errors
    /// [`ScheduleError::OutOfRange`] for a count of 0, epochs of a run that has none, or more than
    /// 2⁶³ updates.
    pub fn resolve(&self) -> Result<Run, ScheduleError> {
        at_least_1("gradient_accumulation", self.gradient_accumulation)?;
        at_least_1("devices", self.devices)?;
        match self.count {
            Count::Items { items, batch_size } => {
                at_least_1("items", items)?;
                at_least_1("batch_size", batch_size)?;
                let most_items = items - items / self.devices * (self.devices - 1);
                self.of_epochs(most_items.div_ceil(batch_size).div_ceil(self.gradient_accumulation))
            }
            Count::UpdatesPerEpoch(updates) => {
                self.of_epochs(at_least_1("updates_per_epoch", updates)?)
            }
            Count::Updates(updates) => {
                self.no_epochs()?;
                if updates == 0 || updates > MOST_UPDATES {
                    return Err(out_of_range("updates", updates, "1 to 2^63"));
                }
                Ok(Run { updates: Some(updates), updates_per_epoch: None })
            }
            Count::Unbounded => {
                self.no_epochs()?;
                Ok(Run { updates: None, updates_per_epoch: None })
            }
        }
    }

    fn of_epochs(&self, updates_per_epoch: u64) -> Result<Run, ScheduleError> {
        let epochs = at_least_1("epochs", self.epochs.unwrap_or(1))?;
        let updates = updates_per_epoch
            .checked_mul(epochs)
            .filter(|&updates| updates <= MOST_UPDATES)
            .ok_or_else(|| {
                let allowed = format!("at most 2^63 updates in all, {updates_per_epoch} per epoch");
                out_of_range("epochs", epochs, &allowed)
            })?;
        Ok(Run { updates: Some(updates), updates_per_epoch: Some(updates_per_epoch) })
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

/// The longest run; more updates than any machine will make, and no overflow on the way.
const MOST_UPDATES: u64 = 1 << 63;

fn at_least_1(field: &str, value: u64) -> Result<u64, ScheduleError> {
    if value == 0 { Err(out_of_range(field, value, "at least 1")) } else { Ok(value) }
}

fn out_of_range(field: &str, value: u64, allowed: &str) -> ScheduleError {
    ScheduleError::OutOfRange {
        field: format!("run.{field}"),
        value: value.to_string(),
        allowed: allowed.to_string(),
    }
}

/// A run whose updates are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    updates: Option<u64>,
    updates_per_epoch: Option<u64>,
}

impl Run {
    /// Updates of the whole run; `None` for a run without an end.
    pub fn updates(&self) -> Option<u64> {
        self.updates
    }

    /// Updates of one epoch; `None` for a run without epochs.
    pub fn updates_per_epoch(&self) -> Option<u64> {
        self.updates_per_epoch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_round_to_the_fullest_one() {
        // Burn gives 11 items to 2 devices as 5 and 6: 2 rounds of at most 4.
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
        assert_eq!(counted.batches_per_update(), 8);
        let epochs = RunLength::updates_per_epoch(100).gradient_accumulation(4).epochs(3);
        assert_eq!(epochs.resolve().unwrap().updates(), Some(300));
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
        ] {
            match run.resolve() {
                Err(ScheduleError::OutOfRange { field: found, .. }) => assert_eq!(found, field),
                other => panic!("{field}: {other:?}"),
            }
        }
    }
}
