//! The module that the builder puts around the user's model.

use crate::clip::Rescale;
use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::{Devices, Module, ModuleMapper, ModuleVisitor};
use burn::optim::{GradientsParams, ModuleOptimizer, MultiGradientsParams};
use burn::tensor::Device;
use burn::train::{InferenceStep, TrainOutput, TrainStep};
use std::fmt;

/// A model as [`LearnerBuilder`](crate::LearnerBuilder) trains it: it rescales and clips the
/// gradients between the backward pass and the optimizer.
///
/// It delegates [`Module`] by hand, so parameter paths have no prefix: a checkpoint saved under it
/// loads into the bare model, and back. [`into_inner`](Annealed::into_inner) gives the model back
/// after training.
#[derive(Clone)]
pub struct Annealed<M> {
    model: M,
    rescale: Rescale,
}

impl<M> Annealed<M> {
    pub(crate) fn new(model: M, rescale: Rescale) -> Self {
        Self { model, rescale }
    }

    /// The user's model.
    pub fn inner(&self) -> &M {
        &self.model
    }

    /// Gives the user's model back.
    pub fn into_inner(self) -> M {
        self.model
    }

    fn with(self, change: impl FnOnce(M) -> M) -> Self {
        Self { model: change(self.model), rescale: self.rescale }
    }
}

impl<M: fmt::Debug> fmt::Debug for Annealed<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.model.fmt(f)
    }
}

impl<M: fmt::Display> fmt::Display for Annealed<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.model.fmt(f)
    }
}

impl<M: Module> Module for Annealed<M> {
    fn collect_devices(&self, devices: Devices) -> Devices {
        self.model.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        self.with(|model| model.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        self.with(|model| model.to_device(device))
    }

    fn train(self) -> Self {
        self.with(M::train)
    }

    fn valid(&self) -> Self {
        Self { model: self.model.valid(), rescale: self.rescale }
    }

    fn materialize(self) -> Self {
        self.with(M::materialize)
    }

    fn visit<Visitor: ModuleVisitor>(&self, visitor: &mut Visitor) {
        self.model.visit(visitor);
    }

    fn map<Mapper: ModuleMapper>(self, mapper: &mut Mapper) -> Self {
        self.with(|model| model.map(mapper))
    }
}

impl<M: TrainStep + Module> TrainStep for Annealed<M> {
    type Input = M::Input;
    type Output = M::Output;

    fn step(&self, item: Self::Input) -> TrainOutput<Self::Output> {
        self.model.step(item)
    }

    fn optimize(
        self,
        optim: &mut ModuleOptimizer,
        lr_module: ModuleLearningRate,
        grads: GradientsParams,
    ) -> Self {
        let grads = if self.rescale.changes_nothing() {
            grads
        } else {
            self.rescale.single(&self.model, grads)
        };
        self.with(|model| model.optimize(optim, lr_module, grads))
    }

    fn optimize_multi(
        self,
        optim: &mut ModuleOptimizer,
        lr_module: ModuleLearningRate,
        grads: MultiGradientsParams,
    ) -> Self {
        let grads = if self.rescale.changes_nothing() {
            grads
        } else {
            self.rescale.multi(&self.model, grads)
        };
        self.with(|model| model.optimize_multi(optim, lr_module, grads))
    }
}

impl<M: InferenceStep> InferenceStep for Annealed<M> {
    type Input = M::Input;
    type Output = M::Output;

    fn step(&self, item: Self::Input) -> Self::Output {
        self.model.step(item)
    }
}
