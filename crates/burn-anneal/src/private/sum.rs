//! The sum of clipped gradients, and its noise.

use crate::update::{ByParameter, in_f32};
use burn::module::ParamId;
use burn::tensor::{Tensor, TensorData};
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;
use std::collections::HashMap;

/// The clipping and noise of gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mechanism {
    /// C, the norm that each gradient is clipped to.
    pub clip: f64,
    /// σ, the standard deviation of the noise on the sum, divided by the clip.
    pub noise_multiplier: f64,
    /// B, the divisor of the sum.
    pub batch: f64,
}

/// The sum of the gradients of single items, each clipped.
pub(super) struct ClippedSum {
    mechanism: Mechanism,
    sums: HashMap<ParamId, Tensor<1>>,
}

impl ClippedSum {
    pub fn new(mechanism: Mechanism) -> Self {
        Self { mechanism, sums: HashMap::new() }
    }

    /// Adds the gradient g of an item times min(1, C / ‖g‖), with one norm over all parameters; adds nothing if the
    /// norm is infinite or NaN. Nothing is read from the device.
    pub fn add(&mut self, gradient: &ByParameter) {
        let Some(norm) = gradient.norm() else { return };
        let clip = self.mechanism.clip;
        let factor = norm.clone().clamp_min(clip).recip() * clip;
        let is_useless = norm.is_finite().bool_not();
        for (id, entries) in gradient.iter() {
            let (entries, device) = (in_f32(entries.clone()), entries.device());
            let is_useless = is_useless.clone().to_device(&device).expand(entries.shape());
            let factor = factor.clone().to_device(&device).cast(entries.dtype());
            let clipped = (entries * factor).mask_fill(is_useless, 0.0);
            let sum = match self.sums.remove(id) {
                Some(sum) => sum + clipped,
                None => clipped,
            };
            self.sums.insert(*id, sum);
        }
    }

