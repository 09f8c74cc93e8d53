//! The module that the builder puts around the user's model.

use crate::clip::Rescale;
use crate::groups::{Explanation, GroupMetric, Groups, Members, step_of};
use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::{Devices, Module, ModuleMapper, ModuleVisitor};
use burn::optim::{GradientsParams, ModuleOptimizer, MultiGradientsParams};
use burn::tensor::Device;
use burn::train::{InferenceStep, TrainOutput, TrainStep};
use std::fmt;

/// A model as [`LearnerBuilder`](crate::LearnerBuilder) trains it: it rescales and clips the
/// gradients between the backward pass and the optimizer, gives each group of parameters its rate, and
/// freezes those that do not train yet.
///
/// It delegates [`Module`] by hand, so parameter paths have no prefix: a checkpoint saved under it
/// loads into the bare model, and back. [`into_inner`](Annealed::into_inner) gives the model back
/// after training.
#[derive(Clone)]
pub struct Annealed<M> {
    model: M,
    rescale: Rescale,
    groups: Option<Grouping>,
}

/// Groups, and which parameters are in them.
#[derive(Clone)]
struct Grouping {
    groups: Groups,
    members: Members,
}

impl<M> Annealed<M> {
    pub(crate) fn new(model: M, rescale: Rescale) -> Self {
        Self { model, rescale, groups: None }
    }

    /// The user's model.
    pub fn inner(&self) -> &M {
        &self.model
    }

    /// Gives the user's model back.
    pub fn into_inner(self) -> M {
        self.model
    }

    /// The groups of its parameters, where the builder was given groups, a weight decay or a momentum.
    pub fn groups(&self) -> Option<&Groups> {
        self.groups.as_ref().map(|grouping| &grouping.groups)
    }

    /// What each group is and does in the next update: a table, or JSON. `None` without groups.
    pub fn explain(&self) -> Option<Explanation> {
        let Grouping { groups, members } = self.groups.as_ref()?;
        Some(groups.explain(members.next_step()))
    }

    /// A metric of each group's rate, for `SupervisedTraining::metric_train_numeric`; none without
    /// groups.
    pub fn rate_metrics(&self) -> Vec<GroupMetric> {
        self.groups().map_or(vec![], Groups::rate_metrics)
    }

    /// Metrics of each group's weight decay: the share that it takes, and what it has left.
    pub fn decay_metrics(&self) -> Vec<GroupMetric> {
        self.groups().map_or(vec![], Groups::decay_metrics)
    }

    /// A metric of how far each group really moves: the root of the mean square of what an update adds to
    /// its weights, which is Adam's effective step
    /// ([`AdamStep`](crate::schedule::analysis::AdamStep) predicts it). From then on the model measures
    /// its updates: a sum over all weights on the device, and one read for each metric and update, by the
    /// thread of the metrics.
    pub fn step_metrics(&self) -> Vec<GroupMetric> {
        let Some(Grouping { groups, members }) = &self.groups else { return vec![] };
        groups.step_metrics(members.measured())
    }

    /// A metric of the Euclidean norm of each group's weights after each update, which shows what a weight
    /// decay really does. It costs what [`step_metrics`](Self::step_metrics) costs, which measure the same.
    pub fn norm_metrics(&self) -> Vec<GroupMetric> {
        let Some(Grouping { groups, members }) = &self.groups else { return vec![] };
        groups.norm_metrics(members.measured())
    }

    /// A metric of each group's momentum, where it has a schedule of it.
    pub fn momentum_metrics(&self) -> Vec<GroupMetric> {
        self.groups().map_or(vec![], Groups::momentum_metrics)
    }

    /// Changes the model, which may get other parameter ids by it, as it does when a record is loaded.
    fn with(self, change: impl FnOnce(M) -> M) -> Self {
        let mut groups = self.groups;
        if let Some(grouping) = &mut groups {
            grouping.members.expect_other_ids();
        }
        Self { model: change(self.model), rescale: self.rescale, groups }
    }
}

impl<M: Module> Annealed<M> {
    /// Trains in groups from update `next_step` on.
    pub(crate) fn grouped(self, groups: Groups, next_step: u64) -> Self {
        let model = groups.prepare(self.model, next_step);
        let grouping = Grouping { groups, members: Members::new(next_step) };
        Self { model, rescale: self.rescale, groups: Some(grouping) }
    }

    /// Runs an update of the model, in its groups where it has some.
    fn update(
        self,
        optim: &mut ModuleOptimizer,
        lr_module: ModuleLearningRate,
        optimize: impl FnOnce(M, &mut ModuleOptimizer, ModuleLearningRate) -> M,
    ) -> Self {
        let Self { model, rescale, groups } = self;
        let Some(Grouping { groups, mut members }) = groups else {
            return Self { model: optimize(model, optim, lr_module), rescale, groups };
        };
        let step = step_of(&lr_module).unwrap_or(members.next_step());
        // Burn looks each parameter up in the groups of these rates; ours have their rates elsewhere.
        let base = lr_module.base().into();
        let model = members
            .update(&groups, step, model, optim, |model, optim| optimize(model, optim, base));
        Self { model, rescale, groups: Some(Grouping { groups, members }) }
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
        Self { model: self.model.valid(), rescale: self.rescale, groups: self.groups.clone() }
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
        self.update(optim, lr_module, |model, optim, rates| model.optimize(optim, rates, grads))
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
        self.update(optim, lr_module, |model, optim, rates| {
            model.optimize_multi(optim, rates, grads)
        })
    }
}

impl<M: InferenceStep> InferenceStep for Annealed<M> {
    type Input = M::Input;
    type Output = M::Output;

    fn step(&self, item: Self::Input) -> Self::Output {
        self.model.step(item)
    }
}
