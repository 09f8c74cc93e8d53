//! The module that wraps the user's model.

use crate::average::Recompute;
use crate::update::{Failed, How, Monitor, Monitored, Tag, Updater};
use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::{Devices, Module, ModuleMapper, ModuleVisitor};
use burn::optim::{GradAdaptor, GradientsParams, ModuleOptimizer, MultiGradientsParams};
use burn::tensor::Device;
use burn::train::{InferenceStep, TrainOutput, TrainStep};
use std::any::Any;
use std::cell::Cell;
use std::fmt;

/// Wraps a model for training by [`LearnerBuilder`](crate::LearnerBuilder): between the backward pass and the optimizer
/// it reduces gradients, asks controllers, and sets the rate of each parameter group.
///
/// It delegates [`Module`] by hand, so parameter paths have no prefix: checkpoints of the wrapped and the bare model
/// are interchangeable. [`into_inner`](Annealed::into_inner) returns the model after training. [`Monitored`] gives
/// access during training.
///
/// The model's own `TrainStep::optimize` is called with the rate of the update, which it may multiply, and gradients as
/// the passes made them: the optimizer multiplies them by a factor for their mean, loss scale and clipping.
///
/// `train()`, which Burn's guide calls before further training, ends its run: a Burn learner then trains it like the
/// bare model, and a builder refuses it.
#[derive(Clone)]
pub struct Annealed<M> {
    model: M,
    updater: Updater,
    /// Recomputes the running statistics of averages.
    statistics: Option<Recompute<M>>,
    /// Whether the run is over, so that it acts like the bare model.
    is_over: bool,
}

impl<M> Annealed<M> {
    pub(crate) fn new(model: M, updater: Updater, statistics: Option<Recompute<M>>) -> Self {
        Self { model, updater, statistics, is_over: false }
    }

    /// The user's model.
    pub fn inner(&self) -> &M {
        &self.model
    }

    /// Returns the user's model, which requires gradients as before the run.
    pub fn into_inner(self) -> M
    where
        M: Module,
    {
        self.updater.monitor.release(self.model)
    }

    /// The model of the result, which is the validated one. The raw weights are kept for
    /// [`with_weights`](Monitored::with_weights).
    pub(crate) fn into_result(self) -> M
    where
        M: Module,
    {
        let evaluated = self.updater.valid(&self.model, self.statistics.as_ref());
        self.updater.monitor.release(evaluated.train())
    }

    /// Changes the model, which may change its parameter ids, for example when a record is loaded.
    fn with(mut self, change: impl FnOnce(M) -> M) -> Self {
        self.updater.expects_ids = true;
        Self { model: change(self.model), ..self }
    }
}

thread_local! {
    /// Whether an `Annealed` was asked for its devices.
    static SEEN: Cell<bool> = const { Cell::new(false) };
}

/// Whether a model contains an `Annealed`.
pub(crate) fn is_annealed<M: Module>(model: &M) -> bool {
    SEEN.set(false);
    model.devices();
    SEEN.get()
}

impl<M> Monitored for Annealed<M> {
    fn monitor(&self) -> &Monitor {
        &self.updater.monitor
    }
}

impl<M: TrainStep + Module> Annealed<M> {
    /// Makes an update with the gradients of one or several devices.
    fn update(
        self,
        optimizer: &mut ModuleOptimizer,
        rates: ModuleLearningRate,
        gradients: GradAdaptor,
    ) -> Self {
        let Self { model, mut updater, statistics, is_over } = self;
        if is_over {
            let model = optimize(model, optimizer, rates, gradients);
            return Self { model, updater, statistics, is_over };
        }
        let again = |model: &M, item: Option<Box<dyn Any + Send>>| {
            let item = item?.downcast::<M::Input>().ok()?;
            Some(model.step(*item).grads)
        };
        // Burn's learner also holds the model.
        let how = How {
            optimize: &optimize,
            again: Some(&again),
            is_shared: true,
            // The model's own `TrainStep::optimize` may.
            changes_weights: true,
        };
        let updated = updater.update(model, Tag::of(&rates), gradients, optimizer, how);
        let model = updated.unwrap_or_else(|Failed { model, .. }| model);
        Self { model, updater, statistics, is_over }
    }
}

/// Calls the model's own optimizer step.
pub(crate) fn optimize<M: TrainStep + Module>(
    model: M,
    optimizer: &mut ModuleOptimizer,
    rates: ModuleLearningRate,
    gradients: GradAdaptor,
) -> M {
    match gradients {
        GradAdaptor::Single(gradients) => model.optimize(optimizer, rates, gradients),
        GradAdaptor::Multi(gradients) => model.optimize_multi(optimizer, rates, gradients),
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
        SEEN.set(true);
        self.model.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        self.with(|model| model.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        self.with(|model| model.to_device(device))
    }

    fn train(self) -> Self {
        let monitor = self.updater.monitor.clone();
        Self { is_over: true, ..self.with(|model| monitor.release(model.train())) }
    }

    /// The model to evaluate: with averages, if there are any.
    fn valid(&self) -> Self {
        let model = match self.is_over {
            true => self.model.valid(),
            false => self.updater.valid(&self.model, self.statistics.as_ref()),
        };
        let (updater, statistics) = (self.updater.clone(), self.statistics.clone());
        Self { model, updater, statistics, is_over: self.is_over }
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
        match self.is_over {
            true => self.model.step(item),
            false => self.updater.pass(&self.model, item, |item| self.model.step(item)),
        }
    }

    fn optimize(
        self,
        optim: &mut ModuleOptimizer,
        lr_module: ModuleLearningRate,
        grads: GradientsParams,
    ) -> Self {
        self.update(optim, lr_module, grads.into())
    }

    fn optimize_multi(
        self,
        optim: &mut ModuleOptimizer,
        lr_module: ModuleLearningRate,
        grads: MultiGradientsParams,
    ) -> Self {
        self.update(optim, lr_module, grads.into())
    }
}

impl<M: InferenceStep> InferenceStep for Annealed<M> {
    type Input = M::Input;
    type Output = M::Output;

    fn step(&self, item: Self::Input) -> Self::Output {
        if self.is_over {
            return self.model.step(item);
        }
        self.updater.validates();
        self.updater.run(item, |item| self.model.step(item))
    }
}
