//! The best rate of one update with noise, as far as the noisy gradient shows it.

use super::check_noise_multiplier;
use crate::OutOfRange;
use serde::{Deserialize, Serialize};

/// What is known of an update of DP-SGD without looking at its data, and the best rate for it.
///
/// The optimizer gets g̃ = g + noise, g the mean of the clipped gradients over the expected batch, with noise of
/// deviation σC/B in each of d entries. For a loss of smoothness L
///
/// ```text
/// E f(w − η g̃) ≤ f(w) − η ‖g‖² + ½ L η² (‖g‖² + d σ²C²/B²)
/// ```
///
/// (g taken for the gradient of f), which is least at
///
/// ```text
/// η* = ‖g‖² / (L (‖g‖² + d σ²C²/B²))        with ‖g‖² := max(0, ‖g̃‖² − d σ²C²/B²)
///    = max(0, 1 − d σ²C²/(B² ‖g̃‖²)) / L
/// ```
///
/// **Why not the norm itself.** ‖g‖ is computed from the data and has no noise. A rate that follows it tells it to
/// everybody who sees the rate, or how far the weights moved, and no ε covers that. The norm of g̃ is made from what is
/// released anyhow, so that the rate spends nothing more.
///
/// **What the estimate is worth.** ‖g̃‖² − d σ²C²/B² is ‖g‖² in the mean, with a deviation of at least √(2d) σ²C²/B²:
/// where ‖g‖² is not well above that, a single update shows little, and only a mean over several does. What the choice
/// of the items adds to ‖g̃‖² counts as gradient. The bound is of SGD: other optimizers rescale g̃.
///
/// | field | range |
/// | --- | --- |
/// | `noise_multiplier` σ | finite, above 0 |
/// | `clip` C | finite, above 0: the norm that the gradient of each item is clipped to |
/// | `batch` B | finite, above 0: the expected batch, sampling rate times items, by which the sum is divided |
/// | `parameters` d | at least 1: entries that the noise is added to |
/// | `smoothness` L | finite, above 0: the largest curvature, 1 over the unit of the rate; of public data or a guess |
///
/// d σ²C²/B², too, must be a number above 0.
///
/// Source: minimizing the descent lemma, as in Bottou, Curtis and Nocedal 2018, "Optimization methods for large-scale
/// machine learning", section 4; Abadi et al. 2016, "Deep learning with differential privacy", arXiv 1607.00133.
///
/// ```
/// use anneal_control::PrivateStep;
///
/// let step = PrivateStep {
///     noise_multiplier: 1.0,
///     clip: 1.0,
///     batch: 100.0,
///     parameters: 10_000,
///     smoothness: 4.0,
/// };
/// // The noise alone has a norm of 1, so a norm of 2 is a gradient of √3, and η* is 3 / (4 · (3 + 1)).
/// assert!((step.best_rate(2.0)? - 3.0 / 16.0).abs() < 1e-12);
/// assert_eq!(step.best_rate(0.9)?, 0.0);
/// # Ok::<(), anneal_control::OutOfRange>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivateStep {
    /// The deviation of the noise on the sum, over the clip: σ.
    pub noise_multiplier: f64,
    /// What the gradient of each item is clipped to: C.
    pub clip: f64,
    /// The expected number of items: B.
    pub batch: f64,
    /// How many entries the gradient has: d.
    pub parameters: u64,
    /// The largest curvature of the loss: L.
    pub smoothness: f64,
}

impl PrivateStep {
    /// η* for a gradient that has this norm, noise and all: at least 0, below 1/L.
    ///
    /// # Errors
    /// [`OutOfRange`] for a field out of its range, or a norm that is not finite and at least 0.
    pub fn best_rate(&self, noisy_norm: f64) -> Result<f64, OutOfRange> {
        self.check()?;
        let ok = noisy_norm >= 0.0 && noisy_norm.is_finite();
        OutOfRange::require("noisy_norm", noisy_norm, ok, "finite, at least 0")?;
        Ok(self.best_rate_of_square(noisy_norm * noisy_norm))
    }

