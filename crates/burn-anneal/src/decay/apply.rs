//! One update with its decay.

use burn::optim::{LearningRate, Optimizer};
use burn::tensor::Tensor;

/// What a decay takes in one update.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shrink {
    /// The share of each weight.
    pub share: f64,
    /// Whether only weights shrink that the update moves towards 0, or leaves.
    pub cautious: bool,
}

/// w ← (1 − share) w, then the optimizer's update.
pub(crate) fn step<O: Optimizer, const D: usize>(
    optimizer: &O,
    rate: LearningRate,
    shrink: Shrink,
    weight: Tensor<D>,
    gradient: Tensor<D>,
    state: Option<O::State<D>>,
) -> (Tensor<D>, Option<O::State<D>>) {
    let Shrink { share, cautious } = shrink;
    if share == 0.0 {
        return optimizer.step(rate, weight, gradient, state);
    }
    if !cautious {
        return optimizer.step(rate, weight.mul_scalar(1.0 - share), gradient, state);
    }
    let (updated, state) = optimizer.step(rate, weight.clone(), gradient, state);
    let grows = (weight.clone() - updated.clone()).mul(weight.clone()).lower_elem(0.0);
    (updated - weight.mul_scalar(share).mask_fill(grows, 0.0), state)
}
