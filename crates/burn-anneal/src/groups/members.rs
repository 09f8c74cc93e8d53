//! Which parameter of a model is in which group, by its id.

use super::Groups;
use super::context::{Momentum, Setting, Update};
use super::measure::Measured;
use super::resolved::ResolvedGroup;
use crate::decay::Shrink;
use burn::module::{Devices, Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use std::collections::HashMap;
use std::sync::Arc;

/// Remembers the group of each parameter by its id, so that a path is looked up once: at the first
/// update, and at the next one after the model may have got other ids, as it does from a record.
#[derive(Clone, Debug)]
pub(crate) struct Members {
    known: Arc<HashMap<ParamId, Known>>,
    /// Whether ids may not be known.
    expects_ids: bool,
    /// Whether some that train may not have been introduced to the optimizer.
    expects_new: bool,
    next_step: u64,
    /// How many steps just before it were left out.
    left_out: u64,
    measured: Measured,
    /// How far the last update moved all weights, where that was asked for.
    movement: Option<Tensor<1>>,
}

/// An update that is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    /// Its step of the schedule.
    pub step: u64,
    /// Its number among all updates, skipped ones included.
    pub number: u64,
    /// What the rates of all groups are multiplied by.
    pub factor: f64,
    /// Whether it shall be known how far it moves the weights.
    pub measures_movement: bool,
}

impl At {
    /// As the schedule says.
    pub fn step(step: u64) -> Self {
        Self { step, number: step, factor: 1.0, measures_movement: false }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// `None` for what is not trained, such as running statistics.
    pub group: Option<usize>,
    /// Whether the optimizer has a state for it.
    introduced: bool,
}

impl Members {
    pub fn new(next_step: u64) -> Self {
        Self {
            known: Arc::default(),
            expects_ids: true,
            expects_new: true,
            next_step,
            left_out: 0,
            measured: Measured::default(),
            movement: None,
        }
    }

    /// ‖Δw‖₂ of the last update, where that was asked for.
    pub fn take_movement(&mut self) -> Option<Tensor<1>> {
        self.movement.take()
    }

    /// Looks all parameters up again at the next update.
    pub fn expect_other_ids(&mut self) {
        self.expects_ids = true;
    }

    /// What is measured of the updates.
    pub fn measured(&self) -> &Measured {
        &self.measured
    }

    pub fn next_step(&self) -> u64 {
        self.next_step
    }

    /// How many steps just before the next one were left out.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Goes on after so many were.
    pub fn expect_left_out(&mut self, steps: u64) {
        self.left_out = steps;
    }

    /// Makes an update: `optimize` runs with the rates of the groups, and the model that comes out is ready
    /// for the next.
    pub fn update<M: Module>(
        &mut self,
        groups: &Groups,
        at: At,
        model: M,
        optimizer: &mut ModuleOptimizer,
        optimize: impl FnOnce(M, &mut ModuleOptimizer) -> M,
    ) -> M {
        let At { step, number, factor, measures_movement } = at;
        let followed = step == self.next_step;
        if !followed {
            self.come_from_elsewhere(groups, step);
        }
        let settings = settings(groups, step, factor, std::mem::take(&mut self.left_out));
        self.look_up(groups, &model);
        self.introduce(&settings, &model, optimizer);

        let measures_steps = self.measured.is_wanted();
        let update = Update::begin(settings, self.known.clone(), measures_steps, measures_movement);
        let model = optimize(model, optimizer);
        self.movement = update.take_movement();
        if let Some(steps) = update.take_steps() {
            self.measured.keep(number, steps);
        }
        let strangers = update.strangers();
        drop(update);

        if strangers > 0 {
            log::warn!(
                "update {step} left {strangers} parameters as they are. If model or optimizer loaded \
                 a record that the groups were not told of, they train again from the next update on; \
                 if the model trains what it did not when its groups were made, they are in no group"
            );
            self.expect_other_ids();
        }
        self.come_to_next(groups, step, model, followed)
    }

    /// Leaves update `step` out: the model that comes out is ready for the next.
    pub fn skip<M: Module>(&mut self, groups: &Groups, step: u64, model: M) -> M {
        let followed = step == self.next_step;
        if !followed {
            self.come_from_elsewhere(groups, step);
        }
        self.left_out += 1;
        self.come_to_next(groups, step, model, followed)
    }

