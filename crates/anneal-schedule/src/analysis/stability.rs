//! Stability of the rate on a given curvature.

use super::AnalysisError;
use super::error::{not_negative, positive, require};
use super::window::{Below, Method, Window};
use serde::{Deserialize, Serialize};

/// The optimizer whose stability is analyzed.
///
/// Each is stable on a curvature λ below its ceiling c/η:
///
/// | optimizer | ceiling on λ |
/// | --- | --- |
/// | gradient descent | 2/η |
/// | heavy ball | 2(1+μ)/η |
/// | Nesterov | (2+2μ)/((1+2μ)η) |
/// | Adam | 2(1+β₁)/((1−β₁)η), for the eigenvalues of the preconditioned Hessian |
///
/// Heavy ball is v ← μv + g, w ← w − ηv; Adam's ceiling is that of heavy ball with averaged gradients.
///
/// Source: Cohen et al. 2021, "Gradient descent on neural networks typically occurs at the edge of
/// stability"; Adam: Cohen et al. 2022, "Adaptive gradient methods at the edge of stability".
///
/// ```
/// use anneal_schedule::analysis::Optimizer;
/// let heavy_ball = Optimizer::HeavyBall { momentum: 0.9 };
/// assert_eq!(heavy_ball.ceiling(0.25)?, 15.2);
/// assert_eq!(heavy_ball.largest_rate(15.2)?, 0.25);
/// # Ok::<(), anneal_schedule::analysis::AnalysisError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Optimizer {
    /// Gradient descent without momentum.
    #[default]
    Sgd,
    /// Polyak's momentum.
    HeavyBall {
        /// μ in [0, 1).
        momentum: f64,
    },
    /// Nesterov's momentum.
    Nesterov {
        /// μ in [0, 1).
        momentum: f64,
    },
    /// Adam; λ refers to the preconditioned Hessian.
    Adam {
        /// β₁ in [0, 1).
        beta_1: f64,
    },
}

impl Optimizer {
    /// The constant c of the ceiling c/η on λ.
    fn factor(self) -> Result<f64, AnalysisError> {
        let share = |field, value| require(field, value, (0.0..1.0).contains(&value), "in [0, 1)");
        match self {
            Self::Sgd => Ok(2.0),
            Self::HeavyBall { momentum } => Ok(2.0 * (1.0 + share("momentum", momentum)?)),
            Self::Nesterov { momentum } => {
                let momentum = share("momentum", momentum)?;
                Ok((2.0 + 2.0 * momentum) / (1.0 + 2.0 * momentum))
            }
            Self::Adam { beta_1 } => {
                let beta_1 = share("beta_1", beta_1)?;
                Ok(2.0 * (1.0 + beta_1) / (1.0 - beta_1))
            }
        }
    }

    /// The curvature λ below which the rate η is stable; infinite for η = 0.
    ///
    /// # Errors
    /// [`AnalysisError::OutOfRange`] for a rate below 0 or a momentum outside [0, 1).
    pub fn ceiling(self, rate: f64) -> Result<f64, AnalysisError> {
        Ok(self.factor()? / not_negative("rate", rate)?)
    }

    /// The rate η below which the optimizer is stable on the curvature λ, above 0.
    ///
    /// # Errors
    /// [`AnalysisError::OutOfRange`] for a curvature or a momentum out of range.
    pub fn largest_rate(self, curvature: f64) -> Result<f64, AnalysisError> {
        Ok(self.factor()? / positive("curvature", curvature)?)
    }
}

/// The largest constant rate for which the descent lemma guarantees progress at every step, by ½η‖g‖²: 1/M
/// for the largest curvature M.
///
/// # Errors
/// [`AnalysisError::OutOfRange`] for a curvature that is not above 0.
pub fn descent_limit(largest_curvature: f64) -> Result<f64, AnalysisError> {
    Ok(1.0 / positive("largest_curvature", largest_curvature)?)
}

/// The constant rate with the fastest worst case on a quadratic with curvatures in [m, M]: 2/(m+M), which
/// contracts by (M−m)/(M+m).
///
/// ```
/// use anneal_schedule::analysis::{best_constant_rate, contraction};
/// let rate = best_constant_rate(1.0, 3.0)?;
/// assert_eq!((contraction(rate, 1.0)?, contraction(rate, 3.0)?), (0.5, 0.5));
/// # Ok::<(), anneal_schedule::analysis::AnalysisError>(())
/// ```
///
/// # Errors
/// [`AnalysisError::OutOfRange`] unless 0 < m ≤ M.
pub fn best_constant_rate(smallest: f64, largest: f64) -> Result<f64, AnalysisError> {
    positive("largest_curvature", largest)?;
    let allowed = format!("in (0, {largest:?}]");
    require("smallest_curvature", smallest, smallest > 0.0 && smallest <= largest, &allowed)?;
    // Halved before the sum, which may overflow.
    Ok(1.0 / (0.5 * smallest + 0.5 * largest))
}

