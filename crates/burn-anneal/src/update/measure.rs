//! Sums on the device: how far an update really moves the weights of each group, and how long they are.

use burn::tensor::{FloatDType, Tensor};

/// What one update added to the weights of one group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Step {
    sum: Sum,
    elements: usize,
}

impl Step {
    /// Adds a parameter that moved from `before`, its decay done, to `after`.
    pub fn add<const D: usize>(&mut self, before: Tensor<D>, after: Tensor<D>) {
        self.elements += before.shape().num_elements();
        self.sum.add((after - before).cast(FloatDType::F32));
    }

    /// The root of the mean square, on the device; `None` where nothing was updated.
    pub fn root_mean_square(self) -> Option<Tensor<1>> {
        Some((self.sum.0? / self.elements as f64).sqrt())
    }
}

/// A sum of squares on the device, in f32: the square of a small f16 is 0.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sum(Option<Tensor<1>>);

impl Sum {
    /// The root of the sum, on the device; `None` where nothing was added.
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
