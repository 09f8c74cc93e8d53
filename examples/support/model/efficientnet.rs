//! EfficientNet-Lite0: 3,383,818 parameters with ten classes. All except the last layer's can be loaded from a PyTorch
//! file; see [`weights`](crate::weights).
//!
//! Tan and Le, *EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks*, 2019.
//! *Lite* (Google, 2020) omits squeeze-and-excitation and uses ReLU6 instead of swish. Dropout is omitted here too,
//! because two epochs do not need it.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu6;
use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{Device, Tensor};
use burn::train::{ClassificationOutput, InferenceStep, TrainOutput, TrainStep};

use super::{ImageNetwork, inference_step, training_step};
use crate::data::{CLASSES, Normalization};
use crate::loader::ImageBatch;

/// Channels after the stem.
const STEM: usize = 32;

/// Channels after the head: the features of an image.
const FEATURES: usize = 1280;

/// Consecutive blocks, the first of which may halve the image.
struct Stage {
    blocks: usize,
    kernel: usize,
    stride: usize,
    expansion: usize,
    channels: usize,
}

const STAGES: [Stage; 7] = [
    Stage { blocks: 1, kernel: 3, stride: 1, expansion: 1, channels: 16 },
    Stage { blocks: 2, kernel: 3, stride: 2, expansion: 6, channels: 24 },
    Stage { blocks: 2, kernel: 5, stride: 2, expansion: 6, channels: 40 },
    Stage { blocks: 3, kernel: 3, stride: 2, expansion: 6, channels: 80 },
    Stage { blocks: 3, kernel: 5, stride: 1, expansion: 6, channels: 112 },
    Stage { blocks: 4, kernel: 5, stride: 2, expansion: 6, channels: 192 },
    Stage { blocks: 1, kernel: 3, stride: 1, expansion: 6, channels: 320 },
];

/// A convolutional network for ImageNet: a stem, 16 blocks, a head, a mean over the image, and a linear layer.
#[derive(Module, Debug)]
#[must_use]
pub struct EfficientNet {
    stem: NormedConvolution,
    blocks: Vec<InvertedBottleneck>,
    head: NormedConvolution,
    output: Linear,
    image_size: usize,
}

/// Sizes of an [`EfficientNet`].
#[derive(Debug, Clone, PartialEq)]
pub struct EfficientNetConfig {
    /// Size in pixels that images are enlarged to.
    pub image_size: usize,
    /// Number of classes.
    pub classes: usize,
}

impl Default for EfficientNetConfig {
    fn default() -> Self {
        Self { image_size: 96, classes: CLASSES }
    }
}

impl EfficientNetConfig {
    /// A network with random parameters. For training, pass a device with autodiff.
    pub fn init(&self, device: &Device) -> EfficientNet {
        let mut channels = STEM;
        let mut blocks = Vec::new();
        for stage in &STAGES {
            for block in 0..stage.blocks {
                let stride = if block == 0 { stage.stride } else { 1 };
                blocks.push(InvertedBottleneck::new(stage, channels, stride, device));
                channels = stage.channels;
            }
        }
        EfficientNet {
            stem: NormedConvolution::new(3, STEM, 3, 2, device),
            blocks,
            head: NormedConvolution::new(channels, FEATURES, 1, 1, device),
            output: EfficientNet::new_output(self.classes, device),
            image_size: self.image_size,
        }
    }
}

impl EfficientNet {
    /// The inputs that the network's published weights expect: (x − 127) / 128 for each pixel byte.
    pub const NORMALIZATION: Normalization =
        Normalization { mean: &[127.0 / 255.0; 3], std: &[128.0 / 255.0; 3] };

    /// The patterns of its layers' parameters, from the bottom up; all others are the top.
    pub const LAYERS: [(&str, &str); 2] = [("stem", r"^stem\."), ("block", r"^blocks\.(\d+)\.")];

    /// A last layer with random parameters.
    pub fn new_output(classes: usize, device: &Device) -> Linear {
        LinearConfig::new(FEATURES, classes).init(device)
    }

    /// The last layer.
    pub fn output(&self) -> Linear {
        self.output.clone()
    }

    /// The same network with another last layer.
    pub fn with_output(self, output: Linear) -> Self {
        Self { output, ..self }
    }

    /// The same network with frozen batch norms, which use and keep their means and variances.
    ///
    /// For fine-tuning with small batches: statistics of 16 images are too noisy to replace those of 1.3 million
    /// images.
    pub fn keeping_statistics(mut self) -> Self {
        let of_blocks = self.blocks.iter_mut().flat_map(InvertedBottleneck::convolutions);
        for convolution in of_blocks.chain([&mut self.stem, &mut self.head]) {
            convolution.norm.training = Param::from_bool(false);
        }
        self
    }

