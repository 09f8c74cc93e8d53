//! A rate that follows the batch size.

use crate::curve::{Describe, Rate, tail::Tail};
use crate::{Length, OutOfRange, ScheduleConfig, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// η(t) = g · B(t), where the inner schedule gives the batch sizes B: the noise scale g = η/B of the updates
/// stays constant.
///
/// B(t) counts samples, so it is rounded half up to a whole number and is at least 1; round it the same way
/// where batches are made. The gradient is assumed to be the mean over the batch. If it is a sum, as Burn's
/// is over accumulated batches and over devices, B is the size of the averaged part.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `noise_scale` | g, learning rate per sample in a batch | finite, above 0 |
///
/// Source: Smith et al. 2018, "Don't decay the learning rate, increase the batch size".
///
/// ```
/// use anneal_schedule::prelude::*;
/// let batch_sizes = constant(256.0).then(Span::percent(50), constant(1_024.0));
/// let schedule = batch_sizes.follow_batch_size(0.1 / 256.0).resolve(RunLength::updates(100))?;
/// assert_eq!([0, 49, 50].map(|step| schedule.rate(step)), [0.1, 0.1, 0.4]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
pub struct FollowBatchSize<L: Length = Span> {
    /// g: the rate for a batch of one sample.
    pub noise_scale: f64,
    /// The batch sizes.
    pub schedule: Box<ScheduleConfig<L>>,
}

/// The rate for batches of `to` samples under the linear scaling rule: rate · to / from.
///
/// `rate` was tuned for plain SGD with batches of `from` samples. On n devices with a batch each, multiply
/// `to` by n only if gradients are averaged: their sum, which Burn passes to the optimizer, is already n
/// times as long.
///
/// Source: Goyal et al. 2017, "Accurate, large minibatch SGD".
///
/// # Errors
/// [`ScheduleError`] if the rate is not finite and above 0, a batch is empty, or the result is not finite.
///
/// ```
/// use anneal_schedule::linear_scaling;
/// assert_eq!(linear_scaling(0.1, 256, 8 * 256)?, 0.8);
/// # Ok::<(), anneal_schedule::ScheduleError>(())
/// ```
pub fn linear_scaling(rate: f64, from: u64, to: u64) -> Result<f64, ScheduleError> {
    scaled("linear_scaling", rate, from, to, |ratio| ratio)
}

/// The rate for batches of `to` samples under the square-root scaling rule: rate · √(to / from).
///
/// `rate` was tuned with batches of `from` samples. The rule keeps the variance of an update if the step
/// length does not grow with the gradient, as in Adam; on n devices, `to` is n times the batch size of one.
///
/// Source: Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks";
/// Malladi et al. 2022, "On the SDEs and scaling rules for adaptive gradient algorithms".
///
/// # Errors
/// As [`linear_scaling`].
///
/// ```
/// use anneal_schedule::square_root_scaling;
/// assert_eq!(square_root_scaling(1e-3, 256, 4 * 256)?, 2e-3);
/// # Ok::<(), anneal_schedule::ScheduleError>(())
/// ```
pub fn square_root_scaling(rate: f64, from: u64, to: u64) -> Result<f64, ScheduleError> {
    scaled("square_root_scaling", rate, from, to, f64::sqrt)
}

fn scaled(
    rule: &str,
    rate: f64,
    from: u64,
    to: u64,
    scale: fn(f64) -> f64,
) -> Result<f64, ScheduleError> {
    let wrong = |field: &str, value: String, allowed: &str| {
        Err(OutOfRange::new(format!("{rule}.{field}"), value, allowed).into())
    };
    for (field, batch_size) in [("from", from), ("to", to)] {
        if batch_size == 0 {
            return wrong(field, "0".into(), "at least 1 sample");
        }
    }
    let scaled = rate * scale(to as f64 / from as f64);
    if rate > 0.0 && scaled.is_finite() {
        Ok(scaled)
    } else {
        wrong("rate", format!("{rate:?}"), "above 0, and finite once scaled")
    }
}

/// The samples of a batch: a whole number, at least 1.
fn whole(batch_size: f64) -> f64 {
    batch_size.round().max(1.0)
}

impl Describe for FollowBatchSize {
    type Resolved = FollowBatchSize<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<FollowBatchSize<u64>, ScheduleError> {
        let noise_scale = scope.positive("noise_scale", self.noise_scale)?;
        let schedule = Box::new(self.schedule.resolve_in(&scope.inside("schedule")?)?);
        let resolved = FollowBatchSize { noise_scale, schedule };
        let finite = resolved.peak().is_finite();
        scope.require("noise_scale", noise_scale, finite, "a scale that keeps the rates finite")?;
        Ok(resolved)
    }
}

impl Rate for FollowBatchSize<u64> {
    fn rate(&self, step: u64) -> f64 {
        self.noise_scale * whole(self.schedule.rate(step))
    }

    fn end_rate(&self, step: u64) -> f64 {
        self.noise_scale * whole(self.schedule.end_rate(step))
    }

    fn peak(&self) -> f64 {
        self.noise_scale * whole(self.schedule.peak())
    }

    fn tail(&self) -> Tail {
        // A batch has at least one item.
        match self.schedule.tail() {
            Tail::Constant(size) => Tail::Constant(self.noise_scale * whole(size)),
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
    fn the_noise_scale_stays_for_whole_batches() {
        let sizes = || linear(0.2, 40.0);
        let (batches, rates) =
            (resolved(sizes(), 100), resolved(sizes().follow_batch_size(1e-3), 100));
        for step in 0..=100 {
            let batch = (batches.rate(step) + 0.5).floor().max(1.0);
            assert!((rates.rate(step) / batch - 1e-3).abs() < 1e-18, "{step}");
        }
        assert_eq!(rates.rate(0), 1e-3, "a batch has a sample");
    }

    #[test]
    fn holds_what_it_has_reached() {
        let sizes = step_decay(8.0, Span::steps(4), 0.5);
        assert_eq!(resolved(sizes.follow_batch_size(0.5), 4).rate(4), 4.0);
    }

    /// The mean of B gradients with unit variance has variance 1/B. Linear scaling keeps the variance of an
    /// SGD update per sample seen, η²/B · (1/B); square-root scaling keeps that of one update, η²/B.
    #[test]
    fn each_rule_keeps_its_variance() {
        for (from, to) in [(256, 2_048), (512, 64), (3, 7)] {
            let variance = |rate: f64, batch: u64| rate * rate / batch as f64;
            let linear = linear_scaling(0.1, from, to).unwrap();
            let kept = variance(linear, to) / to as f64;
            assert!((kept / (variance(0.1, from) / from as f64) - 1.0).abs() < 1e-14);
            let root = square_root_scaling(0.1, from, to).unwrap();
            assert!((variance(root, to) / variance(0.1, from) - 1.0).abs() < 1e-14);
        }
    }

    #[test]
    fn scaling_refuses_each_argument() {
        for (rate, from, to, found) in [
            (0.1, 0, 1, "linear_scaling.from: 0"),
            (0.1, 1, 0, "linear_scaling.to: 0"),
            (0.0, 1, 1, "linear_scaling.rate: 0.0"),
            (f64::NAN, 1, 1, "linear_scaling.rate: NaN"),
            (f64::MAX, 1, 2, "linear_scaling.rate: 1.79"),
        ] {
            let error = linear_scaling(rate, from, to).unwrap_err().to_string();
            assert!(error.starts_with(found), "{error}");
        }
        let error = square_root_scaling(-1.0, 1, 1).unwrap_err().to_string();
        assert!(error.starts_with("square_root_scaling.rate: -1.0"), "{error}");
    }

    #[test]
    fn refuses_each_field() {
        for noise_scale in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let config = constant(1.0).follow_batch_size(noise_scale);
            assert_eq!(refused(config), "follow_batch_size.noise_scale");
        }
        let large = constant(1e300).follow_batch_size(1e300);
        assert_eq!(refused(large), "follow_batch_size.noise_scale");
        let none = constant(0.0).follow_batch_size(1.0);
        assert_eq!(refused(none), "follow_batch_size.schedule.constant.rate");
    }
}
