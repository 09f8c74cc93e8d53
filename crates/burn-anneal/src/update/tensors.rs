//! Tensors by parameter, and operations on them.

use super::measure::Sum;
use super::signals::numbers;
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::{GradAdaptor, GradientsAccumulator, GradientsParams, MultiGradientsParams};
use burn::tensor::{DType, Device, FloatDType, Shape, Tensor};
use std::collections::{HashMap, HashSet};

/// A flat tensor for each parameter, in the order of the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct ByParameter(Vec<(ParamId, Tensor<1>)>);

impl ByParameter {
    /// The gradients of a module's parameters, summed over devices.
    pub fn gradients<M: Module>(module: &M, gradients: GradAdaptor) -> Self {
        struct Take {
            from: GradAdaptor,
            to: ByParameter,
        }
        impl ModuleVisitor for Take {
            // A parameter that the module holds twice has only one gradient.
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                if let Some((gradient, _)) = self.from.remove::<D>(param.id) {
                    self.to.0.push((param.id, flat(gradient)));
                }
            }
        }
        let mut take = Take { from: gradients, to: Self::default() };
        module.visit(&mut take);
        take.to
    }

    /// Handles of the same gradients.
    pub fn copy<M: Module>(module: &M, gradients: &GradientsParams) -> Self {
        struct Copy<'a> {
            from: &'a GradientsParams,
            seen: HashSet<ParamId>,
            to: ByParameter,
        }
        impl ModuleVisitor for Copy<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                if self.seen.insert(param.id)
                    && let Some(gradient) = self.from.get::<D>(param.id)
                {
                    self.to.0.push((param.id, flat(gradient)));
                }
            }
        }
        let mut copy = Copy { from: gradients, seen: HashSet::new(), to: Self::default() };
        module.visit(&mut copy);
        copy.to
    }

    /// The stored weights of a module that `are_wanted`.
    pub fn weights<M: Module>(module: &M, are_wanted: impl Fn(ParamId, bool) -> bool) -> Self {
        struct Weights<F> {
            are_wanted: F,
            seen: HashSet<ParamId>,
            to: ByParameter,
        }
        impl<F: Fn(ParamId, bool) -> bool> ModuleVisitor for Weights<F> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let wanted = (self.are_wanted)(param.id, param.is_require_grad());
                if !wanted || !self.seen.insert(param.id) {
                    return;
                }
                let weight = param.base();
                if !weight.dtype().is_float() {
                    return;
                }
                let weight = if weight.device().is_autodiff() { weight.inner() } else { weight };
                self.to.0.push((param.id, flat(weight)));
            }
        }
        let mut weights = Weights { are_wanted, seen: HashSet::new(), to: Self::default() };
        module.visit(&mut weights);
        weights.to
    }

    /// Changes each tensor.
    pub fn map(self, mut change: impl FnMut(Tensor<1>) -> Tensor<1>) -> Self {
        self.map_each(|_, tensor| change(tensor))
    }

    /// Changes each tensor by its parameter.
    pub fn map_each(self, mut change: impl FnMut(ParamId, Tensor<1>) -> Tensor<1>) -> Self {
        self.0.into_iter().map(|(id, tensor)| (id, change(id, tensor))).collect()
    }

    /// Multiplies each by a number.
    pub fn times(self, factor: f64) -> Self {
        if factor == 1.0 {
            return self;
        }
        self.map(|tensor| {
            let dtype = tensor.dtype();
            (in_f32(tensor) * factor).cast(dtype)
        })
    }

    /// The tensors with their parameters.
    pub fn iter(&self) -> impl Iterator<Item = &(ParamId, Tensor<1>)> {
        self.0.iter()
    }

    /// Pairs of tensors that both have for the same parameter.
    pub fn pairs(self, other: Self) -> impl Iterator<Item = (Tensor<1>, Tensor<1>)> {
        self.0.into_iter().enumerate().filter_map(move |(i, (id, tensor))| {
            // Both usually have the same parameters in the same order.
            let at = match other.0.get(i) {
                Some((of, _)) if *of == id => i,
                _ => other.0.iter().position(|(of, _)| *of == id)?,
            };
            Some((tensor, other.0[at].1.clone()))
        })
    }

    /// Keeps only the parameters that both have.
    pub fn shared(&self, other: &Self) -> (Self, Self) {
        let of = |one: &Self, other: &Self| {
            let ids: HashSet<ParamId> = other.0.iter().map(|(id, _)| *id).collect();
            Self(one.0.iter().filter(|(id, _)| ids.contains(id)).cloned().collect())
        };
        (of(self, other), of(other, self))
    }

    /// The sum of both, parameter by parameter.
    pub fn plus(mut self, other: Self) -> Self {
        let places: HashMap<ParamId, usize> =
            self.0.iter().enumerate().map(|(place, (id, _))| (*id, place)).collect();
        for (id, tensor) in other.0 {
            match places.get(&id) {
                Some(place) => {
                    let (_, sum) = &mut self.0[*place];
                    *sum = sum.clone() + tensor;
                }
                None => self.0.push((id, tensor)),
            }
        }
        self
    }

    /// Casts each to the precision of its parameter.
    pub fn into_stored<M: Module>(self, module: &M) -> Self {
        let weights = Self::weights(module, |_, trains| trains).0.into_iter();
        let dtypes: HashMap<ParamId, DType> =
            weights.map(|(id, weight)| (id, weight.dtype())).collect();
        let cast = |(id, tensor): (ParamId, Tensor<1>)| match dtypes.get(&id) {
            Some(dtype) => (id, tensor.cast(*dtype)),
            None => (id, tensor),
        };
        Self(self.0.into_iter().map(cast).collect())
    }

    /// The sum of products over the shared parameters, in at least f32.
    pub fn dot(self, other: Self) -> Option<Tensor<1>> {
        let product = |(one, other): (Tensor<1>, Tensor<1>)| {
            let (one, other) = (in_f32(one), in_f32(other));
            (other.to_device(&one.device()).cast(one.dtype()) * one).sum()
        };
        super::signals::on_one_device(self.pairs(other).map(product).collect()).map(Tensor::sum)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One number for each tensor, in at least f32, on the device of the first.
    fn each(&self, of: impl Fn(Tensor<1>) -> Tensor<1>) -> Option<Tensor<1>> {
        let mut all: Vec<Tensor<1>> = vec![];
        for (_, tensor) in self.0.iter().filter(|(_, tensor)| tensor.shape().num_elements() > 0) {
            let number = of(in_f32(tensor.clone()));
            all.push(match all.first() {
                Some(first) => number.to_device(&first.device()).cast(first.dtype()),
                None => number,
            });
        }
        (!all.is_empty()).then(|| Tensor::cat(all, 0))
    }

    /// ‖·‖₂ of all tensors together.
    pub fn norm(&self) -> Option<Tensor<1>> {
        #[cfg(feature = "flex")]
        if let Some(norm) = crate::fused::norm(self.0.iter().map(|(_, tensor)| tensor)) {
            return Some(norm);
        }
        Some(self.each(|tensor| tensor.square().sum())?.sum().sqrt())
    }

    /// ‖·‖₁ of all tensors together.
    pub fn l1(&self) -> Option<Tensor<1>> {
        Some(self.each(|tensor| tensor.abs().sum())?.sum())
    }

    /// The largest absolute entry.
    pub fn largest(&self) -> Option<Tensor<1>> {
        Some(self.each(Tensor::max_abs)?.max())
    }

    /// ‖a − b‖_∞ over the shared parameters.
    pub fn difference(self, other: Self) -> Option<Tensor<1>> {
        let filled = |(one, _): &(Tensor<1>, _)| one.shape().num_elements() > 0;
        let found = self.pairs(other).filter(filled).map(|(one, other)| {
            let one = in_f32(one);
            (in_f32(other).to_device(&one.device()) - one).max_abs()
        });
        let found: Vec<_> = found.collect();
        (!found.is_empty()).then(|| Tensor::cat(found, 0).max())
    }

    /// ‖a − b‖₂ over the shared parameters.
    pub fn distance(self, other: Self) -> Option<Tensor<1>> {
        let mut sum = Sum::default();
        for (before, after) in self.pairs(other) {
            // An update may move a parameter to another device.
            let after = in_f32(after);
            sum.add(after.clone() - in_f32(before).to_device(&after.device()));
        }
        sum.root()
    }

    /// Converts to gradients of the module's parameters, on their current devices.
    pub fn into_single<M: Module>(self, module: &M) -> GradientsParams {
        self.into_slots(module, &[]).remove(0)
    }

    /// Converts to gradients of the module's parameters, of one device or each in the slot of its device.
    pub fn into_gradients<M: Module>(
        self,
        module: &M,
        devices: Option<Vec<Device>>,
    ) -> GradAdaptor {
        match devices {
            None => self.into_single(module).into(),
            Some(devices) => {
                let slots = self.into_slots(module, &devices);
                MultiGradientsParams { grads: slots.into_iter().zip(devices).collect() }.into()
            }
        }
    }

    fn into_slots<M: Module>(self, module: &M, devices: &[Device]) -> Vec<GradientsParams> {
        struct Put<'a> {
            from: HashMap<ParamId, Tensor<1>>,
            slots: Vec<GradientsParams>,
            devices: &'a [Device],
        }
        impl ModuleVisitor for Put<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let Some(gradient) = self.from.remove(&param.id) else { return };
                let device = gradient.device();
                let slot = self.devices.iter().position(|slot| *slot == device).unwrap_or(0);
                let gradient = shaped::<1, D>(gradient, param.lazy_shape());
                self.slots[slot].register(param.id, gradient);
            }
        }
        let slots = (0..devices.len().max(1)).map(|_| GradientsParams::new()).collect();
        let mut put = Put { from: self.0.into_iter().collect(), slots, devices };
        module.visit(&mut put);
        put.slots
    }
}

