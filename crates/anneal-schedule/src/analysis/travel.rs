//! How far a schedule lets the weights travel, and how much noise it adds.

use super::AnalysisError;
use super::accumulator::sum;
use super::error::finite;
use super::flatness::sum_over;
use super::window::{Method, Window};
use crate::curve::pieces::Piece;
use serde::Serialize;

/// The budgets of a run: with gradients of constant size the weights can travel Ση_t, and independent
/// gradient noise adds a variance of Ση_t².
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Travel {
    /// Ση_t.
    pub travel: f64,
    /// Ση_t².
    pub noise: f64,
    /// The mean rate, Ση_t over the number of updates.
    pub mean: f64,
    /// How they were found.
    pub method: Method,
}

impl Window<'_> {
    /// Computes the budgets of travel and noise.
    ///
    /// ```
    /// use anneal_schedule::prelude::*;
    /// use anneal_schedule::analysis::Window;
    /// let schedule = exponential(1.0, Decay::HalfLife(Span::steps(1))).resolve(RunLength::updates(60))?;
    /// let travel = Window::run(&schedule)?.travel()?;
    /// assert!((travel.travel - 2.0).abs() < 1e-15); // 1 + ½ + ¼ + …
    /// assert!((travel.noise - 4.0 / 3.0).abs() < 1e-15);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`AnalysisError::TooManySteps`], [`AnalysisError::Overflow`].
    pub fn travel(&self) -> Result<Travel, AnalysisError> {
        let closed = self.pieces().and_then(|pieces| {
            let travel = sum_over(&pieces, Piece::sum)?;
            Some((travel, sum_over(&pieces, Piece::sum_of_squares)?, Method::ClosedForm))
        });
        let (travel, noise, method) = match closed {
            Some(found) => found,
            None => {
                let what = "travel and noise";
                let squares = self.rates(what)?.map(|rate| rate * rate);
                (sum(self.rates(what)?), sum(squares), Method::Summation)
            }
        };
        finite("travel", travel)?;
        finite("noise", noise)?;
        Ok(Travel { travel, noise, mean: travel / self.steps() as f64, method })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    fn of(config: impl Into<ScheduleConfig>, updates: u64) -> Travel {
        let schedule = config.into().resolve(RunLength::updates(updates)).unwrap();
        Window::run(&schedule).unwrap().travel().unwrap()
    }

    #[test]
    fn closed_forms_hold_at_any_length() {
        let n: u64 = 1 << 50;
        let cosine = of(cosine(1.0), n);
        assert_eq!(cosine.method, Method::ClosedForm);
        // Σ½(1 + cos πt/T) = (T+1)/2 and Σ(…)² = 3T/8 + ½ over t < T.
        assert!((cosine.travel / (0.5 * (n as f64 + 1.0)) - 1.0).abs() < 1e-12);
        assert!((cosine.noise / (0.375 * n as f64 + 0.5) - 1.0).abs() < 1e-12);
        let line = of(linear(1.0, 0.0), n);
        assert!((line.mean - 0.5).abs() < 1e-12);
        assert!((line.noise / (n as f64 / 3.0) - 1.0).abs() < 1e-12);
        let stable = of(warmup_stable_decay(1.0, Span::percent(10), Span::percent(20)), n);
        assert!((stable.mean - 0.85).abs() < 1e-12);
    }

    #[test]
    fn a_window_beyond_the_run_goes_on_with_the_last_rate() {
        let schedule =
            step_decay(1.0, Span::steps(5), 0.5).resolve(RunLength::updates(10)).unwrap();
        let travel = Window::first(&schedule, 20).unwrap().travel().unwrap();
        assert_eq!((travel.travel, travel.noise), (5.0 + 15.0 * 0.5, 5.0 + 15.0 * 0.25));
    }

    #[test]
    fn sums_without_a_closed_form_add_every_update() {
        let found = of(polynomial(1.0, 0.0, 2.0), 4);
        assert_eq!(found.method, Method::Summation);
        assert_eq!((found.travel, found.noise), (30.0 / 16.0, (256.0 + 81.0 + 16.0 + 1.0) / 256.0));
    }

    #[test]
    fn what_no_f64_holds_is_an_error() {
        let schedule = constant(1e200).resolve(RunLength::updates(10)).unwrap();
        let error = Window::run(&schedule).unwrap().travel().unwrap_err();
        assert_eq!(error, AnalysisError::Overflow { what: "noise" });
    }
}
