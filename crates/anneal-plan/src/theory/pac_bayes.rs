//! The rate whose stationary distribution is closest to a prior.

use super::check::{finite, positive};
use crate::OutOfRange;

/// The divergence KL(N(w, s²) ‖ N(0, τ²)) of a normal posterior from a normal prior, in nats.
///
/// ```text
/// KL = ½ ((s² + w²)/τ² − 1 − ln(s²/τ²))
/// ```
///
/// ```
/// use anneal_plan::theory::gaussian_divergence;
/// assert_eq!(gaussian_divergence(1.0, 2.0, 2.0)?, 0.25);
/// # Ok::<(), anneal_plan::OutOfRange>(())
/// ```
///
/// # Errors
/// A mean that is not finite, or a variance that is not above 0.
pub fn gaussian_divergence(mean: f64, variance: f64, prior: f64) -> Result<f64, OutOfRange> {
    finite("mean", mean)?;
    positive("variance", variance)?;
    positive("prior", prior)?;
    let ratio = variance / prior;
    Ok(0.5 * (ratio + mean * mean / prior - 1.0 - ratio.ln()))
}

/// The constant rate at which SGD's stationary distribution has the least divergence from a prior N(0, τ²).
///
/// ```text
/// posterior N(w, s²):    dKL/ds² = ½(1/τ² − 1/s²), so s² = τ² is best, whatever w
/// small ηλ:              s² = ησ²/(2λ)              η = 2λτ²/σ²
/// any ηλ below 2:        s² = ησ²/(λ(2 − ηλ))       η = 2λτ²/(σ² + λ²τ²)
/// ```
///
/// The first rate is that of the diffusion limit. Its error is the factor 1 + λ²τ²/σ² = 1 + ηλ/2 of the
/// diffusion's η; from ηλ = 2 on it is unstable. The exact one is always stable. Both assume a quadratic of
/// curvature λ, noise that does not depend on the weight, and a stationary distribution.
///
/// | field | range |
/// | --- | --- |
/// | `curvature` λ | above 0, finite |
/// | `noise_variance` σ², of the batch's gradient | above 0, finite |
/// | `prior` τ² | above 0, finite |
///
/// Source: Mandt, Hoffman and Blei 2017, "Stochastic gradient descent as approximate Bayesian inference";
/// the bound: McAllester 1999, "PAC-Bayesian model averaging".
///
/// ```
/// use anneal_plan::theory::PacBayesRate;
///
/// let rate = PacBayesRate::new(2.0, 1.0, 0.01)?;
/// assert_eq!(rate.of_diffusion(), 0.04);
/// assert_eq!(rate.exact(), 0.04 / 1.04);
/// # Ok::<(), anneal_plan::OutOfRange>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PacBayesRate {
    curvature: f64,
    noise_variance: f64,
    prior: f64,
}

impl PacBayesRate {
    /// The rate for a curvature, a variance of the gradient and a variance of the prior.
    ///
    /// # Errors
    /// An argument outside its range.
    pub fn new(curvature: f64, noise_variance: f64, prior: f64) -> Result<Self, OutOfRange> {
        positive("curvature", curvature)?;
        positive("noise_variance", noise_variance)?;
        positive("prior", prior)?;
        Ok(Self { curvature, noise_variance, prior })
    }

    /// 2λτ²/σ², for small ηλ.
    pub fn of_diffusion(&self) -> f64 {
        2.0 * self.curvature * self.prior / self.noise_variance
    }

    /// 2λτ²/(σ² + λ²τ²), below 2/λ.
    pub fn exact(&self) -> f64 {
        let spread = self.curvature * self.curvature * self.prior;
        2.0 * self.curvature * self.prior / (self.noise_variance + spread)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Normals, assert_close, assert_mean, mean_and_error};
    use super::*;
    use anneal_schedule::analysis::stationary_variance;

    /// The squares of 20,000 independent weights after enough updates: none of the start is left.
    fn squares(rate: f64, curvature: f64, noise: f64) -> Vec<f64> {
        let mut normals = Normals::new(2);
        let factor = 1.0 - rate * curvature;
        let updates = (20.0 / -factor.abs().ln()).ceil().max(1.0) as usize;
        let mut end = || (0..updates).fold(0.0, |w, _| factor * w + rate * noise * normals.next());
        (0..20_000).map(|_| end().powi(2)).collect()
    }

