//! An optimizer update with decay.

use super::context::Shrink;
use burn::optim::{LearningRate, Optimizer};
use burn::tensor::Tensor;

/// Makes the updates of a parameter: the optimizer's and the decay.
pub(crate) trait Updates: Clone + Send + Sync + 'static {
    /// The optimizer whose state it keeps.
    type Of: Optimizer;

    /// w ← (1 − share) w, then the optimizer's update. `measured` requests the weight in between.
    fn update<const D: usize>(
        &self,
        rate: LearningRate,
        shrink: Shrink,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<State<Self, D>>,
        measured: bool,
    ) -> Outcome<State<Self, D>, D>;
}

/// What it keeps of a parameter.
pub(crate) type State<U, const D: usize> = <<U as Updates>::Of as Optimizer>::State<D>;

/// Any optimizer, in tensor operations.
#[derive(Clone)]
pub(crate) struct InOperations<O>(pub O);

impl<O: Optimizer> Updates for InOperations<O> {
    type Of = O;

    fn update<const D: usize>(
        &self,
        rate: LearningRate,
        shrink: Shrink,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<O::State<D>>,
        measured: bool,
    ) -> Outcome<O::State<D>, D> {
        step(&self.0, rate, shrink, weight, gradient, state, measured)
    }
}

/// The outcome of an update.
pub(crate) struct Outcome<S, const D: usize> {
    /// The weight after it.
    pub weight: Tensor<D>,
    pub state: Option<S>,
    /// The weight after the decay only, if requested.
    pub decayed: Option<Tensor<D>>,
}

/// w ← (1 − share) w, then the optimizer's update. `measured` requests the weight in between.
pub(crate) fn step<O: Optimizer, const D: usize>(
    optimizer: &O,
    rate: LearningRate,
    shrink: Shrink,
    weight: Tensor<D>,
    gradient: Tensor<D>,
    state: Option<O::State<D>>,
    measured: bool,
) -> Outcome<O::State<D>, D> {
    let Shrink { share, cautious } = shrink;
    if !cautious || share == 0.0 {
        let weight = if share == 0.0 { weight } else { weight.mul_scalar(1.0 - share) };
        let decayed = measured.then(|| weight.clone());
        let (weight, state) = optimizer.step(rate, weight, gradient, state);
        return Outcome { weight, state, decayed };
    }
    let (updated, state) = optimizer.step(rate, weight.clone(), gradient, state);
    // By signs: a product of small numbers is 0 in half precision.
    let towards_zero = (weight.clone() - updated.clone()).sign().mul(weight.clone().sign());
    let taken = weight.clone().mul_scalar(share).mask_fill(towards_zero.lower_elem(0.0), 0.0);
    let decayed = measured.then(|| weight - taken.clone());
    Outcome { weight: updated - taken, state, decayed }
}