impl FromIterator<(ParamId, Tensor<1>)> for ByParameter {
    fn from_iter<T: IntoIterator<Item = (ParamId, Tensor<1>)>>(tensors: T) -> Self {
        Self(tensors.into_iter().collect())
    }
}

/// The largest absolute entry of each parameter that is not quantized, in one read.
pub(crate) fn largest_entries<M: Module>(module: &M) -> Vec<(ParamId, f64)> {
    let weights = ByParameter::weights(module, |_, _| true);
    let filled = weights.0.into_iter().filter(|(_, weight)| weight.shape().num_elements() > 0);
    let (ids, entries): (Vec<_>, Vec<_>) =
        filled.map(|(id, weight)| (id, weight.max_abs())).unzip();
    ids.into_iter().zip(numbers(entries)).collect()
}

/// The types of a module's parameters, as [`parameters`](crate::groups::parameters) lists them.
pub(crate) fn precisions<M: Module>(module: &M) -> Vec<DType> {
    #[derive(Default)]
    struct Types {
        seen: HashSet<ParamId>,
        found: Vec<DType>,
    }
    impl ModuleVisitor for Types {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.seen.insert(param.id) {
                self.found.push(param.base().dtype());
            }
        }
    }
    let mut types = Types::default();
    module.visit(&mut types);
    types.found
}

