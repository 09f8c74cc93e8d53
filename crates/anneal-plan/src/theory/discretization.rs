//! What is left of a weight under a step decay and under the exponential decay that it approximates.

use super::check::positive;
use crate::OutOfRange;
use anneal_schedule::analysis::{AnalysisError, same_end};

/// The weights on ½λw² after a run of a step decay and of the exponential decay with the same end.
///
/// ```text
/// ln |w_N/w_0| = Σ_t ln |1 − η_t λ|
/// step:         Σ_j n_j ln |1 − λ peak γ^j|                    n_j updates after j drops
/// exponential:  −Σ_k (λ peak)^k/k · (1 − q^(kN))/(1 − q^k)     q = e^(−κ), λ peak < 1
/// ```
///
/// κ is that of [`same_end`]. If N is a multiple of the length of a step, the step decay is never below the
/// exponential, so its weight ends nearer to the minimum; to first order the log-ratio is −λ times the
/// difference of the travels. The gap grows with the length of the steps, and vanishes as γ → 1 at the same
/// end.
///
/// | argument of [`of`](Self::of) | range |
/// | --- | --- |
/// | `peak`, `curvature` λ | above 0, finite, λ · peak below 1: the weight never changes its sign |
/// | `every`, `steps` N | at least 1 update |
/// | `gamma` γ | above 0, at most 1 |
///
/// ```
/// use anneal_plan::theory::Discretization;
///
/// // Rates of 0.5, 0.5, 0.25, 0.25 against a decay from 0.5 to 0.125 over four updates.
/// let found = Discretization::of(0.5, 2, 0.5, 4, 1.0)?;
/// assert!((found.log_step - (0.5f64 * 0.5 * 0.75 * 0.75).ln()).abs() < 1e-14);
/// assert!(found.ratio() < 1.0);
/// # Ok::<(), anneal_schedule::analysis::AnalysisError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Discretization {
    /// ln |w_N/w_0| under the step decay.
    pub log_step: f64,
    /// ln |w_N/w_0| under the exponential decay.
    pub log_exponential: f64,
}

impl Discretization {
    /// Compares the step decay peak · γ^⌊t/every⌋ with its exponential over `steps` updates.
    ///
    /// # Errors
    /// [`AnalysisError::OutOfRange`] names the argument.
    pub fn of(
        peak: f64,
        every: u64,
        gamma: f64,
        steps: u64,
        curvature: f64,
    ) -> Result<Self, AnalysisError> {
        let kappa = same_end(peak, every, gamma, steps)?.kappa;
        positive("curvature", curvature)?;
        let share = curvature * peak;
        let allowed = "above 0, below 1: no update overshoots";
        OutOfRange::require("curvature · peak", share, share < 1.0, allowed)?;
        Ok(Self {
            log_step: step_decay(share, every, gamma, steps),
            log_exponential: exponential(share, kappa, steps),
        })
    }

    /// ln(|w_N| of the step decay / |w_N| of the exponential).
    pub fn log_ratio(&self) -> f64 {
        self.log_step - self.log_exponential
    }

    /// |w_N| of the step decay over |w_N| of the exponential.
    pub fn ratio(&self) -> f64 {
        self.log_ratio().exp()
    }
}

/// Σ n_j ln(1 − xγ^j), until the drops have left nothing of x.
fn step_decay(mut share: f64, every: u64, gamma: f64, steps: u64) -> f64 {
    if gamma == 1.0 {
        return steps as f64 * (-share).ln_1p();
    }
    let (mut sum, mut left) = (0.0, steps);
    while left > 0 && share > 0.0 {
        let updates = every.min(left);
        sum += updates as f64 * (-share).ln_1p();
        share *= gamma;
        left -= updates;
    }
    sum
}

