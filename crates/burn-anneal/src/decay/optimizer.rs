//! A bare optimizer with a decay.

use super::{DecayError, Shrinkage, WeightDecay};
use crate::schedule::{RunLength, Schedule, ScheduleError};
use crate::update::{Manner, Shrink, Weight, decays_by_itself, step, what_it_asks};
use burn::optim::{LearningRate, ModuleOptimizer, Optimizer};
use burn::tensor::{Device, Tensor};
use thiserror::Error;

/// Adds decoupled weight decay to any of Burn's bare optimizers: w ← (1 − d_t) w before each update.
///
/// It is an `Optimizer`, so it works in Burn's `ModuleOptimizer`; its state and record are those of the
/// inner optimizer. Burn does not update a parameter without a gradient, for example a frozen one, so it
/// does not shrink. To exclude parameters, use Burn's parameter groups with another optimizer, or better
/// [`GroupsConfig::no_weight_decay`](crate::groups::GroupsConfig::no_weight_decay).
///
/// Burn passes an optimizer the rate, not the step, so a decay with its own schedule is refused here; use
/// [`LearnerBuilder`](crate::LearnerBuilder) for it.
///
/// ```
/// use burn::optim::{ModuleOptimizer, SgdConfig};
/// use burn_anneal::decay::Decayed;
/// use burn_anneal::prelude::*;
///
/// let run = RunLength::updates(1_000);
/// let schedule = cosine(0.1).resolve(run)?;
/// let decay = WeightDecay::independent(1e-4);
/// let optimizer = Decayed::new(SgdConfig::new().build(), &decay, &schedule, run)?;
/// let optimizer = ModuleOptimizer::from(optimizer);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Decayed<O> {
    inner: O,
    shrinkage: Shrinkage,
}

/// Why a decay cannot be added to an optimizer.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum DecayedError {
    /// A value is out of its range.
    #[error(transparent)]
    Value(#[from] ScheduleError),
    /// The decay does not fit the optimizer.
    #[error(transparent)]
    Decay(#[from] DecayError),
}

impl<O: Optimizer> Decayed<O> {
    /// Wraps an optimizer, whose own decay must be off, for weights that train at the rates of `schedule`.
    ///
    /// # Errors
    /// [`DecayedError`] if a value is out of its range, d_t is 1 or more at any update of the run, the
    /// optimizer has its own decay, the decay needs the step, or the optimizer is
    /// [`MasterWeights`](crate::precision::MasterWeights) or
    /// [`ScheduleFree`](crate::schedule_free::ScheduleFree).
    pub fn new(
        optimizer: O,
        decay: &WeightDecay,
        schedule: &Schedule,
        run: RunLength,
    ) -> Result<Self, DecayedError> {
        let shrinkage = decay.resolve(schedule, run)?;
        if shrinkage.follows_the_step() {
            return Err(DecayError::NeedsStep { weight_decay: decay.to_string() }.into());
        }
        if !shrinkage.is_none() {
            let inside = ModuleOptimizer::from(optimizer.clone());
            let asked = what_it_asks(&inside, &Device::default());
            if asked.masters {
                return Err(DecayError::OutsideOfMasters { weight_decay: decay.to_string() }.into());
            }
            if asked.evaluation {
                let weight_decay = decay.to_string();
                return Err(DecayError::OutsideOfScheduleFree { weight_decay }.into());
            }
            if decays_by_itself(&inside, &Device::default()) {
                let weight_decay = format!("weight_decay: {decay}");
                return Err(DecayError::Doubled { weight_decay }.into());
            }
        }
        Ok(Self { inner: optimizer, shrinkage })
    }
}

impl<O: Optimizer> Optimizer for Decayed<O> {
    type State<const D: usize> = O::State<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        // The share does not depend on the step, as checked before.
        let shrink =
            Shrink { share: self.shrinkage.at(0, rate), cautious: self.shrinkage.is_cautious() };
        let outcome = step(
            &self.inner,
            Manner { shrink, ..Manner::at(rate) },
            Weight::of(weight),
            gradient,
            state,
        );
        (outcome.weight.trained, outcome.state)
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        O::to_device(state, device)
    }
}
