//! Optimizers whose update can be made in one pass.

use super::parameter::{How, Parameter};
use burn::optim::{Optimizer, RecordState, StateSource};
use burn::tensor::{Device, Tensor};
use std::fmt::Debug;

/// An optimizer whose update can be made in one pass.
pub trait HasRule: Optimizer {
    /// What it keeps of a parameter, under the names that its own state has in a record.
    type Moments<const D: usize>: Clone + RecordState;
    /// The numbers that it was built with.
    type Numbers: Clone + Debug + PartialEq + Send + Sync + 'static;

    /// Finds its numbers; `None` if it is not the optimizer that the rule is for.
    fn numbers(&self) -> Option<Self::Numbers>;

    /// The numbers with another momentum, or β₁.
    fn with_momentum(numbers: &Self::Numbers, momentum: f64) -> Self::Numbers;

    /// Updates a parameter.
    fn update<const D: usize>(
        numbers: &Self::Numbers,
        how: How,
        parameter: &mut Parameter,
        moments: Option<Self::Moments<D>>,
    ) -> Self::Moments<D>;

    /// The same as the optimizer's own state.
    fn own_state<const D: usize>(moments: Self::Moments<D>) -> Self::State<D>;
}

/// A tensor of a record, in the type that it was saved in.
pub(super) fn taken<const D: usize>(
    prefix: &str,
    name: &str,
    source: &mut StateSource,
    device: &Device,
) -> Option<Tensor<D>> {
    let data = source.take_tensor(prefix, name)?;
    let dtype = data.dtype();
    Some(Tensor::from_data(data, (device, dtype)))
}
