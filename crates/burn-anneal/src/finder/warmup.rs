//! Finds the length of a warm-up.

use super::batches::Batches;
use super::first_rate::{Trial, first_rate, made, pass_all};
use super::{FindError, FinderProgress, LrFinder, Subject, notes};
use crate::Monitored;
use crate::builder::LearnerBuilder;
use crate::training_loop::TrainingLoop;
use anneal_plan::{LargestStable, OutOfRange, StableAt, Warmup, WarmupAdvice};
use burn::train::{LearnerModel, TrainLoader, TrainStep};
use std::fmt;

/// The share of a stable rate that training uses.
const SAFETY: f64 = 0.5;

/// The advised length of a warm-up, and the measurements behind it; see [`LrFinder::warmup`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WarmupFound {
    /// The rate at the end of the warm-up: the largest of the schedule.
    pub peak: f64,
    /// The measured largest stable rates.
    pub stable: Vec<StableAt>,
    /// Updates without a measurement, because even the lowest rate raised the loss.
    pub unclear: Vec<u64>,
    /// The advice; `None` if nothing was measured.
    pub advice: Option<Warmup>,
    /// Notes on the measurement.
    pub notes: Vec<String>,
}

impl fmt::Display for WarmupFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peak = self.peak;
        writeln!(f, "{:>8}{:>14}", "update", "stable below")?;
        for StableAt { update, rate } in &self.stable {
            match rate.is_finite() {
                true => writeln!(f, "{update:>8}{rate:>14.2e}")?,
                false => writeln!(f, "{update:>8}{:>14}", "any")?,
            }
        }
        for update in &self.unclear {
            writeln!(f, "{update:>8}{:>14}", "unclear")?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))?;
        match &self.advice {
            None => write!(f, "no result: every update raised the loss, however small"),
            Some(Warmup::NotNeeded) => {
                write!(
                    f,
                    "a peak of {peak:.2e} needs no warm-up: it is below half of every stable rate"
                )
            }
            Some(Warmup::Updates { length, binds_at }) => write!(
                f,
                "a peak of {peak:.2e} needs a warm-up of {length} updates, because of the stable rate at update \
                 {binds_at}: .warmup(Span::steps({length}))"
            ),
            Some(Warmup::NotMeasured { last, highest_peak }) => write!(
                f,
                "a peak of {peak:.2e} is still too high at update {last}: measure more updates, or lower it to \
                 {highest_peak:.2e}"
            ),
        }
    }
}

impl LrFinder {
    /// Finds how long a linear warm-up to the peak of the schedule should be. Trains a copy for `updates` updates at
    /// half of the largest stable rate, at most at the peak, and measures that rate like
    /// [`first_rate`](Self::first_rate), before updates 0, 1, 2, 4, 8, and so on. The warm-up must stay below half of
    /// it.
    ///
    /// Curvature is usually highest at the start and falls during training; then the peak is soon stable, and the
    /// warm-up short.
    ///
    /// This costs about a dozen passes and updates per measurement, in addition to the `updates`.
    ///
    /// ```no_run
    /// # use burn::train::{LearnerModel, TrainLoader, TrainStep};
    /// # use burn_anneal::prelude::*;
    /// # fn look<M: LearnerModel>(builder: &LearnerBuilder<M>, loader: &TrainLoader<M>) -> Result<(), FindError>
    /// # where
    /// #     <M as TrainStep>::Input: Clone,
    /// # {
    /// println!("{}", LrFinder::new().warmup(builder, loader, 64)?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`FindError`] if `updates` is 0, or the run cannot be built or cannot train.
    pub fn warmup<M: LearnerModel>(
        &self,
        builder: &LearnerBuilder<M>,
        loader: &TrainLoader<M>,
        updates: u64,
    ) -> Result<WarmupFound, FindError>
    where
        <M as TrainStep>::Input: Clone,
    {
        OutOfRange::require("updates", updates, updates > 0, "at least 1")?;
        let Subject { base, loader, stays } = builder.subject(loader)?;
        let (step, seeded) = self.begin(&base)?;
        let peak = base.groups().schedule().rate(step);
        let mut batches = Batches::new(&loader, 1, 1);
        let bounds = self.bounds_beyond(peak / SAFETY);
        let (mut stable, mut unclear) = (vec![], vec![]);
        let mut rate = self.sweep.rate(0).min(peak);
        let mut copy = base.steered(step, vec![rate]);
        for update in 0..=updates {
            let batch = batches.many(copy.batches_per_update())?;
            if update == 0 || update.is_power_of_two() || update == updates {
                let mut pass = |copy: &mut TrainingLoop<M>| pass_all(copy, &batch);
                let trial = Trial { pass: &mut pass, make: &made };
                let found = first_rate(&copy, step, bounds, &seeded, trial)?;
                let at = match found.found.largest {
                    LargestStable::Between { stable, .. } => Some(stable),
                    LargestStable::AtLeast { .. } => Some(f64::INFINITY),
                    LargestStable::Below { .. } => None,
                };
                match at {
                    Some(at) => {
                        stable.push(StableAt { update, rate: at });
                        rate = (SAFETY * at).min(peak);
                    }
                    None => unclear.push(update),
                }
                copy = copy.steered(step, vec![rate]);
            }
            pass_all(&mut copy, &batch);
            made(&mut copy)?;
            let loss = copy.observation().loss.unwrap_or(f64::NAN);
            let (ended, update) = (update == updates, (update + 1, updates + 1));
            (self.progress)(&FinderProgress { seed: (1, 1), update, rate, loss, ended });
        }
        let advice = (!stable.is_empty())
            .then(|| WarmupAdvice::new(peak).safety(SAFETY).advise(&stable))
            .transpose()?;
        let notes = notes(batches.ended, stays);
        Ok(WarmupFound { peak, stable, unclear, advice, notes })
    }
}
