//! Master weights in f32 for half-precision weights.

use super::to_precision;
use crate::groups::found;
use crate::update::{has_masters, in_f32, is_half, precisions};
use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::optim::{
    GradientsParams, LearningRate, ModuleOptimizer, Optimizer, OptimizerRecord, RecordState,
    StateSink, StateSource,
};
use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use std::collections::HashMap;

/// Wraps any of Burn's bare optimizers to update an f32 copy of each f16 or bf16 weight.
///
/// An f16 number has 11 bits, so an update of less than 2⁻¹² of the weight's size is rounded away, and most
/// updates are smaller. Here the inner optimizer gets the f32 copy and an f32 gradient, and the model gets
/// the rounded copy:
///
/// ```text
/// w₃₂ ← optimizer(w₃₂, g)        w₁₆ ← round(w₃₂)
/// ```
///
/// The copy is part of the optimizer's state, and is saved and loaded with it; [`with_master_weights`] returns
/// the model in f32. If a weight was changed since the last update, so that it no longer equals its rounded
/// copy, the changed weight is used. Parameters in f32 have no copy.
///
/// In a learner, [`LearnerBuilder::half_precision`](crate::LearnerBuilder::half_precision) adds this wrapper.
/// A weight decay goes inside: `MasterWeights::new(Decayed::new(…)?)`.
///
/// Source: Micikevicius et al. 2018, "Mixed precision training", section 3.1; like Apex's O2, but without an
/// exception for norms.
///
/// ```
/// use burn::optim::{AdamWConfig, ModuleOptimizer};
/// use burn_anneal::precision::MasterWeights;
///
/// let optimizer = ModuleOptimizer::from(MasterWeights::new(AdamWConfig::new().build()));
/// ```
#[derive(Clone, Debug)]
pub struct MasterWeights<O> {
    inner: O,
}

impl<O: Optimizer> MasterWeights<O> {
    /// Wraps an optimizer.
    pub fn new(optimizer: O) -> Self {
        Self { inner: optimizer }
    }
}

/// The f32 copy of one parameter, and the state of the inner optimizer.
#[derive(Clone, Debug)]
pub struct MasterState<S, const D: usize> {
    master: Option<Tensor<D>>,
    inner: Option<S>,
}

/// The name of the copy in the record.
pub(crate) const MASTER: &str = "master";

impl<S: RecordState, const D: usize> RecordState for MasterState<S, D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        if let Some(master) = &self.master {
            out.push_tensor(prefix, MASTER, master.to_data());
        }
        if let Some(inner) = &self.inner {
            inner.state_flatten(prefix, out);
        }
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let data = source.take_tensor(prefix, MASTER);
        let master = data.map(|data| Tensor::from_data(data, (device, DType::F32)));
        let inner = S::state_unflatten(prefix, source, device);
        (master.is_some() || inner.is_some()).then_some(Self { master, inner })
    }
}

impl<O: Optimizer> Optimizer for MasterWeights<O> {
    type State<const D: usize> = MasterState<O::State<D>, D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (master, inner) = match state {
            Some(state) => (state.master, state.inner),
            None => (None, None),
        };
        let dtype = weight.dtype();
        has_masters();
        if !is_half(dtype) {
            let (weight, inner) = self.inner.step(rate, weight, gradient, inner);
            return (weight, Some(MasterState { master, inner }));
        }
        let master = match master.filter(|master| master.dims() == weight.dims()) {
            Some(master) => current(master, weight),
            None => in_f32(weight),
        };
        let (master, inner) = self.inner.step(rate, master, in_f32(gradient), inner);
        (master.clone().cast(dtype), Some(MasterState { master: Some(master), inner }))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        MasterState {
            master: state.master.map(|master| master.to_device(device)),
            inner: state.inner.map(|inner| O::to_device(inner, device)),
        }
    }
}

