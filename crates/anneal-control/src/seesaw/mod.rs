//! Larger batches instead of part of the rate's decay.

mod data;
mod plan;

pub use plan::{SeesawPlan, SeesawStage};

use crate::{OutOfRange, RunLength, Span};
use anneal_schedule::{
    Schedule, ScheduleConfig, ScheduleError, ScheduleExt, piecewise_constant, table,
};
use data::Data;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Grows the batch as a schedule falls, so that the same samples are seen in fewer updates.
///
/// When the schedule has fallen to a^i of its peak, for i = 1, 2, …, the plan has
///
/// ```text
/// rate = peak · a^i · √(k_i / k₀)      batches of an update k_i = min(⌊k₀ / a^i⌋, largest)
/// ```
///
/// With a = ½ each stage has √½ of the rate and twice the batch of the previous one; after the largest
/// accumulation only the rate falls, by a. Positions are counted in samples: an update belongs to the stage
/// of the schedule at its first batch. Everything before the peak, for example a warm-up, is unchanged.
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `largest_accumulation` | | above the run's own k₀; values above the batches per epoch are never used |
/// | `reduction` a | ½ | in (0, 1), and at most 16 larger accumulations up to the largest |
///
/// **What it keeps.** If noise dominates the gradient, Adam moves like normalized SGD: by η g / √E‖g‖², with
/// E‖g‖² ≈ σ²/B for a batch of B. That gives drift η/(σ√B) and variance η²/B per *sample*, so the plan keeps
/// η/√B: √a · η at a batch of B/a has √a · √a of it, like a · η at B.
///
/// The gradient must be the mean over the batches of an update: train with `GradientReduction::Mean` in
/// `burn-anneal`, and use the plan's run and schedule together.
///
/// **What it does not keep.** Plain SGD has η/B per sample; there a rate of √a · η at B/a falls too fast.
/// Beyond the critical batch size noise no longer dominates, and fewer updates achieve less:
/// `largest_accumulation` prevents that. Adam's moving means cover more samples as batches grow, and
/// decoupled weight decay, η per update, shrinks the weights by √a less per sample.
///
/// **How much it saves.** The smaller the steps, the closer the share of updates comes to the ratio of the
/// schedule's mean to its peak: ½ for a cosine, 62 % with a = ½. For a quarter of a cosine it is 2/π, the 36
/// % that the paper saves.
///
/// A stage uses the highest rate of its part of the schedule: between a^i and a^(i+1) a cosine is replaced by
/// a^i, as in the paper. A smaller step, a closer to 1, follows it more closely; a step decay is followed
/// exactly if a is its factor, or a root of it. Training restarts accumulation in each epoch, so the last
/// update of an epoch may have fewer batches than its stage.
///
/// Source: Meterez et al. 2025, "Seesaw: accelerating training by balancing learning rate and batch size
/// scheduling", arXiv 2510.14717.
///
/// ```
/// use anneal_control::{RunLength, Seesaw, Span};
/// use anneal_schedule::step_decay;
///
/// let run = RunLength::from_items(6_400, 64).epochs(20);
/// let plan = Seesaw::up_to(16).plan(step_decay(0.1, Span::epochs(8), 0.5), run)?;
/// assert_eq!(
///     plan.to_string(),
///     "    updates      rate  accumulation  batch  images\n\
///      \x20     0–799  1.000e-1             1     64  51,200\n\
///      \x20 800–1,199  7.071e-2             2    128  51,200\n\
///      1,200–1,299  5.000e-2             4    256  25,600\n\
///      1,300 updates instead of 2,000 for the same 128,000 images"
/// );
/// // Train with `plan.schedule()`, and with `plan.run()` as the length of the run.
/// assert_eq!(plan.run().resolve()?.updates(), Some(1_300));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seesaw {
    /// The maximum number of batches of each device per update.
    pub largest_accumulation: u64,
    /// The share of the schedule's rate at which a stage ends.
    #[serde(default = "half")]
    pub reduction: f64,
}

fn half() -> f64 {
    0.5
}

/// Why a schedule has no such plan.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum SeesawError {
    /// A value of the description, or a run, is out of range.
    #[error(transparent)]
    Field(#[from] OutOfRange),
    /// The schedule does not resolve for the run, or the run is invalid.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// It rises again after starting to fall.
    #[error(
        "the schedule falls from its peak and rises again at update {update}, from {before:e} to {rate:e}; allowed: one \
         that only falls after its peak"
    )]
    Rises {
        /// The update.
        update: u64,
        /// The rate before it.
        before: f64,
        /// Its rate.
        rate: f64,
    },
    /// It does not fall to the end of the first stage.
    #[error(
        "the schedule has a peak of {peak:e} and falls to {last:e}; allowed: one that falls to {reduction} of its peak \
         or lower"
    )]
    NeverFalls {
        /// Its highest rate.
        peak: f64,
        /// Its last.
        last: f64,
        /// The reduction of a stage.
        reduction: f64,
    },
}

/// Rates within this relative distance are equal up to rounding.
const ROUNDING: f64 = 1e-9;

impl Seesaw {
    /// Allows at most this many batches of each device per update.
    pub fn up_to(largest_accumulation: usize) -> Self {
        Self { largest_accumulation: largest_accumulation as u64, reduction: half() }
    }

    /// Sets the share a of the schedule's rate at which a stage ends and the next starts.
    #[must_use]
    pub fn reduction(mut self, reduction: f64) -> Self {
        self.reduction = reduction;
        self
    }

