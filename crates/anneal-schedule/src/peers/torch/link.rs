//! The effect of a torch scheduler on the rate at each epoch, in closed form.

use crate::curve::cycle::lowest_of_wave;
use crate::curve::{AnnealStrategy, Rate, WarmRestarts, half_cosine, mix};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// One torch scheduler, with torch's own arguments.
///
/// torch schedulers modify the current rate. All of them follow one rule: over its epochs `(from, to]` a
/// scheduler changes the rate x to `fixed + (x − fixed) · ratio(from, to)`, and at some epochs it sets the
/// rate regardless of x.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TorchLink {
    /// Does nothing.
    Hold,
    /// `StepLR`.
    StepLr {
        /// Epochs between drops, at least 1.
        step_size: u64,
        /// The factor of each drop, at least 0.
        gamma: f64,
    },
    /// `MultiStepLR`.
    MultiStepLr {
        /// The epochs of the drops, in order.
        milestones: Vec<u64>,
        /// The factor of each drop, at least 0.
        gamma: f64,
    },
    /// `ExponentialLR`.
    ExponentialLr {
        /// The factor of each epoch, at least 0.
        gamma: f64,
    },
    /// `ConstantLR`.
    ConstantLr {
        /// The factor until `total_iters`, in [0, 1]; above 0 if it is undone.
        factor: f64,
        /// The epoch that undoes the factor; 0 never does.
        total_iters: u64,
    },
    /// `LinearLR`.
    LinearLr {
        /// The factor of epoch 0, in (0, 1].
        start_factor: f64,
        /// The factor of epoch `total_iters`, in [0, 1].
        end_factor: f64,
        /// The number of epochs between them; with 0 the start factor stays.
        total_iters: u64,
    },
    /// `PolynomialLR`.
    PolynomialLr {
        /// The epochs until the rate is 0; with 0 the rate stays.
        total_iters: u64,
        /// The exponent, at least 0.
        power: f64,
    },
    /// `CosineAnnealingLR`.
    CosineAnnealingLr {
        /// The rate to which it returns after each `2 t_max` epochs.
        base_lr: f64,
        /// Epochs from one end of the wave to the other, at least 1.
        t_max: u64,
        /// The rate at the other end.
        eta_min: f64,
    },
    /// `CosineAnnealingWarmRestarts`.
    CosineAnnealingWarmRestarts {
        /// The rate at the start of every cycle.
        base_lr: f64,
        /// Epochs of the first cycle, at least 1.
        t_0: u64,
        /// The ratio of each cycle's length to the previous one's; at least 1.
        t_mult: u64,
        /// The rate at the end of every cycle.
        eta_min: f64,
    },
    /// `CyclicLR`.
    CyclicLr {
        /// The rate at the start and end of every cycle.
        base_lr: f64,
        /// The rate at the turn.
        max_lr: f64,
        /// Epochs up, above 0.
        step_size_up: f64,
        /// Epochs down, at least 0.
        step_size_down: f64,
        /// How the cycles shrink.
        mode: TorchCyclicMode,
    },
    /// `OneCycleLR`.
    OneCycleLr {
        /// The rate at epoch 0.
        initial_lr: f64,
        /// The rate at the turn.
        max_lr: f64,
        /// The rate at the end.
        min_lr: f64,
        /// The total number of epochs, at least 1.
        total_steps: u64,
        /// The share of epochs during which the rate rises, in [0, 1].
        pct_start: f64,
        /// The shape of each phase.
        anneal_strategy: AnnealStrategy,
        /// Whether the rate returns to its start before it goes on to its end.
        three_phase: bool,
    },
    /// `SWALR`.
    Swalr {
        /// The target rate.
        swa_lr: f64,
        /// The epochs until the target.
        anneal_epochs: u64,
        /// The shape of the curve.
        anneal_strategy: AnnealStrategy,
    },
}

/// How the cycles of torch's `CyclicLR` shrink or grow.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TorchCyclicMode {
    /// All cycles have the same height.
    Triangular,
    /// Each cycle is half as high as the previous one.
    Triangular2,
    /// The height is multiplied by gamma, at least 0, at every epoch.
    ExpRange(f64),
}

impl TorchLink {
    /// The rate from or towards which this scheduler moves.
    pub(super) fn fixed(&self) -> f64 {
        match self {
            Self::CosineAnnealingLr { eta_min, .. } => *eta_min,
            Self::Swalr { swa_lr, .. } => *swa_lr,
            _ => 0.0,
        }
    }

