//! The smoothness of a schedule.

use super::AnalysisError;
use super::accumulator::{Accumulator, sum};
use super::error::finite;
use super::window::{Method, Window};
use crate::curve::pieces::{Piece, log_jump};
use serde::Serialize;

/// How much and how suddenly the rate changes between consecutive updates of a window.
///
/// For a monotone schedule the total variation is just first − last, whatever its shape; the other values
/// distinguish a step decay from a cosine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Flatness {
    /// Σ|Δη|.
    pub total_variation: f64,
    /// The largest |Δη|; 0 for a window of one update.
    pub largest_jump: f64,
    /// The update with the rate after the largest jump, the first if there are several; `None` if there is no
    /// jump.
    pub largest_jump_step: Option<u64>,
    /// Σ(Δη)².
    pub squared_jumps: f64,
    /// The largest |Δ ln η|; `None` if it is infinite because a rate of 0 precedes or follows another rate.
    pub largest_log_jump: Option<f64>,
    /// How they were found.
    pub method: Method,
}

impl Window<'_> {
    /// Measures how smooth the schedule is.
    ///
    /// ```
    /// use anneal_schedule::prelude::*;
    /// use anneal_schedule::analysis::Window;
    /// let run = RunLength::updates(100);
    /// let steps = step_decay(1.0, Span::steps(50), 0.5).resolve(run)?;
    /// let line = linear(1.0, 0.5).length(Span::steps(99)).resolve(run)?;
    /// let (steps, line) = (Window::run(&steps)?.flatness()?, Window::run(&line)?.flatness()?);
    /// assert_eq!((steps.total_variation, line.total_variation), (0.5, 0.5));
    /// assert_eq!((steps.largest_jump, steps.largest_jump_step), (0.5, Some(50)));
    /// assert!(line.largest_jump < 0.0051);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`AnalysisError::TooManySteps`], [`AnalysisError::Overflow`].
    pub fn flatness(&self) -> Result<Flatness, AnalysisError> {
        let found = match self.pieces().and_then(|pieces| of_pieces(&pieces)) {
            Some(found) => found,
            None => of_rates(self.rates("flatness")?),
        };
        finite("flatness", found.total_variation)?;
        finite("flatness", found.squared_jumps)?;
        Ok(found)
    }
}

/// The largest value so far, and where it first occurred.
#[derive(Default)]
struct Largest {
    value: f64,
    step: Option<u64>,
}

impl Largest {
    fn see(&mut self, step: u64, value: f64) {
        if value > self.value {
            *self = Self { value, step: Some(step) };
        }
    }
}

fn flatness(total: f64, jump: Largest, squares: f64, log: f64, method: Method) -> Flatness {
    Flatness {
        total_variation: total,
        largest_jump: jump.value,
        largest_jump_step: jump.step,
        squared_jumps: squares,
        largest_log_jump: Some(log).filter(|log| log.is_finite()),
        method,
    }
}

fn of_pieces(pieces: &[(u64, Piece)]) -> Option<Flatness> {
    let (mut jump, mut log) = (Largest::default(), 0f64);
    let (mut total, mut squares) = (Accumulator::default(), Accumulator::default());
    let mut before: Option<f64> = None;
    for (start, piece) in pieces {
        if let Some(before) = before {
            let size = (piece.first() - before).abs();
            total.add(size);
            squares.add(size * size);
            jump.see(*start, size);
            log = log.max(log_jump(before, piece.first()));
        }
        total.add((piece.last() - piece.first()).abs());
        squares.add(piece.sum_of_squared_jumps()?);
        if let Some((i, size)) = piece.largest_jump() {
            jump.see(start + i + 1, size);
        }
        if let Some((_, size)) = piece.largest_log_jump() {
            log = log.max(size);
        }
        before = Some(piece.last());
    }
    Some(flatness(total.total(), jump, squares.total(), log, Method::ClosedForm))
}

fn of_rates(rates: impl Iterator<Item = f64>) -> Flatness {
    let (mut jump, mut log) = (Largest::default(), 0f64);
    let (mut total, mut squares) = (Accumulator::default(), Accumulator::default());
    let mut before = None;
    for (step, rate) in rates.enumerate() {
        if let Some(before) = before.replace(rate) {
            let size = f64::abs(rate - before);
            total.add(size);
            squares.add(size * size);
            jump.see(step as u64, size);
            log = log.max(log_jump(before, rate));
        }
    }
    flatness(total.total(), jump, squares.total(), log, Method::Summation)
}

/// The sum of a closed form over all pieces.
pub(super) fn sum_over(
    pieces: &[(u64, Piece)],
    term: impl Fn(&Piece) -> Option<f64>,
) -> Option<f64> {
    Some(sum(pieces.iter().map(|(_, piece)| term(piece)).collect::<Option<Vec<f64>>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    fn of(config: impl Into<ScheduleConfig>, updates: u64) -> Flatness {
        let schedule = config.into().resolve(RunLength::updates(updates)).unwrap();
        Window::run(&schedule).unwrap().flatness().unwrap()
    }

    #[test]
    fn step_decay_has_its_formula() {
        // 1 → ½ → ¼ → ⅛: jumps ½, ¼, ⅛.
        let found = of(step_decay(1.0, Span::steps(10), 0.5), 40);
        assert_eq!(found.method, Method::ClosedForm);
        assert_eq!(found.total_variation, 0.875);
        assert_eq!((found.largest_jump, found.largest_jump_step), (0.5, Some(10)));
        assert_eq!(found.squared_jumps, 0.25 + 0.0625 + 0.015625);
        assert!((found.largest_log_jump.unwrap() - 2f64.ln()).abs() < 1e-15);
    }

    #[test]
    fn exponential_has_its_formula() {
        let found = of(exponential(1.0, Decay::Kappa(0.1)), 1_000_000_000_000);
        let r = (-0.1f64).exp();
        assert_eq!(found.method, Method::ClosedForm);
        assert_eq!(found.total_variation, 1.0);
        assert!((found.largest_jump - (1.0 - r)).abs() < 1e-15);
        assert_eq!(found.largest_jump_step, Some(1));
        // Σ(1−r)² r^(2t) = (1−r)/(1+r)
        assert!((found.squared_jumps - (1.0 - r) / (1.0 + r)).abs() < 1e-15);
        assert!((found.largest_log_jump.unwrap() - 0.1).abs() < 1e-15);
    }

    #[test]
    fn a_rate_of_zero_has_no_logarithm() {
        assert_eq!(of(linear(1.0, 0.0).length(Span::steps(5)), 10).largest_log_jump, None);
        let line = of(linear(1.0, 0.0), 10).largest_log_jump.unwrap();
        assert!((line - (0.2f64 / 0.1).ln()).abs() < 1e-14);
        let constant = of(constant(0.1), 10);
        assert_eq!((constant.total_variation, constant.largest_jump_step), (0.0, None));
        assert_eq!(constant.largest_log_jump, Some(0.0));
    }

    #[test]
    fn what_has_no_closed_form_is_summed() {
        let found = of(polynomial(1.0, 0.0, 2.0), 4);
        // 1, 9/16, 4/16, 1/16
        assert_eq!(found.method, Method::Summation);
        assert_eq!(found.total_variation, 15.0 / 16.0);
        assert_eq!((found.largest_jump, found.largest_jump_step), (7.0 / 16.0, Some(1)));
        assert_eq!(found.squared_jumps, (49.0 + 25.0 + 9.0) / 256.0);
        assert!((found.largest_log_jump.unwrap() - 4f64.ln()).abs() < 1e-15);
    }
}