/// The copy if the weight is still the rounded copy, otherwise the weight.
pub(crate) fn current<const D: usize>(master: Tensor<D>, weight: Tensor<D>) -> Tensor<D> {
    let is_copy = master.clone().cast(weight.dtype()).equal(weight.clone());
    in_f32(weight).mask_where(is_copy, master)
}

/// The model in f32, with the [master weights](MasterWeights) of an optimizer's record; parameters without
/// a master weight are cast. To use the model in half precision, see [`to_precision`].
///
/// The record comes from [`ModuleOptimizer::to_record`], with the model's parameters. For a checkpoint of a
/// learner, use [`Checkpoint::load_in_f32`](crate::Checkpoint::load_in_f32).
///
/// ```
/// use burn::optim::{ModuleOptimizer, SgdConfig};
/// use burn::tensor::DType;
/// use burn_anneal::precision::{MasterWeights, with_master_weights};
/// # use burn::nn::LinearConfig;
/// # use burn::tensor::Device;
///
/// let optimizer = ModuleOptimizer::from(MasterWeights::new(SgdConfig::new().build()));
/// # let model = LinearConfig::new(2, 2).init(&Device::default().autodiff());
/// // … training …
/// let model = with_master_weights(model, optimizer.to_record());
/// assert_eq!(model.weight.val().dtype(), DType::F32);
/// ```
pub fn with_master_weights<M: Module>(model: M, record: OptimizerRecord) -> M {
    let masters = ModuleOptimizer::from(Masters).load_record(record);
    let ids = found(&model).into_iter().map(|found| found.id);
    let dtypes = ids.zip(precisions(&model)).collect();
    to_precision(model, FloatDType::F32).map(&mut Take { masters, dtypes })
}

struct Take {
    masters: ModuleOptimizer,
    /// The original types of the parameters.
    dtypes: HashMap<ParamId, DType>,
}

impl ModuleMapper for Take {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let device = tensor.device().inner();
        let master = self.master::<D>(id, &device).filter(|master| master.dims() == tensor.dims());
        let tensor = match (master, self.dtypes.get(&id)) {
            (Some(master), Some(dtype)) => {
                let is_autodiff = tensor.device().is_autodiff();
                let weight = if is_autodiff { tensor.clone().inner() } else { tensor.clone() };
                let master = current(master, weight.cast(*dtype));
                match is_autodiff {
                    true => Tensor::from_inner(master).set_require_grad(tensor.is_require_grad()),
                    false => master,
                }
            }
            _ => tensor,
        };
        Param::from_mapped_value(id, tensor, mapper)
    }
}

impl Take {
    /// Burn passes a state only to its optimizer, which here returns it as the parameter.
    fn master<const D: usize>(&mut self, id: ParamId, device: &Device) -> Option<Tensor<D>> {
        let absent = Tensor::<D>::zeros([0; D], &device.clone().autodiff());
        let mut gradients = GradientsParams::new();
        gradients.register(id, Tensor::<D>::zeros([0; D], device));
        let found = self.masters.step(0.0, Param::initialized(id, absent), gradients);
        let found = found.val().inner();
        (found.shape().num_elements() > 0).then_some(found)
    }
}

/// An optimizer that replaces the parameter by its copy.
#[derive(Clone)]
struct Masters;

/// A copy without the state of its optimizer, not yet on a device.
#[derive(Clone)]
struct Master(TensorData);

impl RecordState for Master {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_tensor(prefix, MASTER, self.0.clone());
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, _device: &Device) -> Option<Self> {
        source.take_tensor(prefix, MASTER).map(Self)
    }
}

impl Optimizer for Masters {
    type State<const D: usize> = Master;

    fn step<const D: usize>(
        &self,
        _rate: LearningRate,
        absent: Tensor<D>,
        _gradient: Tensor<D>,
        state: Option<Master>,
    ) -> (Tensor<D>, Option<Master>) {
        let device = absent.device();
        let found = |master: Master| Tensor::from_data(master.0, (&device, DType::F32));
        (state.map_or(absent, found), None)
    }

    fn to_device<const D: usize>(state: Master, _device: &Device) -> Master {
        state
    }
}
