//! An optimizer that follows the settings of the current update for each parameter.

use super::apply::{self, Manner, Updates, Weight};
use super::average::{Averaged, Shown};
use super::context::{
    Measures, Owner, Shrink, Told, ask, evaluate_at, measure_movement, measure_product,
    measure_step,
};
use super::tensors::{flat, in_f32, is_half};
use crate::precision::MASTER;
use burn::module::ParamId;
use burn::optim::{LearningRate, Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{DType, Device, FloatDType, Tensor};

/// Wraps an optimizer so that each parameter has its group's rate and decay.
///
/// Burn passes an optimizer neither the name nor the id of the parameter, only its state. So the state stores which
/// parameter it belongs to: [`Index`](super::index::Index) registers new parameters, and Burn's record has the id in
/// the names of its entries. The record is that of the wrapped optimizer, plus the master weight of one in half
/// precision, the last gradient if a controller compares gradients, and the average if there is one.
#[derive(Clone)]
pub(crate) struct Steered<U> {
    pub inner: U,
    /// Whether the optimizer itself decays weights and decides which are evaluated.
    pub evaluates: bool,
    /// Whether it updates master weights in f32 of weights in half precision.
    pub has_masters: bool,
}

/// The state of one parameter, and its owner.
// Boxed, because Burn moves a state several times in an update.
#[derive(Clone)]
pub(crate) struct SteeredState<S, const D: usize>(Box<Inner<S, D>>);

#[derive(Clone)]
struct Inner<S, const D: usize> {
    of: Owner,
    state: Option<S>,
    master: Option<Tensor<D>>,
    /// The gradient of the last update, if it is kept.
    gradient: Option<Tensor<1>>,
    average: Option<Averaged>,
}

impl<S, const D: usize> SteeredState<S, D> {
    fn new(of: Owner) -> Self {
        Self(Box::new(Inner { of, state: None, master: None, gradient: None, average: None }))
    }
}

/// The name of a kept gradient in a record.
const GRADIENT: &str = "last_gradient";

impl<S: RecordState, const D: usize> RecordState for SteeredState<S, D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        let Inner { state, master, gradient, average, .. } = &*self.0;
        if let Some(state) = state {
            state.state_flatten(prefix, out);
        }
        if let Some(master) = master {
            out.push_tensor(prefix, MASTER, master.to_data());
        }
        if let Some(gradient) = gradient {
            out.push_tensor(prefix, GRADIENT, gradient.to_data());
        }
        if let Some(average) = average {
            average.flatten(prefix, out);
        }
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let of = Owner::Id(ParamId::from(prefix.parse::<u64>().ok()?));
        let master = source.take_tensor(prefix, MASTER);
        let master = master.map(|master| Tensor::from_data(master, (device, DType::F32)));
        let gradient = source.take_tensor(prefix, GRADIENT);
        let gradient = gradient.map(|gradient| {
            let dtype = gradient.dtype();
            Tensor::from_data(gradient, (device, dtype))
        });
        let average = Averaged::unflatten(prefix, source, device);
        let state = S::state_unflatten(prefix, source, device);
        Some(Self(Box::new(Inner { of, state, master, gradient, average })))
    }
}

impl<U> Steered<U> {
    /// Without master weights, for an optimizer that evaluates the weights it trains.
    pub fn of(inner: U) -> Self {
        Self { inner, evaluates: false, has_masters: false }
    }

    /// The weight to train: the master weight of one in half precision, if there are master weights.
    fn weight<const D: usize>(&self, weight: Tensor<D>, master: Option<Tensor<D>>) -> Weight<D> {
        if !self.has_masters || !is_half(weight.dtype()) {
            return Weight::of(weight);
        }
        let master = master.filter(|master| master.dims() == weight.dims());
        let trained = master.unwrap_or_else(|| in_f32(weight.clone()));
        Weight { trained, rounded: Some(weight) }
    }
}

