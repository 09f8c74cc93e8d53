//! An optimizer that treats each parameter as the update that runs says.

use super::apply::{self, Outcome};
use super::context::{Owner, Told, ask, measure_movement, measure_product, measure_step};
use super::tensors::flat;
use burn::module::ParamId;
use burn::optim::{LearningRate, Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor};

/// Wraps an optimizer so that each parameter has its group's rate and decay.
///
/// Burn tells an optimizer neither the name nor the id of the parameter, only its state. So the state
/// says which parameter it is of: one that is new is introduced by [`Index`](super::index::Index), and Burn's record
/// has the id in the name of each of its entries. The record is that of the wrapped optimizer, and has the last
/// gradient besides where a controller compares gradients.
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
    /// The gradient of the last update, where it is kept.
    gradient: Option<Tensor<1>>,
}

/// The name of a kept gradient in a record.
const GRADIENT: &str = "last_gradient";

impl<S: RecordState> RecordState for SteeredState<S> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        if let Some(inner) = &self.inner {
            inner.state_flatten(prefix, out);
        }
        if let Some(gradient) = &self.gradient {
            out.push_tensor(prefix, GRADIENT, gradient.to_data());
        }
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let of = Owner::Id(ParamId::from(prefix.parse::<u64>().ok()?));
        let gradient = source.take_tensor(prefix, GRADIENT);
        let gradient = gradient.map(|gradient| {
            let dtype = gradient.dtype();
            Tensor::from_data(gradient, (device, dtype))
        });
        Some(Self { of, inner: S::state_unflatten(prefix, source, device), gradient })
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
        let (of, inner, last) = match state {
            Some(state) => (Some(state.of), state.inner, state.gradient),
            None => (None, None, None),
        };
        match ask(of, rate) {
            Told::Update { owner: of, rate, shrink, measures } => {
                let before = measures.movement.then(|| tensor.clone());
                let last = measures.gradient.then(|| flat(gradient.clone()));
                let Outcome { weight, state: inner, decayed } =
                    apply::step(&self.inner, rate, shrink, tensor, gradient, inner, measures.step);
                if let Some(before) = before {
                    measure_movement(weight.clone() - before);
                }
                if let Some(decayed) = decayed {
                    measure_step(decayed, weight.clone());
                }
                (weight, Some(SteeredState { of, inner, gradient: last }))
            }
            Told::Compare => {
                if let Some(last) = &last {
                    measure_product(flat(gradient), last.clone());
                }
                (tensor, of.map(|of| SteeredState { of, inner, gradient: last }))
            }
            Told::Remember(of) => (tensor, Some(SteeredState { of, inner, gradient: last })),
            Told::Leave => (tensor, of.map(|of| SteeredState { of, inner, gradient: last })),
        }
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        let inner = state.inner.map(|inner| O::to_device(inner, device));
        let gradient = state.gradient.map(|gradient| gradient.to_device(device));
        SteeredState { of: state.of, inner, gradient }
    }
}
