//! Makes any optimizer schedule-free.

use super::second_moment::SecondMoment;
use super::state::ScheduleFreeState;
use crate::update::{
    Shrink, current_shrink, evaluate_at, in_f32, is_averaging, is_half, what_it_asks,
};
use anneal_schedule::OutOfRange;
use burn::optim::{LearningRate, ModuleOptimizer, Optimizer, Sgd, SgdConfig};
use burn::tensor::{Device, Tensor};

/// An optimizer that averages its weights during training, so that no schedule needs to lower the rate.
///
/// The model holds y, at which gradients g are taken. The inner optimizer updates z, and x is the average of all z so
/// far, which is evaluated:
///
/// ```text
/// γ  = η · min(1, n / warmup)
/// z' = step(z, g, γ) − d(γ) y
/// x' = (1 − c) x + c z',      c = weight / Σ weights,  weight = n^polynomial · (largest γ)^weight_power
/// y' = β x' + (1 − β) z'
/// ```
///
/// η is the rate, n counts the updates of the parameter from 1, step is the inner optimizer, and d(γ) is the share that
/// the weight decay removes at rate γ, for example γ ω. Only y and z are kept: x = y/β + (1 − 1/β) z. So it needs one
/// tensor more than the inner optimizer; [`adamw`](Self::adamw) needs as much memory as AdamW.
///
/// With [`LearnerBuilder`](crate::LearnerBuilder), everything else works as usual: the rate, a warm-up, groups, weight
/// decay, clipping, half precision. A schedule with a falling rate is refused, because the average replaces it. In a
/// loop with a bare `ModuleOptimizer`, [`averaged`](super::averaged) returns the model at x.
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `momentum`, β | 0.9 | above 0, at most 1, which makes y = x |
/// | `warmup`, in updates of a parameter | 0 | |
/// | `weight_decay`, ω, without the builder's | 0 | finite, at least 0 |
/// | `weight_power` | 2 | finite, at least 0 |
/// | `polynomial` | 0 | finite |
/// | `beta_2`, of `adamw` | 0.999 | at least 0, below 1 |
/// | `epsilon`, of `adamw` | 1e-8 | finite, above 0 |
///
/// Sources: Defazio et al. 2024, "The Road Less Scheduled", arXiv 2405.15682; SGD and AdamW as in the Python package
/// schedulefree 1.4.1, any other as `optax.contrib.schedule_free`.
///
/// ```
/// use burn_anneal::prelude::*;
///
/// # fn train<M: burn::module::Module>(model: M, run: RunLength) -> Result<(), BuildError> {
/// let optimizer = ScheduleFree::adamw().momentum(0.95).warmup(500).build()?;
/// let training = LearnerBuilder::new(model, optimizer, constant(2.5e-3)).run(run)
///     .weight_decay(0.05)
///     .build_loop()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ScheduleFree<O>(ScheduleFreeConfig<O>);

/// Describes a [`ScheduleFree`] optimizer; [`build`](Self::build) checks it.
#[must_use]
#[derive(Clone, Debug)]
pub struct ScheduleFreeConfig<O> {
    base: O,
    check: fn(&O) -> Result<(), OutOfRange>,
    momentum: f64,
    warmup: u64,
    weight_decay: f64,
    weight_power: f64,
    polynomial: f64,
}

impl ScheduleFree<Sgd> {
    /// Schedule-free SGD, with momentum β: z' = z − γ (g + ω y). Its authors start with 10 to 50 times the rate of SGD
    /// with momentum.
    pub fn sgd() -> ScheduleFreeConfig<Sgd> {
        Self::around(SgdConfig::new().build())
    }
}

impl ScheduleFree<SecondMoment> {
    /// Schedule-free AdamW, with β₁ = β: z' = z − γ (g/(√(v/(1 − β₂ⁿ)) + ε) + ω y), v ← β₂ v + (1 − β₂) g². Its authors
    /// start with 1 to 10 times the rate of AdamW under a schedule.
    pub fn adamw() -> ScheduleFreeConfig<SecondMoment> {
        let base = SecondMoment { beta_2: 0.999, epsilon: 1e-8 };
        ScheduleFreeConfig { check: SecondMoment::check, ..Self::around(base) }
    }
}

impl<O: Optimizer> ScheduleFree<O> {
    /// Wraps any of Burn's bare optimizers. Use it without momentum: β replaces it, and a velocity would average twice.
    /// The optimizer's own weight decay acts on z; [`weight_decay`](ScheduleFreeConfig::weight_decay) and the decay of
    /// the builder or its groups act on y.
    ///
    /// ```
    /// use burn::optim::RmsPropConfig;
    /// use burn_anneal::prelude::*;
    ///
    /// let inside = RmsPropConfig::new().with_momentum(0.0).build();
    /// let optimizer = ScheduleFree::around(inside).warmup(100).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn around(optimizer: O) -> ScheduleFreeConfig<O> {
        ScheduleFreeConfig {
            base: optimizer,
            check: |_| Ok(()),
            momentum: 0.9,
            warmup: 0,
            weight_decay: 0.0,
            weight_power: 2.0,
            polynomial: 0.0,
        }
    }

    /// Wraps an optimizer unchecked, to read records.
    pub(crate) fn reader(optimizer: O) -> Self {
        Self(Self::around(optimizer))
    }
}

impl ScheduleFreeConfig<SecondMoment> {
    /// Sets the decay of the second moment.
    pub fn beta_2(mut self, beta_2: f64) -> Self {
        self.base.beta_2 = beta_2;
        self
    }

