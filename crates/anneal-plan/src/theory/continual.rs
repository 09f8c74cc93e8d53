//! What a schedule learns of a new task, and what it forgets of the old one.

use super::check::{not_negative, positive};
use crate::OutOfRange;
use anneal_schedule::analysis::{AnalysisError, Window};

/// A model of plasticity P and retention R.
///
/// ```text
/// dP/dt = a η        dR/dt = −b η²        score = w_P P + w_R R
/// P = a Ση           R = −b Ση²           over the updates of a schedule
/// ```
///
/// | shape, from the peak η₀ over T updates | P/(aη₀T) | −R/(bη₀²T) |
/// | --- | --- | --- |
/// | constant | 1 | 1 |
/// | linear to 0 | 1/2 | 1/3 |
/// | half a cosine wave to 0 | 1/2 | 3/8 |
///
/// With ρ = w_R bη₀/(w_P a): at the same peak, the constant rate scores best for ρ < 3/4, and the line
/// above; the cosine never does, because it forgets more than the line for the same plasticity. Each at the
/// peak that is best for it, the constant rate wins: of all schedules with a given Ση it has the smallest
/// Ση², by the inequality of Cauchy and Schwarz. The table is that of continuous time; the sums of T
/// updates differ by O(1/T).
///
/// | argument | range |
/// | --- | --- |
/// | `plasticity` a | above 0, finite |
/// | `forgetting` b | at least 0, finite |
///
/// A linear loss on the new task, and a quadratic one around the optimum of the old task, with noise that
/// adds up: see Mirzadeh et al. 2020, "Understanding the role of training regimes in continual learning".
///
/// ```
/// use anneal_plan::theory::{ContinualLearning, Shape};
///
/// let model = ContinualLearning::new(1.0, 2.0)?;
/// let score = |shape, peak| model.over(shape, peak, 100.0).map(|balance| balance.score(1.0, 1.0));
/// assert!(score(Shape::Constant, 0.1)? > score(Shape::Linear, 0.1)?);
/// assert!(score(Shape::Constant, 0.5)? < score(Shape::Linear, 0.5)?);
/// # Ok::<(), anneal_plan::OutOfRange>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ContinualLearning {
    plasticity: f64,
    forgetting: f64,
}

/// P and R at the end of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Balance {
    /// P, at least 0.
    pub plasticity: f64,
    /// R, at most 0.
    pub retention: f64,
}

impl Balance {
    /// w_P P + w_R R for the weights of a user.
    pub fn score(&self, plasticity_weight: f64, retention_weight: f64) -> f64 {
        plasticity_weight * self.plasticity + retention_weight * self.retention
    }
}

/// A schedule from a peak, in continuous time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The peak throughout.
    Constant,
    /// A straight line to 0.
    Linear,
    /// Half a cosine wave to 0.
    Cosine,
}

impl Shape {
    /// The means of the rate and of its square, for a peak of 1.
    fn means(self) -> (f64, f64) {
        match self {
            Self::Constant => (1.0, 1.0),
            Self::Linear => (0.5, 1.0 / 3.0),
            Self::Cosine => (0.5, 0.375),
        }
    }
}

impl ContinualLearning {
    /// A model with the coefficients a and b.
    ///
    /// # Errors
    /// An argument outside its range.
    pub fn new(plasticity: f64, forgetting: f64) -> Result<Self, OutOfRange> {
        positive("plasticity", plasticity)?;
        not_negative("forgetting", forgetting)?;
        Ok(Self { plasticity, forgetting })
    }

    /// P and R after `time` from a peak, in closed form.
    ///
    /// # Errors
    /// A peak or a time below 0 or not finite.
    pub fn over(&self, shape: Shape, peak: f64, time: f64) -> Result<Balance, OutOfRange> {
        not_negative("peak", peak)?;
        not_negative("time", time)?;
        let (mean, square) = shape.means();
        Ok(self.balance(mean * peak * time, square * peak * peak * time))
    }

    /// P and R after the updates of a schedule, by [`Window::travel`].
    ///
    /// # Errors
    /// Those of [`Window::travel`].
    pub fn of(&self, window: &Window<'_>) -> Result<Balance, AnalysisError> {
        let travel = window.travel()?;
        Ok(self.balance(travel.travel, travel.noise))
    }

