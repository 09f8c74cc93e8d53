//! Sums on the device that measure the step of an update and the norm of the weights of each group.

use burn::tensor::{FloatDType, Tensor};

/// The step of one update in the weights of one group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Step {
    sum: Sum,
    elements: usize,
}

impl Step {
    /// Adds a parameter that moved from `before`, after its decay, to `after`.
    pub fn add<const D: usize>(&mut self, before: Tensor<D>, after: Tensor<D>) {
        self.elements += before.shape().num_elements();
        self.sum.add((after - before).cast(FloatDType::F32));
    }

    /// The root mean square, on the device; `None` if nothing was updated.
    pub fn root_mean_square(self) -> Option<Tensor<1>> {
        Some((self.sum.0? / self.elements as f64).sqrt())
    }
}

/// A sum of squares on the device, in f32: the square of a small f16 is 0.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sum(Option<Tensor<1>>);

impl Sum {
    /// The root of the sum, on the device; `None` if nothing was added.
    pub fn root(self) -> Option<Tensor<1>> {
        Some(self.0?.sqrt())
    }

    pub fn add<const D: usize>(&mut self, values: Tensor<D>) {
        let squares = values.square().sum();
        self.0 = Some(match self.0.take() {
            Some(sum) => {
                let device = sum.device();
                sum + squares.to_device(&device)
            }
            None => squares,
        });
    }
}
