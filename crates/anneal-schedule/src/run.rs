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
    unbounded: bool,
    items: u64,
    batch_size: u64,
    epochs: u64,
    gradient_accumulation: u64,
    devices: u64,
}

impl RunLength {
    /// One epoch over `items` items in batches of `batch_size`; `items` is the loader's
    /// `num_items()`.
    pub fn from_items(items: usize, batch_size: usize) -> Self {
        Self {
            unbounded: false,
            items: items as u64,
            batch_size: batch_size as u64,
            epochs: 1,
            gradient_accumulation: 1,
            devices: 1,
        }
    }

    /// A run of `updates` updates, all in one epoch.
    pub fn updates(updates: u64) -> Self {
        Self { items: updates, ..Self::from_items(1, 1) }
    }

    /// Epochs of `updates` updates each: say how many with [`epochs`](Self::epochs).
    pub fn updates_per_epoch(updates: u64) -> Self {
        Self::updates(updates)
    }

    /// A run without an end; spans in epochs, in percent, or of the rest cannot be resolved.
    pub fn unbounded() -> Self {
        Self { unbounded: true, ..Self::updates(1) }
    }

    /// The number of epochs, at least 1; 1 unless said otherwise, as in Burn.
    pub fn epochs(mut self, epochs: usize) -> Self {
        self.epochs = epochs as u64;
        self
    }

    /// The number of batches whose gradients make one update, at least 1; 1 unless said otherwise.
    pub fn gradient_accumulation(mut self, batches: usize) -> Self {
        self.gradient_accumulation = batches as u64;
        self
    }

    /// The number of devices of Burn's `MultiDevice` strategy, at least 1; 1 unless said otherwise.
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
    /// [`ScheduleError::OutOfRange`] for a count of 0, or a run of more than 2⁶³ updates.
    pub fn resolve(&self) -> Result<Run, ScheduleError> {
        for (field, value) in [
            ("items", self.items),
            ("batch_size", self.batch_size),
            ("epochs", self.epochs),
            ("gradient_accumulation", self.gradient_accumulation),
            ("devices", self.devices),
        ] {
            if value == 0 {
                return Err(out_of_range(field, value, "at least 1"));
            }
        }
        if self.unbounded {
            return Ok(Run { updates: None, updates_per_epoch: None });
        }
        let most_items = self.items - self.items / self.devices * (self.devices - 1);
        let updates_per_epoch =
            most_items.div_ceil(self.batch_size).div_ceil(self.gradient_accumulation);
        let updates = updates_per_epoch
            .checked_mul(self.epochs)
            .filter(|&updates| updates <= 1 << 63)
            .ok_or_else(|| {
                let allowed = format!("at most 2^63 updates in all, {updates_per_epoch} per epoch");
                out_of_range("epochs", self.epochs, &allowed)
            })?;
        Ok(Run { updates: Some(updates), updates_per_epoch: Some(updates_per_epoch) })
    }
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

    /// Updates of one epoch; `None` for a run without an end.
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
    fn zero_counts_name_their_field() {
        let ok = RunLength::from_items(10, 2);
        for (run, field) in [
            (RunLength::from_items(0, 2), "run.items"),
            (RunLength::from_items(10, 0), "run.batch_size"),
            (ok.epochs(0), "run.epochs"),
            (ok.gradient_accumulation(0), "run.gradient_accumulation"),
            (ok.devices(0), "run.devices"),
            (RunLength::updates(u64::MAX).epochs(2), "run.epochs"),
        ] {
            match run.resolve() {
                Err(ScheduleError::OutOfRange { field: found, .. }) => assert_eq!(found, field),
                other => panic!("{field}: {other:?}"),
            }
        }
    }
}
