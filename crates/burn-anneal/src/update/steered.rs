//! An optimizer that follows the settings of the current update for each parameter.

use super::apply::{self, Outcome, Updates};
use super::average::Averaged;
use super::context::{
    Owner, Shrink, Told, ask, evaluate_at, measure_movement, measure_product, measure_step,
};
use super::tensors::flat;
use burn::module::ParamId;
use burn::optim::{LearningRate, Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor};

/// Wraps an optimizer so that each parameter has its group's rate and decay.
///
/// Burn passes an optimizer neither the name nor the id of the parameter, only its state. So the state stores which
/// parameter it belongs to: [`Index`](super::index::Index) registers new parameters, and Burn's record has the id in
/// the names of its entries. The record is that of the wrapped optimizer, plus the last gradient if a controller
/// compares gradients, and the average if there is one.
#[derive(Clone)]
pub(crate) struct Steered<U> {
    inner: U,
    /// Whether the optimizer itself decays weights and decides which are evaluated.
    evaluates: bool,
}

impl<U: Updates> Steered<U> {
    pub fn new(inner: U, evaluates: bool) -> Self {
        Self { inner, evaluates }
    }
}

/// The state of one parameter, and its owner.
#[derive(Clone)]
pub(crate) struct SteeredState<S> {
    of: Owner,
    inner: Option<S>,
    /// The gradient of the last update, if it is kept.
    gradient: Option<Tensor<1>>,
    average: Option<Averaged>,
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
        if let Some(average) = &self.average {
            average.flatten(prefix, out);
        }
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let of = Owner::Id(ParamId::from(prefix.parse::<u64>().ok()?));
        let gradient = source.take_tensor(prefix, GRADIENT);
        let gradient = gradient.map(|gradient| {
            let dtype = gradient.dtype();
            Tensor::from_data(gradient, (device, dtype))
        });
        let average = Averaged::unflatten(prefix, source, device);
        Some(Self { of, inner: S::state_unflatten(prefix, source, device), gradient, average })
    }
}

impl<U: Updates> Optimizer for Steered<U> {
    type State<const D: usize> = SteeredState<apply::State<U, D>>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (owner, inner, last, average) = match state {
            Some(state) => (Some(state.of), state.inner, state.gradient, state.average),
            None => (None, None, None, None),
        };
        match ask(owner, rate) {
            Told::Update { owner: of, rate, shrink, measures } => {
                let before = measures.movement.then(|| tensor.clone());
                let last = measures.gradient.then(|| flat(gradient.clone()));
                let shrink = if self.evaluates { Shrink::NONE } else { shrink };
                let Outcome { weight, state: inner, decayed } =
                    self.inner.update(rate, shrink, tensor, gradient, inner, measures.step);
                if let Some(before) = before {
                    measure_movement(weight.clone() - before);
                }
                if let Some(decayed) = decayed {
                    measure_step(decayed, weight.clone());
                }
                let average = average.filter(|_| measures.average);
                (weight, Some(SteeredState { of, inner, gradient: last, average }))
            }
            Told::Average { owner: of, shown } => {
                let average = Averaged::shown(average, shown, tensor.clone());
                if let Some(average) = &average {
                    evaluate_at(average.evaluated());
                }
                // The inner optimizer leaves the parameter unchanged, and its report overrides the average.
                let (tensor, inner) = match self.evaluates {
                    true => {
                        let shown =
                            self.inner.update(rate, Shrink::NONE, tensor, gradient, inner, false);
                        (shown.weight, shown.state)
                    }
                    false => (tensor, inner),
                };
                (tensor, Some(SteeredState { of, inner, gradient: last, average }))
            }
            told => {
                if let (Told::Compare, Some(last)) = (&told, &last) {
                    measure_product(flat(gradient), last.clone());
                }
                let of = if let Told::Remember(of) = told { Some(of) } else { owner };
                let state = of.map(|of| SteeredState { of, inner, gradient: last, average });
                (tensor, state)
            }
        }
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        let inner = state.inner.map(|inner| U::Of::to_device(inner, device));
        let gradient = state.gradient.map(|gradient| gradient.to_device(device));
        let average = state.average.map(|average| average.to_device(device));
        SteeredState { of: state.of, inner, gradient, average }
    }
}
