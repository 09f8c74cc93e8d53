//! Gaussian process regression.

mod fit;
mod kernel;
mod posterior;
#[cfg(test)]
mod tests;

pub use kernel::Kernel;
pub use posterior::{Posterior, Prediction};

use crate::OutOfRange;
use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

/// A Gaussian process with mean 0: a prior over functions, observed through noisy values.
///
/// ```text
/// cov(f(x), f(x')) = variance · k(r),   r² = Σ_j ((x_j − x'_j) / l_j)²
/// y = f(x) + ε,   ε ~ N(0, noise)
/// mean at x:  k*ᵀ (K + noise·I)⁻¹ y      variance at x:  variance − k*ᵀ (K + noise·I)⁻¹ k*
/// ln p(y) = −½ yᵀ(K + noise·I)⁻¹y − ½ ln det(K + noise·I) − ½ n ln 2π
/// ```
///
/// | field | range |
/// | --- | --- |
/// | `kernel` | see [`Kernel`] |
/// | `variance` of the function | finite, above 0 |
/// | `length_scales` l: one for all dimensions, or one for each | finite, above 0 |
/// | `noise`: the variance of one value | 0 by default; finite, at least 0 |
///
/// If rounding leaves K + noise·I without a Cholesky factor, a jitter is added to its diagonal: the smallest
/// power of ten from 10⁻¹⁰ to 10⁻⁴ of the variance that gives one. The cost is O(n³) for n observations.
///
/// Source: Rasmussen and Williams 2006, algorithm 2.1; scikit-learn's `GaussianProcessRegressor` with fixed
/// hyperparameters and `noise` as its `alpha`.
///
/// ```
/// use anneal_plan::{GaussianProcess, Kernel};
///
/// let process = GaussianProcess::new(Kernel::Rbf, 1.0, vec![0.3]).noise(1e-6);
/// let posterior = process.observe(&[vec![0.0], vec![0.5]], &[1.0, -1.0])?;
/// let near = posterior.predict(&[0.0])?;
/// assert!((near.mean - 1.0).abs() < 1e-4 && near.std < 1e-2);
/// let far = posterior.predict(&[9.0])?;
/// assert!(far.mean.abs() < 1e-9 && (far.std - 1.0).abs() < 1e-9);
/// # Ok::<(), anneal_plan::OutOfRange>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GaussianProcess {
    kernel: Kernel,
    variance: f64,
    length_scales: Vec<f64>,
    #[serde(default)]
    noise: f64,
}

impl GaussianProcess {
    /// A prior with noise-free observations.
    pub fn new(kernel: Kernel, variance: f64, length_scales: Vec<f64>) -> Self {
        Self { kernel, variance, length_scales, noise: 0.0 }
    }

    /// Sets the variance of the observation noise.
    #[must_use]
    pub fn noise(self, noise: f64) -> Self {
        Self { noise, ..self }
    }

    /// The length scales: one for all dimensions, or one for each.
    pub fn length_scales(&self) -> &[f64] {
        &self.length_scales
    }

    /// The variance of the function, and of the noise.
    pub fn variances(&self) -> (f64, f64) {
        (self.variance, self.noise)
    }

    /// The posterior after observing the values y at the places x.
    ///
    /// # Errors
    /// A field outside its range, different numbers of x and y, a place without a coordinate for each length
    /// scale, a number that is not finite, or a covariance without a Cholesky factor.
    pub fn observe(&self, x: &[Vec<f64>], y: &[f64]) -> Result<Posterior, OutOfRange> {
        self.check()?;
        let dimensions = x.first().map_or(1, Vec::len);
        let scales = self.length_scales.len();
        let fits = scales == 1 || x.is_empty() || scales == dimensions;
        OutOfRange::require("length_scales", scales, fits, format!("1 or {dimensions}"))?;
        check_observations(x, y)?;
        Posterior::new(self.clone(), x.to_vec(), y)
    }

    fn check(&self) -> Result<(), OutOfRange> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let Self { variance, length_scales, noise, .. } = self;
        OutOfRange::require("variance", variance, positive(*variance), "finite, above 0")?;
        let scales = !length_scales.is_empty() && length_scales.iter().all(|l| positive(*l));
        OutOfRange::require("length_scales", length_scales, scales, "finite, above 0")?;
        OutOfRange::require(
            "noise",
            noise,
            noise.is_finite() && *noise >= 0.0,
            "finite, at least 0",
        )
    }

    /// The squared distance between two places in one dimension, in length scales.
    fn square(&self, dimension: usize, a: f64, b: f64) -> f64 {
        let scale = self.length_scales[if self.length_scales.len() == 1 { 0 } else { dimension }];
        ((a - b) / scale).powi(2)
    }

    /// The squared distance between two places, in length scales.
    fn distance(&self, a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).enumerate().map(|(j, (a, b))| self.square(j, *a, *b)).sum()
    }

    fn covariance(&self, a: &[f64], b: &[f64]) -> f64 {
        self.variance * self.kernel.correlation(self.distance(a, b))
    }

    /// K + noise·I.
    fn covariances(&self, x: &[Vec<f64>]) -> DMatrix<f64> {
        let mut matrix = DMatrix::zeros(x.len(), x.len());
        for i in 0..x.len() {
            for j in 0..i {
                let covariance = self.covariance(&x[i], &x[j]);
                (matrix[(i, j)], matrix[(j, i)]) = (covariance, covariance);
            }
            matrix[(i, i)] = self.variance + self.noise;
        }
        matrix
    }
}

/// Checks that there is a finite value for each place, and that all places have equally many coordinates, all
/// finite.
fn check_observations(x: &[Vec<f64>], y: &[f64]) -> Result<(), OutOfRange> {
    OutOfRange::require("y", y.len(), y.len() == x.len(), format!("as many as x, {}", x.len()))?;
    let dimensions = x.first().map_or(1, Vec::len);
    for place in x {
        let ok = place.len() == dimensions && place.iter().all(|x| x.is_finite());
        OutOfRange::require(
            "x",
            place,
            ok && dimensions > 0,
            format!("{dimensions} finite numbers"),
        )?;
    }
    let finite = y.iter().all(|y| y.is_finite());
    OutOfRange::require("y", y, finite, "finite")
}
