//! A small convolutional network for MNIST.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use burn::train::{ClassificationOutput, InferenceStep, TrainOutput, TrainStep};

use super::{ConvolutionNorm, ImageNetwork, inference_step, training_step};
use crate::data::CLASSES;
use crate::loader::ImageBatch;

/// Three convolutions that each halve the image, a mean over the image and a linear layer.
#[derive(Module, Debug)]
pub struct DigitNetwork {
    convolutions: Vec<ConvolutionNorm>,
    output: Linear,
    label_smoothing: f32,
}

/// Sizes of a [`DigitNetwork`].
#[derive(Debug, Clone, PartialEq)]
pub struct DigitNetworkConfig {
    /// Channels after each convolution.
    pub channels: [usize; 3],
    /// Share of each training target that is spread over all classes.
    pub label_smoothing: f32,
}

impl Default for DigitNetworkConfig {
    fn default() -> Self {
        Self { channels: [16, 32, 64], label_smoothing: 0.0 }
    }
}

impl DigitNetworkConfig {
    /// A network with random parameters. For training, pass a device with autodiff.
    pub fn init(&self, device: &Device) -> DigitNetwork {
        let [first, second, third] = self.channels;
        let convolutions = [(1, first), (first, second), (second, third)]
            .map(|(below, above)| ConvolutionNorm::new(below, above, 3, 2, device));
        DigitNetwork {
            convolutions: convolutions.into(),
            output: LinearConfig::new(third, CLASSES).init(device),
            label_smoothing: self.label_smoothing,
        }
    }
}

impl ImageNetwork for DigitNetwork {
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let images = images.cast(self.output.weight.val().dtype());
        let features = self
            .convolutions
            .iter()
            .fold(images, |features, convolution| relu(convolution.forward(features)));
        let means = features.flatten::<3>(2, 3).mean_dim(2).squeeze_dim(2);
        self.output.forward(means)
    }
}

impl TrainStep for DigitNetwork {
    type Input = ImageBatch;
    type Output = ClassificationOutput;

    fn step(&self, batch: ImageBatch) -> TrainOutput<ClassificationOutput> {
        training_step(self, batch, self.label_smoothing)
    }
}

impl InferenceStep for DigitNetwork {
    type Input = ImageBatch;
    type Output = ClassificationOutput;

    fn step(&self, batch: ImageBatch) -> ClassificationOutput {
        inference_step(self, batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_become_one_score_per_class() {
        let device = Device::default();
        let network = DigitNetworkConfig::default().init(&device);

        let logits = network.forward(Tensor::ones([2, 1, 28, 28], &device));

        assert_eq!(logits.dims(), [2, CLASSES]);
        assert!(network.num_params() < 30_000);
    }
}
