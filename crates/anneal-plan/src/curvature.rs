//! Estimates the curvature of the loss from losses at different rates.

use crate::{OutOfRange, RangeTest};
use serde::{Deserialize, Serialize};

/// The mean curvature, from a gradient and the loss above its minimum.
///
/// ```text
/// λ̄ = ‖g‖² / (2 (loss − minimum))
/// ```
///
/// On a quadratic with eigenvalues λ_i and weights w_i along its eigenvectors it is Σλ_i²w_i²/Σλ_iw_i²: a
/// mean of the eigenvalues, so at most the largest, and equal to λ_i along one eigenvector.
///
/// # Errors
/// A negative square, a minimum that is not below the loss, or anything that is not finite.
///
/// ```
/// use anneal_plan::mean_curvature;
///
/// // loss = ½ · 3 w² at w = 2: the gradient is 6.
/// assert_eq!(mean_curvature(36.0, 6.0, 0.0)?, 3.0);
/// # Ok::<(), anneal_plan::OutOfRange>(())
/// ```
pub fn mean_curvature(gradient_squared: f64, loss: f64, minimum: f64) -> Result<f64, OutOfRange> {
    let square = gradient_squared.is_finite() && gradient_squared >= 0.0;
    OutOfRange::require("gradient_squared", gradient_squared, square, "at least 0, finite")?;
    check_above(loss, minimum)?;
    Ok(gradient_squared / (2.0 * (loss - minimum)))
}

/// The mean curvature, from the losses of one batch before and after a step of plain SGD.
///
/// ```text
/// λ = (1 − √((after − minimum)/(before − minimum))) / rate
/// ```
///
/// A small step changes the loss by d loss/d ln η ≈ −η‖g‖² = −2η (loss − minimum) λ̄, with the λ̄ of
/// [`mean_curvature`]. The square root accounts for the second order of the step: along one eigenvector of a
/// quadratic the result is its eigenvalue at any rate below 1/λ; otherwise it is below λ̄, by about half of
/// `rate` times the variance of the eigenvalues averaged in λ̄. It never exceeds the largest eigenvalue. If
/// the loss rose, the result may be negative.
///
/// # Errors
/// A rate that is not above 0, a minimum that is not below the earlier loss or is above the later one, or
/// anything that is not finite.
///
/// ```
/// use anneal_plan::curvature_of_step;
///
/// // loss = ½ · 3 w² from w = 2 with a rate of 0.1: w = 2 − 0.1 · 6 = 1.4.
/// let found = curvature_of_step(0.1, 6.0, 0.5 * 3.0 * 1.4 * 1.4, 0.0)?;
/// assert!((found - 3.0).abs() < 1e-9);
/// # Ok::<(), anneal_plan::OutOfRange>(())
/// ```
pub fn curvature_of_step(
    rate: f64,
    before: f64,
    after: f64,
    minimum: f64,
) -> Result<f64, OutOfRange> {
    OutOfRange::require("rate", rate, rate.is_finite() && rate > 0.0, "above 0, finite")?;
    check_above(before, minimum)?;
    let above = after.is_finite() && after >= minimum;
    OutOfRange::require("after", after, above, format!("at least the minimum, {minimum:?}"))?;
    Ok((1.0 - ((after - minimum) / (before - minimum)).sqrt()) / rate)
}

fn check_above(loss: f64, minimum: f64) -> Result<(), OutOfRange> {
    OutOfRange::require("minimum", minimum, minimum.is_finite(), "finite")?;
    let above = loss.is_finite() && loss > minimum;
    OutOfRange::require("loss", loss, above, format!("above the minimum, {minimum:?}; finite"))
}

/// The gradient and the curvature along it, from the losses of one batch at the weights w and after two steps
/// w − ηg.
///
/// ```text
/// s_k = (loss_k − loss)/η_k = −‖g‖² + ½ η_k gᵀHg + O(η_k²)
/// gᵀHg = 2 (s₂ − s₁)/(η₂ − η₁)        ‖g‖² = (η₁ s₂ − η₂ s₁)/(η₂ − η₁)
/// ```
///
/// Exact on a quadratic for any two different rates. Otherwise opposite rates, η and −η, are best: the third
/// order then cancels in gᵀHg, whose error is O(η²) instead of O(η). Choose η so large that the losses differ
/// in several digits, because rounding errors of size ε cause errors of up to 4ε/η² in gᵀHg.
///
/// ```
/// use anneal_plan::TwoSteps;
///
/// // loss = ½ (3 x² + y²) at (1, 1): g = (3, 1), ‖g‖² = 10, gᵀHg = 28.
/// let after = |rate: f64| 0.5 * (3.0 * (1.0 - 3.0 * rate).powi(2) + (1.0 - rate).powi(2));
/// let found = TwoSteps::new(after(0.0), (0.1, after(0.1)), (-0.1, after(-0.1)))?;
/// assert!((found.gradient_squared - 10.0).abs() < 1e-9);
/// assert!((found.curvature - 2.8).abs() < 1e-9);
/// assert!((found.largest_stable_rate().expect("curved up") - 2.0 / 2.8).abs() < 1e-9);
/// # Ok::<(), anneal_plan::OutOfRange>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TwoSteps {
    /// ‖g‖².
    pub gradient_squared: f64,
    /// gᵀHg/‖g‖², the Rayleigh quotient of the gradient: at most the largest eigenvalue, and at least the
    /// [`mean_curvature`] of a convex quadratic.
    pub curvature: f64,
}

