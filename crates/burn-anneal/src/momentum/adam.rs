//! Adam with a scheduled β₁.

use super::check_momentum;
use crate::update::{current_momentum, is_half};
use anneal_schedule::OutOfRange;
use burn::optim::{
    AdaptiveMomentumState, LearningRate, Optimizer, RecordState, StateSink, StateSource,
};
use burn::tensor::{Device, FloatDType, Tensor};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Adam with a β₁ that can follow a schedule, built by [`ScheduledAdamConfig`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScheduledAdam(ScheduledAdamConfig);

/// Describes a [`ScheduledAdam`]: Adam with a β₁ that can follow a schedule.
///
/// ```text
/// m ← β₁ m + (1 − β₁) g,   v ← β₂ v + (1 − β₂) g²
/// w ← w − η (m / c₁) / (√(v / c₂) + ε),   c₁ = 1 − β₁^n,   c₂ = 1 − β₂^n
/// ```
///
/// n counts the updates of the parameter from 1. Under a schedule, β₁ is β₁(t) in both places, as in
/// torch; [`exact_bias_correction`](Self::exact_bias_correction) uses c₁ = 1 − Π β₁(i) over its updates.
/// Without a schedule, both give the same c₁.
///
/// It has no weight decay of its own: with [`LearnerBuilder::weight_decay`](crate::LearnerBuilder::weight_decay)
/// it is AdamW. Its record is interchangeable with those of Burn's Adam and AdamW. Factors are computed in
/// f64, as in torch. Burn computes 1 − β₂^n in f32, with an error of up to 2e-5 in the first updates, so
/// weights of the same run can differ by up to 5e-5.
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `beta_1` | 0.9 | at least 0, below 1 |
/// | `beta_2` | 0.999 | at least 0, below 1 |
/// | `epsilon` | 1e-8, torch's; Burn's is 1e-5 | finite, above 0 |
///
/// Sources: Kingma and Ba 2015, "Adam: a method for stochastic optimization"; Smith 2018, "A disciplined
/// approach to neural network hyper-parameters" (cyclical momentum).
///
/// ```
/// use burn_anneal::momentum::ScheduledAdamConfig;
/// use burn_anneal::prelude::*;
///
/// # fn train<M: burn::module::Module>(model: M, run: RunLength) -> Result<(), BuildError> {
/// let schedule = one_cycle(0.02);
/// let momentum = schedule.clone().momentum(0.85, 0.95);
/// let adam = ScheduledAdamConfig::new().beta_2(0.99).build()?;
/// let training = LearnerBuilder::new(model, adam, schedule).run(run)
///     .momentum(momentum)
///     .weight_decay(0.05)
///     .build_loop()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[must_use]
pub struct ScheduledAdamConfig {
    beta_1: f64,
    beta_2: f64,
    epsilon: f64,
    amsgrad: bool,
    exact_bias_correction: bool,
}

impl Default for ScheduledAdamConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl ScheduledAdamConfig {
    /// Adam with torch's defaults.
    pub fn new() -> Self {
        Self {
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            amsgrad: false,
            exact_bias_correction: false,
        }
    }

    /// Sets the decay of the first moment without a schedule.
    pub fn beta_1(mut self, beta_1: f64) -> Self {
        self.beta_1 = beta_1;
        self
    }

    /// Sets the decay of the second moment.
    pub fn beta_2(mut self, beta_2: f64) -> Self {
        self.beta_2 = beta_2;
        self
    }

    /// Sets ε, which is added to the root of the second moment.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Divides by the largest second moment so far (Reddi et al. 2018, "On the convergence of Adam and
    /// beyond").
    pub fn amsgrad(mut self) -> Self {
        self.amsgrad = true;
        self
    }

    /// Divides the first moment by 1 − Π β₁(i) over the updates i of the parameter, the sum of the weights
    /// of its gradients, instead of 1 − β₁(t)^n.
    pub fn exact_bias_correction(mut self) -> Self {
        self.exact_bias_correction = true;
        self
    }

    /// Checks the fields and builds the optimizer.
    ///
    /// # Errors
    /// [`OutOfRange`] names the field, its value and the allowed range.
    pub fn build(self) -> Result<ScheduledAdam, OutOfRange> {
        check_momentum("beta_1", self.beta_1)?;
        check_momentum("beta_2", self.beta_2)?;
        let ok = self.epsilon > 0.0 && self.epsilon.is_finite();
        OutOfRange::require("epsilon", self.epsilon, ok, "a finite number above 0")?;
        Ok(ScheduledAdam(self))
    }

    /// c₁ after update `n` of a parameter, and ln Π β₁(i) for the exact correction.
    fn first_correction(&self, beta_1: f64, n: usize, log_beta: Option<f64>) -> (f64, Option<f64>) {
        if !self.exact_bias_correction {
            return (-f64::exp_m1(n as f64 * beta_1.ln()), None);
        }
        // A record of Burn's Adam does not have the product; until then β₁ was constant. (0 · ln 0 is NaN.)
        let before = || if n > 1 { (n - 1) as f64 * beta_1.ln() } else { 0.0 };
        let before = log_beta.unwrap_or_else(before);
        let log_beta = before + beta_1.ln();
        (-f64::exp_m1(log_beta), Some(log_beta))
    }
}

/// The state of Burn's Adam, with ln Π β₁(i) for the exact correction.
#[derive(Clone)]
pub struct ScheduledAdamState<const D: usize> {
    momentum: AdaptiveMomentumState<D>,
    log_beta: Option<f64>,
}

impl<const D: usize> fmt::Debug for ScheduledAdamState<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let updates = self.momentum.time;
        f.debug_struct("ScheduledAdamState").field("updates", &updates).finish_non_exhaustive()
    }
}