    /// The factor of the distance from [`fixed`](Self::fixed) over its epochs `(from, to]`.
    pub(super) fn ratio(&self, from: u64, to: u64) -> f64 {
        self.exact_ratio(from, to).min(f64::MAX)
    }

    fn exact_ratio(&self, from: u64, to: u64) -> f64 {
        match self {
            Self::StepLr { step_size, gamma } => {
                gamma.powf((to / step_size - from / step_size) as f64)
            }
            Self::MultiStepLr { milestones, gamma } => {
                let passed = |epoch| milestones.partition_point(|&milestone| milestone <= epoch);
                gamma.powf((passed(to) - passed(from)) as f64)
            }
            Self::ExponentialLr { gamma } => gamma.powf((to - from) as f64),
            Self::ConstantLr { factor, total_iters }
                if from < *total_iters && *total_iters <= to =>
            {
                1.0 / factor
            }
            Self::LinearLr { start_factor, end_factor, total_iters } if from < *total_iters => {
                let level = |epoch: u64| {
                    let left = total_iters.saturating_sub(epoch) as f64;
                    left * start_factor + epoch.min(*total_iters) as f64 * end_factor
                };
                level(to) / level(from)
            }
            Self::PolynomialLr { total_iters, power } if from < *total_iters => {
                let left = |epoch| total_iters.saturating_sub(epoch) as f64;
                (left(to) / left(from)).powf(*power)
            }
            Self::CosineAnnealingLr { t_max, .. } if from != to => {
                let from = wave(from, *t_max);
                if from > 0.0 { wave(to, *t_max) / from } else { 1.0 }
            }
            Self::Swalr { anneal_epochs, anneal_strategy, .. } => {
                let left = |epoch: u64| match anneal_strategy {
                    _ if epoch >= *anneal_epochs => 0.0,
                    AnnealStrategy::Cosine => half_cosine(epoch as f64 / *anneal_epochs as f64),
                    AnnealStrategy::Linear => 1.0 - epoch as f64 / *anneal_epochs as f64,
                };
                let from = left(from);
                if from > 0.0 { left(to) / from } else { 1.0 }
            }
            _ => 1.0,
        }
    }

    /// The factor for its epoch 0, for a regular start.
    pub(super) fn start(&self) -> f64 {
        match self {
            Self::MultiStepLr { milestones, gamma } => {
                gamma.powf(milestones.partition_point(|&milestone| milestone == 0) as f64)
            }
            Self::ConstantLr { factor, .. } => *factor,
            Self::LinearLr { start_factor, .. } => *start_factor,
            Self::Swalr { anneal_epochs: 0, .. } => 0.0,
            _ => 1.0,
        }
    }

    /// The factor for its epoch 0 if it is entered by a plain step, which some schedulers treat as a later
    /// step. `None` if torch does not compute one.
    pub(super) fn resume(&self) -> Option<f64> {
        match self {
            Self::ExponentialLr { gamma } => Some(*gamma),
            Self::PolynomialLr { total_iters: 0, .. } | Self::Swalr { .. } => None,
            Self::PolynomialLr { total_iters, power } => {
                let total = *total_iters as f64;
                Some((total / (total + 1.0)).powf(*power))
            }
            Self::CosineAnnealingLr { t_max: 1, .. } => None,
            Self::CosineAnnealingLr { t_max, .. } => Some(1.0 / wave(1, *t_max)),
            other => Some(other.start()),
        }
    }

    /// Whether it follows a wave: the only scheduler that adds to the rate at some epochs.
    pub(super) fn is_wave(&self) -> bool {
        matches!(self, Self::CosineAnnealingLr { .. })
    }

    /// Whether it sets the rate at every epoch.
    pub(super) fn is_absolute(&self) -> bool {
        matches!(
            self,
            Self::CosineAnnealingWarmRestarts { .. }
                | Self::CyclicLr { .. }
                | Self::OneCycleLr { .. }
        )
    }

    /// The last of its epochs up to `epoch` at which it sets the rate.
    pub(super) fn last_set(&self, epoch: u64) -> Option<u64> {
        match self {
            // One epoch after the bottom of the wave, torch climbs from `eta_min` to the base rate's wave,
            // regardless of the previous rate.
            Self::CosineAnnealingLr { t_max, .. } => {
                let since = epoch.checked_sub(t_max.saturating_add(1))?;
                Some(epoch - since % t_max.saturating_mul(2))
            }
            // Once it has arrived, it accepts any rate as its own.
            Self::Swalr { anneal_epochs, .. } => (epoch >= *anneal_epochs).then_some(epoch),
            absolute if absolute.is_absolute() => Some(epoch),
            _ => None,
        }
    }