/// Σ_t ln(1 − xq^t) by the powers of x, which fall at least as fast as those of a geometric series.
fn exponential(share: f64, kappa: f64, steps: u64) -> f64 {
    if kappa == 0.0 {
        return steps as f64 * (-share).ln_1p();
    }
    let (mut sum, mut power) = (0.0, 1.0);
    for order in 1..u32::MAX {
        power *= share;
        let fall = kappa * f64::from(order);
        let term = power / f64::from(order) * (-fall * steps as f64).exp_m1() / (-fall).exp_m1();
        sum += term;
        // The rest is at most term · x/(1 − x).
        if term * share <= f64::EPSILON * sum * (1.0 - share) {
            break;
        }
    }
    -sum
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, run};
    use super::*;
    use anneal_schedule::analysis::Window;
    use anneal_schedule::prelude::*;

    fn product(schedule: &Schedule, curvature: f64) -> f64 {
        let rates = Window::run(schedule).unwrap().rates("product").unwrap();
        rates.map(|rate| (1.0 - rate * curvature).abs().ln()).sum()
    }

    /// The product over all updates of both schedules.
    #[test]
    fn formulas_are_the_products_over_all_updates() {
        for (peak, every, gamma, steps, curvature) in [
            (0.1, 30, 0.1, 90, 1.0),
            (0.1, 30, 0.1, 100, 9.9),
            (0.5, 7, 0.5, 9, 1.0),
            (0.02, 1, 0.97, 400, 30.0),
            (0.3, 10, 1.0, 50, 2.0),
            (1e-3, 1_000, 0.2, 20_000, 0.5),
        ] {
            let found = Discretization::of(peak, every, gamma, steps, curvature).unwrap();
            let matched = same_end(peak, every, gamma, steps).unwrap();
            let step = product(&run(matched.step_decay, steps), curvature);
            let smooth = product(&run(matched.exponential, steps), curvature);
            assert_close(found.log_step, step, 1e-11);
            assert_close(found.log_exponential, smooth, 1e-11);
            assert_close(found.ratio(), (step - smooth).exp(), 1e-9);
        }
    }

    /// −x ≥ ln(1 − x) ≥ −x − x²/(2(1 − x)): so the log-ratio is −λ times the difference of the travels,
    /// within λ² times the larger Ση² over 2(1 − λ peak).
    #[test]
    fn to_first_order_the_travels_differ() {
        let (peak, curvature) = (0.1, 0.05);
        let found = Discretization::of(peak, 30, 0.1, 90, curvature).unwrap();
        let matched = same_end(peak, 30, 0.1, 90).unwrap();
        let travel = |schedule| Window::run(&schedule).unwrap().travel().unwrap();
        let step = travel(run(matched.step_decay, 90));
        let smooth = travel(run(matched.exponential, 90));
        let first = -curvature * (step.travel - smooth.travel);
        let bound = curvature.powi(2) * step.noise / (2.0 * (1.0 - peak * curvature));
        assert!((found.log_ratio() - first).abs() <= bound && bound < 0.01 * first.abs());
    }

    /// The same fall to 1/100 in 2, 4, 8, … steps.
    #[test]
    fn shorter_steps_come_closer_to_the_exponential() {
        let gap = |drops: u64| {
            let gamma = 0.01f64.powf(1.0 / drops as f64);
            Discretization::of(0.1, 1_024 / drops, gamma, 1_024, 2.0).unwrap().log_ratio()
        };
        let gaps: Vec<f64> = [2, 4, 8, 16, 32, 1_024].map(gap).to_vec();
        assert!(gaps.windows(2).all(|pair| pair[0] < pair[1]), "{gaps:?}");
        assert!(gaps[0] < -1.0 && gaps[5].abs() < 1e-9, "{gaps:?}");
    }

    #[test]
    fn arguments_are_checked() {
        let field = |peak, every, gamma, steps, curvature| match Discretization::of(
            peak, every, gamma, steps, curvature,
        ) {
            Err(AnalysisError::OutOfRange(error)) => error.field,
            other => panic!("{other:?}"),
        };
        assert_eq!(field(0.0, 1, 0.5, 1, 1.0), "peak");
        assert_eq!(field(0.1, 0, 0.5, 1, 1.0), "every");
        assert_eq!(field(0.1, 1, 1.5, 1, 1.0), "gamma");
        assert_eq!(field(0.1, 1, 0.5, 0, 1.0), "end");
        assert_eq!(field(0.1, 1, 0.5, 1, f64::NAN), "curvature");
        assert_eq!(field(0.1, 1, 0.5, 1, 10.0), "curvature · peak");
    }
}
