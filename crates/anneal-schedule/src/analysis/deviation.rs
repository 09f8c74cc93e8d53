//! How the shape of a schedule moves the parameters.

use super::AnalysisError;
use super::error::positive;
use super::window::{Method, Window};
use serde::Serialize;

/// The deviation of a parameter from its path at the mean rate.
///
/// On the quadratic ½λw², gradient descent from w₀ = 1 gives w_{t+1} = (1 − η_t λ) w_t. The deviation at t is
/// |w_t − w̄_t|, where w̄ follows the constant mean rate, which travels as far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Deviation {
    /// The curvature λ.
    pub curvature: f64,
    /// Σ|Δη|.
    pub total_variation: f64,
    /// The largest |w_t − w̄_t| as a share of w₀.
    pub largest: f64,
    /// The first t at which it is reached, counted after t updates.
    pub step: u64,
    /// The largest deviation over λ times the total variation; `None` for a constant rate.
    pub per_variation: Option<f64>,
    /// How it was found: always by summation over the updates.
    pub method: Method,
}

impl Window<'_> {
    /// Compares the total variation with the largest deviation of a parameter on a quadratic of `curvature`
    /// λ.
    ///
    /// Two schedules of equal total variation may move a parameter very differently: a step decay deviates
    /// more from the path at the mean rate than a straight line.
    ///
    /// ```
    /// use anneal_schedule::prelude::*;
    /// use anneal_schedule::analysis::Window;
    /// let schedule = constant(0.5).then(Span::steps(1), constant(0.25)).resolve(RunLength::updates(2))?;
    /// let deviation = Window::run(&schedule)?.deviation(1.0)?;
    /// assert_eq!((deviation.largest, deviation.step), (0.125, 1)); // |0.5 − 0.625|
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`AnalysisError::Unstable`] if ηλ reaches 2; [`AnalysisError::OutOfRange`],
    /// [`AnalysisError::TooManySteps`].
    pub fn deviation(&self, curvature: f64) -> Result<Deviation, AnalysisError> {
        positive("curvature", curvature)?;
        let peak = self.cooling(1.0)?.peak;
        if peak * curvature >= 2.0 {
            return Err(AnalysisError::Unstable { rate: peak, curvature });
        }
        let (mean, total_variation) = (self.travel()?.mean, self.flatness()?.total_variation);
        let (mut weight, mut at_mean) = (1.0, 1.0);
        let (mut largest, mut step) = (0.0, 0);
        for (t, rate) in (1..).zip(self.rates("deviation")?) {
            weight *= 1.0 - rate * curvature;
            at_mean *= 1.0 - mean * curvature;
            let deviation = f64::abs(weight - at_mean);
            if deviation > largest {
                (largest, step) = (deviation, t);
            }
        }
        let moved = Some(largest / (curvature * total_variation));
        Ok(Deviation {
            curvature,
            total_variation,
            largest,
            step,
            per_variation: moved.filter(|_| total_variation > 0.0),
            method: Method::Summation,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    fn of(config: impl Into<ScheduleConfig>, curvature: f64) -> Result<Deviation, AnalysisError> {
        let schedule = config.into().resolve(RunLength::updates(100)).unwrap();
        Window::run(&schedule).unwrap().deviation(curvature)
    }

    #[test]
    fn a_constant_rate_does_not_deviate() {
        // The mean may differ from it in the last digit.
        let found = of(constant(0.1), 1.0).unwrap();
        assert!(found.largest < 1e-14);
        assert_eq!(found.per_variation, None);
    }

    #[test]
    fn a_step_deviates_more_than_a_line_of_the_same_variation() {
        let step = of(step_decay(0.04, Span::steps(50), 0.5), 1.0).unwrap();
        let line = of(linear(0.04, 0.02).length(Span::steps(99)), 1.0).unwrap();
        assert!((step.total_variation - line.total_variation).abs() < 1e-15);
        assert!(step.largest > 1.25 * line.largest, "{} {}", step.largest, line.largest);
        // Until the drop at 50, the step decay is at (1 − 0.04)^t and the mean at (1 − 0.03)^t, which differ
        // most where 0.96^t ln 0.96 = 0.97^t ln 0.97: t = 28.6.
        let expected = |t: i32| 0.97f64.powi(t) - 0.96f64.powi(t);
        let largest = expected(28).max(expected(29));
        assert!((step.largest - largest).abs() < 1e-12, "{} {largest}", step.largest);
    }

    #[test]
    fn rates_that_diverge_are_refused() {
        assert!(matches!(of(constant(0.2), 10.0), Err(AnalysisError::Unstable { .. })));
        assert!(matches!(of(constant(0.2), 0.0), Err(AnalysisError::OutOfRange(_))));
    }
}
