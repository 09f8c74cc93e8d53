//! An estimate of the noise scale, and its confidence interval.

use super::moments::{Moments, Uncertainty};
use crate::{BatchAdvice, OutOfRange};
use serde::Serialize;
use std::fmt;

/// The gradient and its noise, as measured by a [`NoiseScale`](crate::NoiseScale): moving means over updates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct GradientNoise {
    /// |G|², the squared norm of the noise-free gradient. The estimate may be negative.
    pub squared_gradient: f64,
    /// tr Σ, the variance of the gradient of a single item, summed over all parameters.
    pub noise: f64,
    /// tr Σ / |G|²; `None` while |G|² does not exceed its own uncertainty.
    pub scale: Option<NoiseScaleEstimate>,
    /// The number of measured updates.
    pub updates: u64,
}

/// The noise scale 𝓑 = tr Σ / |G|², in items, with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NoiseScaleEstimate {
    /// Its best estimate; at least 0.
    pub value: f64,
    /// The lower end of the interval; at least 0.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// With fewer effective updates, their spread is too uncertain.
const MIN_UPDATES: f64 = 10.0;

impl GradientNoise {
    pub(super) fn of(moments: &Moments, updates: u64) -> Self {
        let Moments { squared_gradient, noise, .. } = *moments;
        Self { squared_gradient, noise, scale: NoiseScaleEstimate::of(moments), updates }
    }
}

impl NoiseScaleEstimate {
    /// Fieller's interval for the quotient of two means: all 𝓑 for which S − 𝓑 G is 0 within t standard
    /// errors,
    ///
    /// ```text
    /// (S − 𝓑 G)² ≤ t² (var S − 2 𝓑 cov(S, G) + 𝓑² var G)
    /// ```
    ///
    /// which has two ends if G is more than t standard errors above 0, and is useless otherwise.
    fn of(moments: &Moments) -> Option<Self> {
        let effective = moments.effective_updates();
        // Also if there are none.
        if effective.is_nan() || effective < MIN_UPDATES {
            return None;
        }
        let (gradient, noise) = (moments.squared_gradient, moments.noise);
        let Uncertainty { squared_gradient: of_gradient, noise: of_noise, covariance } =
            moments.uncertainty();
        let t_squared = t_quantile(effective - 1.0).powi(2);
        let a = gradient * gradient - t_squared * of_gradient;
        let b = noise * gradient - t_squared * covariance;
        let c = noise * noise - t_squared * of_noise;
        let root = (b * b - a * c).max(0.0).sqrt();
        let [value, low, high] =
            [noise / gradient, (b - root) / a, (b + root) / a].map(|end| end.max(0.0));
        let is_known = gradient > 0.0 && a > 0.0 && high.is_finite();
        // Rounding, if nothing is uncertain.
        is_known.then(|| Self { value, low: low.min(value), high: high.max(value) })
    }

    /// The costs of batches of `batch_size` items, for which `rate` is tuned, at this noise, and which other
    /// sizes still pay off.
    ///
    /// # Errors
    /// [`OutOfRange`] for an empty batch, or a rate that is not finite and above 0.
    pub fn advice(&self, batch_size: u64, rate: f64) -> Result<BatchAdvice, OutOfRange> {
        BatchAdvice::new(*self, batch_size, rate)
    }
}

/// The 97.5 % quantile of Student's t with this many degrees of freedom, at least 9: the Cornish–Fisher
/// expansion, accurate to 10⁻³.
fn t_quantile(freedom: f64) -> f64 {
    const Z: f64 = 1.959_963_984_540_054;
    let first = (Z.powi(3) + Z) / 4.0;
    let second = (5.0 * Z.powi(5) + 16.0 * Z.powi(3) + 3.0 * Z) / 96.0;
    let third = (3.0 * Z.powi(7) + 19.0 * Z.powi(5) + 17.0 * Z.powi(3) - 15.0 * Z) / 384.0;
    Z + (first + (second + third / freedom) / freedom) / freedom
}

impl fmt::Display for GradientNoise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { squared_gradient, noise, scale, updates } = self;
        match scale {
            Some(scale) => write!(f, "{scale}")?,
            None => write!(f, "noise scale unknown, because |G|² does not exceed its uncertainty")?,
        }
        write!(f, "; |G|² {squared_gradient:.3e}, tr Σ {noise:.3e}, over {updates} updates")
    }
}

impl fmt::Display for NoiseScaleEstimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [value, low, high] = [self.value, self.low, self.high].map(digits);
        write!(f, "noise scale {value} items (95 %: {low} to {high})")
    }
}

/// Three digits, or all digits of a whole number.
pub(super) fn digits(value: f64) -> String {
    match value {
        0.0 => "0".into(),
        _ if !(1e-3..1e7).contains(&value) => format!("{value:.2e}"),
        100.0.. => format!("{value:.0}"),
        _ => {
            let decimals = (2 - value.log10().floor() as i32).max(0) as usize;
            let text = format!("{value:.decimals$}");
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From a table.
    #[test]
    fn quantiles_are_those_of_students_t() {
        for (freedom, expected) in [(9.0, 2.2622), (20.0, 2.0860), (120.0, 1.9799), (1e9, 1.95996)]
        {
            let found = t_quantile(freedom);
            assert!((found - expected).abs() < 1e-3, "{freedom}: {found}, not {expected}");
        }
    }

    #[test]
    fn numbers_have_three_digits() {
        let found = [0.0, 0.012345, 1.0, 1.2345, 12.345, 1234.5, 1e9, 1e-9].map(digits);
        assert_eq!(found, ["0", "0.0123", "1", "1.23", "12.3", "1234", "1.00e9", "1.00e-9"]);
    }
}
