//! The step size of Adam.

use super::error::require;
use super::{AnalysisError, MAX_SUMMED};
use crate::Schedule;
use std::ops::Range;

/// How Adam's moments scale the rate.
///
/// If the first and second moments of the gradients do not change, E\[m_t\] = (1 − β₁^(t+1)) E\[g\] and
/// E\[v_t\] = (1 − β₂^(t+1)) E\[g²\], so the effective step is
///
/// ```text
/// S_t = η_t E[m_t]/√E[v_t] = η_t c_t · E[g]/√E[g²],   c_t = (1 − β₁^(t+1)) / √(1 − β₂^(t+1))
/// ```
///
/// With bias correction, as in torch's and Burn's Adam, c_t = 1: S_t is proportional to the rate. Without it,
/// if β₁ < β₂, c_t first rises above 1 and falls to 1 over the memory of β₂.
///
/// ```
/// use anneal_schedule::analysis::AdamStep;
/// use anneal_schedule::prelude::*;
///
/// let schedule = cosine(1e-3).resolve(RunLength::updates(1_000))?;
/// let adam = AdamStep::new(0.9, 0.999)?;
/// assert_eq!(adam.effective(&schedule, 10), schedule.rate(10));
/// assert_eq!(adam.flattest_kappa(0..1_000)?, 0.0);
///
/// let uncorrected = adam.without_bias_correction();
/// // 0.1/√0.001 at the first update.
/// assert!((uncorrected.effective(&schedule, 0) / 1e-3 - 3.1623).abs() < 1e-4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Source: Kingma and Ba 2015, "Adam: a method for stochastic optimization", section 3.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
#[must_use]
pub struct AdamStep {
    beta_1: f64,
    beta_2: f64,
    bias_correction: bool,
}

impl AdamStep {
    /// Adam with these decay rates of its moments, each in \[0, 1), and with bias correction.
    ///
    /// # Errors
    /// [`AnalysisError::OutOfRange`].
    pub fn new(beta_1: f64, beta_2: f64) -> Result<Self, AnalysisError> {
        let unit = 0.0..1.0;
        require("beta_1", beta_1, unit.contains(&beta_1), "at least 0, below 1")?;
        require("beta_2", beta_2, unit.contains(&beta_2), "at least 0, below 1")?;
        Ok(Self { beta_1, beta_2, bias_correction: true })
    }

    /// The same without bias correction, as in RMSProp with momentum and LAMB variants.
    pub fn without_bias_correction(mut self) -> Self {
        self.bias_correction = false;
        self
    }

    /// c_t: S_t in units of η_t E\[g\]/√E\[g²\].
    pub fn factor(&self, step: u64) -> f64 {
        if self.bias_correction {
            return 1.0;
        }
        // 1 − β^(t+1) without loss of precision for β near 1.
        let left = |beta: f64| -f64::exp_m1((step as f64 + 1.0) * beta.ln());
        left(self.beta_1) / left(self.beta_2).sqrt()
    }

    /// S_t in units of E\[g\]/√E\[g²\], which is the size of the update of each weight if the gradients do
    /// not vary.
    pub fn effective(&self, schedule: &Schedule, step: u64) -> f64 {
        schedule.rate(step) * self.factor(step)
    }

    /// The κ of the exponential decay η_t = η₀ e^(−κt) that keeps S_t flattest over these updates: the slope
    /// of ln c_t over t by least squares. 0 with bias correction; negative if the rate would have to grow.
    ///
    /// # Errors
    /// [`AnalysisError::OutOfRange`] for a window of less than two updates,
    /// [`AnalysisError::TooManySteps`] for one of more than [`MAX_SUMMED`].
    pub fn flattest_kappa(&self, window: Range<u64>) -> Result<f64, AnalysisError> {
        let steps = window.end.saturating_sub(window.start);
        require("window", steps as f64, steps >= 2, "at least 2 updates")?;
        if steps > MAX_SUMMED {
            let what = "the flattest effective step";
            return Err(AnalysisError::TooManySteps { what, steps, most: MAX_SUMMED });
        }
        let n = steps as f64;
        let centre = (n - 1.0) / 2.0;
        let products = |i: u64| (i as f64 - centre) * self.factor(window.start + i).ln();
        let covariance: f64 = (0..steps).map(products).sum();
        // Σ(i − (n − 1)/2)² = n(n² − 1)/12.
        Ok(covariance * 12.0 / (n * (n * n - 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    /// Adam's moments of a gradient that is always 1.
    #[test]
    fn equals_adams_moments_of_a_constant_gradient() {
        let adam = AdamStep::new(0.9, 0.99).unwrap().without_bias_correction();
        let (mut m, mut v) = (0.0, 0.0);
        for step in 0..500 {
            m = 0.9 * m + 0.1;
            v = 0.99 * v + 0.01;
            let expected: f64 = m / f64::sqrt(v);
            assert!((adam.factor(step) / expected - 1.0).abs() < 1e-12, "{step}");
        }
    }

    /// The spread of ln S_t is smallest at this κ, and larger on either side.
    #[test]
    fn the_kappa_found_holds_the_step_flattest() {
        let adam = AdamStep::new(0.9, 0.999).unwrap().without_bias_correction();
        for window in [0..50, 10..400, 100..5_000] {
            let spread = |kappa: f64| {
                let logs: Vec<f64> = window
                    .clone()
                    .map(|step| adam.factor(step).ln() - kappa * step as f64)
                    .collect();
                let mean = logs.iter().sum::<f64>() / logs.len() as f64;
                logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>()
            };
            let kappa = adam.flattest_kappa(window.clone()).unwrap();
            assert!(kappa != 0.0);
            for other in [0.9 * kappa, 1.1 * kappa] {
                assert!(spread(kappa) < spread(other), "{window:?}: {kappa}");
            }
        }
    }

    /// A decay with this κ over the window has a slope of 0 in ln S_t.
    #[test]
    fn an_exponential_decay_at_that_kappa_has_no_slope_left() {
        let adam = AdamStep::new(0.5, 0.9).unwrap().without_bias_correction();
        let kappa = adam.flattest_kappa(0..8).unwrap();
        let rates: Vec<f64> = (0..8).map(|step| (-kappa * step as f64).exp()).collect();
        let logs = rates.iter().zip(0..).map(|(rate, step)| (rate * adam.factor(step)).ln());
        let slope: f64 = logs.zip(0..).map(|(log, step)| (f64::from(step) - 3.5) * log).sum();
        assert!(slope.abs() < 1e-12, "{slope}");
    }

    #[test]
    fn bad_values_are_refused() {
        for beta in [-0.1, 1.0, f64::NAN] {
            assert!(AdamStep::new(beta, 0.9).is_err());
            assert!(AdamStep::new(0.9, beta).is_err());
        }
        let adam = AdamStep::new(0.9, 0.999).unwrap();
        assert!(adam.flattest_kappa(5..6).is_err());
        let schedule = constant(0.1).resolve(RunLength::updates(5)).unwrap();
        assert_eq!(adam.effective(&schedule, 3), 0.1);
    }
}