    /// (sum + N(0, σ²C²)) / B for each entry of each weight in order, even if the sum is empty.
    pub fn noisy_mean(mut self, weights: ByParameter, random: &mut impl Rng) -> ByParameter {
        let Mechanism { clip, noise_multiplier, batch } = self.mechanism;
        let deviation = noise_multiplier * clip;
        weights.map_each(|id, weight| {
            let mut draw = || (deviation * random.sample::<f64, _>(StandardNormal)) as f32;
            let noise: Vec<f32> = (0..weight.shape().num_elements()).map(|_| draw()).collect();
            let noise = TensorData::new(noise, weight.shape());
            let noise = Tensor::<1>::from_data(noise, &weight.device()).cast(weight.dtype());
            let noisy = match self.sums.remove(&id) {
                Some(sum) => sum + noise,
                None => noise,
            };
            noisy / batch
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Secret;
    use super::*;
    use burn::tensor::Device;

    const MECHANISM: Mechanism = Mechanism { clip: 2.0, noise_multiplier: 0.75, batch: 4.0 };

    fn tensor(entries: &[f32]) -> Tensor<1> {
        Tensor::from_floats(entries, &Device::default())
    }

    fn entries(of: &ByParameter) -> Vec<Vec<f32>> {
        of.iter().map(|(_, tensor)| tensor.clone().into_data().iter::<f32>().collect()).collect()
    }

    /// The sum without noise.
    fn sum_of(gradients: &[[&[f32]; 2]], ids: [ParamId; 2]) -> Vec<Vec<f32>> {
        let mut sum = ClippedSum::new(MECHANISM);
        for gradient in gradients {
            let pairs = ids.into_iter().zip(gradient).filter(|(_, entries)| !entries.is_empty());
            sum.add(&pairs.map(|(id, entries)| (id, tensor(entries))).collect());
        }
        let read = |id| {
            let sum = sum.sums.get(&id).cloned();
            sum.map_or(vec![], |sum: Tensor<1>| sum.into_data().iter::<f32>().collect())
        };
        ids.map(read).to_vec()
    }

    #[test]
    fn each_gradient_is_clipped_by_the_norm_of_all_its_parameters() {
        let ids = [ParamId::new(), ParamId::new()];
        // Norms of 5, of 1, of exactly C, and of one parameter only.
        let gradients: [[&[f32]; 2]; 4] =
            [[&[3.0, 0.0], &[4.0]], [&[0.6, 0.0], &[0.8]], [&[2.0, 0.0], &[0.0]], [&[], &[-10.0]]];
        let found = sum_of(&gradients, ids);
        let expected = [vec![1.2 + 0.6 + 2.0, 0.0], vec![1.6 + 0.8 - 2.0]];
        for (found, expected) in found.concat().iter().zip(expected.concat()) {
            assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
        }
    }

    #[test]
    fn no_gradient_adds_more_than_the_clip() {
        let ids = [ParamId::new(), ParamId::new()];
        for entry in [1e-18f32, 1e-3, 1.0, 1e3, 1e15] {
            let many = vec![entry; 10_000];
            let found = sum_of(&[[&many, &[-entry]]], ids).concat();
            let norm = found.iter().map(|entry| f64::from(*entry).powi(2)).sum::<f64>().sqrt();
            let raw = f64::from(entry) * 10_001f64.sqrt();
            let expected = raw.min(MECHANISM.clip);
            assert!((norm / expected - 1.0).abs() < 1e-5, "{entry}: {norm}, not {expected}");
        }
    }

    #[test]
    fn one_that_is_not_finite_adds_nothing() {
        let ids = [ParamId::new(), ParamId::new()];
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
            let found = sum_of(&[[&[1.0, 0.5], &[bad]], [&[1.0, 0.0], &[0.5]]], ids);
            assert_eq!(found, [vec![1.0, 0.0], vec![0.5]], "{bad}");
        }
    }

    #[test]
    fn noise_has_the_deviation_of_clip_and_multiplier_over_the_expected_batch() {
        const ENTRIES: usize = 40_000;
        let (with, without) = (ParamId::new(), ParamId::new());
        let weights = || -> ByParameter {
            [with, without].into_iter().map(|id| (id, tensor(&[9.0; ENTRIES]))).collect()
        };
        let noisy = |items: usize| {
            let mut sum = ClippedSum::new(MECHANISM);
            for _ in 0..items {
                // A norm of 1.
                let entry = 1.0 / (ENTRIES as f32).sqrt();
                sum.add(&[(with, tensor(&[entry; ENTRIES]))].into_iter().collect());
            }
            entries(&sum.noisy_mean(weights(), &mut Secret::new(Some(7)).unwrap().noise(3)))
        };
        let deviation = 0.75 * 2.0 / 4.0;
        let all = noisy(0).concat();
        let mean = all.iter().map(|entry| f64::from(*entry)).sum::<f64>() / all.len() as f64;
        let square = |entry: &f32| (f64::from(*entry) - mean).powi(2);
        let variance = all.iter().map(square).sum::<f64>() / all.len() as f64;
        // Within 5 standard deviations, for 80,000 entries.
        assert!(mean.abs() < 5.0 * deviation / 80_000f64.sqrt(), "{mean}");
        assert!((variance / deviation.powi(2) - 1.0).abs() < 5.0 * (2.0 / 80_000f64).sqrt());
        // 0.27 % of normal numbers lie beyond three standard deviations: 216 ± 5 · 14.7.
        let far = all.iter().filter(|entry| f64::from(**entry).abs() > 3.0 * deviation).count();
        assert!((142..290).contains(&far), "{far}");
        // The noise is the same with 8 items: it is added once, to the sum.
        for (index, (noisy, noise)) in noisy(8)[0].iter().zip(&noisy(0)[0]).enumerate() {
            let gradient = f64::from(noisy - noise);
            assert!((gradient - 8.0 / 200.0 / 4.0).abs() < 1e-6, "{index}: {gradient}");
        }
        assert_eq!(noisy(8)[1], noisy(0)[1]);
    }
}