    /// Sets ε, which is added to the root of the second moment.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.base.epsilon = epsilon;
        self
    }
}

impl<O: Optimizer> ScheduleFreeConfig<O> {
    /// Sets β, how close to the average gradients are taken: in schedulefree, `momentum` of SGD and `beta1` of AdamW.
    /// For long runs, use 0.95 or 0.98.
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Raises the rate over the first updates of each parameter, from 1/`updates` of it at the first to all of it at
    /// this number. A warm-up in the schedule works as well, and shows in its plots.
    pub fn warmup(mut self, updates: u64) -> Self {
        self.warmup = updates;
        self
    }

    /// Sets ω, a decay at y by γ ω of each weight, as in schedulefree; by default 0. Use it in a loop with a bare
    /// `ModuleOptimizer`. The builder has its own [policies and exclusions](crate::LearnerBuilder::weight_decay), and
    /// refuses both together.
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// Sets the power of the largest rate so far in the weight of an update, so that later updates of a warm-up count
    /// more. With 0, all count equally.
    pub fn weight_power(mut self, power: f64) -> Self {
        self.weight_power = power;
        self
    }

    /// Sets the power of the update number in the weight of an update, schedulefree's `r`: above 0, later updates count
    /// more.
    pub fn polynomial(mut self, power: f64) -> Self {
        self.polynomial = power;
        self
    }

    /// Checks the fields and builds the optimizer.
    ///
    /// # Errors
    /// [`OutOfRange`] names the field, its value and the allowed range.
    pub fn build(self) -> Result<ScheduleFree<O>, OutOfRange> {
        let Self { momentum, weight_decay, weight_power, polynomial, .. } = self;
        let ok = momentum > 0.0 && momentum <= 1.0;
        OutOfRange::require("momentum", momentum, ok, "above 0, at most 1")?;
        let ok = weight_decay >= 0.0 && weight_decay.is_finite();
        OutOfRange::require("weight_decay", weight_decay, ok, "a finite number, at least 0")?;
        let ok = weight_power >= 0.0 && weight_power.is_finite();
        OutOfRange::require("weight_power", weight_power, ok, "a finite number, at least 0")?;
        let ok = polynomial.is_finite();
        OutOfRange::require("polynomial", polynomial, ok, "a finite number")?;
        (self.check)(&self.base)?;
        let inside = ModuleOptimizer::from(self.base.clone());
        match what_it_asks(&inside, &Device::default()).evaluation {
            true => {
                let value = "a schedule-free optimizer";
                Err(OutOfRange::new("around", value, "any other optimizer"))
            }
            false => Ok(ScheduleFree(self)),
        }
    }

    /// γ after this many updates.
    fn warmed(&self, rate: f64, updates: u64) -> f64 {
        match updates < self.warmup {
            true => rate * ((updates + 1) as f64 / self.warmup as f64),
            false => rate,
        }
    }
}

impl<O: Optimizer> Optimizer for ScheduleFree<O> {
    type State<const D: usize> = ScheduleFreeState<O::State<D>, D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        if is_averaging() {
            if let Some(state) = &state {
                evaluate_at(state.evaluated(weight.clone()));
            }
            return (weight, state);
        }
        let Self(config) = self;
        let dtype = weight.dtype();
        // In half precision the average would be rounded, and an ε of 1e-8 would be 0.
        let (mut y, gradient) = (in_f32(weight), in_f32(gradient));
        let begin = || ScheduleFreeState::begin(y.clone(), config.momentum);
        let ScheduleFreeState { z, momentum, progress, base } = state.unwrap_or_else(begin);
        if momentum != config.momentum {
            // A run that resumes with another β keeps the same average.
            y = z.clone() + (y - z.clone()).mul_scalar(config.momentum / momentum);
        }
        let rate = config.warmed(rate, progress.updates);
        let progress = progress.next(rate, config.weight_power, config.polynomial);
        let share = progress.share();
        let (moved, base) = config.base.step(rate, z.clone(), gradient, base);
        let shrink = current_shrink(rate);
        let shrink = Shrink { share: shrink.share + rate * config.weight_decay, ..shrink };
        let moved = decayed(moved, &z, &y, shrink);
        let step = (moved.clone() - z.clone()).mul_scalar(1.0 - config.momentum * (1.0 - share));
        let y = y.clone() + (z - y).mul_scalar(share) + step;
        let y = if is_half(dtype) { y.cast(dtype) } else { y };
        let momentum = config.momentum;
        (y, Some(ScheduleFreeState { z: moved, momentum, progress, base }))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        ScheduleFreeState {
            z: state.z.to_device(device),
            base: state.base.map(|base| O::to_device(base, device)),
            ..state
        }
    }
}

/// z after its update, minus the share of y that the decay removes. A cautious decay acts only where the update moves y
/// toward 0 or not at all.
fn decayed<const D: usize>(
    moved: Tensor<D>,
    z: &Tensor<D>,
    y: &Tensor<D>,
    shrink: Shrink,
) -> Tensor<D> {
    if shrink.share == 0.0 {
        return moved;
    }
    let taken = y.clone().mul_scalar(shrink.share);
    if !shrink.cautious {
        return moved - taken;
    }
    let towards_zero = (z.clone() - moved.clone()).sign().mul(y.clone().sign());
    moved - taken.mask_fill(towards_zero.lower_elem(0.0), 0.0)
}