impl<U: Updates> Steered<U> {
    /// Updates a parameter, and what is kept of it.
    fn update<const D: usize>(
        &self,
        mut manner: Manner,
        measures: Measures,
        (tensor, gradient): (Tensor<D>, Tensor<D>),
        kept: &mut Inner<apply::State<U, D>, D>,
    ) -> Tensor<D> {
        let weight = self.weight(tensor, kept.master.take());
        let before = measures.movement.then(|| weight.clone().current().0);
        let gradient = if weight.rounded.is_some() { in_f32(gradient) } else { gradient };
        kept.gradient = measures.gradient.then(|| manner.factor.times(flat(gradient.clone())));
        if !measures.average {
            kept.average = None;
        }
        let by = measures.averaged_by.filter(|_| !self.evaluates);
        let count = gradient.shape().num_elements();
        let in_pass = by.zip(kept.average.as_mut());
        manner.average = in_pass.and_then(|(by, average)| average.take_out(by, count));
        let made = self.inner.update(manner, weight, gradient, kept.state.take());
        let Weight { trained, rounded } = made.weight;
        kept.state = made.state;
        if let Some(before) = before {
            measure_movement(trained.clone() - before);
        }
        if let Some(decayed) = made.decayed {
            measure_step(decayed, trained.clone());
        }
        if let Some(by) = by {
            match (made.average, &mut kept.average) {
                (Some(average), Some(kept)) => kept.put_back(average),
                (_, before) => {
                    *before = Averaged::shown(before.take(), Shown::Taken(by), trained.clone());
                }
            }
            evaluate_at(kept.average.as_ref().map(Averaged::evaluated).unwrap_or_default());
        }
        match rounded {
            Some(rounded) => {
                kept.master = Some(trained);
                rounded
            }
            None => trained,
        }
    }
}

impl<U: Updates> Optimizer for Steered<U> {
    type State<const D: usize> = SteeredState<apply::State<U, D>, D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let told = ask(state.as_ref().map(|state| state.0.of), rate);
        let (owner, mut state) = match told.owner() {
            Some(owner) => (owner, state.unwrap_or_else(|| SteeredState::new(owner))),
            None => {
                let last = state.as_ref().and_then(|state| state.0.gradient.clone());
                if let (Told::Compare(factor), Some(last)) = (told, last) {
                    measure_product(factor.times(flat(gradient)), last);
                }
                return (tensor, state);
            }
        };
        let kept = &mut *state.0;
        kept.of = owner;
        let tensor = match told {
            Told::Update { rate, shrink, factor, measures, .. } => {
                let shrink = if self.evaluates { Shrink::NONE } else { shrink };
                let manner = Manner { shrink, factor, measured: measures.step, ..Manner::at(rate) };
                self.update(manner, measures, (tensor, gradient), kept)
            }
            Told::Average { shown, .. } => {
                let (weight, _) = self.weight(tensor.clone(), kept.master.clone()).current();
                kept.average = Averaged::shown(kept.average.take(), shown, weight.clone());
                if let Some(average) = &kept.average {
                    evaluate_at(average.evaluated());
                }
                // The optimizer leaves the parameter unchanged, and its report overrides the average.
                if self.evaluates {
                    let weight = Weight::of(weight);
                    let state = kept.state.take();
                    kept.state = self.inner.update(Manner::at(rate), weight, gradient, state).state;
                }
                tensor
            }
            Told::Remember { is_master, .. } => {
                if is_master {
                    kept.master = Some(tensor.clone().cast(FloatDType::F32));
                }
                tensor
            }
            Told::Compare(_) | Told::Leave => tensor,
        };
        (tensor, Some(state))
    }

    fn to_device<const D: usize>(mut state: Self::State<D>, device: &Device) -> Self::State<D> {
        let Inner { state: inner, master, gradient, average, .. } = &mut *state.0;
        *inner = inner.take().map(|inner| U::Of::to_device(inner, device));
        *master = master.take().map(|master| master.to_device(device));
        *gradient = gradient.take().map(|gradient| gradient.to_device(device));
        if let Some(average) = average {
            average.move_to(device);
        }
        state
    }
}
