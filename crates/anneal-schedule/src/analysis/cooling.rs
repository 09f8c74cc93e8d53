//! How fast a schedule cools down.

use super::AnalysisError;
use super::error::require;
use super::window::{Below, Method, Window};
use crate::curve::pieces::{Piece, leading};
use serde::Serialize;

/// When the rate falls to half its peak, and how much of the run is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Cooling {
    /// The largest rate of the window.
    pub peak: f64,
    /// The first update with the largest rate.
    pub peak_step: u64,
    /// The first later update with at most half the peak; `None` if there is none.
    pub half_step: Option<u64>,
    /// The updates from the peak to half of it.
    pub half_life: Option<u64>,
    /// The share of the peak below which an update counts as frozen.
    pub frozen_below: f64,
    /// The share of frozen updates in the window, wherever they are.
    pub frozen_fraction: f64,
    /// The number of frozen updates at the end of the window.
    pub frozen_tail: u64,
    /// How they were found.
    pub method: Method,
}

impl Window<'_> {
    /// Returns the half-life and the frozen share; `frozen_below` in (0, 1] is usually 0.01.
    ///
    /// ```
    /// use anneal_schedule::prelude::*;
    /// use anneal_schedule::analysis::Window;
    /// let schedule = linear(1.0, 0.0).warmup(Span::steps(100)).resolve(RunLength::updates(1_100))?;
    /// let cooling = Window::run(&schedule)?.cooling(0.01)?;
    /// assert_eq!((cooling.peak_step, cooling.half_step), (100, Some(600)));
    /// assert_eq!((cooling.half_life, cooling.frozen_tail), (Some(500), 9));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`AnalysisError::TooManySteps`], [`AnalysisError::OutOfRange`].
    pub fn cooling(&self, frozen_below: f64) -> Result<Cooling, AnalysisError> {
        let ok = frozen_below > 0.0 && frozen_below <= 1.0;
        require("frozen_below", frozen_below, ok, "in (0, 1]")?;
        let (peak, peak_step, half_step) = match self.pieces() {
            Some(pieces) => self.half_in_pieces(&pieces),
            None => self.half_in_rates()?,
        };
        let Below { count, tail, method, .. } = self.below("cooling", frozen_below * peak)?;
        Ok(Cooling {
            peak,
            peak_step,
            half_step,
            half_life: half_step.map(|step| step - peak_step),
            frozen_below,
            frozen_fraction: count as f64 / self.steps() as f64,
            frozen_tail: tail,
            method,
        })
    }

    fn half_in_rates(&self) -> Result<(f64, u64, Option<u64>), AnalysisError> {
        let (mut peak, mut peak_step) = (-1.0, 0);
        let mut half_step = None;
        for (step, rate) in (0..).zip(self.rates("cooling")?) {
            if rate > peak {
                (peak, peak_step, half_step) = (rate, step, None);
            } else if half_step.is_none() && rate <= 0.5 * peak {
                half_step = Some(step);
            }
        }
        Ok((peak, peak_step, half_step))
    }

    /// A piece is largest at one of its ends, and crosses half the peak at most once.
    fn half_in_pieces(&self, pieces: &[(u64, Piece)]) -> (f64, u64, Option<u64>) {
        let rate = |step| self.schedule().rate(step);
        let (mut peak, mut peak_step) = (-1.0, 0);
        for (start, piece) in pieces {
            for step in [*start, start + piece.length - 1] {
                if rate(step) > peak {
                    (peak, peak_step) = (rate(step), step);
                }
            }
        }
        let half_step = pieces.iter().find_map(|(start, piece)| {
            let end = start + piece.length;
            let from = (*start).max(peak_step + 1);
            if from >= end {
                return None;
            }
            // A rising piece is lowest at its start; a falling one crosses the half inside.
            let above = if rate(from) > 0.5 * peak {
                leading(end - from, |i| rate(from + i) > 0.5 * peak)
            } else {
                0
            };
            (above < end - from).then_some(from + above)
        });
        (peak, peak_step, half_step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    #[test]
    fn half_lives_follow_their_formulas() {
        let run = RunLength::updates(1_000);
        let of = |config: ScheduleConfig| {
            let schedule = config.resolve(run).unwrap();
            Window::run(&schedule).unwrap().cooling(0.01).unwrap()
        };
        assert_eq!(of(cosine(1.0).into()).half_life, Some(500));
        assert_eq!(of(step_decay(1.0, Span::steps(300), 0.1).into()).half_life, Some(300));
        let exponential = of(exponential(1.0, Decay::Kappa(0.01)).into());
        assert_eq!(exponential.half_life, Some(70)); // ⌈100 ln 2⌉
        // e^(−t/100) < 0.01 from t = ⌈100 ln 100⌉ = 461 on.
        assert_eq!((exponential.frozen_tail, exponential.frozen_fraction), (539, 0.539));
        assert_eq!(of(constant(1.0).into()).half_life, None);
        let shallow = of(polynomial(1.0, 0.0, 2.0).into());
        assert_eq!(shallow.method, Method::Summation);
        assert_eq!(shallow.half_life, Some(293)); // (1−x)² ≤ ½ from x = 1 − 1/√2
        let schedule = polynomial(1.0, 0.0, 2.0).resolve(run).unwrap();
        let cooling = Window::run(&schedule).unwrap().cooling(0.02).unwrap();
        assert_eq!(cooling.frozen_tail, 141); // (1−x)² < 0.02 from x = 0.859 on
    }

    /// Compares closed forms with a walk over all updates.
    #[test]
    fn pieces_and_rates_agree() {
        let run = RunLength::updates(97);
        let schedules = [
            cosine(1.0).warmup(Span::steps(30)).resolve(run),
            one_cycle(1.0).resolve(run),
            one_cycle(1.0).anneal(AnnealStrategy::Linear).three_phase().resolve(run),
            linear(0.1, 1.0).resolve(run),
            constant(0.3).then(Span::steps(40), linear(0.1, 0.9)).resolve(run),
            linear(1.0, 0.0).then(Span::steps(40), constant(1.0)).resolve(run),
            warmup_stable_decay(1.0, Span::steps(10), Span::steps(30)).resolve(run),
            multi_step(1.0, [Span::steps(0), Span::steps(50), Span::steps(50)], 0.6).resolve(run),
        ];
        for schedule in schedules.map(Result::unwrap) {
            let window = Window::run(&schedule).unwrap();
            let (peak, step, half) = window.half_in_pieces(&window.pieces().unwrap());
            let (expected, expected_step, expected_half) = window.half_in_rates().unwrap();
            assert_eq!((peak, step, half), (expected, expected_step, expected_half), "{schedule}");
        }
    }

    #[test]
    fn the_threshold_is_a_share() {
        let schedule = constant(1.0).resolve(RunLength::updates(3)).unwrap();
        for share in [0.0, -0.1, 1.1, f64::NAN] {
            match Window::run(&schedule).unwrap().cooling(share) {
                Err(AnalysisError::OutOfRange(error)) => assert_eq!(error.field, "frozen_below"),
                other => panic!("{other:?}"),
            }
        }
    }
}
