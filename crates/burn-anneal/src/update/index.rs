//! Identifies the parameters of a model by their ids.

use super::averaging::Averaging;
use super::context::{Known, Registration, Scope};
use super::error::UpdateError;
use super::single_parameter::SingleParameter;
use super::tensors::ByParameter;
use crate::groups::{Groups, Parameter, found};
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::{GradAdaptor, GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Remembers the path and group of each parameter by id, so that paths are looked up only at the first update, and when
/// the model may have new ids, for example from a record, or new parameters.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    learner: u64,
    /// The path of each parameter by its index, which never changes.
    paths: Vec<String>,
    by_path: HashMap<String, u32>,
    known: Arc<Known>,
    /// Whether the optimizer has a state for each.
    registered: Vec<bool>,
    /// The fingerprint of the parameter ids at the last update, and the number of gradients.
    last: (u64, usize),
    /// The number of updates without a gradient for each parameter, until it gets one; `None` once all have.
    unseen: Option<Vec<Option<u64>>>,
}

impl Index {
    /// Makes an index that watches for parameters without a gradient, if requested.
    pub fn new(learner: u64, watches: bool) -> Self {
        Self {
            learner,
            paths: vec![],
            by_path: HashMap::new(),
            known: Arc::default(),
            registered: vec![],
            last: (0, 0),
            unseen: watches.then(Vec::new),
        }
    }

    pub fn learner(&self) -> u64 {
        self.learner
    }

    pub fn known(&self) -> Arc<Known> {
        self.known.clone()
    }

    /// Whether the updated parameters differ from the last update. Does not check a model whose owner reports changes.
    pub fn is_new<M: Module>(&mut self, model: Option<&M>, gradients: usize) -> bool {
        let mut ids = Fingerprint(0);
        if let Some(model) = model {
            model.visit(&mut ids);
        }
        let now = (ids.0, gradients);
        std::mem::replace(&mut self.last, now) != now
    }

    /// Records which of the parameters that `train` have a gradient in an update.
    pub fn watch<M: Module>(
        &mut self,
        model: &M,
        gradients: &GradAdaptor,
        trains: impl Fn(u32) -> bool,
        within: u64,
    ) -> Result<(), UpdateError> {
        let Some(unseen) = &mut self.unseen else { return Ok(()) };
        let misses = |(missed, group): (&Option<u64>, &Option<u32>)| {
            missed.is_some() && group.is_some_and(&trains)
        };
        if !unseen.iter().zip(&self.known.groups).any(misses) {
            return Ok(());
        }
        for id in ids_of(model, gradients) {
            if let Some(index) = self.known.ids.get(&id) {
                unseen[*index as usize] = None;
            }
        }
        let mut lost = vec![];
        for (index, missed) in unseen.iter_mut().enumerate() {
            let Some(updates) = missed else { continue };
            *updates += u64::from(self.known.groups[index].is_some_and(&trains));
            if *updates >= within {
                lost.push(self.paths[index].clone());
            }
        }
        if unseen.iter().all(Option::is_none) {
            self.unseen = None;
        }
        match lost.is_empty() {
            true => Ok(()),
            false => Err(UpdateError::NoGradient { paths: lost, updates: within }),
        }
    }

