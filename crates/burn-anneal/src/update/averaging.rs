//! The weights that a model is evaluated at: averages, or weights kept by an optimizer.

use super::average::Shown;
use super::context::{Evaluated, Scope};
use super::single_parameter::SingleParameter;
use super::tensors::{in_f32, shaped};
use crate::average::Weights;
use anneal_config::{AverageRule, TimedAverage};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::ModuleOptimizer;
use burn::tensor::Tensor;
use std::collections::{HashMap, HashSet};
use xxhash_rust::xxh3::xxh3_64;

/// Whether an average takes weights after this update.
fn is_due(average: &TimedAverage, Taken { number, is_made, .. }: Taken) -> bool {
    let is_due = average.every.map_or(is_made, |every| every.is_after(number + 1));
    number >= average.start && is_due
}

/// An update after which weights may be taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub number: u64,
    /// Whether it was made, not skipped.
    pub is_made: bool,
    /// Whether other averages may have been loaded before it.
    pub are_new: bool,
}

/// The averages of a model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Averaging {
    pub averages: Vec<TimedAverage>,
    /// Each average in words.
    pub described: Vec<String>,
    /// The average of each trained parameter.
    pub of_path: HashMap<String, Option<usize>>,
    /// The average of parameters that were added in mid-run.
    pub of_others: Option<usize>,
    /// The average of running statistics, if they are averaged.
    pub of_statistics: Option<usize>,
    /// Whether an optimizer decides which weights are evaluated.
    pub by_optimizer: bool,
    /// Whether to read any average, whatever the run has, to load it.
    pub of_any: bool,
    /// The weights to validate.
    pub weights: Weights,
}

impl Averaging {
    /// The averages as saved in a checkpoint.
    pub fn in_words(&self) -> Vec<String> {
        let own = self.by_optimizer.then(|| "that of the optimizer".to_string());
        self.described.iter().cloned().chain(own).collect()
    }

    /// The averages, for a table of the groups.
    pub fn explained(&self) -> impl Iterator<Item = String> {
        self.described.iter().enumerate().map(|(index, average)| {
            let count = self.of_path.values().filter(|of| **of == Some(index)).count();
            format!("average: {average} of {count} parameters")
        })
    }

    /// Whether the evaluated weights may differ from the trained ones.
    pub fn is_any(&self) -> bool {
        self.by_optimizer || !self.averages.is_empty()
    }

    /// Whether an update may change the evaluated weights.
    pub fn is_due(&self, taken: Taken) -> bool {
        self.by_optimizer
            || !self.averages.is_empty() && taken.are_new
            || self.averages.iter().any(|average| is_due(average, taken))
    }

    /// The rule of each average that takes weights after an update that is made.
    pub fn due(&self, number: u64) -> Vec<Option<AverageRule>> {
        let taken = Taken { number, is_made: true, are_new: false };
        let rule = |average: &TimedAverage| is_due(average, taken).then_some(average.rule);
        self.averages.iter().map(rule).collect()
    }

    /// The place of a trained parameter's average.
    pub fn place_of(&self, path: &str) -> Option<usize> {
        self.of_path.get(path).copied().unwrap_or(self.of_others)
    }

    /// Adds the weights of a model to the averages that are due, and returns the evaluated weights. Those of `points`
    /// have been added.
    pub fn take<M: Module>(
        &self,
        taken: Taken,
        points: Points,
        model: &M,
        optimizer: &mut ModuleOptimizer,
    ) -> Points {
        self.show(taken.number, Some(taken), points, model, optimizer)
    }

    /// The evaluated weights after this many updates.
    pub fn look<M: Module>(
        &self,
        updates: u64,
        model: &M,
        optimizer: &mut ModuleOptimizer,
    ) -> Points {
        self.show(updates.saturating_sub(1), None, Points::default(), model, optimizer)
    }

    fn show<M: Module>(
        &self,
        number: u64,
        taken: Option<Taken>,
        points: Points,
        model: &M,
        optimizer: &mut ModuleOptimizer,
    ) -> Points {
        let mut show = Show { points, ..Show::new(self, number, taken, optimizer) };
        model.visit(&mut show);
        // Averages of an earlier run are dropped.
        let are_new = taken.is_none_or(|taken| taken.are_new) && !self.averages.is_empty();
        if self.of_statistics.is_some() || are_new {
            // Only the `valid()` form has the statistics of all passes.
            show.is_statistics = true;
            model.valid().visit(&mut show);
        }
        show.points
    }

    /// The evaluated weights according to an optimizer, whatever its averages are.
    pub fn by_optimizer<M: Module>(model: &M, mut optimizer: ModuleOptimizer) -> Points {
        let averaging = Self { of_any: true, ..Self::default() };
        let mut show = Show::new(&averaging, 0, None, &mut optimizer);
        show.is_steered = false;
        model.visit(&mut show);
        show.points
    }

    /// The average of a parameter.
    fn of(&self, path: &str) -> Option<&TimedAverage> {
        Some(&self.averages[self.place_of(path)?])
    }
}

