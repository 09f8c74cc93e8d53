//! Plain SGD on a quadratic with gradient noise.

use super::check::{finite, not_negative, positive, share};
use crate::OutOfRange;
use anneal_schedule::Schedule;
use anneal_schedule::analysis::{AnalysisError, Window, contraction, stationary_variance};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// A weight w on the loss ½λw², whose gradient has noise of standard deviation σ.
///
/// ```text
/// w ← w − η_t (λw + σ ξ_t)        ξ_t independent, mean 0, variance 1
/// mean ← (1 − η_t λ) mean         variance ← (1 − η_t λ)² variance + η_t² σ²
/// E[loss] = ½λ (mean² + variance)
/// ```
///
/// The moments hold for noise of any distribution. A direction of a larger quadratic is such a weight if it
/// is an eigenvector of both the Hessian and the covariance of the noise.
///
/// | argument | range |
/// | --- | --- |
/// | `curvature` λ | above 0, finite |
/// | `noise` σ | at least 0, finite: the standard deviation of the batch's gradient |
/// | `start` w₀ | finite |
///
/// Source: Schaul, Zhang and LeCun 2013, "No more pesky learning rates"; Wu et al. 2018, "Understanding
/// short-horizon bias in stochastic meta-optimization".
///
/// ```
/// use anneal_plan::theory::NoisyQuadratic;
/// use anneal_schedule::{analysis::Window, prelude::*};
///
/// let schedule = linear(0.5, 0.0).resolve(RunLength::updates(2))?;
/// let end = NoisyQuadratic::new(1.0, 2.0, 4.0)?.end(&Window::run(&schedule)?)?;
/// // Rates ½ and ¼: 4 · ½ · ¾ and ¼ · 4 · (¾)² + 4/16.
/// assert_eq!((end.mean, end.variance, end.loss), (1.5, 0.8125, 0.5 * (2.25 + 0.8125)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoisyQuadratic {
    curvature: f64,
    noise: f64,
    start: f64,
}

/// The moments of the weight of a [`NoisyQuadratic`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Moments {
    /// The expected weight.
    pub mean: f64,
    /// The variance of w.
    pub variance: f64,
    /// The expected loss, ½λ(mean² + variance).
    pub loss: f64,
}

impl NoisyQuadratic {
    /// A weight at `start`.
    ///
    /// # Errors
    /// An argument outside its range.
    pub fn new(curvature: f64, noise: f64, start: f64) -> Result<Self, OutOfRange> {
        positive("curvature", curvature)?;
        not_negative("noise", noise)?;
        finite("start", start)?;
        Ok(Self { curvature, noise, start })
    }

    /// The moments before the first update and after each one.
    ///
    /// # Errors
    /// [`AnalysisError::TooManySteps`].
    pub fn moments<'a>(
        &self,
        window: &Window<'a>,
    ) -> Result<impl Iterator<Item = Moments> + use<'a>, AnalysisError> {
        let model = *self;
        let start = model.moments_of(model.start, 0.0);
        let after = window.rates("moments")?.scan(start, move |at, rate| {
            let factor = 1.0 - rate * model.curvature;
            let variance = factor * factor * at.variance + (rate * model.noise).powi(2);
            *at = model.moments_of(factor * at.mean, variance);
            Some(*at)
        });
        Ok(std::iter::once(start).chain(after))
    }

    /// The moments after the last update.
    ///
    /// # Errors
    /// [`AnalysisError::TooManySteps`]; [`AnalysisError::Overflow`] if the weight diverges beyond an f64.
    pub fn end(&self, window: &Window<'_>) -> Result<Moments, AnalysisError> {
        let start = self.moments_of(self.start, 0.0);
        let end = self.moments(window)?.last().unwrap_or(start);
        if end.loss.is_finite() { Ok(end) } else { Err(AnalysisError::Overflow { what: "loss" }) }
    }

    /// The weight after `steps` updates under each schedule, all on one sequence of normal noise, so that
    /// their differences are due to the schedules.
    ///
    /// ```
    /// use anneal_plan::theory::NoisyQuadratic;
    /// use anneal_schedule::prelude::*;
    ///
    /// let run = RunLength::updates(100);
    /// let schedules = [constant(0.1).resolve(run)?, cosine(0.1).resolve(run)?];
    /// let weights = NoisyQuadratic::new(1.0, 0.0, 1.0)?.simulate(&schedules, 100, 7);
    /// // Without noise, the larger travel ends nearer to the minimum.
    /// assert!(weights[0] < weights[1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn simulate(&self, schedules: &[Schedule], steps: u64, seed: u64) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut weights = vec![self.start; schedules.len()];
        for step in 0..steps {
            let normal: f64 = StandardNormal.sample(&mut random);
            for (weight, schedule) in weights.iter_mut().zip(schedules) {
                *weight -= schedule.rate(step) * (self.curvature * *weight + self.noise * normal);
            }
        }
        weights
    }

    fn moments_of(&self, mean: f64, variance: f64) -> Moments {
        Moments { mean, variance, loss: 0.5 * self.curvature * (mean * mean + variance) }
    }
}

