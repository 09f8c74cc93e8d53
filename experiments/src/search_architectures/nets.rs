//! The candidate nets.

use std::sync::Arc;

use anneal_examples::data::CLASSES;
use anneal_examples::loader::{ImageBatch, ImageLoader};
use anneal_examples::model::{ImageClassifier, ImageNetwork, inference_step, training_step};
use burn::module::Module;
use burn::nn::activation::{Activation, ActivationConfig};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::optim::SgdConfig;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use burn::train::{ClassificationOutput, InferenceStep, TrainOutput, TrainStep};
use burn_anneal::groups::Curvature;
use burn_anneal::prelude::*;
use burn_anneal::{Candidate, schedule::Schedule};

use crate::error::ExperimentError;
use crate::evaluation::{Evaluation, evaluate};
use crate::model::PIXELS;

/// The nets: widths of hidden layers and a factor on their initial weights, or convolutions.
pub const NETS: [(&str, Net); 8] = [
    ("narrow", Net::Relu(&[16], 1.0)),
    ("two layers", Net::Relu(&[64, 32], 1.0)),
    ("wide", Net::Relu(&[128], 1.0)),
    ("two layers, weights × 3", Net::Relu(&[64, 32], 3.0)),
    ("tanh, six layers, weights × 2", Net::Tanh(&[32, 32, 32, 32, 32, 32], 2.0)),
    ("tanh, weights × 4", Net::Tanh(&[64, 32], 4.0)),
    ("sigmoid", Net::Sigmoid(&[64, 32], 1.0)),
    ("convolutions", Net::Convolutions),
];

/// A kind of net.
#[derive(Debug, Clone, Copy)]
pub enum Net {
    Relu(&'static [usize], f64),
    Tanh(&'static [usize], f64),
    Sigmoid(&'static [usize], f64),
    Convolutions,
}

/// A candidate that can be tested.
pub trait Contender: Candidate<ImageBatch> {
    /// Tests it.
    fn test(&self, images: &ImageLoader) -> Result<Evaluation, ExperimentError>;

    /// The largest eigenvalue of the Hessian on a batch.
    fn curvature(&self, batch: &ImageBatch) -> Result<f64, ExperimentError>;
}

impl<M: ImageClassifier> Contender for TrainingLoop<M> {
    fn test(&self, images: &ImageLoader) -> Result<Evaluation, ExperimentError> {
        Ok(evaluate(&self.valid(), images)?)
    }

    fn curvature(&self, batch: &ImageBatch) -> Result<f64, ExperimentError> {
        let rule = Curvature::new().max_iterations(100);
        let gradients = |model: &M| TrainStep::step(model, batch.clone()).grads;
        let found = rule.measure(self.model(), self.groups(), gradients)?;
        Ok(found.iter().next().map_or(f64::NAN, |(_, largest)| largest))
    }
}

impl Net {
    /// A training of it, by plain SGD.
    pub fn training(
        self,
        schedule: ScheduleConfig,
        run: RunLength,
        device: &Device,
    ) -> Result<Box<dyn Contender>, ExperimentError> {
        let perceptron = |widths, scale, activation: ActivationConfig| {
            built(Perceptron::new(widths, scale, activation.init(device), device), &schedule, run)
        };
        match self {
            Self::Relu(widths, scale) => perceptron(widths, scale, ActivationConfig::Relu),
            Self::Tanh(widths, scale) => perceptron(widths, scale, ActivationConfig::Tanh),
            Self::Sigmoid(widths, scale) => perceptron(widths, scale, ActivationConfig::Sigmoid),
            Self::Convolutions => built(Convolutions::new(device), &schedule, run),
        }
    }
}

fn built<M: ImageClassifier>(
    model: M,
    schedule: &ScheduleConfig,
    run: RunLength,
) -> Result<Box<dyn Contender>, ExperimentError> {
    let builder = LearnerBuilder::new(model, SgdConfig::new().build(), schedule.clone());
    Ok(Box::new(builder.run(run).build_loop()?))
}

/// A candidate that records its losses.
pub struct Recorded {
    /// The training.
    pub training: Box<dyn Contender>,
    /// The loss of each of its passes.
    pub losses: Vec<f64>,
}

impl Candidate<ImageBatch> for Recorded {
    fn device(&self) -> Device {
        self.training.device()
    }

    fn schedule(&self) -> &Schedule {
        self.training.schedule()
    }

    fn next_update(&self) -> u64 {
        self.training.next_update()
    }

    fn loss(&mut self, batch: ImageBatch) -> Result<f64, Arc<UpdateError>> {
        let loss = self.training.loss(batch)?;
        self.losses.push(loss);
        Ok(loss)
    }

    fn update(&mut self) -> Result<(), Arc<UpdateError>> {
        self.training.update()
    }
}

/// Linear layers with an activation between them.
#[derive(Module, Debug)]
struct Perceptron {
    layers: Vec<Linear>,
    activation: Activation,
}

impl Perceptron {
    fn new(widths: &[usize], scale: f64, activation: Activation, device: &Device) -> Self {
        let sizes = [&[PIXELS], widths, &[CLASSES]].concat();
        // Burn's own, times the scale.
        let gain = scale / 3f64.sqrt();
        let initializer = Initializer::KaimingUniform { gain, fan_out_only: false };
        let layer = |sizes: &[usize]| {
            let layer = LinearConfig::new(sizes[0], sizes[1]);
            layer.with_initializer(initializer.clone()).init(device)
        };
        Self { layers: sizes.windows(2).map(layer).collect(), activation }
    }
}

impl ImageNetwork for Perceptron {
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let first = self.layers[0].forward(images.flatten(1, 3));
        self.layers[1..]
            .iter()
            .fold(first, |features, layer| layer.forward(self.activation.forward(features)))
    }
}

/// Two convolutions that each divide the sides by three, and a linear layer.
#[derive(Module, Debug)]
struct Convolutions {
    first: Conv2d,
    second: Conv2d,
    output: Linear,
}

impl Convolutions {
    fn new(device: &Device) -> Self {
        let convolution = |channels| Conv2dConfig::new(channels, [4, 4]).with_stride([3, 3]);
        Self {
            first: convolution([1, 8]).init(device),
            second: convolution([8, 16]).init(device),
            output: LinearConfig::new(16 * 2 * 2, CLASSES).init(device),
        }
    }
}

impl ImageNetwork for Convolutions {
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let features = relu(self.second.forward(relu(self.first.forward(images))));
        self.output.forward(features.flatten(1, 3))
    }
}

macro_rules! classifiers {
    ($($net:ty),*) => {$(
        impl TrainStep for $net {
            type Input = ImageBatch;
            type Output = ClassificationOutput;

            fn step(&self, batch: ImageBatch) -> TrainOutput<ClassificationOutput> {
                training_step(self, batch, 0.0)
            }
        }

        impl InferenceStep for $net {
            type Input = ImageBatch;
            type Output = ClassificationOutput;

            fn step(&self, batch: ImageBatch) -> ClassificationOutput {
                inference_step(self, batch)
            }
        }
    )*};
}

classifiers!(Perceptron, Convolutions);
