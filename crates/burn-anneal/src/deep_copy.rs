//! A copy of a model that shares nothing with it.

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::Tensor;
use std::any::Any;
use std::collections::HashMap;

/// A copy with running statistics of its own, which clones of a model share. A parameter that the model holds in several
/// places stays one.
pub(crate) fn deep_copy<M: Module>(model: &M) -> M {
    model.valid().train().map(&mut Tie::default())
}

/// Puts the first parameter of an id in all of its places: made apart, each would have the gradient of its own place alone.
#[derive(Default)]
pub(crate) struct Tie(HashMap<ParamId, Box<dyn Any>>);

impl ModuleMapper for Tie {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let first = self.0.get(&param.id).and_then(|first| first.downcast_ref());
        let first: Param<Tensor<D>> = first.cloned().unwrap_or(param);
        self.0.entry(first.id).or_insert_with(|| Box::new(first.clone()));
        first
    }
}
