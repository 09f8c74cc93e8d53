//! Shows one parameter of a model to an optimizer outside an update.

use burn::module::{Devices, Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};

/// A module with one parameter at its path in the model.
#[derive(Clone, Debug)]
pub(super) struct SingleParameter<const D: usize> {
    param: Param<Tensor<D>>,
    path: Vec<String>,
}

impl<const D: usize> SingleParameter<D> {
    pub fn new(id: ParamId, shown: Tensor<D>, path: Vec<String>) -> Self {
        Self { param: Param::initialized(id, shown), path }
    }

    /// Lets the optimizer make a step with it inside a [`Scope`](super::context::Scope) that prevents the update. A
    /// gradient of one element is enough then; optimizers that ignore the scope need a gradient of its `shape`.
    pub fn show(self, optimizer: &mut ModuleOptimizer, shape: [usize; D]) {
        let device = self.param.base().device().inner();
        let mut gradients = GradientsParams::new();
        gradients.register(self.param.id, Tensor::<D>::zeros(shape, &device));
        optimizer.step(0.0, self, gradients);
    }
}

impl<const D: usize> Module for SingleParameter<D> {
    fn map<Mapper: ModuleMapper>(self, mapper: &mut Mapper) -> Self {
        for name in &self.path {
            mapper.enter_module(name, "");
        }
        Self { param: mapper.map_float(self.param), path: self.path }
    }

    fn visit<Visitor: ModuleVisitor>(&self, visitor: &mut Visitor) {
        visitor.visit_float(&self.param);
    }

    fn collect_devices(&self, devices: Devices) -> Devices {
        self.param.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        Self { param: self.param.fork(device), path: self.path }
    }

    fn to_device(self, device: &Device) -> Self {
        Self { param: self.param.to_device(device), path: self.path }
    }

    fn train(self) -> Self {
        Self { param: self.param.train(), path: self.path }
    }

    fn valid(&self) -> Self {
        Self { param: self.param.valid(), path: self.path.clone() }
    }

    fn materialize(self) -> Self {
        self
    }
}