    /// Looks up all parameters, and shows the optimizer the new ones, or all if both may have loaded a record.
    pub fn meet<M: Module>(
        &mut self,
        (groups, averaging): (&Groups, &Averaging),
        model: &M,
        optimizer: &mut ModuleOptimizer,
        anew: bool,
    ) -> Result<(), UpdateError> {
        let found = found(model);
        if let Some(distributed) = found.iter().find(|found| found.distributed) {
            return Err(UpdateError::Distributed { path: distributed.parameter.path.clone() });
        }
        let (ids_of, all): (Vec<ParamId>, Vec<Parameter>) =
            found.into_iter().map(|found| (found.id, found.parameter)).unzip();
        let is_new = |path: &String| !groups.table.of_path.contains_key(path);
        let came = all.iter().any(|parameter| parameter.trainable && is_new(&parameter.path));
        let new = match came {
            true => groups.of_new(&all).map_err(UpdateError::NewParameter)?,
            false => HashMap::new(),
        };
        let mut ids = HashMap::new();
        let mut of = self.known.groups.clone();
        let mut averages = self.known.averages.clone();
        for (id, parameter) in ids_of.into_iter().zip(all) {
            let group = groups.table.of_path.get(&parameter.path).or(new.get(&parameter.path));
            let group = group.map(|group| *group as u32);
            let index = match self.by_path.get(&parameter.path) {
                Some(index) => *index,
                None => {
                    let index = self.paths.len() as u32;
                    averages.push(averaging.place_of(&parameter.path));
                    self.paths.push(parameter.path.clone());
                    self.by_path.insert(parameter.path, index);
                    of.push(None);
                    if let Some(unseen) = &mut self.unseen {
                        unseen.push(group.is_some().then_some(0));
                    }
                    index
                }
            };
            of[index as usize] = group;
            ids.insert(id, index);
        }
        let is_same = !anew && ids == self.known.ids;
        self.registered.resize(self.paths.len(), false);
        self.registered.iter_mut().for_each(|registered| *registered &= is_same);
        let mut id_of = vec![None; self.paths.len()];
        ids.iter().for_each(|(id, index)| id_of[*index as usize] = Some(*id));
        self.known = Arc::new(Known { ids, id_of, groups: of, averages });
        self.register(model, optimizer);
        Ok(())
    }

    /// Gives each grouped parameter that is new to the optimizer a state with its owner.
    fn register<M: Module>(&mut self, model: &M, optimizer: &mut ModuleOptimizer) {
        let of = &self.known.groups;
        let new = |index: u32| !self.registered[index as usize] && of[index as usize].is_some();
        let new = self.known.ids.iter().filter(|(_, index)| new(**index));
        let new: HashMap<ParamId, u32> = new.map(|(id, index)| (*id, *index)).collect();
        new.values().for_each(|index| self.registered[*index as usize] = true);
        let (learner, masters) = (self.learner, HashSet::new());
        model.visit(&mut Introducer { learner, new, masters: &masters, optimizer, path: vec![] });
    }

    /// Shows the optimizer the initial master weights `masters`, those of the model before the cast.
    pub fn register_masters<M: Module>(
        &self,
        masters: &HashSet<ParamId>,
        original: &M,
        optimizer: &mut ModuleOptimizer,
    ) {
        let new = self.known.ids.iter().filter(|(id, _)| masters.contains(id));
        let new = new.map(|(id, index)| (*id, *index)).collect();
        let learner = self.learner;
        original.visit(&mut Introducer { learner, new, masters, optimizer, path: vec![] });
    }
}

/// A fingerprint of ids in order.
struct Fingerprint(u64);

impl ModuleVisitor for Fingerprint {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let mixed = self.0.rotate_left(7) ^ param.id.val();
        self.0 = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// The parameters of a model that have a gradient.
fn ids_of<M: Module>(model: &M, gradients: &GradAdaptor) -> Vec<ParamId> {
    let ids = |gradients: &GradientsParams| -> Vec<ParamId> {
        ByParameter::copy(model, gradients).iter().map(|(id, _)| *id).collect()
    };
    match gradients {
        GradAdaptor::Single(gradients) => ids(gradients),
        GradAdaptor::Multi(all) => {
            all.grads.iter().flat_map(|(gradients, _)| ids(gradients)).collect()
        }
    }
}

struct Introducer<'a> {
    learner: u64,
    new: HashMap<ParamId, u32>,
    masters: &'a HashSet<ParamId>,
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
        let Some(index) = self.new.remove(&param.id) else { return };
        let is_master = self.masters.contains(&param.id);
        let device = param.val().device();
        let tiny = Tensor::<D>::zeros([1; D], &device);
        let shown = if is_master { param.base() } else { tiny };
        let single = SingleParameter::new(param.id, shown, self.path.clone());
        let _registering =
            Scope::registration(Registration { learner: self.learner, index, is_master });
        single.show(self.optimizer, [1; D]);
    }
}
