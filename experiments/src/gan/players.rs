//! The two players of a GAN.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::{leaky_relu, log_sigmoid};
use burn::tensor::{Device, Distribution, Tensor};

use crate::model::PIXELS;

/// The size of the noise that a digit is made from.
pub const NOISE: usize = 32;

const HIDDEN: usize = 128;
const SLOPE: f64 = 0.2;

/// Makes digits from noise.
#[derive(Module, Debug)]
pub struct Generator {
    first: Linear,
    second: Linear,
    output: Linear,
}

impl Generator {
    /// With random parameters.
    pub fn new(device: &Device) -> Self {
        Self {
            first: LinearConfig::new(NOISE, HIDDEN).init(device),
            second: LinearConfig::new(HIDDEN, HIDDEN).init(device),
            output: LinearConfig::new(HIDDEN, PIXELS).init(device),
        }
    }

    /// Digits with pixels from -1 to 1: `[batch, pixels]`.
    pub fn forward(&self, noise: Tensor<2>) -> Tensor<2> {
        let hidden = leaky_relu(self.first.forward(noise), SLOPE);
        let hidden = leaky_relu(self.second.forward(hidden), SLOPE);
        self.output.forward(hidden).tanh()
    }
}

/// Distinguishes generated digits from real ones.
#[derive(Module, Debug)]
pub struct Discriminator {
    first: Linear,
    second: Linear,
    output: Linear,
}

impl Discriminator {
    /// With random parameters.
    pub fn new(device: &Device) -> Self {
        Self {
            first: LinearConfig::new(PIXELS, HIDDEN).init(device),
            second: LinearConfig::new(HIDDEN, HIDDEN).init(device),
            output: LinearConfig::new(HIDDEN, 1).init(device),
        }
    }

    /// The higher, the more real: `[batch, 1]`.
    pub fn forward(&self, digits: Tensor<2>) -> Tensor<2> {
        let hidden = leaky_relu(self.first.forward(digits), SLOPE);
        let hidden = leaky_relu(self.second.forward(hidden), SLOPE);
        self.output.forward(hidden)
    }
}

/// The loss of the player who wants high scores: the mean of -ln σ(score).
pub fn wants_high(scores: Tensor<2>) -> Tensor<1> {
    log_sigmoid(scores).mean().neg()
}

/// The loss of the player who wants low scores.
pub fn wants_low(scores: Tensor<2>) -> Tensor<1> {
    wants_high(scores.neg())
}

/// Noise for this number of digits.
pub fn noise(count: usize, device: &Device) -> Tensor<2> {
    Tensor::random([count, NOISE], Distribution::Normal(0.0, 1.0), device)
}
