//! The process that adds noise to digits, and the network that predicts it.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::silu;
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use burn_anneal::prelude::*;

/// Pixels of a digit at half the size.
const PIXELS: usize = 14 * 14;

const HIDDEN: usize = 128;

/// Steps of a process, and the levels of noise among them: 5, 15, …, 95.
const STEPS: usize = 100;
pub const LEVELS: usize = 10;

/// A diffusion process at its levels.
#[derive(Debug, Clone)]
pub struct Process {
    /// β of each level.
    pub betas: Vec<f64>,
    /// ᾱ of each level: the remaining share of the digit's variance.
    pub kept: Vec<f64>,
}

impl Process {
    /// β from 0.001 to 0.2, as in Ho et al. 2020, in a tenth of the steps.
    pub fn smooth() -> Result<Self, ScheduleError> {
        let last = Span::steps(STEPS as u64 - 1);
        Self::of(linear(1e-3, 0.2).length(last))
    }

    /// Almost no noise in the first half of the steps, and much in the second.
    pub fn sharp() -> Result<Self, ScheduleError> {
        Self::of(constant(2e-3).then(Span::percent(50.0), constant(0.2)))
    }

    fn of(betas: impl ScheduleExt) -> Result<Self, ScheduleError> {
        let betas = betas.resolve(RunLength::updates(STEPS as u64))?;
        let betas: Vec<f64> = (0..STEPS).map(|step| betas.rate(step as u64)).collect();
        let mut left = 1.0;
        let kept: Vec<f64> = betas
            .iter()
            .map(|beta| {
                left *= 1.0 - beta;
                left
            })
            .collect();
        let at_levels = |values: &[f64]| {
            (0..LEVELS).map(|level| values[level * STEPS / LEVELS + STEPS / LEVELS / 2]).collect()
        };
        Ok(Self { betas: at_levels(&betas), kept: at_levels(&kept) })
    }

    /// The noise relative to the remaining signal, (1 − ᾱ)/ᾱ, of each level.
    pub fn cumulative(&self) -> Vec<f64> {
        self.kept.iter().map(|kept| (1.0 - kept) / kept).collect()
    }
}

/// Digits, noise, and the level of each.
#[derive(Debug, Clone)]
pub struct Noisy {
    pub digits: Tensor<2>,
    pub noise: Tensor<2>,
    pub levels: Vec<usize>,
}

impl Noisy {
    /// Noise for `[batch, 1, 28, 28]` images, at levels by their number in the batch.
    pub fn new(images: Tensor<4>, level: impl Fn(usize) -> usize) -> Self {
        let half = avg_pool2d(images, AvgPoolOptions::new([2, 2]).with_stride([2, 2]));
        let digits = half.flatten::<2>(1, 3);
        let noise = digits.random_like(Distribution::Normal(0.0, 1.0));
        let levels = (0..digits.dims()[0]).map(level).collect();
        Self { digits, noise, levels }
    }
}

/// Predicts the noise in a digit with a known level.
#[derive(Module, Debug)]
pub struct Denoiser {
    first: Linear,
    second: Linear,
    output: Linear,
}

impl Denoiser {
    /// With random parameters. For training, pass a device with autodiff.
    pub fn new(device: &Device) -> Self {
        Self {
            first: LinearConfig::new(PIXELS + LEVELS, HIDDEN).init(device),
            second: LinearConfig::new(HIDDEN, HIDDEN).init(device),
            output: LinearConfig::new(HIDDEN, PIXELS).init(device),
        }
    }

    /// The mean squared error of each sample: `[batch]`.
    pub fn errors(&self, batch: &Noisy, process: &Process) -> Tensor<1> {
        let device = batch.digits.device();
        let share = |of: fn(f64) -> f64| {
            let shares: Vec<f32> =
                batch.levels.iter().map(|level| of(process.kept[*level]) as f32).collect();
            Tensor::<1>::from_floats(shares.as_slice(), &device).unsqueeze_dim(1)
        };
        let noisy = batch.digits.clone() * share(f64::sqrt)
            + batch.noise.clone() * share(|kept| (1.0 - kept).sqrt());
        let levels: Vec<i32> = batch.levels.iter().map(|level| *level as i32).collect();
        let levels = TensorData::new(levels, [batch.levels.len()]);
        let levels = Tensor::<1, Int>::from_data(levels, &device).one_hot::<2>(LEVELS).float();
        let features = silu(self.first.forward(Tensor::cat(vec![noisy, levels], 1)));
        let found = self.output.forward(silu(self.second.forward(features)));
        (found - batch.noise.clone()).square().mean_dim(1).squeeze_dim(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_adds_up() {
        let sharp = Process::sharp().unwrap();
        assert_eq!(sharp.betas, [[2e-3; 5], [0.2; 5]].concat());
        // 6 steps of 0.002 to level 0; 50 of them and 6 of 0.2 to level 5.
        assert!((sharp.kept[0] - 0.998f64.powi(6)).abs() < 1e-12);
        let expected = 0.998f64.powi(50) * 0.8f64.powi(6);
        assert!((sharp.kept[5] - expected).abs() < 1e-12);
        assert!((sharp.cumulative()[5] - (1.0 / expected - 1.0)).abs() < 1e-12);
    }
}