    /// Plans a run of whole epochs, counted in items.
    ///
    /// # Errors
    /// [`SeesawError`] with what is wrong in the description, the run or the schedule.
    pub fn plan(
        &self,
        schedule: impl Into<ScheduleConfig>,
        run: RunLength,
    ) -> Result<SeesawPlan, SeesawError> {
        let schedule = schedule.into();
        let data = Data::of(run)?;
        self.check(&data)?;
        let resolved = schedule.clone().resolve(run)?;
        let fall = self.fall(&resolved, data.updates)?;
        let stages = self.stages(&fall, &data);
        let run = data.run_of(&stages)?;
        let schedule = schedule_of(&schedule, &fall, &stages, run)?;
        let rise = fall.before.len() as u64;
        Ok(SeesawPlan { stages, rise, updates_without: data.updates, run, schedule })
    }

    fn check(&self, data: &Data) -> Result<(), OutOfRange> {
        let Self { largest_accumulation: largest, reduction } = *self;
        let above = "above the gradient accumulation of the run";
        OutOfRange::require(
            "largest_accumulation",
            largest,
            largest > data.made_of.accumulation,
            above,
        )?;
        let inside = reduction > 0.0 && reduction < 1.0;
        OutOfRange::require("reduction", reduction, inside, "in (0, 1)")
    }

    /// The course of the schedule before and after its peak.
    fn fall(&self, schedule: &Schedule, updates: u64) -> Result<Fall, SeesawError> {
        let mut rates = vec![0.0; updates as usize];
        schedule.fill(0, &mut rates);
        let peak = rates.iter().copied().fold(0.0, f64::max);
        let start = rates.iter().position(|rate| *rate == peak).unwrap_or(0);
        let (mut before, mut levels) = (peak, vec![(0, 0.0)]);
        for (update, &rate) in rates.iter().enumerate().skip(start) {
            if rate > before * (1.0 + ROUNDING) {
                return Err(SeesawError::Rises { update: update as u64, before, rate });
            }
            before = rate;
            let level = ((rate / peak).ln() / self.reduction.ln() + ROUNDING).floor();
            if levels.last().is_some_and(|(_, last)| level > *last) {
                levels.push((update as u64, level));
            }
        }
        if levels.len() < 2 {
            return Err(SeesawError::NeverFalls { peak, last: before, reduction: self.reduction });
        }
        rates.truncate(start);
        Ok(Fall { before: rates, peak, levels })
    }

    fn stages(&self, fall: &Fall, data: &Data) -> Vec<SeesawStage> {
        let (mut round, mut updates, mut stages) = (0, 0, vec![]);
        for (i, &(_, level)) in fall.levels.iter().enumerate() {
            let end =
                fall.levels.get(i + 1).map_or(data.all_rounds(), |next| data.round_of(next.0));
            let accumulation = self.accumulation(level, data);
            let (first, from) = (updates, round);
            while round < end {
                let epoch_end = (round / data.rounds + 1) * data.rounds;
                let in_epoch = (end.min(epoch_end) - round).div_ceil(accumulation);
                round = round.saturating_add(in_epoch.saturating_mul(accumulation)).min(epoch_end);
                updates += in_epoch;
            }
            // None are left if an update of the previous stage reaches beyond this one.
            if updates > first {
                let more = accumulation as f64 / data.made_of.accumulation as f64;
                stages.push(SeesawStage {
                    first,
                    updates: updates - first,
                    rate: fall.peak * self.reduction.powf(level) * more.sqrt(),
                    accumulation,
                    batch: data.batch(accumulation),
                    samples: data.samples(round) - data.samples(from),
                });
            }
        }
        stages
    }

    /// The batches of an update once the rate has fallen to a^level.
    fn accumulation(&self, level: f64, data: &Data) -> u64 {
        let own = data.made_of.accumulation;
        // Never rounded up: the effective rate η√B of normalized SGD must not grow.
        let wanted = own as f64 / self.reduction.powf(level) * (1.0 + ROUNDING);
        (wanted as u64).min(self.largest_accumulation).min(data.rounds).max(own)
    }
}

/// The decay of a schedule.
struct Fall {
    /// The rates before the peak.
    before: Vec<f64>,
    peak: f64,
    /// The updates from which the rate is at most peak · a^level.
    levels: Vec<(u64, f64)>,
}

/// The rates of the stages, after those before the peak.
fn schedule_of(
    whole: &ScheduleConfig,
    fall: &Fall,
    stages: &[SeesawStage],
    run: RunLength,
) -> Result<ScheduleConfig, ScheduleError> {
    let rise = fall.before.len() as u64;
    let later = stages.iter().filter(|stage| stage.first > rise);
    let (boundaries, rates): (Vec<_>, Vec<_>) =
        later.map(|stage| (Span::steps(stage.first - rise), stage.rate)).unzip();
    let stages = piecewise_constant(fall.peak, boundaries, rates);
    if rise == 0 {
        return Ok(stages.into());
    }
    if let ScheduleConfig::Warmup(warmup) = whole {
        let mut warmup = warmup.clone();
        (warmup.length, *warmup.schedule) = (Span::steps(rise), stages.clone().into());
        let rises = fall.before.iter().copied().chain([fall.peak]);
        let resolved = warmup.clone().resolve(run);
        if resolved.is_ok_and(|new| (0..=rise).map(|t| new.rate(t)).eq(rises)) {
            return Ok(warmup.into());
        }
    }
    let schedule = table(fall.before.clone()).then(Span::steps(rise), stages);
    schedule.clone().resolve(run)?;
    Ok(schedule.into())
}

#[cfg(test)]
mod tests;