/// The expected loss at which a constant rate ends on a quadratic: ½λ · ησ²/(λ(2 − ηλ)).
///
/// Half the curvature times [`stationary_variance`]. About ¼ησ² for a small rate: it does not depend on the
/// curvature then.
///
/// ```
/// use anneal_plan::theory::stationary_loss;
/// assert_eq!(stationary_loss(0.5, 2.0, 1.0)?, 0.25);
/// # Ok::<(), anneal_schedule::analysis::AnalysisError>(())
/// ```
///
/// # Errors
/// [`AnalysisError::Unstable`] if ηλ ≥ 2; [`AnalysisError::OutOfRange`] for a rate or noise below 0, or a
/// curvature that is not above 0.
pub fn stationary_loss(rate: f64, curvature: f64, noise: f64) -> Result<f64, AnalysisError> {
    not_negative("noise", noise)?;
    Ok(0.5 * curvature * stationary_variance(rate, curvature, noise * noise)?)
}

/// The number of updates after which a constant rate has multiplied the distance to the minimum of a
/// noise-free quadratic by at most `factor`: the least n with |1 − ηλ|ⁿ ≤ factor. `None` for a rate of 0.
///
/// ```
/// use anneal_plan::theory::steps_to_contract;
/// // 0.9ⁿ ≤ 0.01
/// assert_eq!(steps_to_contract(0.1, 1.0, 0.01)?, Some(44));
/// # Ok::<(), anneal_schedule::analysis::AnalysisError>(())
/// ```
///
/// # Errors
/// As [`stationary_loss`], and for a factor that is not between 0 and 1.
pub fn steps_to_contract(
    rate: f64,
    curvature: f64,
    factor: f64,
) -> Result<Option<u64>, AnalysisError> {
    share("factor", factor)?;
    contraction(rate, curvature)?;
    // ln|1 − x| without the rounding of 1 − x for a small x.
    let share = rate * curvature;
    let logarithm = if share < 1.0 { (-share).ln_1p() } else { (share - 1.0).ln() };
    let steps = (factor.ln() / logarithm).ceil().max(1.0);
    Ok((steps < u64::MAX as f64).then_some(steps as u64))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Normals, assert_close, assert_mean, mean_and_error, run};
    use super::*;
    use anneal_schedule::prelude::*;

    const STEPS: u64 = 200;

    fn all() -> [Schedule; 4] {
        [
            run(constant(0.2), STEPS),
            run(linear(0.2, 0.0), STEPS),
            run(cosine(0.2), STEPS),
            run(step_decay(0.2, Span::steps(50), 0.2), STEPS),
        ]
    }

    fn losses(model: NoisyQuadratic) -> Vec<f64> {
        let end = |schedule| model.end(&Window::run(schedule).unwrap()).unwrap().loss;
        all().iter().map(end).collect()
    }

    /// 4,000 seeds; mean and mean square of the weight within 4 standard errors, of about 1.6 % of the
    /// weight's spread.
    #[test]
    fn the_moments_are_those_of_simulated_weights() {
        let model = NoisyQuadratic::new(1.3, 0.8, 5.0).unwrap();
        let ended: Vec<Vec<f64>> =
            (0..4_000).map(|seed| model.simulate(&all(), 20, seed)).collect();
        for (index, schedule) in all().iter().enumerate() {
            let end = model.end(&Window::first(schedule, 20).unwrap()).unwrap();
            let weights: Vec<f64> = ended.iter().map(|weights| weights[index]).collect();
            assert_mean(&weights, end.mean);
            let losses: Vec<f64> = weights.iter().map(|w| 0.5 * 1.3 * w * w).collect();
            assert_mean(&losses, end.loss);
        }
    }

    #[test]
    fn a_constant_rate_ends_at_its_stationary_loss() {
        let schedule = run(constant(0.3), 2_000);
        let model = NoisyQuadratic::new(2.0, 0.7, 10.0).unwrap();
        let end = model.end(&Window::run(&schedule).unwrap()).unwrap();
        assert_close(end.loss, stationary_loss(0.3, 2.0, 0.7).unwrap(), 1e-12);
        assert_eq!(model.moments(&Window::run(&schedule).unwrap()).unwrap().count(), 2_001);
    }

    /// Without noise, a constant rate ends best, because it travels farthest. With noise, it ends worst:
    /// nearly all its loss is variance, which only smaller rates reduce.
    #[test]
    fn a_constant_rate_ends_worst_because_of_the_noise() {
        let quiet = losses(NoisyQuadratic::new(1.0, 0.0, 1.0).unwrap());
        assert!(quiet[1..].iter().all(|&loss| loss > quiet[0]), "{quiet:?}");
        let noisy = NoisyQuadratic::new(1.0, 1.0, 1.0).unwrap();
        let found = losses(noisy);
        assert!(found[1..].iter().all(|&loss| loss < 0.5 * found[0]), "{found:?}");
        let schedule = run(constant(0.2), STEPS);
        let end = noisy.end(&Window::run(&schedule).unwrap()).unwrap();
        assert!(end.mean.powi(2) < 1e-30 * end.variance, "{end:?}");
    }

    /// 1,000 noise sequences, each shared by all schedules: the constant rate is worse by more than 4
    /// standard errors of the mean difference, which is the one of the exact losses.
    #[test]
    fn on_the_same_noise_a_constant_rate_ends_worst() {
        let model = NoisyQuadratic::new(1.0, 1.0, 1.0).unwrap();
        let ended: Vec<Vec<f64>> =
            (0..1_000).map(|seed| model.simulate(&all(), STEPS, seed)).collect();
        let exact = losses(model);
        for index in 1..exact.len() {
            let worse = |weights: &Vec<f64>| 0.5 * (weights[0].powi(2) - weights[index].powi(2));
            let differences: Vec<f64> = ended.iter().map(worse).collect();
            assert_mean(&differences, exact[0] - exact[index]);
            let (mean, error) = mean_and_error(&differences);
            assert!(mean > 4.0 * error, "{mean} ± {error}");
        }
    }

    #[test]
    fn noise_is_shared_and_seeded() {
        let schedules = [run(constant(0.1), 9), run(constant(0.1), 9)];
        let model = NoisyQuadratic::new(1.0, 1.0, 0.0).unwrap();
        let weights = model.simulate(&schedules, 9, 3);
        assert_eq!(weights[0], weights[1]);
        assert_eq!(weights, model.simulate(&schedules, 9, 3));
        assert_ne!(weights, model.simulate(&schedules, 9, 4));
        let mut normals = Normals::new(3);
        let expected = (0..9).fold(0.0, |w, _| w - 0.1 * (w + normals.next()));
        assert_close(weights[0], expected, 1e-12);
    }

    #[test]
    fn contraction_takes_the_least_number_of_steps() {
        for (rate, curvature, factor) in
            [(0.1, 1.0, 0.5), (1.7, 1.0, 1e-3), (1e-3, 0.3, 1e-6), (0.9, 1.0, 0.5)]
        {
            let steps = steps_to_contract(rate, curvature, factor).unwrap().unwrap() as i32;
            let left = |steps: i32| (1.0f64 - rate * curvature).abs().powi(steps);
            assert!(left(steps) <= factor && factor < left(steps - 1), "{rate}: {steps}");
        }
        assert_eq!(steps_to_contract(1.0, 1.0, 1e-9).unwrap(), Some(1));
        assert_eq!(steps_to_contract(0.0, 1.0, 0.5).unwrap(), None);
        // ln 2/1e-18
        let steps = steps_to_contract(1e-18, 1.0, 0.5).unwrap().unwrap();
        assert_close(steps as f64, 2f64.ln() * 1e18, 1e-12);
    }

    #[test]
    fn arguments_are_checked() {
        for (curvature, noise, start, field) in [
            (0.0, 1.0, 1.0, "curvature"),
            (f64::NAN, 1.0, 1.0, "curvature"),
            (1.0, -1.0, 1.0, "noise"),
            (1.0, 1.0, f64::INFINITY, "start"),
        ] {
            assert_eq!(NoisyQuadratic::new(curvature, noise, start).unwrap_err().field, field);
        }
        let unstable = AnalysisError::Unstable { rate: 2.0, curvature: 1.0 };
        assert_eq!(stationary_loss(2.0, 1.0, 1.0).unwrap_err(), unstable);
        assert_eq!(steps_to_contract(2.0, 1.0, 0.5).unwrap_err(), unstable);
        assert!(matches!(stationary_loss(0.1, 1.0, -1.0), Err(AnalysisError::OutOfRange(_))));
        assert!(steps_to_contract(0.1, 1.0, 1.0).is_err());
        let diverges = run(constant(1e3), 1_000);
        let model = NoisyQuadratic::new(1.0, 1.0, 1.0).unwrap();
        let error = model.end(&Window::run(&diverges).unwrap()).unwrap_err();
        assert_eq!(error, AnalysisError::Overflow { what: "loss" });
    }
}