    /// 20,000 weights: the standard error is 1 % of the variance. The diffusion's ησ²/(2λ) holds at ηλ =
    /// 0.02, where it is 1 % too small, and not at ηλ = 1.
    #[test]
    fn the_diffusion_has_the_variance_of_small_rates_only() {
        for rate in [0.01, 0.5, 0.9] {
            let found = squares(rate, 2.0, 1.5);
            assert_mean(&found, stationary_variance(rate, 2.0, 2.25).unwrap());
            let (mean, error) = mean_and_error(&found);
            let of_diffusion = rate * 2.25 / 4.0;
            let agrees = (mean - of_diffusion).abs() <= 4.0 * error;
            assert_eq!(agrees, rate == 0.01, "{rate}: {mean} ± {error}, {of_diffusion}");
        }
    }

    /// The divergence at the stationary variance, over a grid of rates.
    #[test]
    fn no_other_rate_has_a_smaller_divergence() {
        for (curvature, noise, prior) in [(2.0, 1.0, 0.01), (1.0, 0.3, 1.0), (5.0, 4.0, 0.5)] {
            let rate = PacBayesRate::new(curvature, noise, prior).unwrap();
            let exact = |rate: f64| stationary_variance(rate, curvature, noise).unwrap();
            assert_close(exact(rate.exact()), prior, 1e-12);
            let diffusion = |rate: f64| rate * noise / (2.0 * curvature);
            assert_close(diffusion(rate.of_diffusion()), prior, 1e-12);
            let is_least = |at: f64, limit: f64, variance: &dyn Fn(f64) -> f64| {
                let divergence = |rate| gaussian_divergence(0.7, variance(rate), prior).unwrap();
                let others = (1..200).map(|i| 0.01 * f64::from(i) * at);
                others
                    .filter(|&other| other < limit)
                    .all(|other| divergence(at) <= divergence(other) + 1e-15)
            };
            let limit = 2.0 / curvature;
            assert!(rate.exact() < limit && is_least(rate.exact(), limit, &exact));
            assert!(is_least(rate.of_diffusion(), f64::INFINITY, &diffusion));
        }
        // σ² below λ²τ²: the rate of the diffusion is unstable.
        let steep = PacBayesRate::new(1.0, 0.3, 1.0).unwrap();
        assert!(steep.of_diffusion() > 2.0 && steep.exact() < 2.0);
    }

    /// Simpson's rule over 12 standard deviations.
    #[test]
    fn the_divergence_is_its_integral() {
        let (mean, variance, prior) = (0.8f64, 0.5f64, 2.0f64);
        let density = |x: f64, mean: f64, variance: f64| {
            (-(x - mean).powi(2) / (2.0 * variance)).exp()
                / (std::f64::consts::TAU * variance).sqrt()
        };
        let width = 12.0 * variance.sqrt() / 1_000.0;
        let integrand = |i: i32| {
            let x = mean + f64::from(i) * width;
            let posterior = density(x, mean, variance);
            posterior * (posterior / density(x, 0.0, prior)).ln()
        };
        let weight =
            |i: i32| if i.abs() == 1_000 { 1.0 } else { 2.0 + 2.0 * f64::from(i.abs() % 2) };
        let sum: f64 = (-1_000..=1_000).map(|i| weight(i) * integrand(i)).sum();
        assert_close(sum * width / 3.0, gaussian_divergence(mean, variance, prior).unwrap(), 1e-9);
    }

    #[test]
    fn arguments_are_checked() {
        let field = |a, b, c| PacBayesRate::new(a, b, c).unwrap_err().field;
        assert_eq!(field(0.0, 1.0, 1.0), "curvature");
        assert_eq!(field(1.0, f64::NAN, 1.0), "noise_variance");
        assert_eq!(field(1.0, 1.0, -1.0), "prior");
        assert_eq!(gaussian_divergence(f64::NAN, 1.0, 1.0).unwrap_err().field, "mean");
        assert_eq!(gaussian_divergence(0.0, 0.0, 1.0).unwrap_err().field, "variance");
        assert_eq!(gaussian_divergence(0.0, 1.0, 0.0).unwrap_err().field, "prior");
    }
}
