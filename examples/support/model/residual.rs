//! A small residual network for CIFAR-10 (He et al., *Deep Residual Learning for Image
//! Recognition*, 2015), sized for a laptop: 304,154 parameters, 11 million multiplications per image.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use burn::train::{ClassificationOutput, InferenceStep, TrainOutput, TrainStep};

use super::{ImageNetwork, inference_step, training_step};
use crate::data::CLASSES;
use crate::loader::ImageBatch;

/// A residual network: a stem that halves the image, three residual blocks, all but the first of which halve it again,
/// a mean over the image and a linear layer.
#[derive(Module, Debug)]
pub struct ResidualNetwork {
    stem: ConvolutionNorm,
    blocks: Vec<ResidualBlock>,
    output: Linear,
    label_smoothing: f32,
}

/// Sizes of a [`ResidualNetwork`].
#[derive(Debug, Clone, PartialEq)]
pub struct ResidualNetworkConfig {
    /// Channels after the stem.
    pub stem_channels: usize,
    /// Channels of each block.
    pub block_channels: [usize; 3],
    /// Number of classes.
    pub classes: usize,
    /// Share of each training target that is spread over all classes.
    pub label_smoothing: f32,
}

impl Default for ResidualNetworkConfig {
    fn default() -> Self {
        Self {
            stem_channels: 16,
            block_channels: [32, 64, 128],
            classes: CLASSES,
            label_smoothing: 0.05,
        }
    }
}

impl ResidualNetworkConfig {
    /// A network with random parameters. For training, pass a device with autodiff.
    pub fn init(&self, device: &Device) -> ResidualNetwork {
        let mut channels = self.stem_channels;
        let mut blocks = Vec::new();
        for (next, stride) in self.block_channels.into_iter().zip([1, 2, 2]) {
            blocks.push(ResidualBlock::new(channels, next, stride, device));
            channels = next;
        }
        ResidualNetwork {
            stem: ConvolutionNorm::new(3, self.stem_channels, 3, 2, device),
            blocks,
            output: LinearConfig::new(channels, self.classes).init(device),
            label_smoothing: self.label_smoothing,
        }
    }
}

impl ImageNetwork for ResidualNetwork {
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let stem = relu(self.stem.forward(images));
        let features = self.blocks.iter().fold(stem, |features, block| block.forward(features));
        let means = features.flatten::<3>(2, 3).mean_dim(2).squeeze_dim(2);
        self.output.forward(means)
    }
}

impl TrainStep for ResidualNetwork {
    type Input = ImageBatch;
    type Output = ClassificationOutput;

    fn step(&self, batch: ImageBatch) -> TrainOutput<ClassificationOutput> {
        training_step(self, batch, self.label_smoothing)
    }
}

impl InferenceStep for ResidualNetwork {
    type Input = ImageBatch;
    type Output = ClassificationOutput;

    fn step(&self, batch: ImageBatch) -> ClassificationOutput {
        inference_step(self, batch)
    }
}

/// Two convolutions whose result is added to a projection of the input.
#[derive(Module, Debug)]
pub struct ResidualBlock {
    first: ConvolutionNorm,
    second: ConvolutionNorm,
    shortcut: ConvolutionNorm,
}

impl ResidualBlock {
    /// A block that changes the number of channels and divides the image's sides by `stride`.
    pub fn new(channels_in: usize, channels_out: usize, stride: usize, device: &Device) -> Self {
        Self {
            first: ConvolutionNorm::new(channels_in, channels_out, 3, stride, device),
            second: ConvolutionNorm::new(channels_out, channels_out, 3, 1, device),
            shortcut: ConvolutionNorm::new(channels_in, channels_out, 1, stride, device),
        }
    }

    /// The block's features for the features below it.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let hidden = relu(self.first.forward(input.clone()));
        relu(self.second.forward(hidden) + self.shortcut.forward(input))
    }
}

/// A convolution without bias, then batch normalization, which has one.
#[derive(Module, Debug)]
pub struct ConvolutionNorm {
    convolution: Conv2d,
    norm: BatchNorm,
}

impl ConvolutionNorm {
    /// A square kernel whose padding keeps the image's size, up to the stride.
    pub fn new(
        channels_in: usize,
        channels_out: usize,
        kernel: usize,
        stride: usize,
        device: &Device,
    ) -> Self {
        let border = kernel / 2;
        Self {
            convolution: Conv2dConfig::new([channels_in, channels_out], [kernel, kernel])
                .with_stride([stride, stride])
                .with_padding(PaddingConfig2d::Explicit(border, border, border, border))
                .with_bias(false)
                .init(device),
            norm: BatchNormConfig::new(channels_out).init(device),
        }
    }

    /// Normalized features.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.convolution.forward(input))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_network_has_304_154_parameters() {
        let network = ResidualNetworkConfig::default().init(&Device::default());

        // Burn also counts the running mean and variance of each normalized channel.
        let normalized_channels = 16 + 3 * (32 + 64 + 128);
        assert_eq!(network.num_params() - 2 * normalized_channels, 304_154);
    }

    #[test]
    fn images_become_one_score_per_class() {
        let device = Device::default();
        let network = ResidualNetworkConfig::default().init(&device);

        let logits = network.forward(Tensor::ones([2, 3, 32, 32], &device));

        assert_eq!(logits.dims(), [2, CLASSES]);
    }
}
