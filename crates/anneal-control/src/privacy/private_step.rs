//! The best rate of a noisy update, as estimated from the noisy gradient.

use super::check_noise_multiplier;
use crate::OutOfRange;
use serde::{Deserialize, Serialize};

/// The data-independent parameters of a DP-SGD update, and the best rate for it.
///
/// The optimizer receives g̃ = g + noise, with g the mean of the clipped gradients over the expected batch,
/// and noise of deviation σC/B in each of d entries. For a loss of smoothness L
///
/// ```text
/// E f(w − η g̃) ≤ f(w) − η ‖g‖² + ½ L η² (‖g‖² + d σ²C²/B²)
/// ```
///
/// (taking g for the gradient of f), which is minimal at
///
/// ```text
/// η* = ‖g‖² / (L (‖g‖² + d σ²C²/B²))        with ‖g‖² := max(0, ‖g̃‖² − d σ²C²/B²)
///    = max(0, 1 − d σ²C²/(B² ‖g̃‖²)) / L
/// ```
///
/// **Why not the norm itself.** ‖g‖ is computed from the data without noise. A rate that follows it reveals
/// it to everyone who sees the rate, or how far the weights moved, and no ε covers that. The norm of g̃ is
/// computed from what is released anyway, so the rate spends nothing more.
///
/// **Accuracy of the estimate.** ‖g̃‖² − d σ²C²/B² has mean ‖g‖² and a deviation of at least √(2d) σ²C²/B²:
/// unless ‖g‖² is well above that, a single update shows little, and only a mean over several does. Variance
/// from the sampling of items counts as gradient. The bound is for SGD: other optimizers rescale g̃.
///
/// | field | range |
/// | --- | --- |
/// | `noise_multiplier` σ | finite, above 0 |
/// | `clip` C | finite, above 0: the norm to which the gradient of each item is clipped |
/// | `batch` B | finite, above 0: the expected batch, sampling rate times items, by which the sum is divided |
/// | `parameters` d | at least 1: the number of entries with noise |
/// | `smoothness` L | finite, above 0: the largest curvature, in 1/rate; from public data or a guess |
///
/// d σ²C²/B² must also be a number above 0.
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
/// // The noise alone has a norm of 1, so a norm of 2 means a gradient of √3, and η* is 3 / (4 · (3 + 1)).
/// assert!((step.best_rate(2.0)? - 3.0 / 16.0).abs() < 1e-12);
/// assert_eq!(step.best_rate(0.9)?, 0.0);
/// # Ok::<(), anneal_control::OutOfRange>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivateStep {
    /// The deviation of the noise on the sum, divided by the clip: σ.
    pub noise_multiplier: f64,
    /// The clipping norm of each item's gradient: C.
    pub clip: f64,
    /// The expected number of items: B.
    pub batch: f64,
    /// The number of entries of the gradient: d.
    pub parameters: u64,
    /// The largest curvature of the loss: L.
    pub smoothness: f64,
}

impl PrivateStep {
    /// η* for a gradient with this norm including noise: at least 0, below 1/L.
    ///
    /// # Errors
    /// [`OutOfRange`] for a field out of range, or a norm that is not finite and at least 0.
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

    /// The contribution of noise to ‖g̃‖²: d σ²C²/B².
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
