//! The networks of all experiments, except the players of the GAN.

use anneal_examples::data::CLASSES;
use anneal_examples::loader::ImageBatch;
use anneal_examples::model::{ConvolutionNorm, ImageNetwork, inference_step, training_step};
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use burn::train::{ClassificationOutput, InferenceStep, TrainOutput, TrainStep};

/// Pixels of a digit.
pub const PIXELS: usize = 28 * 28;

/// The number of features of a [`Classifier`].
pub const FEATURES: usize = 32;

const HIDDEN: usize = 64;

/// A network from digits to one score per class, with two hidden layers. It has no norms, because they would
/// tolerate a rate that is too high.
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

    /// The inputs of the last layer for `[batch, pixels]` digits: `[batch, FEATURES]`.
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

/// A network from color images to one score per class, small enough to train in seconds: three convolutions, the first
/// of which divides the image's sides by four and the others by two, and a mean over the rest.
#[derive(Module, Debug)]
pub struct ColorClassifier {
    convolutions: Vec<ConvolutionNorm>,
    output: Linear,
}

impl ColorClassifier {
    /// With random parameters. For training, pass a device with autodiff.
    pub fn new(device: &Device) -> Self {
        Self {
            convolutions: vec![
                ConvolutionNorm::new(3, 16, 5, 4, device),
                ConvolutionNorm::new(16, 32, 3, 2, device),
                ConvolutionNorm::new(32, 64, 3, 2, device),
            ],
            output: LinearConfig::new(64, CLASSES).init(device),
        }
    }
}

impl ImageNetwork for ColorClassifier {
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let halve = |features, convolution: &ConvolutionNorm| relu(convolution.forward(features));
        let features = self.convolutions.iter().fold(images, halve);
        let means = features.flatten::<3>(2, 3).mean_dim(2).squeeze_dim(2);
        self.output.forward(means)
    }
}

impl TrainStep for ColorClassifier {
    type Input = ImageBatch;
    type Output = ClassificationOutput;

    fn step(&self, batch: ImageBatch) -> TrainOutput<ClassificationOutput> {
        training_step(self, batch, 0.0)
    }
}

impl InferenceStep for ColorClassifier {
    type Input = ImageBatch;
    type Output = ClassificationOutput;

    fn step(&self, batch: ImageBatch) -> ClassificationOutput {
        inference_step(self, batch)
    }
}