    fn come_to_next<M: Module>(
        &mut self,
        groups: &Groups,
        step: u64,
        model: M,
        followed: bool,
    ) -> M {
        self.next_step = step.saturating_add(1);
        if !followed || groups.freezes_differ(step, self.next_step) {
            self.expects_new = true;
            groups.prepare(model, self.next_step)
        } else {
            model
        }
    }

    fn come_from_elsewhere(&mut self, groups: &Groups, step: u64) {
        if groups.freezes_differ(self.next_step, step) {
            log::error!(
                "update {step} came where update {} was expected, so other groups were frozen in its \
                 forward pass; name the checkpoint to LearnerBuilder::resume_from",
                self.next_step
            );
        }
        self.expect_other_ids();
    }

    fn look_up<M: Module>(&mut self, groups: &Groups, model: &M) {
        if !std::mem::take(&mut self.expects_ids) {
            return;
        }
        let mut paths = Paths { groups, path: vec![], found: HashMap::new() };
        model.visit(&mut paths);
        self.known = Arc::new(paths.found);
        self.expects_new = true;
    }

    /// Gives each parameter that trains, and that the optimizer has not met, a state that says its
    /// group.
    fn introduce<M: Module>(
        &mut self,
        settings: &[Setting],
        model: &M,
        optimizer: &mut ModuleOptimizer,
    ) {
        if !std::mem::take(&mut self.expects_new) {
            return;
        }
        let known = Arc::make_mut(&mut self.known);
        model.visit(&mut Introducer { known, settings, optimizer, path: vec![] });
    }
}

fn settings(groups: &Groups, step: u64, factor: f64, left_out: u64) -> Vec<Setting> {
    let base = groups.table.base.rate(step);
    let setting = |group: &ResolvedGroup| {
        let rate = group.rate(base, step) * factor;
        let share = group.shrinkage.at(step, rate);
        // A drop at a step that was left out is one of the update that follows.
        let drop = |of: u64| {
            let of = if of < step { of.saturating_sub(left_out) } else { of };
            group.rate(groups.table.base.rate(of), of)
        };
        Setting {
            rate,
            shrink: Shrink { share, cautious: group.shrinkage.is_cautious() },
            frozen: group.is_frozen(step),
            momentum: Momentum {
                momentum: group.momentum.as_ref().map(|momentum| momentum.rate(step)),
                drop: groups.table.rate_drop.effect(step, drop),
            },
        }
    };
    groups.table.groups.iter().map(setting).collect()
}

struct Paths<'a> {
    groups: &'a Groups,
    path: Vec<String>,
    found: HashMap<ParamId, Known>,
}

impl ModuleVisitor for Paths<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let group = self.groups.table.of_path.get(&self.path.join(".")).copied();
        // A parameter that the module holds twice has the group of the place where it is met first.
        self.found.entry(param.id).or_insert(Known { group, introduced: false });
    }
}

struct Introducer<'a> {
    known: &'a mut HashMap<ParamId, Known>,
    settings: &'a [Setting],
    optimizer: &'a mut ModuleOptimizer,
    path: Vec<String>,
}

impl ModuleVisitor for Introducer<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(known) = self.known.get_mut(&param.id) else { return };
        let Some(group) = known.group.filter(|&group| !self.settings[group].frozen) else { return };
        if std::mem::replace(&mut known.introduced, true) {
            return;
        }
        // A gradient of one element is enough for a state to be made; the context says that nothing
        // is to be updated.
        let device = param.val().device();
        let tiny = Tensor::<D>::zeros([1; D], &device);
        let mut gradients = GradientsParams::new();
        gradients.register(param.id, tiny.clone().inner());
        let card = Card { param: Param::initialized(param.id, tiny), path: self.path.clone() };
        let _introducing = Update::introducing(group);
        self.optimizer.step(0.0, card, gradients);
    }
}

/// A module of one parameter, to introduce an id to an optimizer.
#[derive(Clone, Debug)]
struct Card<const D: usize> {
    param: Param<Tensor<D>>,
    path: Vec<String>,
}

impl<const D: usize> Module for Card<D> {
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