/// Names in the record: Burn's, and one more.
const MOMENTUM: &str = "momentum";
const LOG_BETA: &str = "log_beta_1";

impl<const D: usize> RecordState for ScheduledAdamState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        self.momentum.state_flatten(&format!("{prefix}.{MOMENTUM}"), out);
        if let Some(log_beta) = self.log_beta {
            out.push_scalar(prefix, LOG_BETA, log_beta.into());
        }
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let log_beta = source.take_scalar(prefix, LOG_BETA).and_then(|found| found.try_into().ok());
        let prefix = format!("{prefix}.{MOMENTUM}");
        let momentum = AdaptiveMomentumState::state_unflatten(&prefix, source, device)?;
        Some(Self { momentum, log_beta })
    }
}

impl Optimizer for ScheduledAdam {
    type State<const D: usize> = ScheduledAdamState<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let adam = &self.0;
        let beta_1 = current_momentum().unwrap_or(adam.beta_1);
        let new_1 = gradient.clone().mul_scalar(1.0 - beta_1);
        let new_2 = gradient.square().mul_scalar(1.0 - adam.beta_2);
        let (mut momentum, log_beta) = match state {
            Some(ScheduledAdamState { momentum, log_beta }) => (
                AdaptiveMomentumState {
                    time: momentum.time + 1,
                    moment_1: momentum.moment_1.mul_scalar(beta_1) + new_1,
                    moment_2: momentum.moment_2.mul_scalar(adam.beta_2) + new_2,
                    max_moment_2: momentum.max_moment_2,
                },
                log_beta,
            ),
            None => (AdaptiveMomentumState::new(1, new_1, new_2), None),
        };
        if adam.amsgrad {
            let largest = match momentum.max_moment_2.take() {
                Some(before) => before.max_pair(momentum.moment_2.clone()),
                None => momentum.moment_2.clone(),
            };
            momentum.max_moment_2 = Some(largest);
        }
        let (c_1, log_beta) = adam.first_correction(beta_1, momentum.time, log_beta);
        let c_2 = -f64::exp_m1(momentum.time as f64 * adam.beta_2.ln());
        let second = momentum.max_moment_2.as_ref().unwrap_or(&momentum.moment_2).clone();
        let first = momentum.moment_1.clone();
        // In f16 an ε of 1e-8 is 0, and 0/0 is NaN.
        let dtype = weight.dtype();
        let (first, second) = match is_half(dtype) {
            true => (first.cast(FloatDType::F32), second.cast(FloatDType::F32)),
            false => (first, second),
        };
        let root = second.sqrt().div_scalar(c_2.sqrt()).add_scalar(adam.epsilon);
        let step = first.div(root).mul_scalar(rate / c_1);
        let step = if is_half(dtype) { step.cast(dtype) } else { step };
        (weight - step, Some(ScheduledAdamState { momentum, log_beta }))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        let momentum = state.momentum.to_device(device);
        ScheduledAdamState { momentum, log_beta: state.log_beta }
    }
}

#[cfg(feature = "flex")]
mod fused {
    use super::{LOG_BETA, ScheduledAdam, ScheduledAdamConfig};
    use crate::fused::adam::{AdamRule, NAMES, OfTorch, update};
    use crate::fused::parameter::Parameter;
    use crate::fused::rule::{HasRule, Kept, Names};
    use crate::update::current_momentum;

    impl HasRule for ScheduledAdam {
        type Numbers = ScheduledAdamConfig;
        const NAMES: Names = Names { number: Some(LOG_BETA), ..NAMES };

        fn numbers(&self) -> Option<ScheduledAdamConfig> {
            Some(self.0)
        }

        fn with_momentum(adam: &ScheduledAdamConfig, beta_1: f64) -> ScheduledAdamConfig {
            ScheduledAdamConfig { beta_1, ..*adam }
        }

        fn update(
            adam: &ScheduledAdamConfig,
            rate: f64,
            parameter: &mut Parameter,
            kept: &mut Kept,
        ) {
            kept.updates += 1;
            let beta_1 = current_momentum().unwrap_or(adam.beta_1);
            let (c_1, log_beta) = adam.first_correction(beta_1, kept.updates, kept.number);
            kept.number = log_beta;
            let c_2 = -f64::exp_m1(kept.updates as f64 * adam.beta_2.ln());
            let rule = AdamRule {
                betas: [beta_1, adam.beta_2],
                new: [1.0 - beta_1, 1.0 - adam.beta_2],
                epsilon: adam.epsilon,
                rate: rate / c_1,
                form: OfTorch { root: c_2.sqrt() },
            };
            update(parameter, kept, adam.amsgrad, &rule);
        }
    }
}
