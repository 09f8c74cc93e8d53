//! Freezes the parts of a model that do not train yet.

use super::Groups;
use super::parameter::is_norm;
use super::resolved::Table;
use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;
use std::collections::HashMap;

impl Groups {
    /// Whether the frozen groups differ between updates `one` and `other`.
    pub(crate) fn freezes_differ(&self, one: u64, other: u64) -> bool {
        let mut groups = self.table.groups.iter();
        groups.any(|group| group.is_frozen(one) != group.is_frozen(other))
    }

    /// Prepares a model for the forward pass of update `step`: parameters of frozen groups require no
    /// gradient, all other trained parameters do. If everything before a layer is frozen, Burn records no
    /// graph for it and skips its backward pass.
    ///
    /// You need this only in a loop without a learner of [`LearnerBuilder`](crate::LearnerBuilder) or a
    /// [`TrainingLoop`](crate::TrainingLoop).
    pub fn prepare<M: Module>(&self, model: M, step: u64) -> M {
        model.map(&mut Freezer { table: &self.table, step: Some(step), path: vec![] })
    }

    /// Undoes [`prepare`](Self::prepare): every parameter that trained before the run requires a gradient again.
    pub(crate) fn release<M: Module>(&self, model: M) -> M {
        model.map(&mut Freezer { table: &self.table, step: None, path: vec![] })
    }
}

struct Freezer<'a> {
    table: &'a Table,
    /// `None` if nothing is frozen.
    step: Option<u64>,
    path: Vec<String>,
}

impl Freezer<'_> {
    fn trains(&self, group: usize) -> bool {
        self.step.is_none_or(|step| !self.table.groups[group].is_frozen(step))
    }
}

impl ModuleMapper for Freezer<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.table.of_path.get(&self.path.join(".")) {
            Some(&group) => {
                let trains = self.trains(group);
                // Setting it again would make a new leaf of the graph.
                if param.is_require_grad() == trains {
                    param
                } else {
                    param.set_require_grad(trains)
                }
            }
            None => param,
        }
    }

    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        match self.table.of_flag.get(&self.path.join(".")) {
            Some(&group) if self.table.freeze_statistics => flag.with_value(self.trains(group)),
            _ => flag,
        }
    }
}

/// The batch norms that currently update their statistics: the path of each flag, and the group of its
/// parameters.
pub(crate) fn batch_norm_flags<M: Module>(
    model: &M,
    of_path: &HashMap<String, usize>,
) -> HashMap<String, usize> {
    let mut flags = Flags { path: vec![], of_path, found: HashMap::new() };
    model.visit(&mut flags);
    flags.found
}

struct Flags<'a> {
    path: Vec<(String, bool)>,
    of_path: &'a HashMap<String, usize>,
    found: HashMap<String, usize>,
}

impl ModuleVisitor for Flags<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push((name.to_string(), is_norm(container_type)));
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_flag(&mut self, flag: &Param<Flag>) {
        let Some(((_, true), module)) = self.path.split_last() else { return };
        let module: Vec<&str> = module.iter().map(|(name, _)| name.as_str()).collect();
        let of = |name: &str| module.iter().copied().chain([name]).collect::<Vec<_>>().join(".");
        let group = self.of_path.get(&of("gamma")).or_else(|| self.of_path.get(&of("beta")));
        if let (true, Some(&group)) = (flag.is_enabled(), group) {
            let name = self.path.last().map_or("", |(name, _)| name);
            self.found.insert(of(name), group);
        }
    }
}
