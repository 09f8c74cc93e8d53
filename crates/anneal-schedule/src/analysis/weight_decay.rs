//! The effect of a weight decay that follows the rate.

use super::AnalysisError;
use super::accumulator::sum;
use super::error::{not_negative, require};
use super::travel::Travel;
use super::window::{Method, Window};
use serde::Serialize;

/// The effect of AdamW's decay w ← (1 − η_t ω) w over a window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EffectiveDecay {
    /// The coefficient ω.
    pub weight_decay: f64,
    /// η_t ω at the first update.
    pub first: f64,
    /// The largest η_t ω.
    pub largest: f64,
    /// η_t ω at the last update.
    pub last: f64,
    /// Σ η_t ω.
    pub total: f64,
    /// ln Π(1 − η_t ω); `None` if a factor is 0.
    pub log_product: Option<f64>,
    /// Π(1 − η_t ω): the share left of a weight without a gradient.
    pub product: f64,
    /// How the product was found.
    pub method: Method,
}

impl Window<'_> {
    /// Computes the effect of the weight decay ω, at least 0, with every η_t ω at most 1.
    ///
    /// The product is summed as logarithms, so it keeps its precision for any number of factors. It has a
    /// closed form if the rate is piecewise constant.
    ///
    /// ```
    /// use anneal_schedule::prelude::*;
    /// use anneal_schedule::analysis::Window;
    /// let schedule = constant(1e-3).resolve(RunLength::updates(100_000))?;
    /// let decay = Window::run(&schedule)?.weight_decay(0.01)?;
    /// assert!((decay.total - 1.0).abs() < 1e-12);
    /// assert!((decay.product - (1.0 - 1e-5f64).powi(100_000)).abs() < 1e-9);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`AnalysisError::OutOfRange`] for a negative ω, or if some η_t ω is above 1 and flips the sign of the
    /// weights; [`AnalysisError::TooManySteps`], [`AnalysisError::Overflow`].
    pub fn weight_decay(&self, omega: f64) -> Result<EffectiveDecay, AnalysisError> {
        let largest = self.largest_decay(omega)?;
        let rate = |step| self.schedule().rate(step);
        let Travel { travel, .. } = self.travel()?;
        let closed = self.pieces().and_then(|pieces| {
            let logs = pieces.iter().map(|(_, piece)| piece.log_product(omega));
            Some(sum(logs.collect::<Option<Vec<f64>>>()?))
        });
        let (log_product, method) = match closed {
            Some(found) => (found, Method::ClosedForm),
            None => {
                let rates = self.rates("the product of the weight decay")?;
                (sum(rates.map(|rate| (-rate * omega).ln_1p())), Method::Summation)
            }
        };
        Ok(EffectiveDecay {
            weight_decay: omega,
            first: omega * rate(0),
            largest,
            last: omega * rate(self.last()),
            total: omega * travel,
            log_product: Some(log_product).filter(|log| log.is_finite()),
            product: log_product.exp(),
            method,
        })
    }

    /// The largest η_t ω, which is at most 1.
    pub(crate) fn largest_decay(&self, omega: f64) -> Result<f64, AnalysisError> {
        not_negative("weight_decay", omega)?;
        let largest = omega * self.cooling(1.0)?.peak;
        require("weight_decay × rate", largest, largest <= 1.0, "at most 1")?;
        Ok(largest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    fn of(
        config: impl Into<ScheduleConfig>,
        updates: u64,
        omega: f64,
    ) -> Result<EffectiveDecay, AnalysisError> {
        let schedule = config.into().resolve(RunLength::updates(updates)).unwrap();
        Window::run(&schedule).unwrap().weight_decay(omega)
    }

    #[test]
    fn equals_a_weight_that_decays() {
        let found = of(cosine(0.1).warmup(Span::steps(20)), 300, 0.05).unwrap();
        let schedule =
            cosine(0.1).warmup(Span::steps(20)).resolve(RunLength::updates(300)).unwrap();
        let mut weight = 1.0;
        for step in 0..300 {
            weight *= 1.0 - schedule.rate(step) * 0.05;
        }
        assert!((found.product / weight - 1.0).abs() < 1e-12, "{} is not {weight}", found.product);
        assert_eq!(found.method, Method::Summation);
        assert_eq!(found.largest, 0.1 * 0.05);
    }

    /// Π_{t=1}^{n} (1 − t/(n+1)) = n!/(n+1)ⁿ, an exact value that Stirling does not give.
    #[test]
    fn a_telescoping_product_is_exact() {
        let n = 20u64;
        // Rates 1 − t/(n+1) for t = 0 … n: the factors t/(n+1), the first of them 0.
        let found = of(linear(1.0, 0.0), n + 1, 1.0).unwrap();
        assert_eq!((found.product, found.log_product), (0.0, None));
        // Half of it: Π(1 − ½(1 − t/10)) over t < 10 = Π (10 + t)/20 = 19!/(9!·20^10).
        let found = of(linear(0.5, 0.0), 10, 1.0).unwrap();
        let expected = (10..20).map(|k| k as f64 / 20.0).product::<f64>();
        assert!((found.product / expected - 1.0).abs() < 1e-14);
    }

    #[test]
    fn constant_pieces_have_a_closed_form_however_long() {
        let found = of(step_decay(1e-3, Span::percent(50), 0.1), 1 << 40, 1e-9).unwrap();
        assert_eq!(found.method, Method::ClosedForm);
        let half = (1u64 << 39) as f64;
        let expected = half * (-1e-12f64).ln_1p() + half * (-1e-13f64).ln_1p();
        assert!((found.log_product.unwrap() / expected - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_decay_that_turns_the_sign_is_refused() {
        for (rate, omega) in [(1.0, 1.5), (1.0, -0.1), (1.0, f64::NAN), (1.0, f64::INFINITY)] {
            match of(constant(rate), 10, omega) {
                Err(AnalysisError::OutOfRange(_)) => {}
                other => panic!("{omega}: {other:?}"),
            }
        }
        assert_eq!(of(constant(1.0), 10, 0.0).unwrap().product, 1.0);
    }
}