/// Shows the parameters of a model to its optimizer, which holds their averages.
struct Show<'a> {
    averaging: &'a Averaging,
    /// The number of the update before.
    number: u64,
    /// The update, if weights are to be taken after it.
    taken: Option<Taken>,
    /// Whether to show untrained parameters instead of trained ones.
    is_statistics: bool,
    /// Whether the whole optimizer knows that the parameters are only shown.
    is_steered: bool,
    optimizer: &'a mut ModuleOptimizer,
    path: Vec<String>,
    seen: HashSet<ParamId>,
    points: Points,
}

impl<'a> Show<'a> {
    fn new(
        averaging: &'a Averaging,
        number: u64,
        taken: Option<Taken>,
        optimizer: &'a mut ModuleOptimizer,
    ) -> Self {
        Self {
            averaging,
            number,
            taken,
            is_statistics: false,
            is_steered: true,
            optimizer,
            path: vec![],
            seen: HashSet::new(),
            points: Points::default(),
        }
    }

    fn show<const D: usize>(
        &mut self,
        id: ParamId,
        shown: Shown,
        weight: Tensor<D>,
    ) -> Option<Evaluated> {
        let shape = if self.is_steered { [1; D] } else { weight.dims() };
        let scope = Scope::averaging(id, shown);
        let single = SingleParameter::new(id, Tensor::from_inner(weight), self.path.clone());
        single.show(self.optimizer, shape);
        scope.evaluated()
    }
}

impl ModuleVisitor for Show<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.points.0.contains_key(&param.id) {
            return;
        }
        let averaging = self.averaging;
        let path = self.path.join(".");
        let weight = param.base();
        // A frozen parameter trains at other times; without autodiff, all parameters count as trained.
        let is_trained = averaging.of_path.contains_key(&path)
            || param.is_require_grad()
            || !self.is_statistics && !weight.device().is_autodiff();
        let average = match self.is_statistics {
            true => averaging.of_statistics.map(|index| &averaging.averages[index]),
            false => averaging.of(&path),
        };
        let is_asked = averaging.of_any || is_trained != self.is_statistics;
        if !is_asked || !weight.dtype().is_float() || !self.seen.insert(param.id) {
            return;
        }
        let weight = if weight.device().is_autodiff() { weight.inner() } else { weight };
        let is_due =
            |average: &TimedAverage| self.taken.is_some_and(|taken| is_due(average, taken));
        let is_early = |average: &TimedAverage| self.number < average.start;
        let shown = match average {
            _ if averaging.of_any => Shown::Any,
            // An average of an earlier run, which started before.
            Some(average) if is_early(average) => Shown::LeftOut,
            Some(average) if is_due(average) => Shown::Taken(average.rule),
            Some(average) => Shown::Kept(average.rule),
            None => Shown::LeftOut,
        };
        let mut evaluated = None;
        if !self.is_statistics || average.is_none() {
            evaluated = self.show(param.id, shown, weight.clone());
        }
        if evaluated.is_none() && (self.is_statistics || averaging.of_any) {
            // Running statistics get a new id in each model that a record is loaded into.
            evaluated = self.show(ParamId::from(xxh3_64(path.as_bytes())), shown, weight);
        }
        if let Some(evaluated) = evaluated {
            self.points.0.insert(param.id, evaluated);
        }
    }
}

/// The evaluated weights of parameters, if they differ from the trained ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Points(HashMap<ParamId, Evaluated>);

impl Points {
    /// Makes points from flat tensors.
    pub fn of(each: impl Iterator<Item = (ParamId, Tensor<1>)>) -> Self {
        Self(each.map(|(id, tensor)| (id, vec![(tensor, 1.0)])).collect())
    }

    /// Adds the evaluated weights of parameters.
    pub fn extend(&mut self, evaluated: impl IntoIterator<Item = (ParamId, Evaluated)>) {
        self.0.extend(evaluated);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts them into a model, which must share nothing with others.
    pub fn put<M: Module>(&self, model: M) -> M {
        match self.is_empty() {
            true => model,
            false => model.map(&mut Put(&self.0)),
        }
    }

    /// The current parameters and running statistics of a model.
    pub fn of_model<M: Module>(model: &M) -> Self {
        Self::of(super::ByParameter::weights(model, |_, _| true).iter().cloned())
    }
}

struct Put<'a>(&'a HashMap<ParamId, Evaluated>);

impl ModuleMapper for Put<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(evaluated) = self.0.get(&param.id) else { return param };
        let (id, tensor, mapper) = param.consume();
        let (device, is_autodiff) = (tensor.device(), tensor.device().is_autodiff());
        let inner = if is_autodiff { device.inner() } else { device };
        let Some(value) = sum(evaluated) else {
            return Param::from_mapped_value(id, tensor, mapper);
        };
        let value = shaped::<1, D>(value, tensor.shape()).to_device(&inner).cast(tensor.dtype());
        let value = match is_autodiff {
            true => Tensor::from_inner(value).set_require_grad(tensor.is_require_grad()),
            false => value,
        };
        Param::from_mapped_value(id, value, mapper)
    }
}

/// Σ factor · tensor, in at least f32.
fn sum(evaluated: &Evaluated) -> Option<Tensor<1>> {
    let terms = evaluated.iter().map(|(tensor, factor)| match *factor {
        1.0 => in_f32(tensor.clone()),
        factor => in_f32(tensor.clone()).mul_scalar(factor),
    });
    terms.reduce(|sum, term| sum + term)
}