    fn balance(&self, travel: f64, squares: f64) -> Balance {
        Balance { plasticity: self.plasticity * travel, retention: -self.forgetting * squares }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, run};
    use super::Shape::{Constant, Cosine, Linear};
    use super::*;
    use anneal_schedule::prelude::*;

    const SHAPES: [Shape; 3] = [Constant, Linear, Cosine];

    fn schedule(shape: Shape, peak: f64, updates: u64) -> Schedule {
        match shape {
            Constant => run(constant(peak), updates),
            Linear => run(linear(peak, 0.0), updates),
            Cosine => run(cosine(peak), updates),
        }
    }

    /// The sums of T updates are larger by half an update at the start, where a decay has its peak, and for
    /// the square of a line by Σt² = T³/3 + T²/2 + T/6.
    #[test]
    fn closed_forms_are_the_sums_of_schedules() {
        let model = ContinualLearning::new(1.5, 0.3).unwrap();
        let (peak, updates) = (0.2, 1_000);
        for shape in SHAPES {
            let exact = model.over(shape, peak, updates as f64).unwrap();
            let chosen = schedule(shape, peak, updates);
            let sum = |power: i32| (0..updates).map(|t| chosen.rate(t).powi(power)).sum::<f64>();
            let found = model.of(&Window::run(&chosen).unwrap()).unwrap();
            assert_close(found.plasticity, 1.5 * sum(1), 1e-12);
            assert_close(found.retention, -0.3 * sum(2), 1e-12);
            let half = if shape == Constant { 0.0 } else { 0.5 };
            let sixth = if shape == Linear { 1.0 / (6.0 * updates as f64) } else { 0.0 };
            let more = (1.5 * peak * half, -0.3 * peak * peak * (half + sixth));
            assert_close(found.plasticity, exact.plasticity + more.0, 1e-12);
            assert_close(found.retention, exact.retention + more.1, 1e-12);
        }
    }

    fn best(peak: f64, weights: (f64, f64)) -> Shape {
        let model = ContinualLearning::new(2.0, 5.0).unwrap();
        let score = |shape: &Shape| {
            let chosen = schedule(*shape, peak, 10_000);
            model.of(&Window::run(&chosen).unwrap()).unwrap().score(weights.0, weights.1)
        };
        SHAPES.into_iter().max_by(|a, b| score(a).total_cmp(&score(b))).unwrap()
    }

    /// The sums of the schedules themselves, around ρ = w_R b η₀/(w_P a) = 3/4.
    #[test]
    fn the_winner_changes_at_three_quarters() {
        for weights in [(1.0, 1.0), (0.2, 3.0)] {
            let peak = |ratio: f64| ratio * weights.0 * 2.0 / (weights.1 * 5.0);
            for (ratio, winner) in
                [(0.1, Constant), (0.74, Constant), (0.76, Linear), (9.0, Linear)]
            {
                assert_eq!(best(peak(ratio), weights), winner, "{ratio} {weights:?}");
            }
        }
    }

    /// A grid of peaks: the best scores are in the ratio of (mean)²/(mean of squares), 1 : 3/4 : 2/3.
    #[test]
    fn at_its_own_best_peak_a_constant_rate_wins() {
        let model = ContinualLearning::new(2.0, 5.0).unwrap();
        let best = |shape| {
            let scores = (1..2_000)
                .map(|i| model.over(shape, f64::from(i) * 3e-4, 1.0).unwrap().score(1.0, 1.0));
            scores.fold(f64::MIN, f64::max)
        };
        let top = best(Constant);
        assert_close(best(Linear) / top, 0.75, 1e-5);
        assert_close(best(Cosine) / top, 2.0 / 3.0, 1e-5);
    }

    #[test]
    fn arguments_are_checked() {
        assert_eq!(ContinualLearning::new(0.0, 1.0).unwrap_err().field, "plasticity");
        assert_eq!(ContinualLearning::new(1.0, f64::NAN).unwrap_err().field, "forgetting");
        let model = ContinualLearning::new(1.0, 1.0).unwrap();
        assert_eq!(model.over(Linear, -1.0, 1.0).unwrap_err().field, "peak");
        assert_eq!(model.over(Linear, 1.0, f64::INFINITY).unwrap_err().field, "time");
    }
}