/// The parameters that are in half precision.
pub(crate) fn half_parameters<M: Module>(module: &M) -> HashSet<ParamId> {
    let weights = ByParameter::weights(module, |_, _| true);
    weights.0.into_iter().filter(|(_, weight)| is_half(weight.dtype())).map(|(id, _)| id).collect()
}

/// Flattens a tensor.
pub(crate) fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let elements = tensor.shape().num_elements();
    shaped(tensor, Shape::new([elements]))
}

/// The tensor in another shape of the same size.
pub(crate) fn shaped<const D: usize, const E: usize>(tensor: Tensor<D>, shape: Shape) -> Tensor<E> {
    match shape.num_elements() {
        // Burn takes a size of 0 for one that stays as it is.
        0 => Tensor::zeros(shape, (&tensor.device(), tensor.dtype())),
        _ => tensor.reshape(shape),
    }
}

/// Casts half-precision gradients to f32, so that their sums do not overflow.
pub(crate) fn in_f32_gradients<M: Module>(
    module: &M,
    gradients: GradientsParams,
) -> GradientsParams {
    ByParameter::gradients(module, gradients.into()).map(in_f32).into_single(module)
}

/// Whether this type is half precision.
pub(crate) fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// Casts half precision to f32.
pub(crate) fn in_f32<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    if is_half(tensor.dtype()) { tensor.cast(FloatDType::F32) } else { tensor }
}

/// The sum of the gradients of two batches.
pub(crate) fn sum<M: Module>(
    model: &M,
    one: GradientsParams,
    other: GradientsParams,
) -> GradientsParams {
    let mut sum = GradientsAccumulator::new();
    sum.accumulate(model, one);
    sum.accumulate(model, other);
    sum.grads()
}