impl TwoSteps {
    /// Computes them from the loss, and the rate and loss of each step.
    ///
    /// # Errors
    /// A rate of 0, two equal rates, anything that is not finite, or losses without a measurable gradient.
    pub fn new(loss: f64, first: (f64, f64), second: (f64, f64)) -> Result<Self, OutOfRange> {
        OutOfRange::require("loss", loss, loss.is_finite(), "finite")?;
        for (rate, loss) in [first, second] {
            OutOfRange::require("rate", rate, rate.is_finite() && rate != 0.0, "finite, not 0")?;
            OutOfRange::require("loss", loss, loss.is_finite(), "finite")?;
        }
        OutOfRange::require(
            "rate",
            second.0,
            first.0 != second.0,
            "different from the rate of the other step",
        )?;
        let slope = |(rate, after): (f64, f64)| (after - loss) / rate;
        let (first_slope, second_slope) = (slope(first), slope(second));
        let distance = second.0 - first.0;
        let square = (first.0 * second_slope - second.0 * first_slope) / distance;
        let allowed = "above 0: steps along the gradient that change the loss";
        let shown = square.is_finite() && square > 0.0;
        OutOfRange::require("gradient_squared", square, shown, allowed)?;
        let curvature = 2.0 * (second_slope - first_slope) / distance / square;
        Ok(Self { gradient_squared: square, curvature })
    }

    /// The largest rate at which a step along the gradient does not raise a quadratic loss: 2/curvature.
    /// `None` if the loss does not curve upwards.
    pub fn largest_stable_rate(&self) -> Option<f64> {
        (self.curvature > 0.0).then(|| 2.0 / self.curvature)
    }
}

/// The curvature estimated from a whole sweep of plain SGD.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SweepCurvature {
    /// The curvature.
    pub curvature: f64,
    /// Its standard error, from the residuals of the fit.
    pub standard_error: f64,
    /// The number of fitted losses: those before half of the fall.
    pub points: usize,
}

impl RangeTest {
    /// Estimates the curvature from the falling part of a sweep of plain SGD, whose loss falls towards
    /// `minimum` and keeps the gains of earlier steps.
    ///
    /// ```text
    /// loss_t − minimum = (loss_0 − minimum) · Π_{s<t} (1 − η_s λ)²
    /// ```
    ///
    /// In terms of ln η, with c = Δ ln η per update and small steps: d loss/d ln η = −2η (loss − minimum)
    /// λ/c. λ is fitted by least squares of ln(loss − minimum) against 2 Σ_{s<t} ln(1 − η_s λ), over the
    /// losses before half of the fall, far below divergence. Without noise it is the eigenvalue if the loss
    /// falls along one eigenvector; otherwise a mean of those along which it falls, at most the largest. The
    /// losses must be on the same data, or their noise small compared with the fall.
    ///
    /// `None` if the test [says nothing](Self::verdict), or the minimum is not below all of these losses.
    ///
    /// ```
    /// use anneal_plan::Sweep;
    ///
    /// // SGD on ½ · 50 w².
    /// let mut weight = 1.0;
    /// let test = Sweep::default().run(|rate| {
    ///     let loss = 25.0 * weight * weight;
    ///     weight -= rate * 50.0 * weight;
    ///     loss
    /// })?;
    /// let found = test.curvature(0.0).expect("a fall");
    /// assert!((found.curvature / 50.0 - 1.0).abs() < 1e-9);
    /// # Ok::<(), anneal_plan::OutOfRange>(())
    /// ```
    pub fn curvature(&self, minimum: f64) -> Option<SweepCurvature> {
        self.suggestion()?;
        let points = self.before_half()?;
        let heights = points.iter().map(|point| {
            let above = point.loss - minimum;
            (above > 0.0 && above.is_finite()).then(|| above.ln())
        });
        let heights: Vec<f64> = heights.collect::<Option<_>>()?;
        let rates: Vec<f64> = points.iter().map(|point| point.rate).collect();
        let fit = |curvature: f64| Fit::of(&traveled(&rates, curvature), &heights);
        // The slope falls as the distance grows with the curvature, so they agree at exactly one point.
        let (mut low, mut high) = (0.0, 1.0 / rates.iter().copied().fold(0.0, f64::max));
        if fit(low)?.slope >= 0.0 {
            return None;
        }
        while (high - low) > 1e-14 * high {
            let middle = 0.5 * (low + high);
            match fit(middle) {
                Some(fit) if -0.5 * fit.slope > middle => low = middle,
                _ => high = middle,
            }
        }
        let standard_error = 0.5 * fit(low)?.standard_error;
        Some(SweepCurvature { curvature: low, standard_error, points: points.len() })
    }

