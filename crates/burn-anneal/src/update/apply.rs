//! The update of a parameter: an optimizer's, with all that belongs to it.

use super::average::add;
use super::context::Shrink;
use super::reduce::Factor;
use crate::precision::current;
use burn::optim::{LearningRate, Optimizer};
use burn::tensor::{DType, Tensor};

/// Makes the updates of a parameter.
pub(crate) trait Updates: Clone + Send + Sync + 'static {
    /// The optimizer whose state it keeps.
    type Of: Optimizer;

    /// g ← factor · g, w ← (1 − share) w, the optimizer's update, then the average of the weights.
    fn update<const D: usize>(
        &self,
        manner: Manner,
        weight: Weight<D>,
        gradient: Tensor<D>,
        state: Option<State<Self, D>>,
    ) -> Outcome<State<Self, D>, D>;
}

/// What it keeps of a parameter.
pub(crate) type State<U, const D: usize> = <<U as Updates>::Of as Optimizer>::State<D>;

/// How to update a parameter.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    pub rate: LearningRate,
    pub shrink: Shrink,
    /// What the gradient is multiplied by.
    pub factor: Factor,
    /// The average of the weights, and the share of the new weights in it.
    pub average: Option<(Tensor<1>, f64)>,
    /// Whether the weight between decay and update is requested.
    pub measured: bool,
}

impl Manner {
    /// An update at a rate, and nothing else.
    pub fn at(rate: LearningRate) -> Self {
        Self { rate, shrink: Shrink::NONE, factor: Factor::NONE, average: None, measured: false }
    }
}

/// The weight that is updated.
#[derive(Clone, Debug)]
pub(crate) struct Weight<const D: usize> {
    pub trained: Tensor<D>,
    /// The model's weight in half precision, if `trained` is its master weight.
    pub rounded: Option<Tensor<D>>,
}

impl<const D: usize> Weight<D> {
    /// A weight that the model has as it is.
    pub fn of(trained: Tensor<D>) -> Self {
        Self { trained, rounded: None }
    }

    /// The weight before its update: the model's, if it was changed since it was rounded. And the type to round to.
    pub fn current(self) -> (Tensor<D>, Option<DType>) {
        match self.rounded {
            Some(rounded) => {
                let dtype = rounded.dtype();
                (current(self.trained, rounded), Some(dtype))
            }
            None => (self.trained, None),
        }
    }
}

/// The outcome of an update.
pub(crate) struct Outcome<S, const D: usize> {
    /// The weight after it.
    pub weight: Weight<D>,
    pub state: Option<S>,
    /// The average after it.
    pub average: Option<Tensor<1>>,
    /// The weight after the decay only, if requested.
    pub decayed: Option<Tensor<D>>,
}

/// Any optimizer, in tensor operations.
#[derive(Clone)]
pub(crate) struct InOperations<O>(pub O);

impl<O: Optimizer> Updates for InOperations<O> {
    type Of = O;

    fn update<const D: usize>(
        &self,
        manner: Manner,
        weight: Weight<D>,
        gradient: Tensor<D>,
        state: Option<O::State<D>>,
    ) -> Outcome<O::State<D>, D> {
        step(&self.0, manner, weight, gradient, state)
    }
}

/// An update in tensor operations.
pub(crate) fn step<O: Optimizer, const D: usize>(
    optimizer: &O,
    manner: Manner,
    weight: Weight<D>,
    gradient: Tensor<D>,
    state: Option<O::State<D>>,
) -> Outcome<O::State<D>, D> {
    let Manner { rate, shrink: Shrink { share, cautious }, factor, average, measured } = manner;
    let gradient = factor.times(gradient);
    let (before, dtype) = weight.current();
    let (weight, state, decayed) = if !cautious || share == 0.0 {
        let before = if share == 0.0 { before } else { before.mul_scalar(1.0 - share) };
        let decayed = measured.then(|| before.clone());
        let (weight, state) = optimizer.step(rate, before, gradient, state);
        (weight, state, decayed)
    } else {
        let (updated, state) = optimizer.step(rate, before.clone(), gradient, state);
        // By signs: a product of small numbers is 0 in half precision.
        let towards_zero = (before.clone() - updated.clone()).sign().mul(before.clone().sign());
        let taken = before.clone().mul_scalar(share).mask_fill(towards_zero.lower_elem(0.0), 0.0);
        let decayed = measured.then(|| before - taken.clone());
        (updated - taken, state, decayed)
    };
    let average = average.map(|(average, share)| add(average, weight.clone(), share));
    let rounded = dtype.map(|dtype| weight.clone().cast(dtype));
    Outcome { weight: Weight { trained: weight, rounded }, state, average, decayed }
}
