//! Updates in one pass over the weights, on the CPU.
//!
//! Burn's optimizers make an update of tensor operations: 15 for AdamW, each of which reads its operands from memory
//! and writes a new tensor. [`Fused`] reads weight, gradient and moments once, and writes weight and moments once, with
//! vector instructions and on all threads. A learner of this crate does so by itself.
//!
//! # The same numbers
//! Every operation is rounded where Burn rounds it, so weights, moments and records are those of Burn's optimizer to the
//! last bit, and a checkpoint goes from one to the other and back.

pub(crate) mod adam;
mod lion;
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

use crate::update::{Outcome, Shrink, Updates, step};
use burn::optim::{LearningRate, Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor};
use parameter::{How, Parameter};
use pulp::Arch;
use rule::HasRule;
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
/// state: one more copy of the weights. Nothing else is kept beside weights, gradients and moments.
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
#[derive(Clone)]
pub struct FusedState<O: Fusable, const D: usize>(Kept<O, D>);

#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "on flex all have moments")]
enum Kept<O: Fusable, const D: usize> {
    /// The moments, and a buffer to write weights to.
    Moments { moments: O::Moments<D>, spare: Option<Tensor<D>> },
    /// The optimizer's own state, off `flex`.
    Own(Box<O::State<D>>),
}

impl<O: Fusable, const D: usize> fmt::Debug for FusedState<O, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FusedState").finish_non_exhaustive()
    }
}

impl<O: Fusable, const D: usize> RecordState for FusedState<O, D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        match &self.0 {
            Kept::Moments { moments, .. } => moments.state_flatten(prefix, out),
            Kept::Own(own) => own.state_flatten(prefix, out),
        }
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let moments = O::Moments::state_unflatten(prefix, source, device)?;
        Some(Self(Kept::Moments { moments, spare: None }))
    }
}

impl<O: Fusable> Updates for Fused<O> {
    type Of = Self;

    fn update<const D: usize>(
        &self,
        rate: LearningRate,
        shrink: Shrink,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<FusedState<O, D>>,
        measured: bool,
    ) -> Outcome<FusedState<O, D>, D> {
        if measured {
            return step(self, rate, shrink, weight, gradient, state, measured);
        }
        let (moments, spare, own) = match state {
            Some(FusedState(Kept::Moments { moments, spare })) => (Some(moments), spare, None),
            Some(FusedState(Kept::Own(own))) => (None, None, Some(*own)),
            None => (None, None, None),
        };
        if let Some(numbers) = &self.numbers
            && own.is_none()
            && Parameter::fits(&weight, &gradient)
        {
            let mut parameter = Parameter::take(self.arch, weight, gradient, spare);
            let moments = O::update(numbers, How { rate, shrink }, &mut parameter, moments);
            let (weight, spare) = parameter.into_tensors();
            let state = Some(FusedState(Kept::Moments { moments, spare }));
            return Outcome { weight, state, decayed: None };
        }
        let moments = moments.map(|moments| O::to_device(O::own_state(moments), &weight.device()));
        let own = own.or(moments);
        let made = step(&self.optimizer, rate, shrink, weight, gradient, own, false);
        let state = made.state.map(|own| FusedState(Kept::Own(Box::new(own))));
        Outcome { weight: made.weight, state, decayed: None }
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
        let made = self.update(rate, Shrink::NONE, weight, gradient, state, false);
        (made.weight, made.state)
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        FusedState(match state.0 {
            Kept::Own(own) => Kept::Own(Box::new(O::to_device(*own, device))),
            // They follow their weight when they are needed.
            moments => moments,
        })
    }
}
