//! What is asked of the gradients of a module: in f32, copied, their largest entry, their difference, and
//! that of the weights; and one read for all that is known of an update.

use super::in_f32;
use crate::groups::Sum;
use anneal_control::Observation;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradAdaptor, GradientsParams, MultiGradientsParams};
use burn::tensor::{FloatDType, Tensor};

/// Reads all that is known of an update at once.
pub(super) fn read(
    norm: Option<Tensor<1>>,
    losses: Vec<Tensor<1>>,
    largest: Vec<Tensor<1>>,
    movement: Option<Tensor<1>>,
) -> Observation {
    let on_one_device = |tensors: Vec<Tensor<1>>| {
        let device = tensors.first().map(Tensor::device);
        let tensors = tensors.into_iter().zip(device.into_iter().cycle());
        let tensors =
            tensors.map(|(tensor, device)| tensor.to_device(&device).cast(FloatDType::F32));
        let tensors: Vec<_> = tensors.collect();
        (!tensors.is_empty()).then(|| Tensor::cat(tensors, 0))
    };
    let values = [
        norm,
        on_one_device(losses).map(Tensor::mean),
        on_one_device(largest).map(Tensor::max),
        movement,
    ];
    let known = values.each_ref().map(Option::is_some);
    let read = on_one_device(values.into_iter().flatten().collect());
    let mut numbers =
        read.map_or(vec![], |read| read.into_data().iter::<f64>().collect()).into_iter();
    let [gradient_norm, loss, largest_gradient, movement] =
        known.map(|known| if known { numbers.next() } else { None });
    let overflow = gradient_norm.is_some_and(|norm: f64| !norm.is_finite());
    Observation { loss, gradient_norm, largest_gradient, movement, overflow }
}

/// Gradients of half precision in f32, where sums of them do not overflow.
pub(crate) fn in_f32_gradients<M: Module>(
    module: &M,
    gradients: GradientsParams,
) -> GradientsParams {
    let mut cast = InF32 { from: gradients, to: GradientsParams::new() };
    module.visit(&mut cast);
    cast.to
}

struct InF32 {
    from: GradientsParams,
    to: GradientsParams,
}

impl ModuleVisitor for InF32 {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.from.remove::<D>(param.id) {
            self.to.register(param.id, in_f32(gradient));
        }
    }
}

/// Handles of the same gradients.
pub(super) fn copied<M: Module>(module: &M, gradients: &GradientsParams) -> GradientsParams {
    let mut copy = Copy { from: gradients, to: GradientsParams::new() };
    module.visit(&mut copy);
    copy.to
}

pub(super) fn copied_any<M: Module>(module: &M, gradients: &GradAdaptor) -> GradAdaptor {
    match gradients {
        GradAdaptor::Single(gradients) => GradAdaptor::Single(copied(module, gradients)),
        GradAdaptor::Multi(gradients) => {
            let grads = gradients.grads.iter();
            let grads =
                grads.map(|(grads, device)| (copied(module, grads), device.clone())).collect();
            GradAdaptor::Multi(MultiGradientsParams { grads })
        }
    }
}

struct Copy<'a> {
    from: &'a GradientsParams,
    to: GradientsParams,
}

impl ModuleVisitor for Copy<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.from.get::<D>(param.id) {
            self.to.register(param.id, gradient);
        }
    }
}

/// The largest absolute entry of gradients.
pub(super) fn largest<M: Module>(module: &M, gradients: &GradientsParams) -> Option<Tensor<1>> {
    let mut largest = Largest { gradients, found: vec![] };
    module.visit(&mut largest);
    (!largest.found.is_empty()).then(|| Tensor::cat(largest.found, 0).max())
}

struct Largest<'a> {
    gradients: &'a GradientsParams,
    found: Vec<Tensor<1>>,
}

impl ModuleVisitor for Largest<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.found.push(gradient.max_abs());
        }
    }
}

/// ‖g − g′‖_∞ between gradients of the same parameters, on the device.
pub(super) fn difference<M: Module>(
    module: &M,
    before: GradientsParams,
    after: GradientsParams,
) -> Option<Tensor<1>> {
    let mut change = Change { before, after, found: vec![] };
    module.visit(&mut change);
    (!change.found.is_empty()).then(|| Tensor::cat(change.found, 0).max())
}

struct Change {
    before: GradientsParams,
    after: GradientsParams,
    found: Vec<Tensor<1>>,
}

impl ModuleVisitor for Change {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let pair = self.before.remove::<D>(param.id).zip(self.after.remove::<D>(param.id));
        if let Some((before, after)) = pair {
            self.found.push((after - before).max_abs());
        }
    }
}

/// ‖w − w′‖₂ between the weights that train of two states of a module, on the device.
pub(super) fn distance<M: Module>(before: &M, after: &M) -> Option<Tensor<1>> {
    let mut weights = Weights(GradientsParams::new());
    before.visit(&mut weights);
    let mut far = Far { before: weights.0, sum: Sum::default() };
    after.visit(&mut far);
    far.sum.root()
}

/// Weights by their ids, in the only container by ids that Burn has.
struct Weights(GradientsParams);

impl ModuleVisitor for Weights {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let weight = param.base();
        if weight.is_require_grad() {
            self.0.register(param.id, weight.inner());
        }
    }
}

struct Far {
    before: GradientsParams,
    sum: Sum,
}

impl ModuleVisitor for Far {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(before) = self.before.remove::<D>(param.id) {
            // An update may move a parameter to another device.
            let after = in_f32(param.base().inner());
            let before = in_f32(before).to_device(&after.device());
            self.sum.add(after - before);
        }
    }
}