/// |1 − ηλ|: the factor by which noise-free gradient descent changes the distance to the minimum per update.
///
/// # Errors
/// [`AnalysisError::OutOfRange`] for η below 0 or λ not above 0; [`AnalysisError::Unstable`] if ηλ ≥ 2.
pub fn contraction(rate: f64, curvature: f64) -> Result<f64, AnalysisError> {
    Ok((1.0 - stable(rate, curvature)?).abs())
}

/// ησ²/(λ(2 − ηλ)): the stationary variance around the minimum of gradient descent at a constant rate with
/// gradient noise of variance σ².
///
/// ```
/// use anneal_schedule::analysis::stationary_variance;
/// assert_eq!(stationary_variance(0.5, 2.0, 1.0)?, 0.25);
/// assert!(stationary_variance(1.0, 2.0, 1.0).is_err());
/// # Ok::<(), anneal_schedule::analysis::AnalysisError>(())
/// ```
///
/// # Errors
/// As [`contraction`], and for σ² below 0.
pub fn stationary_variance(
    rate: f64,
    curvature: f64,
    noise_variance: f64,
) -> Result<f64, AnalysisError> {
    let share = stable(rate, curvature)?;
    let noise = not_negative("noise_variance", noise_variance)?;
    Ok(rate * noise / (curvature * (2.0 - share)))
}

/// Returns ηλ if it is below 2.
fn stable(rate: f64, curvature: f64) -> Result<f64, AnalysisError> {
    let share = not_negative("rate", rate)? * positive("curvature", curvature)?;
    if share < 2.0 { Ok(share) } else { Err(AnalysisError::Unstable { rate, curvature }) }
}

/// The stability of a schedule on a curvature.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stability {
    /// The optimizer.
    pub optimizer: Optimizer,
    /// The curvature λ.
    pub curvature: f64,
    /// The rate below which it is stable: the ceiling solved for η.
    pub largest_rate: f64,
    /// The ceiling on λ at the largest rate of the window.
    pub ceiling_at_peak: f64,
    /// t*: the first update whose rate is below `largest_rate`.
    pub first_below: Option<u64>,
    /// The first update from which all rates are below it.
    pub stable_from: Option<u64>,
    /// The number of updates with a rate at or above it.
    pub updates_above: u64,
    /// 1/λ, the rate up to which the descent lemma guarantees progress if λ is the largest curvature.
    pub descent_limit: f64,
    /// |1 − ηλ| of plain gradient descent at the last update; `None` if ηλ ≥ 2.
    pub last_contraction: Option<f64>,
    /// η/(λ(2 − ηλ)), the stationary variance of plain gradient descent at the last rate with noise of
    /// variance 1; `None` if ηλ ≥ 2.
    pub last_variance: Option<f64>,
    /// How the updates were found.
    pub method: Method,
}

