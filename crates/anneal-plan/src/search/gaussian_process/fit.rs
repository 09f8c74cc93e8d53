//! Fits hyperparameters to observations.

use super::{GaussianProcess, Kernel, check_observations};
use crate::OutOfRange;

/// A gamma distribution over a hyperparameter.
struct Gamma {
    shape: f64,
    rate: f64,
}

impl Gamma {
    /// The logarithm of its density at e^θ, up to a constant, and its derivative with respect to θ.
    fn log_density(&self, theta: f64) -> (f64, f64) {
        let (slope, x) = (self.shape - 1.0, theta.exp());
        (slope * theta - self.rate * x, slope - self.rate * x)
    }
}

const VARIANCE: Gamma = Gamma { shape: 2.0, rate: 1.0 };
const LENGTH_SCALE: Gamma = Gamma { shape: 3.0, rate: 6.0 };
const NOISE: Gamma = Gamma { shape: 1.1, rate: 30.0 };

/// Starting points of the ascent: one length scale for all dimensions, and the noise, with a variance of 1.
/// Values can be read as a function that varies fast, or as a slow one with noise.
const LENGTH_SCALES: [f64; 5] = [0.05, 0.1, 0.2, 0.5, 1.0];
const NOISES: [f64; 4] = [1e-4, 1e-2, 0.1, 0.3];

/// The bounds of the variance, the length scales and the noise.
const BOUNDS: [(f64, f64); 3] = [(1e-3, 1e3), (0.05, 1e2), (1e-6, 10.0)];

const STEPS: usize = 30;

impl GaussianProcess {
    /// The process with the most probable hyperparameters after values y at the places x, for places in the
    /// unit cube and values of mean 0 and variance 1. Each dimension has its own length scale.
    ///
    /// ```text
    /// maximize  ln p(y) + ln Gamma(variance; 2, 1) + Σ_j ln Gamma(l_j; 3, 6) + ln Gamma(noise; 1.1, 30)
    /// ```
    ///
    /// with the variance in [10⁻³, 10³], each l in [0.05, 100] and the noise in [10⁻⁶, 10]; the gammas are
    /// given by shape and rate. The ascent is Rprop on their logarithms, from the best of 20 starts: it is
    /// deterministic.
    ///
    /// Sources: the prior of the length scales is that of BoTorch's `SingleTaskGP` before 0.12, the other two
    /// are those of Optuna's `GPSampler`; Blum and Riedmiller 2013 for Rprop.
    ///
    /// # Errors
    /// Different numbers of x and y, places with different numbers of coordinates, or a number that is not
    /// finite.
    ///
    /// ```
    /// use anneal_plan::{GaussianProcess, Kernel};
    ///
    /// let x: Vec<Vec<f64>> = (0..20).map(|i| vec![f64::from(i) / 20.0]).collect();
    /// let y: Vec<f64> = x.iter().map(|x| (9.0 * x[0]).sin()).collect();
    /// let fitted = GaussianProcess::fit(Kernel::Matern52, &x, &y)?;
    /// let prediction = fitted.observe(&x, &y)?.predict(&[0.52])?;
    /// assert!((prediction.mean - (9.0f64 * 0.52).sin()).abs() < 0.02);
    /// # Ok::<(), anneal_plan::OutOfRange>(())
    /// ```
    pub fn fit(kernel: Kernel, x: &[Vec<f64>], y: &[f64]) -> Result<Self, OutOfRange> {
        check_observations(x, y)?;
        let dimensions = x.first().map_or(1, Vec::len);
        let mut best = (f64::NEG_INFINITY, Self::new(kernel, 1.0, vec![0.5; dimensions]));
        for length_scale in LENGTH_SCALES {
            for noise in NOISES {
                let start = Self::new(kernel, 1.0, vec![length_scale; dimensions]).noise(noise);
                let prior = log_prior(&start.logarithms()).0;
                let density = start.observe(x, y)?.log_marginal_likelihood() + prior;
                if density > best.0 {
                    best = (density, start);
                }
            }
        }
        best.1.refit(x, y)
    }

    fn logarithms(&self) -> Vec<f64> {
        let scales = self.length_scales.iter().copied();
        [self.variance].into_iter().chain(scales).chain([self.noise]).map(f64::ln).collect()
    }

    fn from_logarithms(kernel: Kernel, theta: &[f64]) -> Self {
        let last = theta.len() - 1;
        let length_scales = theta[1..last].iter().map(|theta| theta.exp()).collect();
        Self { kernel, variance: theta[0].exp(), length_scales, noise: theta[last].exp() }
    }

    /// Continues from these hyperparameters by iRprop⁻: each logarithm has its own step, which grows while
    /// the sign of its slope stays, and is halved when it changes.
    pub(crate) fn refit(self, x: &[Vec<f64>], y: &[f64]) -> Result<Self, OutOfRange> {
        let mut theta = self.logarithms();
        let mut sizes = vec![0.2; theta.len()];
        let mut slopes = vec![0.0; theta.len()];
        let mut best = (f64::NEG_INFINITY, self.clone());
        for _ in 0..STEPS {
            let process = Self::from_logarithms(self.kernel, &theta);
            let posterior = process.observe(x, y)?;
            let (prior, prior_gradient) = log_prior(&theta);
            let density = posterior.log_marginal_likelihood() + prior;
            let mut gradient = posterior.log_marginal_likelihood_gradient();
            gradient.iter_mut().zip(prior_gradient).for_each(|(slope, more)| *slope += more);
            if density > best.0 {
                best = (density, process);
            }
            let mut largest: f64 = 0.0;
            for i in 0..theta.len() {
                let (low, high) = BOUNDS[role(i, theta.len())];
                let agreement = gradient[i] * slopes[i];
                sizes[i] *= if agreement > 0.0 { 1.2 } else { 1.0 };
                slopes[i] = gradient[i];
                let before = theta[i];
                if agreement < 0.0 {
                    (sizes[i], slopes[i]) = (0.5 * sizes[i], 0.0);
                    largest = largest.max(sizes[i]);
                } else if gradient[i] != 0.0 {
                    let moved = before + sizes[i] * gradient[i].signum();
                    theta[i] = moved.clamp(low.ln(), high.ln());
                    largest = largest.max((theta[i] - before).abs());
                }
            }
            if largest < 0.01 {
                break;
            }
        }
        Ok(best.1)
    }
}

/// The kind of a logarithm: variance, length scale or noise.
fn role(i: usize, count: usize) -> usize {
    if i == 0 { 0 } else { 1 + usize::from(i == count - 1) }
}

/// The logarithm of the prior density, up to a constant, and its gradient.
fn log_prior(theta: &[f64]) -> (f64, Vec<f64>) {
    let of = |(i, theta_i): (usize, &f64)| {
        [VARIANCE, LENGTH_SCALE, NOISE][role(i, theta.len())].log_density(*theta_i)
    };
    let (densities, gradient): (Vec<f64>, Vec<f64>) = theta.iter().enumerate().map(of).unzip();
    (densities.iter().sum(), gradient)
}
