//! The weights that a model is evaluated at: averages, or those that an optimizer keeps beside.

use super::average::{Rule, Shown};
use super::context::{Evaluated, Scope};
use super::single_parameter::SingleParameter;
use super::tensors::in_f32;
use crate::average::Weights;
use anneal_schedule::Every;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::ModuleOptimizer;
use burn::tensor::Tensor;
use std::collections::{HashMap, HashSet};
use xxhash_rust::xxh3::xxh3_64;

/// An average, and the updates after which it takes weights in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Timed {
    pub rule: Rule,
    /// The first update that counts.
    pub start: u64,
    /// Every so often in the run; each where it is `None`.
    pub every: Option<Every>,
}

impl Timed {
    fn is_due(&self, Taken { number, is_made, .. }: Taken) -> bool {
        number >= self.start && self.every.map_or(is_made, |every| every.is_after(number + 1))
    }
}

/// An update after which weights may be taken in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub number: u64,
    /// Whether it was made, and not skipped.
    pub is_made: bool,
    /// Whether somebody may have loaded other averages before it.
    pub are_new: bool,
}

/// What is averaged of a model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Averaging {
    pub averages: Vec<Timed>,
    /// Each in words.
    pub described: Vec<String>,
    /// Which average each trained parameter has.
    pub of_path: HashMap<String, Option<usize>>,
    /// Which average those have that came in mid-run.
    pub of_others: Option<usize>,
    /// Which average running statistics have, where they are averaged.
    pub of_statistics: Option<usize>,
    /// Whether an optimizer says what is evaluated.
    pub by_optimizer: bool,
    /// Whether any average is looked at, whatever the run has: to load them.
    pub of_any: bool,
    /// What is validated.
    pub weights: Weights,
}

impl Averaging {
    /// What a checkpoint says of the averages.
    pub fn in_words(&self) -> Vec<String> {
        let own = self.by_optimizer.then(|| "that of the optimizer".to_string());
        self.described.iter().cloned().chain(own).collect()
    }

    /// What is averaged, for a table of the groups.
    pub fn explained(&self) -> impl Iterator<Item = String> {
        self.described.iter().enumerate().map(|(index, average)| {
            let count = self.of_path.values().filter(|of| **of == Some(index)).count();
            format!("average: {average} of {count} parameters")
        })
    }

    /// Whether there are averages, or what is evaluated is something else for another reason.
    pub fn is_any(&self) -> bool {
        self.by_optimizer || !self.averages.is_empty()
    }

    /// Whether an update may change what is evaluated.
    pub fn is_due(&self, taken: Taken) -> bool {
        self.by_optimizer
            || !self.averages.is_empty() && taken.are_new
            || self.averages.iter().any(|average| average.is_due(taken))
    }

    /// Takes the weights of a model into the averages that an update is for, and gives what is evaluated.
    pub fn take<M: Module>(
        &self,
        taken: Taken,
        model: &M,
        optimizer: &mut ModuleOptimizer,
    ) -> Points {
        self.show(taken.number, Some(taken), model, optimizer)
    }

    /// What is evaluated after so many updates.
    pub fn look<M: Module>(
        &self,
        updates: u64,
        model: &M,
        optimizer: &mut ModuleOptimizer,
    ) -> Points {
        self.show(updates.saturating_sub(1), None, model, optimizer)
    }

    fn show<M: Module>(
        &self,
        number: u64,
        taken: Option<Taken>,
        model: &M,
        optimizer: &mut ModuleOptimizer,
    ) -> Points {
        let mut show = Show::new(self, number, taken, optimizer);
        model.visit(&mut show);
        // Those that an earlier run has left are forgotten.
        let are_new = taken.is_none_or(|taken| taken.are_new) && !self.averages.is_empty();
        if self.of_statistics.is_some() || are_new {
            // Those of all passes are in the `valid()` form only.
            show.is_statistics = true;
            model.valid().visit(&mut show);
        }
        show.points
    }

    /// What an optimizer says that parameters are evaluated at, whatever it is.
    pub fn by_optimizer<M: Module>(model: &M, mut optimizer: ModuleOptimizer) -> Points {
        let averaging = Self { of_any: true, ..Self::default() };
        let mut show = Show::new(&averaging, 0, None, &mut optimizer);
        show.is_steered = false;
        model.visit(&mut show);
        show.points
    }

    /// The average of a parameter.
    fn of(&self, path: &str) -> Option<&Timed> {
        let index = self.of_path.get(path).copied().unwrap_or(self.of_others)?;
        Some(&self.averages[index])
    }
}

/// Shows the parameters of a model to its optimizer, which has their averages.
struct Show<'a> {
    averaging: &'a Averaging,
    /// That of the update before.
    number: u64,
    /// Where the update is one to take weights after.
    taken: Option<Taken>,
    /// Whether parameters are shown that are not trained, or those that are.
    is_statistics: bool,
    /// Whether all of the optimizer knows that it is only shown them.
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
        let averaging = self.averaging;
        let path = self.path.join(".");
        let weight = param.base();
        // A frozen parameter is trained at other times, and all are of a model that is not to be trained.
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
        let is_due = |average: &Timed| self.taken.is_some_and(|taken| average.is_due(taken));
        let is_early = |average: &Timed| self.number < average.start;
        let shown = match average {
            _ if averaging.of_any => Shown::Any,
            // One of an earlier run, which began before.
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
            // Running statistics have another id in each model that a record is loaded into.
            evaluated = self.show(ParamId::from(xxh3_64(path.as_bytes())), shown, weight);
        }
        if let Some(evaluated) = evaluated {
            self.points.0.insert(param.id, evaluated);
        }
    }
}

/// What parameters are evaluated at that are evaluated at something else than their weights.
#[derive(Clone, Debug, Default)]
pub(crate) struct Points(HashMap<ParamId, Evaluated>);

impl Points {
    /// Of flat tensors.
    pub fn of(each: impl Iterator<Item = (ParamId, Tensor<1>)>) -> Self {
        Self(each.map(|(id, tensor)| (id, vec![(tensor, 1.0)])).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts them into a model that shares nothing with others.
    pub fn put<M: Module>(&self, model: M) -> M {
        match self.is_empty() {
            true => model,
            false => model.map(&mut Put(&self.0)),
        }
    }

    /// All parameters of a model as they are, and its running statistics.
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
        let value = value.reshape::<D, _>(tensor.shape()).to_device(&inner).cast(tensor.dtype());
        let value = match is_autodiff {
            true => Tensor::from_inner(value).set_require_grad(tensor.is_require_grad()),
            false => value,
        };
        Param::from_mapped_value(id, value, mapper)
    }
}

/// Σ factor · tensor, in f32 at least.
fn sum(evaluated: &Evaluated) -> Option<Tensor<1>> {
    let terms = evaluated.iter().map(|(tensor, factor)| match *factor {
        1.0 => in_f32(tensor.clone()),
        factor => in_f32(tensor.clone()).mul_scalar(factor),
    });
    terms.reduce(|sum, term| sum + term)
}