impl Window<'_> {
    /// Analyzes the stability of the schedule on `curvature` λ, above 0.
    ///
    /// ```
    /// use anneal_schedule::prelude::*;
    /// use anneal_schedule::analysis::{Optimizer, Window};
    /// let schedule = linear(1.0, 0.0).resolve(RunLength::updates(100))?;
    /// let stability = Window::run(&schedule)?.stability(4.0, Optimizer::Sgd)?;
    /// assert_eq!((stability.largest_rate, stability.first_below), (0.5, Some(51)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`AnalysisError::OutOfRange`], [`AnalysisError::TooManySteps`].
    pub fn stability(
        &self,
        curvature: f64,
        optimizer: Optimizer,
    ) -> Result<Stability, AnalysisError> {
        let largest_rate = optimizer.largest_rate(curvature)?;
        let Below { first, count, tail, method, .. } = self.below("stability", largest_rate)?;
        let last = self.schedule().rate(self.last());
        Ok(Stability {
            optimizer,
            curvature,
            largest_rate,
            ceiling_at_peak: optimizer.ceiling(self.cooling(1.0)?.peak)?,
            first_below: first,
            stable_from: (tail > 0).then_some(self.steps() - tail),
            updates_above: self.steps() - count,
            descent_limit: descent_limit(curvature)?,
            last_contraction: contraction(last, curvature).ok(),
            last_variance: stationary_variance(last, curvature, 1.0).ok(),
            method,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;
    use Optimizer::{Adam, HeavyBall, Nesterov, Sgd};

    /// The optimizer on ½λw² from w = 1 without noise: |w| after many updates.
    fn simulated(optimizer: Optimizer, rate: f64, curvature: f64) -> f64 {
        let (mut weight, mut velocity) = (1f64, 0f64);
        for _ in 0..4_000 {
            if weight.abs() > 1e12 {
                break;
            }
            match optimizer {
                Sgd => weight -= rate * curvature * weight,
                HeavyBall { momentum } => {
                    velocity = momentum * velocity + curvature * weight;
                    weight -= rate * velocity;
                }
                Nesterov { momentum } => {
                    velocity = momentum * velocity + curvature * weight;
                    weight -= rate * (curvature * weight + momentum * velocity);
                }
                // A constant preconditioner of 1, and an averaged gradient.
                Adam { beta_1 } => {
                    velocity = beta_1 * velocity + (1.0 - beta_1) * curvature * weight;
                    weight -= rate * velocity;
                }
            }
        }
        weight.abs()
    }

    #[test]
    fn below_the_ceiling_it_converges_and_above_it_diverges() {
        let optimizers = [
            Sgd,
            HeavyBall { momentum: 0.9 },
            HeavyBall { momentum: 0.0 },
            Nesterov { momentum: 0.9 },
            Nesterov { momentum: 0.5 },
            Adam { beta_1: 0.9 },
        ];
        for optimizer in optimizers {
            let ceiling = optimizer.ceiling(0.1).unwrap();
            assert!(simulated(optimizer, 0.1, 0.98 * ceiling) < 1e-6, "{optimizer:?}");
            assert!(simulated(optimizer, 0.1, 1.02 * ceiling) > 1e6, "{optimizer:?}");
            let back = optimizer.largest_rate(ceiling).unwrap();
            assert!((back - 0.1).abs() < 1e-15, "{optimizer:?}");
        }
    }

    #[test]
    fn contraction_and_best_rate_follow_their_formulas() {
        assert!((contraction(0.1, 5.0).unwrap() - 0.5).abs() < 1e-15);
        let best = best_constant_rate(1.0, 9.0).unwrap();
        assert_eq!(best, 0.2);
        let worst =
            |rate: f64| contraction(rate, 1.0).unwrap().max(contraction(rate, 9.0).unwrap());
        assert!((worst(best) - 0.8).abs() < 1e-15);
        assert!(worst(best) < worst(0.99 * best) && worst(best) < worst(1.01 * best));
        assert_eq!(descent_limit(4.0).unwrap(), 0.25);
    }

    /// The variance recursion V ← (1 − ηλ)²V + η²σ² that stochastic gradient descent obeys.
    #[test]
    fn stationary_variance_is_the_fixed_point() {
        for (rate, curvature, noise) in [(0.1, 1.0, 1.0), (0.5, 3.0, 2.0), (0.01, 10.0, 0.3)] {
            let mut variance = 1.0;
            for _ in 0..10_000 {
                let kept = 1.0 - rate * curvature;
                variance = kept * kept * variance + rate * rate * noise;
            }
            let found = stationary_variance(rate, curvature, noise).unwrap();
            assert!((found / variance - 1.0).abs() < 1e-12, "{found} is not {variance}");
        }
        let error = stationary_variance(0.5, 4.0, 1.0).unwrap_err();
        assert_eq!(error, AnalysisError::Unstable { rate: 0.5, curvature: 4.0 });
        assert!(error.to_string().contains("a rate below 0.5"), "{error}");
        assert!(matches!(contraction(1.0, 2.0), Err(AnalysisError::Unstable { .. })));
    }

    #[test]
    fn a_warm_up_is_stable_again_after_the_peak() {
        let schedule =
            linear(1.0, 0.0).warmup(Span::steps(9)).resolve(RunLength::updates(109)).unwrap();
        // Rates 0.1, 0.2, … 0.9, then 1 − (t − 9)/100; the largest stable one is ½.
        let found = Window::run(&schedule).unwrap().stability(4.0, Sgd).unwrap();
        assert_eq!((found.first_below, found.stable_from), (Some(0), Some(60)));
        assert_eq!(found.updates_above, 60 - 4);
        assert_eq!((found.ceiling_at_peak, found.descent_limit), (2.0, 0.25));
        let never = Window::run(&schedule).unwrap().stability(1e9, Sgd).unwrap();
        assert_eq!((never.first_below, never.stable_from, never.updates_above), (None, None, 109));
        assert_eq!((never.last_contraction, never.last_variance), (None, None));
    }

    #[test]
    fn refuses_each_argument() {
        fn field<T: std::fmt::Debug>(found: Result<T, AnalysisError>) -> String {
            match found {
                Err(AnalysisError::OutOfRange(error)) => error.field,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(field(HeavyBall { momentum: 1.0 }.ceiling(0.1)), "momentum");
        assert_eq!(field(Nesterov { momentum: -0.1 }.ceiling(0.1)), "momentum");
        assert_eq!(field(Adam { beta_1: f64::NAN }.ceiling(0.1)), "beta_1");
        assert_eq!(field(Sgd.ceiling(-0.1)), "rate");
        assert_eq!(field(Sgd.largest_rate(0.0)), "curvature");
        assert_eq!(field(contraction(0.1, -1.0)), "curvature");
        assert_eq!(field(stationary_variance(0.1, 1.0, -1.0)), "noise_variance");
        assert_eq!(field(best_constant_rate(2.0, 1.0)), "smallest_curvature");
        assert_eq!(field(best_constant_rate(1.0, f64::INFINITY)), "largest_curvature");
        assert_eq!(field(descent_limit(0.0)), "largest_curvature");
    }
}
