//! The running mean of the weights of several models.

use crate::update::{flat, in_f32, numbers, shaped};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor};

/// The running Σ c_j θ_j / Σ c_j, in at least f32.
///
/// It is kept as a mean, so that weights that are equal in all models stay equal bit for bit.
#[derive(Default)]
pub(super) struct Mean {
    total: f64,
    weights: Vec<Option<Tensor<1>>>,
}

impl Mean {
    /// Adds a model.
    ///
    /// # Errors
    /// The path of the first parameter that is not finite.
    pub fn add<M: Module>(&mut self, coefficient: f64, model: &M) -> Result<(), String> {
        let floats = Floats::of(model);
        floats.check()?;
        self.total += coefficient;
        let share = if self.total > 0.0 { coefficient / self.total } else { 1.0 };
        self.weights.resize(floats.weights.len(), None);
        for (mean, weight) in self.weights.iter_mut().zip(floats.weights) {
            *mean = match (mean.take(), weight.map(in_f32)) {
                (Some(mean), Some(weight)) if share < 1.0 => {
                    let weight = weight.cast(mean.dtype());
                    Some(mean.clone() + (weight - mean) * share)
                }
                (_, weight) => weight,
            };
        }
        Ok(())
    }

    /// The last model with the mean as its weights, in the precision of another model.
    ///
    /// # Errors
    /// The path of the first parameter that is not finite in that precision.
    pub fn into_model<M: Module>(self, last: M, precision_of: &M) -> Result<M, String> {
        let dtypes = Floats::of(precision_of).weights.into_iter();
        let dtypes = dtypes.map(|weight| weight.map(|weight| weight.dtype()));
        let weights = self.weights.into_iter().zip(dtypes.collect::<Vec<_>>());
        let merged = last.map(&mut Put { weights });
        Floats::of(&merged).check().map(|()| merged)
    }
}

/// The floating-point parameters of a module in order, including running statistics; `None` for a quantized one.
#[derive(Default)]
struct Floats {
    path: Vec<String>,
    paths: Vec<String>,
    weights: Vec<Option<Tensor<1>>>,
}

impl Floats {
    fn of<M: Module>(model: &M) -> Self {
        let mut floats = Self::default();
        model.visit(&mut floats);
        floats
    }

    /// Returns the path of the first that is not finite.
    fn check(&self) -> Result<(), String> {
        let (mut paths, mut wrong) = (vec![], vec![]);
        for (path, weight) in self.paths.iter().zip(&self.weights) {
            let Some(weight) = weight.clone().filter(|it| it.shape().num_elements() > 0) else {
                continue;
            };
            paths.push(path);
            wrong.push(weight.is_finite().bool_not().any().float());
        }
        match numbers(wrong).iter().position(|wrong| *wrong != 0.0) {
            Some(first) => Err(paths[first].clone()),
            None => Ok(()),
        }
    }
}

impl ModuleVisitor for Floats {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let weight = param.base();
        self.paths.push(self.path.join("."));
        self.weights.push(weight.dtype().is_float().then(|| flat(weight)));
    }
}

/// Replaces the weights of a module, each in its precision.
struct Put<I> {
    weights: I,
}

impl<I: Iterator<Item = (Option<Tensor<1>>, Option<DType>)>> ModuleMapper for Put<I> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let tensor = match self.weights.next() {
            Some((Some(mean), dtype)) => {
                let mean = shaped(mean, tensor.shape());
                dtype.map_or(mean.clone(), |dtype| mean.cast(dtype))
            }
            _ => tensor,
        };
        Param::from_mapped_value(id, tensor, mapper)
    }
}
