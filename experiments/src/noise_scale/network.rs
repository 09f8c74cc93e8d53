//! The network of this experiment.

use anneal_examples::data::CLASSES;
use anneal_examples::loader::ImageBatch;
use anneal_examples::model::{ImageNetwork, inference_step, training_step};
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use burn::train::{ClassificationOutput, InferenceStep, TrainOutput, TrainStep};

/// Channels of the image, and after each convolution.
const CHANNELS: [usize; 4] = [3, 16, 32, 32];

/// Pixels that three convolutions leave of 32 × 32.
const PIXELS: usize = 4 * 4;

/// Three convolutions that each halve the image, and a linear layer. It has no batch norms, because they would make the
/// gradient of an image depend on its batch.
#[derive(Module, Debug)]
pub struct Convolutions {
    convolutions: Vec<Conv2d>,
    output: Linear,
}

impl Convolutions {
    /// With random parameters. For training, pass a device with autodiff.
    pub fn new(device: &Device) -> Self {
        let convolution = |channels: &[usize]| {
            Conv2dConfig::new([channels[0], channels[1]], [3, 3])
                .with_stride([2, 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(device)
        };
        Self {
            convolutions: CHANNELS.windows(2).map(convolution).collect(),
            output: LinearConfig::new(CHANNELS[3] * PIXELS, CLASSES).init(device),
        }
    }
}

impl ImageNetwork for Convolutions {
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let features =
            self.convolutions.iter().fold(images, |images, layer| relu(layer.forward(images)));
        self.output.forward(features.flatten(1, 3))
    }
}

impl TrainStep for Convolutions {
    type Input = ImageBatch;
    type Output = ClassificationOutput;

    fn step(&self, batch: ImageBatch) -> TrainOutput<ClassificationOutput> {
        training_step(self, batch, 0.0)
    }
}

impl InferenceStep for Convolutions {
    type Input = ImageBatch;
    type Output = ClassificationOutput;

    fn step(&self, batch: ImageBatch) -> ClassificationOutput {
        inference_step(self, batch)
    }
}
