//! Flattens the weights of a model.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{FloatDType, Tensor};

/// All weights in order, in f32.
pub fn flat(module: &impl Module) -> Vec<f32> {
    struct Flat(Vec<f32>);
    impl ModuleVisitor for Flat {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.extend(param.val().cast(FloatDType::F32).into_data().iter::<f32>());
        }
    }
    let mut flat = Flat(vec![]);
    module.visit(&mut flat);
    flat.0
}
