//! The norm of many tensors, in one reading.

use super::parameter::{Buffer, on_flex};
use burn::tensor::{DType, Device, Tensor};
use pulp::Arch;

/// ‖·‖₂ of all tensors together, in the type of the first; `None` if there are no numbers, some are not on `flex`, or in
/// half precision.
pub(crate) fn norm<'a>(tensors: impl Iterator<Item = &'a Tensor<1>>) -> Option<Tensor<1>> {
    let arch = Arch::new();
    let mut found: Option<(DType, f64)> = None;
    for tensor in tensors.filter(|tensor| tensor.shape().num_elements() > 0) {
        if !on_flex(tensor) {
            return None;
        }
        let squares = Buffer::of(tensor.clone()).sum_of_squares(arch)?;
        let (dtype, sum) = found.unwrap_or((tensor.dtype(), 0.0));
        found = Some((dtype, sum + squares));
    }
    let (dtype, sum) = found?;
    Some(Tensor::from_data([sum.sqrt()], (&Device::flex(), dtype)))
}