    /// η* for a mean of ‖g̃‖².
    pub(super) fn best_rate_of_square(&self, noisy_squared_norm: f64) -> f64 {
        (1.0 - self.noise() / noisy_squared_norm).max(0.0) / self.smoothness
    }

    /// What noise adds to ‖g̃‖²: d σ²C²/B².
    fn noise(&self) -> f64 {
        self.parameters as f64 * (self.noise_multiplier * self.clip / self.batch).powi(2)
    }

    pub(super) fn check(&self) -> Result<(), OutOfRange> {
        check_noise_multiplier(self.noise_multiplier)?;
        let above_0 = |field, value: f64| {
            let ok = value > 0.0 && value.is_finite();
            OutOfRange::require(field, value, ok, "finite, above 0")
        };
        above_0("clip", self.clip)?;
        above_0("batch", self.batch)?;
        let parameters = self.parameters;
        OutOfRange::require("parameters", parameters, parameters >= 1, "at least 1")?;
        above_0("smoothness", self.smoothness)?;
        above_0("d σ²C²/B²", self.noise())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: PrivateStep = PrivateStep {
        noise_multiplier: 0.8,
        clip: 1.5,
        batch: 30.0,
        parameters: 500,
        smoothness: 3.0,
    };

    /// The mean of ½ L ‖w − η (L w + noise)‖².
    fn mean_loss(squared_norm_of_w: f64, rate: f64) -> f64 {
        let deviation = 0.8 * 1.5 / 30.0;
        let shrinks = 1.0 - rate * 3.0;
        1.5 * (shrinks * shrinks * squared_norm_of_w + rate * rate * 500.0 * deviation * deviation)
    }

    #[test]
    fn no_other_rate_leaves_a_lower_loss_on_a_quadratic() {
        let noise = 500.0 * (0.8f64 * 1.5 / 30.0).powi(2);
        for w in [0.01, 0.1, 1.0] {
            let norm_of_gradient: f64 = 3.0 * w;
            let best = STEP.best_rate((norm_of_gradient.powi(2) + noise).sqrt()).unwrap();
            let loss = |rate| mean_loss(w * w, rate);
            assert!(best > 0.0 && best < 1.0 / 3.0);
            assert!(loss(best) < loss(0.999 * best) && loss(best) < loss(1.001 * best), "{w}");
        }
    }

    #[test]
    fn a_norm_that_noise_explains_has_a_rate_of_0() {
        let noise = 500f64.sqrt() * 0.04;
        for norm in [0.0, 0.5 * noise, 0.999 * noise] {
            assert_eq!(STEP.best_rate(norm), Ok(0.0));
        }
        assert!(STEP.best_rate(1.001 * noise).unwrap() > 0.0);
        // Its square is infinite.
        assert_eq!(STEP.best_rate(1e200), Ok(1.0 / 3.0));
    }

    #[test]
    fn it_refuses_each_field() {
        let field = |step: PrivateStep| step.best_rate(1.0).unwrap_err().field;
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(field(PrivateStep { noise_multiplier: bad, ..STEP }), "noise_multiplier");
            assert_eq!(field(PrivateStep { clip: bad, ..STEP }), "clip");
            assert_eq!(field(PrivateStep { batch: bad, ..STEP }), "batch");
            assert_eq!(field(PrivateStep { smoothness: bad, ..STEP }), "smoothness");
        }
        assert_eq!(field(PrivateStep { parameters: 0, ..STEP }), "parameters");
        assert_eq!(field(PrivateStep { clip: 1e300, ..STEP }), "d σ²C²/B²");
        assert_eq!(field(PrivateStep { clip: 1e-300, ..STEP }), "d σ²C²/B²");
        for norm in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(STEP.best_rate(norm).unwrap_err().field, "noisy_norm");
        }
    }
}
