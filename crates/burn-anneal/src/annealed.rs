//! The module that the builder puts around the user's model.

use crate::clip::Rescale;
use crate::groups::{At, Explanation, GroupMetric, Groups, Members, step_of};
use crate::precision::{
    Observation, Scaling, ScalingFailure, ScalingMetric, Trained, in_f32_gradients,
};
use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::{Devices, Module, ModuleMapper, ModuleVisitor};
use burn::optim::{GradAdaptor, GradientsParams, ModuleOptimizer, MultiGradientsParams};
use burn::tensor::Device;
use burn::train::{InferenceStep, TrainOutput, TrainStep};
use std::fmt;

/// A model as [`LearnerBuilder`](crate::LearnerBuilder) trains it: it rescales and clips the
/// gradients between the backward pass and the optimizer, gives each group of parameters its rate,
/// freezes those that do not train yet, and scales losses.
///
/// It delegates [`Module`] by hand, so parameter paths have no prefix: a checkpoint saved under it
/// loads into the bare model, and back. [`into_inner`](Annealed::into_inner) gives the model back
/// after training.
#[derive(Clone)]
pub struct Annealed<M> {
    model: M,
    rescale: Rescale,
    /// Whether its gradients are those of half precision, which are summed in f32.
    is_half: bool,
    groups: Option<Grouping>,
}

/// Groups, and which parameters are in them.
#[derive(Clone)]
struct Grouping {
    groups: Groups,
    members: Members,
    /// It needs groups, for the rate of an update may not be that of Burn's scheduler.
    scaling: Option<Scaling>,
}

impl<M> Annealed<M> {
    pub(crate) fn new(model: M, rescale: Rescale, is_half: bool) -> Self {
        Self { model, rescale, is_half, groups: None }
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
        let Grouping { groups, members, scaling } = self.groups.as_ref()?;
        let scaling = scaling.as_ref().map(Scaling::summary);
        Some(Explanation { scaling, ..groups.explain(members.next_step()) })
    }

    fn scaling(&self) -> Option<&Scaling> {
        self.groups.as_ref()?.scaling.as_ref()
    }

    /// What the last update showed, where the loss is scaled.
    pub fn observation(&self) -> Option<&Observation> {
        self.scaling().map(Scaling::seen)
    }

    /// Why training was stopped, where loss scaling stopped it: Burn's `LearningResult::interrupted` has the
    /// same in words.
    pub fn failure(&self) -> Option<&ScalingFailure> {
        self.scaling()?.failure()
    }

    /// Metrics of loss scaling: the scale of each update, whether it was skipped, and with a cap on the rate
    /// what the rate was multiplied by. None without loss scaling.
    pub fn scaling_metrics(&self) -> Vec<ScalingMetric> {
        self.scaling().map_or(vec![], Scaling::metrics)
    }

    /// Metrics that say what was done, where updates may be skipped or their rate cut.
    fn reported(&self, metrics: Vec<GroupMetric>) -> Vec<GroupMetric> {
        match self.scaling() {
            Some(scaling) => {
                metrics.into_iter().map(|metric| metric.with_reports(scaling.reports())).collect()
            }
            None => metrics,
        }
    }

    /// A metric of each group's rate, for `SupervisedTraining::metric_train_numeric`; none without
    /// groups.
    pub fn rate_metrics(&self) -> Vec<GroupMetric> {
        self.reported(self.groups().map_or(vec![], Groups::rate_metrics))
    }

    /// Metrics of each group's weight decay: the share that it takes, and what it has left. A metric that
    /// begins in mid-run takes the updates before it as the schedule has them.
    pub fn decay_metrics(&self) -> Vec<GroupMetric> {
        self.reported(self.groups().map_or(vec![], Groups::decay_metrics))
    }

    /// A metric of how far each group really moves: the root of the mean square of what an update adds to
    /// its weights, which is Adam's effective step
    /// ([`AdamStep`](crate::schedule::analysis::AdamStep) predicts it). From then on the model measures
    /// its updates: a sum over all weights on the device, and one read for each metric and update, by the
    /// thread of the metrics.
    pub fn step_metrics(&self) -> Vec<GroupMetric> {
        let Some(Grouping { groups, members, .. }) = &self.groups else { return vec![] };
        self.reported(groups.step_metrics(members.measured()))
    }

    /// A metric of the Euclidean norm of each group's weights after each update, which shows what a weight
    /// decay really does. It costs what [`step_metrics`](Self::step_metrics) costs, which measure the same.
    pub fn norm_metrics(&self) -> Vec<GroupMetric> {
        let Some(Grouping { groups, members, .. }) = &self.groups else { return vec![] };
        self.reported(groups.norm_metrics(members.measured()))
    }

    /// A metric of each group's momentum, where it has a schedule of it.
    pub fn momentum_metrics(&self) -> Vec<GroupMetric> {
        self.reported(self.groups().map_or(vec![], Groups::momentum_metrics))
    }

    /// Changes the model, which may get other parameter ids by it, as it does when a record is loaded.
    fn with(self, change: impl FnOnce(M) -> M) -> Self {
        let mut groups = self.groups;
        if let Some(grouping) = &mut groups {
            grouping.members.expect_other_ids();
        }
        Self { model: change(self.model), groups, ..self }
    }
}

impl<M: Module> Annealed<M> {
    /// Trains in groups from update `next_step` of the schedule on, `left_out` steps of which were skipped
    /// just before it.
    pub(crate) fn grouped(
        self,
        groups: Groups,
        next_step: u64,
        left_out: u64,
        scaling: Option<Scaling>,
    ) -> Self {
        let model = groups.prepare(self.model, next_step);
        let mut members = Members::new(next_step);
        members.expect_left_out(left_out);
        Self { model, groups: Some(Grouping { groups, members, scaling }), ..self }
    }
}

impl<M: TrainStep + Module> Annealed<M> {
    /// Makes an update with the gradients of one device or of several.
    fn update(
        self,
        optimizer: &mut ModuleOptimizer,
        rates: ModuleLearningRate,
        gradients: GradAdaptor,
    ) -> Self {
        let Self { model, rescale, is_half, groups } = self;
        let Some(Grouping { groups, mut members, scaling }) = groups else {
            let gradients = rescale.rescale_if_asked(&model, gradients);
            let model = optimize(model, optimizer, rates, gradients);
            return Self { model, rescale, is_half, groups: None };
        };
        let number = step_of(&rates);
        let (model, scaling) = match scaling {
            Some(mut scaling) => {
                let trained = Trained { model, groups: &groups, members: &mut members, optimizer };
                let model = scaling.update(trained, number, rescale, gradients);
                (model, Some(scaling))
            }
            None => {
                let gradients = rescale.rescale_if_asked(&model, gradients);
                let step = number.unwrap_or(members.next_step());
                // Burn looks each parameter up in the groups of these rates; ours have theirs elsewhere.
                let base = rates.base().into();
                let optimize =
                    |model, optimizer: &mut _| optimize(model, optimizer, base, gradients);
                (members.update(&groups, At::step(step), model, optimizer, optimize), None)
            }
        };
        Self { model, rescale, is_half, groups: Some(Grouping { groups, members, scaling }) }
    }
}

/// The model's own way to make an update.
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
        Self { model: self.model.valid(), groups: self.groups.clone(), ..*self }
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
        match self.scaling() {
            Some(scaling) => scaling.pass(&self.model, item),
            None if self.is_half => {
                let TrainOutput { grads, item } = self.model.step(item);
                TrainOutput { grads: in_f32_gradients(&self.model, grads), item }
            }
            None => self.model.step(item),
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
        self.model.step(item)
    }
}
