//! The posterior after observations.

use super::GaussianProcess;
use crate::OutOfRange;
use nalgebra::{Cholesky, DMatrix, DVector, Dyn};
use std::f64::consts::TAU;

/// The prediction of a [`GaussianProcess`] at a place.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Prediction {
    /// The mean (and median) of the function.
    pub mean: f64,
    /// The standard deviation of the function, without observation noise.
    pub std: f64,
}

/// A [`GaussianProcess`] conditioned on observations.
#[derive(Clone, Debug)]
pub struct Posterior {
    process: GaussianProcess,
    x: Vec<Vec<f64>>,
    y: DVector<f64>,
    factor: Cholesky<f64, Dyn>,
    /// (K + noise·I)⁻¹ y.
    weights: DVector<f64>,
}

impl Posterior {
    pub(super) fn new(
        process: GaussianProcess,
        x: Vec<Vec<f64>>,
        y: &[f64],
    ) -> Result<Self, OutOfRange> {
        let factor = factor(process.covariances(&x), process.variance)?;
        let y = DVector::from_column_slice(y);
        let weights = factor.solve(&y);
        Ok(Self { process, x, y, factor, weights })
    }

    /// The process that was observed.
    pub fn process(&self) -> &GaussianProcess {
        &self.process
    }

    /// The places and values of the observations.
    pub fn observations(&self) -> (&[Vec<f64>], &[f64]) {
        (&self.x, self.y.as_slice())
    }

    /// Predicts the function at a place.
    ///
    /// # Errors
    /// A place with a different number of coordinates than those observed, or with one that is not finite.
    pub fn predict(&self, place: &[f64]) -> Result<Prediction, OutOfRange> {
        let scales = self.process.length_scales.len();
        // A single length scale without observations fits any place.
        let dimensions = match self.x.first() {
            Some(x) => x.len(),
            None if scales > 1 => scales,
            None => place.len(),
        };
        let ok = place.len() == dimensions && place.iter().all(|x| x.is_finite());
        OutOfRange::require("place", place, ok, format!("{dimensions} finite numbers"))?;
        Ok(self.at(place))
    }

    /// [`predict`](Self::predict) at a place whose coordinates are known to be valid.
    pub(crate) fn at(&self, place: &[f64]) -> Prediction {
        let covariances = self.x.iter().map(|x| self.process.covariance(x, place));
        let mut k = DVector::from_iterator(self.x.len(), covariances);
        let mean = k.dot(&self.weights);
        // A Cholesky factor has no 0 on its diagonal.
        self.factor.l_dirty().solve_lower_triangular_mut(&mut k);
        let variance = self.process.variance - k.norm_squared();
        Prediction { mean, std: variance.max(0.0).sqrt() }
    }

    /// The logarithm of the density of the observed values.
    pub fn log_marginal_likelihood(&self) -> f64 {
        let n = self.x.len();
        let log_determinant: f64 = (0..n).map(|i| 2.0 * self.factor.l_dirty()[(i, i)].ln()).sum();
        -0.5 * (self.y.dot(&self.weights) + log_determinant + n as f64 * TAU.ln())
    }

    /// Its derivatives with respect to ln `variance`, each ln l and ln `noise`.
    ///
    /// ```text
    /// ½ tr((wwᵀ − (K + noise·I)⁻¹) dK/dθ)      w = (K + noise·I)⁻¹ y
    /// ```
    pub fn log_marginal_likelihood_gradient(&self) -> Vec<f64> {
        let process = &self.process;
        let inverse = self.precision();
        let last = process.length_scales.len() + 1;
        let mut gradient = vec![0.0; last + 1];
        for i in 0..self.x.len() {
            let weight = |j: usize| self.weights[i] * self.weights[j] - inverse[(i, j)];
            for j in 0..i {
                let square = process.distance(&self.x[i], &self.x[j]);
                // Twice a half: (i, j) and (j, i).
                let weight = process.variance * weight(j);
                gradient[0] += weight * process.kernel.correlation(square);
                let slope = weight * process.kernel.slope(square);
                for (k, (a, b)) in self.x[i].iter().zip(&self.x[j]).enumerate() {
                    gradient[1 + k.min(last - 2)] += slope * process.square(k, *a, *b);
                }
            }
            gradient[0] += 0.5 * process.variance * weight(i);
            gradient[last] += 0.5 * process.noise * weight(i);
        }
        gradient
    }

    /// Adds places with their expected values: the mean stays, and is more certain near them.
    pub(crate) fn with_means(&self, places: &[Vec<f64>]) -> Result<Self, OutOfRange> {
        if places.is_empty() {
            return Ok(self.clone());
        }
        let means = places.iter().map(|place| self.at(place).mean);
        let y: Vec<f64> = self.y.iter().copied().chain(means).collect();
        self.process.observe(&[&self.x, places].concat(), &y)
    }

    /// (K + noise·I)⁻¹ = L⁻ᵀ L⁻¹, where L⁻¹ is triangular too: a third of the work of solving for each
    /// column.
    pub(crate) fn precision(&self) -> DMatrix<f64> {
        let (n, l) = (self.x.len(), self.factor.l_dirty());
        let mut inverse = DMatrix::identity(n, n);
        for j in 0..n {
            let mut column = inverse.view_mut((j, j), (n - j, 1));
            l.view((j, j), (n - j, n - j)).solve_lower_triangular_mut(&mut column);
        }
        DMatrix::from_fn(n, n, |i, j| {
            let below = i.max(j)..n;
            inverse.column(i).rows_range(below.clone()).dot(&inverse.column(j).rows_range(below))
        })
    }
}

/// The Cholesky factor of a covariance, with as little jitter as necessary.
fn factor(matrix: DMatrix<f64>, variance: f64) -> Result<Cholesky<f64, Dyn>, OutOfRange> {
    let jitters = [0.0, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4];
    let with = |jitter: f64| {
        let mut matrix = matrix.clone();
        for i in 0..matrix.nrows() {
            matrix[(i, i)] += jitter * variance;
        }
        Cholesky::new(matrix)
    };
    jitters.into_iter().find_map(with).ok_or_else(|| {
        let allowed = "one whose covariances have a Cholesky factor";
        OutOfRange::new("variance", format_args!("{variance:?}"), allowed)
    })
}
