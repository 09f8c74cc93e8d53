//! Nesterov's momentum on a quadratic.

use super::check::{not_negative, positive};
use crate::OutOfRange;
use anneal_schedule::analysis::{AnalysisError, Optimizer};
use nalgebra::Complex;

/// The eigenvalues of Nesterov's momentum on ½λw².
///
/// ```text
/// y = w + μ(w − w₋)        w ← y − ηλy
/// r² − (1 − ηλ)(1 + μ) r + (1 − ηλ)μ = 0
/// stable:              0 < ηλ < (2 + 2μ)/(1 + 2μ)
/// critically damped:   μ = (1 − √(ηλ))/(1 + √(ηλ)), where both eigenvalues are 1 − √(ηλ)
/// ```
///
/// Left of the critical line in μ the weight decays without oscillation (for ηλ ≤ 1), right of it in spirals
/// whose radius √((1 − ηλ)μ) grows with μ: no other momentum has a smaller radius. Here μ is that of
/// Sutskever's form, v ← μv − ηg(w + μv).
///
/// | argument | range |
/// | --- | --- |
/// | `rate` η | at least 0, finite |
/// | `momentum` μ | at least 0, below 1 |
/// | `curvature` λ | above 0, finite |
///
/// Source: Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning";
/// O'Donoghue and Candès 2015, "Adaptive restart for accelerated gradient schemes".
///
/// ```
/// use anneal_plan::theory::{Nesterov, critical_momentum};
///
/// let momentum = critical_momentum(0.04, 1.0)?;
/// assert!((momentum - 2.0 / 3.0).abs() < 1e-15);
/// assert!((Nesterov::new(0.04, momentum, 1.0)?.spectral_radius() - 0.8).abs() < 1e-7);
/// # Ok::<(), anneal_schedule::analysis::AnalysisError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nesterov {
    /// 1 − ηλ.
    factor: f64,
    momentum: f64,
    /// The rate over the largest stable one.
    share_of_stable: f64,
}

impl Nesterov {
    /// The momentum μ at a rate η on a curvature λ.
    ///
    /// # Errors
    /// [`AnalysisError::OutOfRange`] names the argument.
    pub fn new(rate: f64, momentum: f64, curvature: f64) -> Result<Self, AnalysisError> {
        not_negative("rate", rate)?;
        let largest = Optimizer::Nesterov { momentum }.largest_rate(curvature)?;
        Ok(Self { factor: 1.0 - rate * curvature, momentum, share_of_stable: rate / largest })
    }

    /// Both eigenvalues, the one with the larger real part first.
    pub fn eigenvalues(&self) -> [Complex<f64>; 2] {
        let half = 0.5 * self.factor * (1.0 + self.momentum);
        let discriminant = half * half - self.factor * self.momentum;
        let root = Complex::new(discriminant, 0.0).sqrt();
        [half + root, half - root]
    }

    /// The larger absolute eigenvalue: the factor per update in the long run.
    pub fn spectral_radius(&self) -> f64 {
        self.eigenvalues().iter().fold(0.0, |largest, value| value.norm().max(largest))
    }

    /// Whether the weight converges: the rate is above 0 and below [`Optimizer::largest_rate`].
    pub fn is_stable(&self) -> bool {
        self.share_of_stable > 0.0 && self.share_of_stable < 1.0
    }
}

