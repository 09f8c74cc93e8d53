//! Updates in one pass over the weights, on the CPU.
//!
//! Burn's optimizers make an update of tensor operations: 15 for AdamW, each of which reads its operands from memory
//! and writes a new tensor. [`Fused`] reads weight, gradient and moments once, and writes weight and moments once, with
//! vector instructions and on all threads. A learner of this crate does so by itself, and in the same pass unscales and
//! clips the gradient, decays the weight, adds it to its average and rounds a master weight to half precision.
//!
//! # The same numbers
//! Every operation is rounded where Burn rounds it, so weights, moments and records are those of Burn's optimizer to the
//! last bit, and a checkpoint goes from one to the other and back.

pub(crate) mod adam;
mod lion;
mod norm;
pub(crate) mod parameter;
pub(crate) mod pass;
mod probe;
pub(crate) mod real;
mod rms_prop;
pub(crate) mod rule;
mod scheduled;
mod sgd;
#[cfg(test)]
mod tests;

pub(crate) use norm::norm;

use crate::update::{Factor, Manner, Outcome, Updates, Weight, step};
use burn::optim::{LearningRate, Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor};
use parameter::{Buffer, Parameter, fits};
use pulp::Arch;
use rule::{HasRule, Kept};
use std::fmt;

/// An optimizer whose update can be made in one pass: Burn's `AdamW`, `Adam`, `Sgd`, `Lion` and `RmsProp`.
pub trait Fusable: HasRule {}

impl<O: HasRule> Fusable for O {}

/// One of Burn's optimizers, with updates in one pass.
///
/// On the `flex` backend, in f32 and f64; elsewhere the updates are Burn's own. It is an [`Optimizer`], so it works in
/// Burn's `ModuleOptimizer` and everywhere else; [`LearnerBuilder`](crate::LearnerBuilder) uses it by itself.
///
/// Weights are updated in place if nobody else holds them. If somebody does, as Burn's learner does during an update,
/// they are written into the buffer of their gradient, and if that is held too, into a buffer that is kept with the
/// state: one more copy of the weights. Nothing else is kept beside weights, gradients and moments, but the averages and
/// master weights that a learner was asked for.
///
/// ```
/// use burn::optim::{AdamWConfig, ModuleOptimizer};
/// use burn_anneal::Fused;
///
/// let optimizer = ModuleOptimizer::from(Fused::new(AdamWConfig::new().build()));
/// ```
#[derive(Clone)]
pub struct Fused<O: Fusable> {
    optimizer: O,
    /// `None` if it does not do what is known of it: then its updates are its own.
    numbers: Option<O::Numbers>,
    arch: Arch,
}

impl<O: Fusable> Fused<O> {
    /// Wraps a bare optimizer, with the numbers that it was built with.
    pub fn new(optimizer: O) -> Self {
        Self { numbers: optimizer.numbers(), arch: Arch::new(), optimizer }
    }
}

impl<O: Fusable> fmt::Debug for Fused<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fused").field("numbers", &self.numbers).finish_non_exhaustive()
    }
}

/// The state of a [`Fused`] optimizer for one parameter.
// Boxed, because Burn moves a state several times in an update.
#[derive(Clone)]
pub struct FusedState<O: Fusable, const D: usize>(Box<Inner<O, D>>);

#[derive(Clone)]
struct Inner<O: Fusable, const D: usize> {
    kept: Kept,
    /// A buffer to write weights to.
    spare: Option<Buffer>,
    /// The optimizer's own state instead, off `flex`.
    own: Option<Box<O::State<D>>>,
}

impl<O: Fusable, const D: usize> FusedState<O, D> {
    fn new(kept: Kept) -> Self {
        Self(Box::new(Inner { kept, spare: None, own: None }))
    }
}

impl<O: Fusable, const D: usize> fmt::Debug for FusedState<O, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FusedState").finish_non_exhaustive()
    }
}

impl<O: Fusable, const D: usize> RecordState for FusedState<O, D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        match &self.0.own {
            Some(own) => own.state_flatten(prefix, out),
            None => self.0.kept.flatten(&O::NAMES, prefix, out),
        }
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, _device: &Device) -> Option<Self> {
        Kept::unflatten(&O::NAMES, prefix, source).map(Self::new)
    }
}

impl<O: Fusable> Updates for Fused<O> {
    type Of = Self;

    fn update<const D: usize>(
        &self,
        manner: Manner,
        weight: Weight<D>,
        gradient: Tensor<D>,
        state: Option<FusedState<O, D>>,
    ) -> Outcome<FusedState<O, D>, D> {
        if manner.measured {
            return step(self, manner, weight, gradient, state);
        }
        let mut state = state.unwrap_or_else(|| FusedState::new(Kept::default()));
        let Inner { kept, spare, own } = &mut *state.0;
        let average = manner.average.as_ref().map(|(average, _)| average);
        if let Some(numbers) = &self.numbers
            && let Factor::Known(factor) = manner.factor
            && own.is_none()
            && fits(&weight, &gradient, average, kept)
        {
            let around = (factor, manner.shrink);
            let mut parameter =
                Parameter::take(self.arch, around, weight, gradient, manner.average);
            parameter.spare = spare.take();
            O::update(numbers, manner.rate, &mut parameter, kept);
            *spare = parameter.spare.take();
            let (weight, average) = parameter.into_tensors();
            return Outcome { weight, state: Some(state), average, decayed: None };
        }
        let before = own.take().map(|own| *own);
        let device = weight.trained.device();
        let before = before.or_else(|| std::mem::take(kept).own_state::<O, D>(&device));
        let made = step(&self.optimizer, manner, weight, gradient, before);
        *own = made.state.map(Box::new);
        let state = own.is_some().then_some(state);
        Outcome { weight: made.weight, state, average: made.average, decayed: None }
    }
}

impl<O: Fusable> Optimizer for Fused<O> {
    type State<const D: usize> = FusedState<O, D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let made = self.update(Manner::at(rate), Weight::of(weight), gradient, state);
        (made.weight.trained, made.state)
    }

    fn to_device<const D: usize>(mut state: Self::State<D>, device: &Device) -> Self::State<D> {
        // Moments follow their weight when they are needed.
        state.0.own = state.0.own.map(|own| Box::new(O::to_device(*own, device)));
        state
    }
}