    /// The rate that it sets at one of those epochs.
    pub(super) fn value(&self, epoch: u64) -> f64 {
        match self {
            Self::CosineAnnealingLr { base_lr, t_max, eta_min } => {
                mix(*base_lr, *eta_min, wave(epoch, *t_max))
            }
            Self::CosineAnnealingWarmRestarts { base_lr, t_0, t_mult, eta_min } => {
                mix(*base_lr, *eta_min, restarting_wave(*t_0, *t_mult).rate(epoch))
            }
            Self::CyclicLr { base_lr, max_lr, step_size_up, step_size_down, mode } => {
                let height = triangle(epoch, *step_size_up, *step_size_down, *mode);
                if height <= 1.0 {
                    mix(*max_lr, *base_lr, height)
                } else {
                    (base_lr + (max_lr - base_lr) * height).min(f64::MAX)
                }
            }
            Self::OneCycleLr { .. } => self.one_cycle(epoch),
            Self::Swalr { swa_lr, .. } => *swa_lr,
            _ => 0.0,
        }
    }

    /// The first of its epochs from `from` on that ends a cycle.
    pub(super) fn cycle_end(&self, from: u64) -> Option<u64> {
        match self {
            Self::CosineAnnealingLr { t_max, .. } => {
                let waves = from.saturating_sub(*t_max).div_ceil(t_max.saturating_mul(2));
                waves.checked_mul(2)?.checked_add(1)?.checked_mul(*t_max)
            }
            Self::CosineAnnealingWarmRestarts { t_0, t_mult, .. } => {
                restarting_wave(*t_0, *t_mult).cycle_end(from)
            }
            // Its height is a wave that begins at the bottom, where rates rise.
            Self::CyclicLr { base_lr, max_lr, step_size_up, step_size_down, .. }
                if base_lr < max_lr =>
            {
                let cycle = step_size_up + step_size_down;
                let at = |passed: f64| (passed + 0.5) * cycle;
                lowest_of_wave(
                    from,
                    |epoch| epoch as f64 / cycle - 0.5,
                    at,
                    |epoch| self.value(epoch),
                )
            }
            _ => None,
        }
    }

    /// The three rates of a `OneCycleLR`, with phases that end where torch ends them. torch computes one
    /// epoch beyond the end, outside its range, and then raises an error; here the end is held.
    fn one_cycle(&self, epoch: u64) -> f64 {
        let Self::OneCycleLr {
            initial_lr,
            max_lr,
            min_lr,
            total_steps,
            pct_start,
            anneal_strategy,
            three_phase,
        } = self
        else {
            return 0.0;
        };
        let (total, last) = (*total_steps as f64, (total_steps - 1) as f64);
        let turn = pct_start * total - 1.0;
        let two = [(turn, initial_lr, max_lr), (last, max_lr, min_lr)];
        let back = 2.0 * pct_start * total - 2.0;
        let three =
            [(turn, initial_lr, max_lr), (back, max_lr, initial_lr), (last, initial_lr, min_lr)];
        let phases = if *three_phase { &three[..] } else { &two[..] };
        let (t, mut begin) = (epoch.min(total_steps - 1) as f64, 0.0);
        for (i, &(end, from, to)) in phases.iter().enumerate() {
            if t <= end || i + 1 == phases.len() {
                let x = if end > begin { (t - begin) / (end - begin) } else { 1.0 };
                let weight = match anneal_strategy {
                    AnnealStrategy::Cosine => half_cosine(x),
                    AnnealStrategy::Linear => 1.0 - x,
                };
                return mix(*from, *to, weight);
            }
            begin = end;
        }
        *min_lr
    }

    /// The amount that a wave adds to the rate one epoch after its bottom.
    pub(super) fn climb(&self) -> f64 {
        match self {
            Self::CosineAnnealingLr { base_lr, t_max, eta_min } => {
                (base_lr - eta_min) * ((1.0 - (PI / *t_max as f64).cos()) / 2.0)
            }
            _ => 0.0,
        }
    }