    /// The inputs of the last layer: `[batch, features]` for normalized images.
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let stem = relu6(self.stem.forward(self.enlarge(images)));
        let blocks = self.blocks.iter().fold(stem, |features, block| block.forward(features));
        let head = relu6(self.head.forward(blocks));
        head.flatten::<3>(2, 3).mean_dim(2).squeeze_dim(2)
    }

    fn enlarge(&self, images: Tensor<4>) -> Tensor<4> {
        let size = [self.image_size; 2];
        if images.dims()[2..] == size {
            return images;
        }
        let bilinear = InterpolateOptions::new(InterpolateMode::Bilinear).with_align_corners(false);
        interpolate(images, bilinear.with_output_size(size))
    }
}

impl ImageNetwork for EfficientNet {
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.output.forward(self.features(images))
    }
}

impl TrainStep for EfficientNet {
    type Input = ImageBatch;
    type Output = ClassificationOutput;

    fn step(&self, batch: ImageBatch) -> TrainOutput<ClassificationOutput> {
        training_step(self, batch, 0.0)
    }
}

impl InferenceStep for EfficientNet {
    type Input = ImageBatch;
    type Output = ClassificationOutput;

    fn step(&self, batch: ImageBatch) -> ClassificationOutput {
        inference_step(self, batch)
    }
}

/// Expansion, depthwise convolution and projection, added to the input if both have the same shape (Sandler et al.,
/// *MobileNetV2*, 2018).
#[derive(Module, Debug)]
pub struct InvertedBottleneck {
    expand: Option<NormedConvolution>,
    depthwise: NormedConvolution,
    project: NormedConvolution,
    residual: bool,
}

impl InvertedBottleneck {
    fn new(stage: &Stage, channels_in: usize, stride: usize, device: &Device) -> Self {
        let hidden = stage.expansion * channels_in;
        Self {
            expand: (stage.expansion > 1)
                .then(|| NormedConvolution::new(channels_in, hidden, 1, 1, device)),
            depthwise: NormedConvolution::depthwise(hidden, stage.kernel, stride, device),
            project: NormedConvolution::new(hidden, stage.channels, 1, 1, device),
            residual: stride == 1 && channels_in == stage.channels,
        }
    }

    fn convolutions(&mut self) -> impl Iterator<Item = &mut NormedConvolution> {
        self.expand.iter_mut().chain([&mut self.depthwise, &mut self.project])
    }

    /// The block's features for the features below it.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let expanded = match &self.expand {
            Some(expand) => relu6(expand.forward(input.clone())),
            None => input.clone(),
        };
        let output = self.project.forward(relu6(self.depthwise.forward(expanded)));
        if self.residual { input + output } else { output }
    }
}

/// A convolution without bias whose padding keeps the image's size, up to the stride; then batch
/// normalization.
///
/// The padding and the constants of the normalization are TensorFlow's, where the weights come from: an odd pixel goes
/// to the right and to the bottom.
#[derive(Module, Debug)]
pub struct NormedConvolution {
    convolution: Conv2d,
    norm: BatchNorm,
}

impl NormedConvolution {
    fn new(
        channels_in: usize,
        channels_out: usize,
        kernel: usize,
        stride: usize,
        device: &Device,
    ) -> Self {
        Self::of(Conv2dConfig::new([channels_in, channels_out], [kernel; 2]), stride, device)
    }

    fn depthwise(channels: usize, kernel: usize, stride: usize, device: &Device) -> Self {
        let convolution = Conv2dConfig::new([channels; 2], [kernel; 2]).with_groups(channels);
        Self::of(convolution, stride, device)
    }

    fn of(convolution: Conv2dConfig, stride: usize, device: &Device) -> Self {
        let norm =
            BatchNormConfig::new(convolution.channels[1]).with_epsilon(1e-3).with_momentum(0.01);
        let convolution = convolution
            .with_stride([stride; 2])
            .with_padding(PaddingConfig2d::Same)
            .with_bias(false);
        Self { convolution: convolution.init(device), norm: norm.init(device) }
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
    fn for_imagenet_it_has_the_published_4_652_008_parameters() {
        let config = EfficientNetConfig { classes: 1000, ..EfficientNetConfig::default() };

        let network = config.init(&Device::default());

        // Burn also counts the running mean and variance of each normalized channel.
        let statistics = 42_016;
        assert_eq!(network.num_params() - statistics, 4_652_008);
    }

    #[test]
    fn small_images_become_one_score_per_class() {
        let device = Device::default();
        let network = EfficientNetConfig { image_size: 40, ..Default::default() }.init(&device);

        let logits = network.forward(Tensor::ones([2, 3, 32, 32], &device));

        assert_eq!(logits.dims(), [2, CLASSES]);
    }
}