/// The momentum that damps a curvature critically, (1 − √(ηλ))/(1 + √(ηλ)), so that its weight decays
/// fastest.
///
/// # Errors
/// A rate or a curvature that is not above 0, or ηλ above 1.
///
/// ```
/// use anneal_plan::theory::critical_momentum;
/// assert_eq!(critical_momentum(0.25, 1.0)?, 1.0 / 3.0);
/// # Ok::<(), anneal_plan::OutOfRange>(())
/// ```
pub fn critical_momentum(rate: f64, curvature: f64) -> Result<f64, OutOfRange> {
    positive("rate", rate)?;
    positive("curvature", curvature)?;
    let share = rate * curvature;
    OutOfRange::require("rate · curvature", share, share <= 1.0, "at most 1")?;
    Ok((1.0 - share.sqrt()) / (1.0 + share.sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::Matrix2;

    /// One update of (w, w₋).
    fn update(share: f64, momentum: f64, [weight, last]: [f64; 2]) -> [f64; 2] {
        let ahead = weight + momentum * (weight - last);
        [ahead - share * ahead, weight]
    }

    fn by_matrix(share: f64, momentum: f64) -> [Complex<f64>; 2] {
        let ([a, b], [c, d]) =
            (update(share, momentum, [1.0, 0.0]), update(share, momentum, [0.0, 1.0]));
        let values = Matrix2::new(a, c, b, d).complex_eigenvalues();
        [values[0], values[1]]
    }

    /// A grid of the (η, μ) plane.
    fn plane() -> impl Iterator<Item = (f64, f64)> {
        (1..50).flat_map(|i| (0..20).map(move |j| (0.05 * f64::from(i), 0.05 * f64::from(j))))
    }

    #[test]
    fn eigenvalues_are_those_of_the_update() {
        for (rate, momentum) in plane() {
            let found = Nesterov::new(rate, momentum, 1.7).unwrap();
            let expected = by_matrix(rate * 1.7, momentum);
            let [first, second] = found.eigenvalues();
            // Their sum and product: near a double eigenvalue these are exact, and the eigenvalues are not.
            assert!((first + second - expected[0] - expected[1]).norm() < 1e-12, "{rate}");
            assert!((first * second - expected[0] * expected[1]).norm() < 1e-12, "{rate}");
        }
    }

    #[test]
    fn the_stable_region_has_a_radius_below_1() {
        for (rate, momentum) in plane() {
            let found = Nesterov::new(rate, momentum, 1.3).unwrap();
            let radius = found.spectral_radius();
            assert_eq!(found.is_stable(), radius < 1.0, "{rate} {momentum}: {radius}");
            // Far from the border, 3,000 updates tell.
            if (radius - 1.0).abs() > 0.02 {
                let start = [1.0, 0.7];
                let [end, _] = (0..3_000).fold(start, |at, _| update(rate * 1.3, momentum, at));
                assert_eq!(found.is_stable(), end.abs() < 1e-9, "{rate} {momentum}: {end}");
            }
        }
        assert!(!Nesterov::new(0.0, 0.5, 1.0).unwrap().is_stable());
    }

    #[test]
    fn critical_momentum_has_a_double_eigenvalue_and_the_smallest_radius() {
        for share in [1e-4, 0.01, 0.25, 0.9] {
            let momentum = critical_momentum(share, 1.0).unwrap();
            let radius = |momentum| Nesterov::new(share, momentum, 1.0).unwrap().spectral_radius();
            // The root of a rounded discriminant is as large as 1e-8.
            assert!((radius(momentum) - (1.0 - share.sqrt())).abs() < 1e-7, "{share}");
            for other in [0.9 * momentum, 0.99 * momentum, momentum + 0.01 * (1.0 - momentum)] {
                assert!(radius(other) > radius(momentum), "{share} {other}");
            }
        }
    }

    #[test]
    fn arguments_are_checked() {
        let field = |rate, momentum, curvature| match Nesterov::new(rate, momentum, curvature) {
            Err(AnalysisError::OutOfRange(error)) => error.field,
            other => panic!("{other:?}"),
        };
        assert_eq!(field(-1.0, 0.5, 1.0), "rate");
        assert_eq!(field(1.0, 1.0, 1.0), "momentum");
        assert_eq!(field(1.0, 0.5, 0.0), "curvature");
        assert_eq!(critical_momentum(2.0, 1.0).unwrap_err().field, "rate · curvature");
        assert_eq!(critical_momentum(0.0, 1.0).unwrap_err().field, "rate");
    }
}
