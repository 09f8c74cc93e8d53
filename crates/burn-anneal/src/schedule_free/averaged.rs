//! A model at the averaged weights of a schedule-free optimizer.

use crate::update::Averaging;
use burn::module::Module;
use burn::optim::ModuleOptimizer;

/// The model in its `valid()` form at x, the average of a [`ScheduleFree`](super::ScheduleFree) optimizer, for a loop
/// with a bare `ModuleOptimizer`. Parameters without an update yet, and those of other optimizers, stay unchanged.
///
/// So do the running statistics of batch norms, which are from activations at y;
/// [`recompute_statistics`](crate::recompute_statistics()) computes those at x.
///
/// ```
/// use burn::module::Module;
/// use burn::nn::LinearConfig;
/// use burn::optim::{GradientsParams, ModuleOptimizer};
/// use burn::tensor::{Device, Tensor};
/// use burn_anneal::prelude::*;
/// use burn_anneal::schedule_free::averaged;
///
/// let device = Device::default().autodiff();
/// let mut model = LinearConfig::new(2, 1).init(&device);
/// let mut optimizer = ModuleOptimizer::from(ScheduleFree::sgd().build()?);
/// for _ in 0..10 {
///     let loss = model.forward(Tensor::<2>::ones([1, 2], &device)).square().sum();
///     let gradients = GradientsParams::from_grads(loss.backward(), &model);
///     model = optimizer.step(0.1, model, gradients);
/// }
/// let to_use = averaged(&model, &optimizer);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn averaged<M: Module>(model: &M, optimizer: &ModuleOptimizer) -> M {
    Averaging::by_optimizer(model, optimizer.clone()).put(model.valid())
}
