//! Moving means of two numbers, and their uncertainty.

use serde::{Deserialize, Serialize};

/// Weighted means of |G|² and tr Σ with exponentially decaying weights, and the variances and covariance of
/// the values around them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Moments {
    /// Σ w.
    weight: f64,
    /// Σ w².
    squared_weights: f64,
    pub squared_gradient: f64,
    pub noise: f64,
    gradient_variance: f64,
    noise_variance: f64,
    covariance: f64,
}

/// The variances and the covariance of two means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Uncertainty {
    pub squared_gradient: f64,
    pub noise: f64,
    pub covariance: f64,
}

impl Moments {
    /// Adds the values of one more update; all earlier weights are multiplied by `memory`.
    pub fn with(self, memory: f64, squared_gradient: f64, noise: f64) -> Self {
        let weight = memory * self.weight + 1.0;
        let share = 1.0 / weight;
        let (by_gradient, by_noise) =
            (squared_gradient - self.squared_gradient, noise - self.noise);
        let spread = |before: f64, product: f64| (1.0 - share) * (before + share * product);
        Self {
            weight,
            squared_weights: memory * memory * self.squared_weights + 1.0,
            squared_gradient: self.squared_gradient + share * by_gradient,
            noise: self.noise + share * by_noise,
            gradient_variance: spread(self.gradient_variance, by_gradient * by_gradient),
            noise_variance: spread(self.noise_variance, by_noise * by_noise),
            covariance: spread(self.covariance, by_gradient * by_noise),
        }
    }

    /// (Σ w)² / Σ w²: the number of equally weighted values with the same uncertainty.
    pub fn effective_updates(&self) -> f64 {
        self.weight * self.weight / self.squared_weights
    }

    /// The uncertainty of the means, if updates are independent; needs at least two effective updates.
    pub fn uncertainty(&self) -> Uncertainty {
        // Unbiased: n/(n − 1) times the observed variance; the mean of n has 1/n of that.
        let of_mean = |variance: f64| variance / (self.effective_updates() - 1.0);
        Uncertainty {
            squared_gradient: of_mean(self.gradient_variance),
            noise: of_mean(self.noise_variance),
            covariance: of_mean(self.covariance),
        }
    }

    pub fn is_finite(&self) -> bool {
        let Self { squared_gradient, noise, gradient_variance, noise_variance, covariance, .. } =
            *self;
        [squared_gradient, noise, gradient_variance, noise_variance, covariance]
            .iter()
            .all(|number| number.is_finite())
    }

    /// Whether it is valid.
    pub fn is_sound(&self) -> bool {
        let weights = self.weight >= 0.0 && self.squared_weights >= 0.0;
        weights && self.gradient_variance >= 0.0 && self.noise_variance >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with sums over all values with explicit weights.
    #[test]
    fn means_and_variances_are_those_of_the_weights() {
        let values: Vec<(f64, f64)> =
            (0..40).map(f64::from).map(|t| (1e3 + t.sin(), (0.3 * t).cos() - 2.0)).collect();
        let memory = 0.9_f64;
        let moments =
            values.iter().fold(Moments::default(), |moments, (x, y)| moments.with(memory, *x, *y));
        let weights: Vec<f64> = (0..40).rev().map(|age| memory.powi(age)).collect();
        let total: f64 = weights.iter().sum();
        let mean = |of: &dyn Fn(&(f64, f64)) -> f64| {
            weights.iter().zip(&values).map(|(w, value)| w * of(value)).sum::<f64>() / total
        };
        let (x, y) = (mean(&|v| v.0), mean(&|v| v.1));
        let squares: f64 = weights.iter().map(|w| w * w).sum();
        let effective = total * total / squares;
        let close = |found: f64, expected: f64| {
            assert!(
                (found - expected).abs() < 1e-10 * expected.abs().max(1.0),
                "{found} {expected}"
            );
        };
        close(moments.squared_gradient, x);
        close(moments.noise, y);
        close(moments.effective_updates(), effective);
        let found = moments.uncertainty();
        close(found.squared_gradient, mean(&|v| (v.0 - x).powi(2)) / (effective - 1.0));
        close(found.noise, mean(&|v| (v.1 - y).powi(2)) / (effective - 1.0));
        close(found.covariance, mean(&|v| (v.0 - x) * (v.1 - y)) / (effective - 1.0));
    }
}
