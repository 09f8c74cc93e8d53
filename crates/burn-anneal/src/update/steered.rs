//! An optimizer that treats each parameter as the update that runs says.

use super::apply::{self, Outcome};
use super::context::{Owner, Told, ask, measure_movement, measure_step};
use burn::module::ParamId;
use burn::optim::{LearningRate, Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor};

/// Wraps an optimizer so that each parameter has its group's rate and decay.
///
/// Burn tells an optimizer neither the name nor the id of the parameter, only its state. So the state
/// says which parameter it is of: one that is new is introduced by [`Index`](super::index::Index), and Burn's record
/// has the id in the name of each of its entries. Nothing is added to the record: it is that of the wrapped
/// optimizer.
#[derive(Clone)]
pub(crate) struct Steered<O> {
    inner: O,
}

impl<O: Optimizer> Steered<O> {
    pub fn new(inner: O) -> Self {
        Self { inner }
    }
}

/// The state of one parameter, and which parameter that is.
#[derive(Clone)]
pub(crate) struct SteeredState<S> {
    of: Owner,
    inner: Option<S>,
}

impl<S: RecordState> RecordState for SteeredState<S> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        if let Some(inner) = &self.inner {
            inner.state_flatten(prefix, out);
        }
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let of = Owner::Id(ParamId::from(prefix.parse::<u64>().ok()?));
        Some(Self { of, inner: S::state_unflatten(prefix, source, device) })
    }
}

impl<O: Optimizer> Optimizer for Steered<O> {
    type State<const D: usize> = SteeredState<O::State<D>>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (of, inner) = match state {
            Some(state) => (Some(state.of), state.inner),
            None => (None, None),
        };
        match ask(of, rate) {
            Told::Update { owner, rate, shrink, measures_step, measures_movement } => {
                let before = measures_movement.then(|| tensor.clone());
                let Outcome { weight, state: inner, decayed } =
                    apply::step(&self.inner, rate, shrink, tensor, gradient, inner, measures_step);
                if let Some(before) = before {
                    measure_movement(weight.clone() - before);
                }
                if let Some(decayed) = decayed {
                    measure_step(decayed, weight.clone());
                }
                (weight, Some(SteeredState { of: owner, inner }))
            }
            Told::Remember(of) => (tensor, Some(SteeredState { of, inner })),
            Told::Leave => (tensor, of.map(|of| SteeredState { of, inner })),
        }
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        let inner = state.inner.map(|inner| O::to_device(inner, device));
        SteeredState { of: state.of, inner }
    }
}
