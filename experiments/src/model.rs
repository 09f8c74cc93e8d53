//! The network of all experiments but the players of the GAN.

use anneal_examples::data::CLASSES;
use anneal_examples::loader::ImageBatch;
use anneal_examples::model::{ImageNetwork, inference_step, training_step};
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use burn::train::{ClassificationOutput, InferenceStep, TrainOutput, TrainStep};

/// Pixels of a digit.
pub const PIXELS: usize = 28 * 28;

/// The numbers that a [`Classifier`] sees in a digit.
pub const FEATURES: usize = 32;

const HIDDEN: usize = 64;

/// A network from digits to one score per class, through two hidden layers. It has no norms: they would
/// forgive a rate that is too high.
#[derive(Module, Debug)]
pub struct Classifier {
    first: Linear,
    second: Linear,
    output: Linear,
}

impl Classifier {
    /// With random parameters. For training, pass a device with autodiff.
    pub fn new(device: &Device) -> Self {
        Self {
            first: LinearConfig::new(PIXELS, HIDDEN).init(device),
            second: LinearConfig::new(HIDDEN, FEATURES).init(device),
            output: LinearConfig::new(FEATURES, CLASSES).init(device),
        }
    }

    /// What the last layer sees of `[batch, pixels]` digits: `[batch, FEATURES]`.
    pub fn features(&self, digits: Tensor<2>) -> Tensor<2> {
        relu(self.second.forward(relu(self.first.forward(digits))))
    }

    /// The scores of the classes for features.
    pub fn scores(&self, features: Tensor<2>) -> Tensor<2> {
        self.output.forward(features)
    }
}

impl ImageNetwork for Classifier {
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.scores(self.features(images.flatten(1, 3)))
    }
}

impl TrainStep for Classifier {
    type Input = ImageBatch;
    type Output = ClassificationOutput;

    fn step(&self, batch: ImageBatch) -> TrainOutput<ClassificationOutput> {
        training_step(self, batch, 0.0)
    }
}

impl InferenceStep for Classifier {
    type Input = ImageBatch;
    type Output = ClassificationOutput;

    fn step(&self, batch: ImageBatch) -> ClassificationOutput {
        inference_step(self, batch)
    }
}
