//! Training and test steps of networks that classify images.

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Device, FloatDType, Int, Tensor};
use burn::train::{ClassificationOutput, InferenceStep, LearnerModel, TrainOutput, TrainStep};

use burn_anneal::prelude::ScaledBackward;

use crate::loader::ImageBatch;

/// A network from images to one score per class.
pub trait ImageNetwork: Module {
    /// Scores (logits) of `[batch, channels, height, width]` images: `[batch, classes]`.
    fn forward(&self, images: Tensor<4>) -> Tensor<2>;
}

/// A network that Burn's training loop can train and test on [`ImageBatch`]es.
///
/// Implemented for every type with these traits, including wrappers around a network.
pub trait ImageClassifier:
    LearnerModel
    + TrainStep<Input = ImageBatch, Output = ClassificationOutput>
    + InferenceStep<Input = ImageBatch, Output = ClassificationOutput>
{
}

impl<M> ImageClassifier for M where
    M: LearnerModel
        + TrainStep<Input = ImageBatch, Output = ClassificationOutput>
        + InferenceStep<Input = ImageBatch, Output = ClassificationOutput>
{
}

/// Forward and backward pass, with a share of each target spread over all classes.
pub fn training_step<N: ImageNetwork>(
    network: &N,
    batch: ImageBatch,
    label_smoothing: f32,
) -> TrainOutput<ClassificationOutput> {
    let smoothing = (label_smoothing > 0.0).then_some(label_smoothing);
    let output = classify(network, batch, smoothing);
    let gradients = output.loss.clone().scaled_backward();
    TrainOutput::new(network, gradients, output)
}

/// Forward pass. The loss is the plain cross-entropy: label smoothing belongs to training only.
pub fn inference_step<N: ImageNetwork>(network: &N, batch: ImageBatch) -> ClassificationOutput {
    classify(network, batch, None)
}

fn classify<N: ImageNetwork>(
    network: &N,
    batch: ImageBatch,
    smoothing: Option<f32>,
) -> ClassificationOutput {
    // In half precision the loss would be coarse, and its scale infinite.
    let logits = network.forward(batch.images).cast(FloatDType::F32);
    let loss = cross_entropy(logits.clone(), batch.targets.clone(), smoothing);
    ClassificationOutput::new(loss, logits, batch.targets)
}

fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>, smoothing: Option<f32>) -> Tensor<1> {
    let device: Device = logits.device();
    CrossEntropyLossConfig::new().with_smoothing(smoothing).init(&device).forward(logits, targets)
}
