//! Finds the numbers that one of Burn's optimizers was built with, which it keeps to itself.
//!
//! An update of one f64 shows each of them exactly, as they are f32 or enter as they are.

use burn::optim::{Optimizer, RecordState, StateSink};
use burn::tensor::{DType, Device, Tensor};

/// A step so long that what is added to a weight of 1 can be read to the last digit of an f32.
pub(super) const LONG: f64 = (1u64 << 60) as f64;

/// So small that its square is 0.
pub(super) const TINY: f64 = 1e-200;

/// A tensor of one number.
pub(super) fn one(number: f64) -> Tensor<1> {
    Tensor::from_data([number], (&Device::flex(), DType::F64))
}

/// The number in a tensor of one.
pub(super) fn number(tensor: &Tensor<1>) -> f64 {
    tensor.clone().into_scalar()
}

/// The weight, and the state, after an update.
pub(super) fn step<O: Optimizer>(
    optimizer: &O,
    rate: f64,
    [weight, gradient]: [f64; 2],
    state: Option<O::State<1>>,
) -> (f64, Option<O::State<1>>) {
    let (weight, state) = optimizer.step(rate, one(weight), one(gradient), state);
    (number(&weight), state)
}

/// A tensor of a state by its name in a record, for those that Burn does not show.
pub(super) fn recorded(state: &impl RecordState, name: &str) -> Option<f64> {
    let mut sink = StateSink::default();
    state.state_flatten("", &mut sink);
    let (_, data) = sink.tensors.into_iter().find(|(found, _)| found == name)?;
    data.iter::<f64>().next()
}