    /// The first epoch after which it has no effect; `None` if it always may.
    pub(super) fn settles(&self) -> Option<u64> {
        match self {
            Self::Hold => Some(0),
            Self::StepLr { gamma, .. } | Self::ExponentialLr { gamma } => {
                (*gamma == 1.0).then_some(0)
            }
            Self::MultiStepLr { milestones, .. } => Some(milestones.last().copied().unwrap_or(0)),
            Self::ConstantLr { total_iters, .. }
            | Self::LinearLr { total_iters, .. }
            | Self::PolynomialLr { total_iters, .. } => Some(*total_iters),
            _ => None,
        }
    }

    /// Whether the rate jumps at `epoch`.
    pub(super) fn jumps(&self, epoch: u64) -> bool {
        match self {
            Self::StepLr { step_size, .. } => epoch.is_multiple_of(*step_size),
            Self::MultiStepLr { milestones, .. } => milestones.binary_search(&epoch).is_ok(),
            Self::ConstantLr { total_iters, .. } => epoch == *total_iters,
            Self::CosineAnnealingWarmRestarts { t_0, t_mult, .. } => {
                let wave = restarting_wave(*t_0, *t_mult);
                wave.rate(epoch) == 1.0 && wave.end_rate(epoch) == 0.0
            }
            _ => false,
        }
    }

    /// The largest rate that it sets or tends to.
    pub(super) fn top(&self) -> f64 {
        match self {
            Self::CosineAnnealingLr { base_lr, eta_min, .. }
            | Self::CosineAnnealingWarmRestarts { base_lr, eta_min, .. } => base_lr.max(*eta_min),
            Self::CyclicLr { mode: TorchCyclicMode::ExpRange(gamma), .. } if *gamma > 1.0 => {
                f64::MAX
            }
            Self::CyclicLr { base_lr, max_lr, .. } => base_lr.max(*max_lr),
            Self::OneCycleLr { initial_lr, max_lr, min_lr, .. } => {
                initial_lr.max(*max_lr).max(*min_lr)
            }
            Self::Swalr { swa_lr, .. } => *swa_lr,
            _ => 0.0,
        }
    }

    /// The largest factor by which it multiplies a rate at any epoch. A cosine alone never exceeds its
    /// [`top`](Self::top), but on its way up it multiplies the result of others.
    pub(super) fn growth(&self, alone: bool) -> f64 {
        match self {
            Self::StepLr { gamma, .. } | Self::ExponentialLr { gamma } if *gamma > 1.0 => f64::MAX,
            Self::MultiStepLr { milestones, gamma } => gamma.powf(milestones.len() as f64).max(1.0),
            Self::ConstantLr { factor, total_iters } if *total_iters > 0 => 1.0 / factor,
            Self::LinearLr { start_factor, end_factor, .. } => (end_factor / start_factor).max(1.0),
            Self::CosineAnnealingLr { t_max, .. } if !alone => {
                1.0 / wave(t_max.saturating_add(1), *t_max)
            }
            _ => 1.0,
        }
    }
}

/// ½(1 + cos(π epoch / t_max)), exact at any epoch and without cancellation near its zeros.
fn wave(epoch: u64, t_max: u64) -> f64 {
    let twice = u128::from(t_max) * 2;
    let phase = (u128::from(epoch) % twice).min(twice - u128::from(epoch) % twice);
    // Measured from the nearer end of the half wave.
    if phase <= u128::from(t_max) / 2 {
        (PI * phase as f64 / twice as f64).cos().powi(2)
    } else {
        (PI * (u128::from(t_max) - phase) as f64 / twice as f64).sin().powi(2)
    }
}

/// The wave of warm restarts between 1 and 0.
fn restarting_wave(t_0: u64, t_mult: u64) -> WarmRestarts<u64> {
    WarmRestarts {
        peak: 1.0,
        end: 0.0,
        cycle: t_0,
        multiplier: t_mult as f64,
        peak_decay: 1.0,
        cycle_warmup: None,
        limit: None,
    }
}

/// The height of a cycle at `epoch`, as computed by torch, so that a cycle of fractional length turns where
/// torch's does.
fn triangle(epoch: u64, up: f64, down: f64, mode: TorchCyclicMode) -> f64 {
    let (total, turn) = (up + down, up / (up + down));
    let passed = epoch as f64 / total;
    let cycle = (1.0 + passed).floor();
    let x = 1.0 + passed - cycle;
    let height = if x <= turn { x / turn } else { (x - 1.0) / (turn - 1.0) };
    height
        * match mode {
            TorchCyclicMode::Triangular => 1.0,
            TorchCyclicMode::Triangular2 => (1.0 - cycle).exp2(),
            TorchCyclicMode::ExpRange(gamma) => gamma.powf(epoch as f64).min(f64::MAX),
        }
}
