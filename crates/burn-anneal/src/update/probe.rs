//! Finds out what an optimizer does by itself, with one update of a tiny weight.

use super::context::{Asked, Momentum, Scope, Setting, Shrink};
use anneal_schedule::DropEffect;
use burn::module::Param;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Whether an optimizer changes a weight whose gradient is 0.
pub(crate) fn decays_by_itself(optimizer: &ModuleOptimizer, device: &Device) -> bool {
    // Such a large rate shows even a decay of 1e-11 in f32.
    const RATE: f64 = 1e4;
    let weight = step::<2>(optimizer, RATE, device);
    weight.into_data().iter::<f32>().any(|value| value != 1.0)
}

/// The needs of an optimizer from the current update.
pub(crate) fn what_it_asks(optimizer: &ModuleOptimizer, device: &Device) -> Asked {
    let scope = Scope::probe(Setting {
        rate: 0.0,
        cap: f64::INFINITY,
        shrink: Shrink::NONE,
        frozen: false,
        momentum: Momentum { momentum: Some(0.5), drop: DropEffect::NONE },
    });
    step::<2>(optimizer, 0.0, device);
    scope.asked()
}

/// The number of tensors in the state of a parameter.
pub(crate) fn state_tensors(optimizer: &ModuleOptimizer, device: &Device) -> usize {
    let mut optimizer = optimizer.clone();
    step_with::<2>(&mut optimizer, 0.0, device);
    optimizer.to_record().len()
}

/// Why an optimizer does not support parameters of this rank; for example, Burn's Muon supports only matrices, and
/// panics otherwise.
pub(crate) fn refusal(optimizer: &ModuleOptimizer, rank: usize, device: &Device) -> Option<String> {
    let tried = catch_unwind(AssertUnwindSafe(|| {
        match rank {
            1 => drop(step::<1>(optimizer, 0.0, device)),
            2 => drop(step::<2>(optimizer, 0.0, device)),
            3 => drop(step::<3>(optimizer, 0.0, device)),
            4 => drop(step::<4>(optimizer, 0.0, device)),
            5 => drop(step::<5>(optimizer, 0.0, device)),
            // Burn's optimizers support at most rank 8, and its layers use at most 5.
            _ => {}
        }
    }));
    let message = tried.err()?;
    let text = message.downcast_ref::<String>().cloned();
    Some(text.or_else(|| Some((*message.downcast_ref::<&str>()?).into())).unwrap_or_default())
}

/// Updates a weight of ones with a gradient of 0.
fn step<const D: usize>(optimizer: &ModuleOptimizer, rate: f64, device: &Device) -> Tensor<D> {
    step_with(&mut optimizer.clone(), rate, device)
}

fn step_with<const D: usize>(
    optimizer: &mut ModuleOptimizer,
    rate: f64,
    device: &Device,
) -> Tensor<D> {
    let device = device.clone().inner();
    let weight = Param::from_tensor(Tensor::<D>::ones([2; D], &device.clone().autodiff()));
    let mut gradients = GradientsParams::new();
    gradients.register(weight.id, Tensor::<D>::zeros([2; D], &device));
    optimizer.step(rate, weight, gradients).val()
}
