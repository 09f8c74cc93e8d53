//! A rate that follows the noise of a diffusion process.

use crate::curve::{Describe, Rate, tail::Tail};
use crate::{Length, OutOfRange, Schedule, ScheduleConfig, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// η(t) = peak / (1 + β(t)), where the inner schedule gives the noise β of a diffusion process.
///
/// This applies if all samples of a batch share one noise level per update. If a batch mixes levels, the same
/// factor weights each sample's loss: [`noise_weights`].
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `peak` | η₀, learning rate without noise | finite, above 0 |
///
/// Source: the β of Ho et al. 2020, "Denoising diffusion probabilistic models".
///
/// ```
/// use anneal_schedule::prelude::*;
/// let betas = linear(1.0, 0.0);
/// let schedule = betas.follow_noise(0.375).resolve(RunLength::updates(2))?;
/// assert_eq!([0, 1, 2].map(|step| schedule.rate(step)), [0.1875, 0.25, 0.375]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
pub struct FollowNoise<L: Length = Span> {
    /// η₀: the rate without noise.
    pub peak: f64,
    /// β.
    pub schedule: Box<ScheduleConfig<L>>,
}

/// The weights of the samples' losses that replace a [`FollowNoise`] rate if a batch mixes noise levels: w_i
/// = 1 / (1 + β(level_i)), in (0, 1].
///
/// `betas` is resolved for as many updates as there are levels. With the rate held at the peak, a sample of
/// level l then moves the weights as much as in a batch of level l alone at the rate peak / (1 + β(l)).
///
/// # Errors
/// [`ScheduleError`] if a level is not below the length of `betas`.
///
/// ```
/// use anneal_schedule::{noise_weights, prelude::*, table};
/// let betas = table([0.0, 0.25, 1.0]).resolve(RunLength::updates(3))?;
/// assert_eq!(noise_weights(&betas, &[2, 0, 1])?, [0.5, 1.0, 0.8]);
/// # Ok::<(), ScheduleError>(())
/// ```
pub fn noise_weights(betas: &Schedule, levels: &[u64]) -> Result<Vec<f64>, ScheduleError> {
    let weight = |(i, &level): (usize, &u64)| match betas.length() {
        Some(length) if level >= length => {
            let allowed = format!("below the {length} levels of the betas");
            Err(OutOfRange::new(format!("noise_weights.levels[{i}]"), level, allowed).into())
        }
        _ => Ok(shrunk(1.0, betas.rate(level))),
    };
    levels.iter().enumerate().map(weight).collect()
}

fn shrunk(rate: f64, beta: f64) -> f64 {
    rate / (1.0 + beta)
}

impl Describe for FollowNoise {
    type Resolved = FollowNoise<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<FollowNoise<u64>, ScheduleError> {
        let peak = scope.positive("peak", self.peak)?;
        let schedule = Box::new(self.schedule.resolve_in(&scope.inside("schedule")?)?);
        Ok(FollowNoise { peak, schedule })
    }
}

impl Rate for FollowNoise<u64> {
    fn rate(&self, step: u64) -> f64 {
        shrunk(self.peak, self.schedule.rate(step))
    }

    fn end_rate(&self, step: u64) -> f64 {
        shrunk(self.peak, self.schedule.end_rate(step))
    }

    fn peak(&self) -> f64 {
        self.peak
    }

    fn tail(&self) -> Tail {
        match self.schedule.tail() {
            Tail::Constant(noise) => Tail::settled(shrunk(self.peak, noise)),
            Tail::Zero | Tail::Geometric | Tail::Power(_) => Tail::Constant(self.peak),
            _ => Tail::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::combine::ScheduleExt;
    use crate::curve::{constant, linear, refused, resolved, step_decay};

    #[test]
    fn has_its_formula_on_the_betas_of_ddpm() {
        let betas = || linear(1e-4, 0.02).length(Span::steps(999));
        let schedule = resolved(betas().follow_noise(2e-4), 1_000);
        for step in 0..1_000 {
            let beta = 1e-4 + (0.02 - 1e-4) * step as f64 / 999.0;
            assert!((schedule.rate(step) - 2e-4 / (1.0 + beta)).abs() < 1e-18, "{step}");
        }
        assert_eq!(schedule.peak(), 2e-4);
    }

    /// One update on samples of one level is the same either way: η₀ · w · g is η · g.
    #[test]
    fn both_readings_take_the_same_step() {
        let betas = || linear(0.1, 3.0).length(Span::steps(9));
        let schedule = resolved(betas().follow_noise(0.5), 10);
        let levels: Vec<u64> = (0..10).rev().collect();
        let weights = noise_weights(&resolved(betas(), 10), &levels).unwrap();
        for (level, weight) in levels.into_iter().zip(weights) {
            let gradient = -1.75;
            let (as_a_rate, as_a_weight) =
                (schedule.rate(level) * gradient, 0.5 * (weight * gradient));
            assert!((as_a_rate - as_a_weight).abs() < 1e-15, "{level}");
        }
    }

    #[test]
    fn weights_refuse_a_level_without_a_beta() {
        let betas = resolved(constant(0.1), 1_000);
        let error = noise_weights(&betas, &[0, 999, 1_000]).unwrap_err().to_string();
        assert_eq!(
            error,
            "noise_weights.levels[2]: 1000 is not allowed; allowed: below the 1000 levels of the betas"
        );
    }

    #[test]
    fn holds_what_it_has_reached() {
        let betas = step_decay(1.0, Span::steps(4), 0.5);
        assert_eq!(resolved(betas.follow_noise(1.0), 4).rate(4), 0.5);
        let large = resolved(constant(f64::MAX).follow_noise(1.0), 4);
        assert!(large.rate(0) < 1e-300);
    }

    #[test]
    fn refuses_each_field() {
        for peak in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(refused(constant(1.0).follow_noise(peak)), "follow_noise.peak");
        }
        let beta = constant(f64::NAN).follow_noise(1.0);
        assert_eq!(refused(beta), "follow_noise.schedule.constant.rate");
    }
}
