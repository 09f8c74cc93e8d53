//! A model of a single weight vector with a given gradient.

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};

/// A weight vector.
#[derive(Module, Debug)]
pub struct Weight {
    /// The vector.
    pub weight: Param<Tensor<1>>,
}

impl Weight {
    /// A model with these values, on an autodiff device.
    pub fn new(values: &[f32]) -> Self {
        let device = Device::default().autodiff();
        Self { weight: Param::from_tensor(Tensor::from_floats(values, &device)) }
    }

    /// Its values.
    pub fn values(&self) -> Vec<f32> {
        self.weight.val().into_data().iter::<f32>().collect()
    }

    /// Gradients with this gradient of the vector.
    pub fn gradient(&self, values: &[f32]) -> GradientsParams {
        let mut gradients = GradientsParams::new();
        gradients.register(self.weight.id, Tensor::<1>::from_floats(values, &Device::default()));
        gradients
    }
}