    /// The points before the median of five losses has completed half of the fall.
    fn before_half(&self) -> Option<&[crate::Point]> {
        let fall = self.fall()?;
        let half = 0.5 * (fall.before + fall.after);
        let low = |window: &[crate::Point]| window.iter().filter(|p| p.loss <= half).count() >= 3;
        let end = self.points().windows(5).position(low)? + 2;
        Some(&self.points()[..end]).filter(|points| points.len() >= 3)
    }
}

/// Σ_{s<t} −ln(1 − η_s λ)/λ before each update t: the sum of the rates for small λ.
fn traveled(rates: &[f64], curvature: f64) -> Vec<f64> {
    let mut sum = 0.0;
    let before = |rate: &f64| {
        let before = sum;
        sum += match curvature == 0.0 {
            true => *rate,
            false => -(-rate * curvature).ln_1p() / curvature,
        };
        before
    };
    rates.iter().map(before).collect()
}

/// A least-squares line.
struct Fit {
    slope: f64,
    standard_error: f64,
}

impl Fit {
    fn of(x: &[f64], y: &[f64]) -> Option<Self> {
        let count = x.len() as f64;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / count;
        let (mean_x, mean_y) = (mean(x), mean(y));
        let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
            x.iter().zip(y).map(|(x, y)| of(x - mean_x, y - mean_y)).sum()
        };
        let square = sum(&|x, _| x * x);
        let slope = sum(&|x, y| x * y) / square;
        let left = sum(&|x, y| (y - slope * x).powi(2));
        let standard_error = (left / (count - 2.0) / square).sqrt();
        (slope.is_finite() && count > 2.0).then_some(Self { slope, standard_error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sweep;
    use crate::range_test::Normal;
    use proptest::prelude::*;

    /// ½ Σ λ_i w_i², with the square of its gradient and gᵀHg.
    #[derive(Debug)]
    struct Quadratic {
        eigenvalues: Vec<f64>,
        weights: Vec<f64>,
    }

    impl Quadratic {
        fn sum(&self, power: i32) -> f64 {
            let terms = self.eigenvalues.iter().zip(&self.weights);
            terms.map(|(value, weight)| value.powi(power) * weight * weight).sum()
        }

        fn loss(&self) -> f64 {
            0.5 * self.sum(1)
        }

        fn step(&self, rate: f64) -> Self {
            let moved = |(value, weight): (&f64, &f64)| weight - rate * value * weight;
            let weights = self.eigenvalues.iter().zip(&self.weights).map(moved).collect();
            Self { eigenvalues: self.eigenvalues.clone(), weights }
        }

        fn largest(&self) -> f64 {
            self.eigenvalues.iter().copied().fold(0.0, f64::max)
        }

        fn sweep(mut self, sweep: &Sweep, noise: f64) -> RangeTest {
            let mut normal = Normal::new(3);
            let run = sweep.run(|rate| {
                let loss = self.loss();
                self = self.step(rate);
                loss + noise * normal.next()
            });
            run.unwrap()
        }
    }

    prop_compose! {
        fn quadratic()(all in prop::collection::vec((1e-3..1e3f64, 0.1..2.0f64), 1..6)) -> Quadratic {
            let (eigenvalues, weights) = all.into_iter().unzip();
            Quadratic { eigenvalues, weights }
        }
    }

    proptest! {
        #[test]
        fn a_mean_of_the_eigenvalues_is_found(q in quadratic(), share in 0.01..0.9f64) {
            let mean = q.sum(2) / q.sum(1);
            let found = mean_curvature(q.sum(2), q.loss(), 0.0).unwrap();
            prop_assert!((found / mean - 1.0).abs() < 1e-9);
            let rate = share / q.largest();
            let of_step = curvature_of_step(rate, q.loss(), q.step(rate).loss(), 0.0).unwrap();
            prop_assert!(of_step <= mean * (1.0 + 1e-9) && mean <= q.largest() * (1.0 + 1e-9));
            // From the formula in the docs, to second order in the rate.
            let variance = q.sum(3) / q.sum(1) - mean * mean;
            let third = 4.0 * rate * rate * q.largest().powi(3);
            prop_assert!((of_step - (mean - 0.5 * rate * variance)).abs() <= third + 1e-9 * mean);
        }

        #[test]
        fn two_steps_are_exact(
            q in quadratic(),
            first in 0.1..1.0f64,
            times in prop::sample::select(vec![-2.0, -1.0, -0.5, 0.5, 2.0]),
        ) {
            let second = times * first;
            let step = |share: f64| {
                let rate = share * q.sum(2) / q.sum(3);
                (rate, q.step(rate).loss())
            };
            let found = TwoSteps::new(q.loss(), step(first), step(second)).unwrap();
            prop_assert!((found.gradient_squared / q.sum(2) - 1.0).abs() < 1e-9);
            prop_assert!((found.curvature / (q.sum(3) / q.sum(2)) - 1.0).abs() < 1e-9);
            prop_assert!(found.curvature <= q.largest() * (1.0 + 1e-9));
        }

        /// At most the largest eigenvalue, and above the smallest.
        #[test]
        fn a_sweep_shows_a_curvature_between_the_eigenvalues(q in quadratic()) {
            let (largest, smallest) = (q.largest(), q.eigenvalues.iter().copied().fold(1e9, f64::min));
            let test = q.sweep(&Sweep::new(1e-9, 1e5).updates(150), 0.0);
            let found = test.curvature(0.0).unwrap();
            prop_assert!(found.curvature <= largest * (1.0 + 1e-6), "{found:?} {largest}");
            prop_assert!(found.curvature >= smallest * (1.0 - 1e-6), "{found:?} {smallest}");
        }
    }

    #[test]
    fn one_eigenvalue_is_exact_by_every_way() {
        for value in [1e-3, 1.0, 70.0] {
            let q = || Quadratic { eigenvalues: vec![value], weights: vec![1.5] };
            let after = q().step(0.4 / value).loss();
            let of_step = curvature_of_step(0.4 / value, q().loss(), after, 0.0).unwrap();
            assert!((of_step / value - 1.0).abs() < 1e-9);
            let sweeps = [
                Sweep::new(1e-7 / value, 10.0 / value),
                Sweep::new(1e-3 / value, 0.5 / value).shape(crate::SweepShape::Linear),
            ];
            for sweep in sweeps {
                let found = q().sweep(&sweep, 0.0).curvature(0.0).unwrap();
                assert!((found.curvature / value - 1.0).abs() < 1e-9, "{found:?}");
            }
        }
    }

    /// A loss with an offset, passed as the minimum; noise within four standard errors.
    #[test]
    fn noise_and_a_minimum_are_allowed() {
        let q = Quadratic { eigenvalues: vec![20.0], weights: vec![1.0] };
        let test = q.sweep(&Sweep::default(), 0.05);
        let found = test.curvature(0.0).unwrap();
        assert!((found.curvature - 20.0).abs() < 4.0 * found.standard_error, "{found:?}");
        assert!(found.standard_error < 2.0, "{found:?}");
        assert_eq!(test.curvature(9.9), None);
        assert_eq!(test.curvature(f64::NAN), None);
        let flat = Sweep::default().run(|_| 1.0).unwrap();
        assert_eq!(flat.curvature(0.0), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let nan = f64::NAN;
        let field = |error: OutOfRange| error.field;
        assert_eq!(field(mean_curvature(-1.0, 1.0, 0.0).unwrap_err()), "gradient_squared");
        assert_eq!(field(mean_curvature(1.0, 1.0, 1.0).unwrap_err()), "loss");
        assert_eq!(field(mean_curvature(1.0, 1.0, nan).unwrap_err()), "minimum");
        assert_eq!(field(curvature_of_step(0.0, 1.0, 0.5, 0.0).unwrap_err()), "rate");
        assert_eq!(field(curvature_of_step(0.1, 1.0, -0.5, 0.0).unwrap_err()), "after");
        assert_eq!(field(TwoSteps::new(nan, (0.1, 1.0), (0.2, 1.0)).unwrap_err()), "loss");
        assert_eq!(field(TwoSteps::new(1.0, (0.1, 0.9), (0.1, 0.9)).unwrap_err()), "rate");
        assert_eq!(
            field(TwoSteps::new(1.0, (0.1, 1.0), (0.2, 1.0)).unwrap_err()),
            "gradient_squared"
        );
    }
}
