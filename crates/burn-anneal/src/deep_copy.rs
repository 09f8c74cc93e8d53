//! Copies a model without sharing anything.

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::Tensor;
use std::any::Any;
use std::collections::HashMap;

/// Copies a model with its running statistics, which clones share. A parameter that the model holds in several places
/// stays shared.
pub(crate) fn deep_copy<M: Module>(model: &M) -> M {
    model.valid().train().map(&mut Tie::default())
}

/// Puts the first parameter of an id in all of its places; separate copies would each get only the gradient of one
/// place.
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
