//! The run that a plan replaces, in batches and samples.

use super::{SeesawError, SeesawStage};
use crate::{OutOfRange, RunLength};
use anneal_schedule::MadeOf;

/// The longest run; each update is examined.
const MAX_UPDATES: u64 = 10_000_000;

/// The maximum number of further accumulations in a [`RunLength`].
const MAX_STEPS: usize = 16;

/// The data of a run.
pub(super) struct Data {
    pub made_of: MadeOf,
    epochs: u64,
    pub updates: u64,
    updates_per_epoch: u64,
    /// Batches of each device per epoch.
    pub rounds: u64,
}

impl Data {
    pub fn of(run: RunLength) -> Result<Self, SeesawError> {
        let refused = |value: &str| {
            let allowed = "whole epochs counted in items, RunLength::from_items, without a ramp; at most \
                           10,000,000 updates, and 2^63 samples";
            OutOfRange::new("run", value, allowed)
        };
        let resolved = run.resolve()?;
        let counts = (run.made_of(), resolved.updates(), resolved.updates_per_epoch());
        let (Some(made_of), Some(updates), Some(updates_per_epoch)) = counts else {
            let value = if run.has_ramp() { "a ramp" } else { "not counted in items" };
            return Err(refused(value).into());
        };
        if updates % updates_per_epoch != 0 {
            return Err(refused("a part of an epoch").into());
        }
        let epochs = updates / updates_per_epoch;
        let samples = made_of.items.checked_mul(epochs);
        if updates > MAX_UPDATES || samples.is_none_or(|samples| samples > 1 << 63) {
            return Err(refused(&format!("{updates} updates of {made_of}")).into());
        }
        let rounds = run.rounds_in_epoch().unwrap_or(1);
        Ok(Self { made_of, epochs, updates, updates_per_epoch, rounds })
    }

    pub fn all_rounds(&self) -> u64 {
        self.epochs * self.rounds
    }

    /// The rounds before an update of the original run.
    pub fn round_of(&self, update: u64) -> u64 {
        let (epochs, in_epoch) = (update / self.updates_per_epoch, update % self.updates_per_epoch);
        epochs * self.rounds + in_epoch * self.made_of.accumulation
    }

    pub fn samples(&self, round: u64) -> u64 {
        let (epochs, in_epoch) = (round / self.rounds, round % self.rounds);
        self.run().items_after(epochs, in_epoch).unwrap_or(0)
    }

    pub fn batch(&self, accumulation: u64) -> u64 {
        let MadeOf { batch_size, devices, .. } = self.made_of;
        accumulation.saturating_mul(batch_size).saturating_mul(devices)
    }

    /// The original run.
    fn run(&self) -> RunLength {
        let MadeOf { items, batch_size, accumulation, devices } = self.made_of;
        let run = RunLength::from_items(items as usize, batch_size as usize);
        let run = run.epochs(self.epochs as usize).devices(devices as usize);
        run.gradient_accumulation(accumulation as usize)
    }

    /// The run with these stages.
    pub fn run_of(&self, stages: &[SeesawStage]) -> Result<RunLength, OutOfRange> {
        let (mut last, mut steps) = (self.made_of.accumulation, vec![]);
        for stage in stages.iter().filter(|stage| stage.updates > 0) {
            if stage.accumulation != last {
                steps.push((stage.first, stage.accumulation as usize));
                last = stage.accumulation;
            }
        }
        let allowed = "a smaller one, or a smaller largest_accumulation: at most 16 larger \
                       accumulations up to it";
        let found = format!("{} larger accumulations", steps.len());
        OutOfRange::require("reduction", found, steps.len() <= MAX_STEPS, allowed)?;
        Ok(match steps.is_empty() {
            true => self.run(),
            false => self.run().gradient_accumulation_steps(&steps),
        })
    }
}
