//! Rates that follow a number known only to the training.

use crate::followed::Followed;
use crate::{Answer, AnyController, Controller, Describe, Event, Needs, OutOfRange, Run, Stop};
use serde::{Deserialize, Serialize};

/// Makes the rate follow a number that the loop announces: the description.
///
/// | follows | factor | the number is | announced as |
/// | --- | --- | --- | --- |
/// | [`batch_size`](Self::batch_size) B | (B / B₀)^p, p = 1 or ½ | above 0, rounded to whole samples, at least 1 | `batch size` |
/// | [`noise_level`](Self::noise_level) β | 1 / (1 + β) | at least 0 | `noise level` |
/// | [`curvature`](Self::curvature) c | c_min / c | above 0 | `curvature` |
/// | [`momentum`](Self::momentum) μ | ((1−μ)/(1+μ))² / ((1−μ₀)/(1+μ₀))² | 0 to below 1 | `momentum` |
/// | [`mechanical_momentum`](Self::mechanical_momentum) μ | ((1−μ)/(1−μ₀))² | 0 to below 1 | `momentum` |
/// | [`temperature`](Self::temperature) τ | τ / τ₀ | above 0 | `temperature` |
/// | [`gradient_noise_scale`](Self::gradient_noise_scale) 𝓑 | 1 / (1 + 𝓑/B) | at least 0 | `gradient noise scale` |
/// | [`difficulty`](Self::difficulty) d | e^(−ρ d) | 0 to 1 | `difficulty` |
///
/// The last number applies from the next update on; before the first one the factor is 1. A number that is
/// missing, infinite, NaN, out of range, or that gives an infinite factor is counted, and the previous one
/// stays in effect. If a schedule knows the number in advance, `anneal_schedule` has the first six:
/// [`FollowBatchSize`](anneal_schedule::FollowBatchSize) and so on, and
/// [`InverseCurvature`](anneal_schedule::InverseCurvature).
///
/// | field | default | range |
/// | --- | --- | --- |
/// | reference B₀; batch size B | required | at least 1 sample |
/// | reference μ₀ | required | 0 to below 1 |
/// | reference τ₀; c_min | required | finite, above 0 |
/// | ρ | required | above 0, at most 700 |
/// | `square_root` | p = 1 | only for the batch size |
/// | `batches_of` | announced | at least 1 sample; only for the batch size |
/// | `announced_as` | see above | not empty; not with `batches_of` |
/// | `limits` | none | 0 ≤ least ≤ most, finite |
///
/// Source: see each constructor.
///
/// ```
/// use anneal_control::{Announcement, Controllers, Describe, Due, Follow, Observation, RunLength};
///
/// let run = RunLength::updates(100).resolve()?;
/// let mut controllers = Controllers::default();
/// controllers.add("temperature", Follow::temperature(0.5).limits(0.1, 1.0).build(&run)?);
/// for (temperature, factor) in [(0.25, 0.5), (f64::NAN, 0.5), (0.01, 0.1)] {
///     controllers.announce(Announcement { name: "temperature", value: Some(temperature) })?;
///     let decision = controllers.update(Due::at(0, 0.1), &Observation::default())?;
///     assert_eq!(decision.answer.factor, Some(factor));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Follow {
    follows: Followed,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    square_root: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batches_of: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    announced_as: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limits: Option<(f64, f64)>,
}

impl Follow {
    fn new(follows: Followed) -> Self {
        Self { follows, square_root: false, batches_of: None, announced_as: None, limits: None }
    }

    /// Follows a batch size, for a rate tuned with batches of `reference` samples: the noise scale η/B stays
    /// constant. The gradient is the mean over the batch.
    ///
    /// Source: Goyal et al. 2017, "Accurate, large minibatch SGD"; Smith et al. 2018, "Don't decay the learning rate,
    /// increase the batch size".
    #[must_use]
    pub fn batch_size(reference: u64) -> Self {
        Self::new(Followed::BatchSize { reference })
    }

    /// Uses the square-root rule, for Adam and similar optimizers.
    ///
    /// Source: Malladi et al. 2022, "On the SDEs and scaling rules for adaptive gradient algorithms".
    #[must_use]
    pub fn square_root(self) -> Self {
        Self { square_root: true, ..self }
    }

    /// Counts the batch size instead of waiting for an announcement: the batches of the update, over all
    /// devices, times `samples`. It follows a growing accumulation.
    #[must_use]
    pub fn batches_of(self, samples: u64) -> Self {
        Self { batches_of: Some(samples), ..self }
    }

    /// Follows the noise level β of the update's batch in a diffusion process; the schedule gives the rate
    /// without noise.
    ///
    /// Source: the β of Ho et al. 2020, "Denoising diffusion probabilistic models".
    #[must_use]
    pub fn noise_level() -> Self {
        Self::new(Followed::NoiseLevel)
    }

    /// Follows the curvature c of the update's batch, for example that of its noise level in a table; the
    /// schedule gives the rate at the `smallest` one. The product of rate and curvature stays constant.
    ///
    /// Source: the stability limit 2/c of gradient descent on a quadratic of curvature c.
    #[must_use]
    pub fn curvature(smallest: f64) -> Self {
        Self::new(Followed::Curvature { smallest })
    }

    /// Follows a momentum, for a rate tuned at `reference`: the distance from critical damping stays
    /// constant. On a quadratic of curvature λ, Nesterov's method is critically damped at the rate
    /// ((1−μ)/(1+μ))²/λ.
    ///
    /// Source: O'Donoghue and Candès 2015, "Adaptive restart for accelerated gradient schemes".
    #[must_use]
    pub fn momentum(reference: f64) -> Self {
        Self::new(Followed::Momentum { reference })
    }

    /// Follows a heavy-ball momentum, for a rate tuned at `reference`: the friction γ = (1−μ)/√η stays
    /// constant. It inverts the mechanical map μ = 1 − γ√η.
    ///
    /// Source: Qian 1999, "On the momentum term in gradient descent learning algorithms".
    #[must_use]
    pub fn mechanical_momentum(reference: f64) -> Self {
        Self::new(Followed::MechanicalMomentum { reference })
    }

    /// Follows the temperature τ of a contrastive loss, for a rate tuned at `reference`: η/τ stays constant.
    ///
    /// Source: the temperature of Chen et al. 2020, "A simple framework for contrastive learning of visual
    /// representations".
    #[must_use]
    pub fn temperature(reference: f64) -> Self {
        Self::new(Followed::Temperature { reference })
    }

    /// Follows the measured gradient noise scale 𝓑 = tr Σ / |G|² for batches of `batch_size` samples; the
    /// schedule gives the rate for a gradient without noise.
    ///
    /// Source: McCandlish et al. 2018, "An empirical model of large-batch training".
    #[must_use]
    pub fn gradient_noise_scale(batch_size: u64) -> Self {
        Self::new(Followed::GradientNoiseScale { batch_size })
    }

    /// Follows the difficulty d of a [curriculum](crate::Curriculum), from 0 (rate unchanged) to 1.
    #[must_use]
    pub fn difficulty(rho: f64) -> Self {
        Self::new(Followed::Difficulty { rho })
    }

    /// Sets the name under which the number is announced.
    #[must_use]
    pub fn announced_as(self, name: impl Into<String>) -> Self {
        Self { announced_as: Some(name.into()), ..self }
    }

    /// Bounds the factor.
    #[must_use]
    pub fn limits(self, least: f64, most: f64) -> Self {
        Self { limits: Some((least, most)), ..self }
    }

    /// The announcement that it handles.
    fn name(&self) -> Option<&str> {
        let usual = self.follows.name();
        let announced = self.batches_of.is_none();
        announced.then(|| self.announced_as.as_deref().unwrap_or(usual))
    }

    /// The factor for a number, if it is in range.
    fn factor(&self, number: f64) -> Option<f64> {
        let (least, most) = self.limits.unwrap_or((0.0, f64::MAX));
        let factor =
            self.follows.factor(number).map(|f| if self.square_root { f.sqrt() } else { f });
        factor.filter(|factor| factor.is_finite()).map(|factor| factor.clamp(least, most))
    }
}

impl Describe for Follow {
    fn build(&self, _: &Run) -> Result<AnyController, OutOfRange> {
        self.follows.check()?;
        let Self { square_root, batches_of, announced_as, .. } = self;
        let of_batches = matches!(self.follows, Followed::BatchSize { .. });
        let allowed = "only for the batch size";
        OutOfRange::require("square_root", square_root, of_batches || !square_root, allowed)?;
        let ok = batches_of.is_none_or(|samples| of_batches && samples >= 1);
        let allowed = "at least 1 sample, and only for the batch size";
        OutOfRange::require("batches_of", batches_of, ok, allowed)?;
        let ok = announced_as.as_ref().is_none_or(|name| !name.is_empty() && batches_of.is_none());
        let allowed = "not empty, and unset if batches are counted";
        OutOfRange::require("announced_as", announced_as, ok, allowed)?;
        if let Some((least, most)) = self.limits {
            let ok = 0.0 <= least && least <= most && most.is_finite();
            let allowed = "finite, at least 0, the smaller first";
            OutOfRange::require("limits", (least, most), ok, allowed)?;
        }
        Ok(Follower { rule: self.clone(), state: FollowState::default() }.into())
    }
}

/// The description and its state.
#[derive(Clone, Debug)]
struct Follower {
    rule: Follow,
    state: FollowState,
}

/// The state that a checkpoint saves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FollowState {
    /// The last valid number.
    number: Option<f64>,
    /// Count of numbers that were missing, infinite or NaN.
    not_finite: u64,
    /// Count of numbers that were out of range.
    out_of_range: u64,
}

impl Follower {
    fn take(&mut self, number: Option<f64>) {
        match number.filter(|number| number.is_finite()) {
            None => self.state.not_finite += 1,
            Some(number) if self.rule.factor(number).is_none() => self.state.out_of_range += 1,
            number => self.state.number = number,
        }
    }
}

impl Controller for Follower {
    type State = FollowState;

    /// The counted batches are those of the update itself.
    fn needs(&self) -> Needs {
        Needs { now: self.rule.batches_of.is_some(), ..Needs::default() }
    }

    fn announcements(&self) -> Vec<String> {
        self.rule.name().map(String::from).into_iter().collect()
    }

    fn role(&self) -> Option<&'static str> {
        Some(self.rule.follows.role())
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        match event {
            Event::Announced(said) if self.rule.name() == Some(said.name) => self.take(said.value),
            Event::Update(seen) => {
                if let Some(samples) = self.rule.batches_of {
                    let size = |batches: u64| batches as f64 * samples as f64;
                    self.take(seen.observation.batches.map(size));
                }
                let factor = self.state.number.and_then(|number| self.rule.factor(number));
                return Ok(factor.map_or(Answer::default(), Answer::factor));
            }
            _ => {}
        }
        Ok(Answer::default())
    }

    fn state(&self) -> FollowState {
        self.state
    }

    fn restore(&mut self, state: FollowState) -> Result<(), OutOfRange> {
        let ok = state.number.is_none_or(|number| self.rule.factor(number).is_some());
        OutOfRange::require("number", state.number, ok, "in the range of the followed number")?;
        self.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Driver;
    use crate::{Announcement, Controllers, Due, Observation, RunLength};

    fn next(driver: &mut Driver) -> f64 {
        driver.update(&Observation::default())
    }

    fn batches(driver: &mut Driver, batches: Option<u64>) -> f64 {
        driver.update(&Observation { batches, ..Observation::default() })
    }

    #[test]
    fn the_last_number_in_range_holds() {
        let mut driver = Driver::new(Follow::temperature(0.5));
        assert_eq!([next(&mut driver), next(&mut driver)], [1.0, 1.0]);
        driver.announce("temperature", Some(0.25));
        assert_eq!([next(&mut driver), next(&mut driver)], [0.5, 0.5]);
        // 1e308 / 0.5 is infinite.
        let refused =
            [Some(f64::NAN), Some(f64::INFINITY), None, Some(0.0), Some(-1.0), Some(1e308)];
        for number in refused {
            driver.announce("temperature", number);
            assert_eq!(next(&mut driver), 0.5);
        }
        assert_eq!(
            driver.state(),
            serde_json::json!({ "number": 0.25, "not_finite": 3, "out_of_range": 3 })
        );
        driver.announce("temperature", Some(1.0));
        assert_eq!(next(&mut driver), 2.0);
    }

    #[test]
    fn batches_are_counted() {
        let mut driver = Driver::new(Follow::batch_size(256).batches_of(64));
        let factors = [Some(4), Some(1), None, Some(0), Some(8)].map(|n| batches(&mut driver, n));
        assert_eq!(factors, [1.0, 0.25, 0.25, 0.25, 2.0]);
        let state = driver.state();
        assert_eq!((&state["not_finite"], &state["out_of_range"]), (&1.into(), &1.into()));
        let mut driver = Driver::new(Follow::batch_size(256).square_root().batches_of(64));
        assert_eq!([Some(4), Some(1), Some(16)].map(|n| batches(&mut driver, n)), [1.0, 0.5, 2.0]);
    }

    #[test]
    fn it_hears_what_it_follows_and_counts_the_update_itself() {
        let run = RunLength::updates(100).resolve().unwrap();
        let mut two = Controllers::default();
        two.add("temperature", Follow::temperature(1.0).build(&run).unwrap());
        two.add("noise", Follow::noise_level().build(&run).unwrap());
        assert!(!two.needs().now);
        two.announce(Announcement { name: "noise level", value: Some(3.0) }).unwrap();
        let decision = two.update(Due::at(0, 1.0), &Observation::default()).unwrap();
        assert_eq!(decision.answer.factor, Some(0.25));
        two.add("size", Follow::batch_size(64).batches_of(8).build(&run).unwrap());
        assert!(two.needs().now && !two.needs().measures());
    }

    #[test]
    fn the_limits_hold_and_the_name_is_the_users() {
        let mut driver = Driver::new(Follow::noise_level().announced_as("beta").limits(0.2, 0.5));
        assert_eq!(next(&mut driver), 1.0);
        for (beta, factor) in [(0.0, 0.5), (3.0, 0.25), (9.0, 0.2)] {
            driver.announce("beta", Some(beta));
            assert_eq!(next(&mut driver), factor);
        }
    }

    #[test]
    fn it_resumes_exactly() {
        let rule = || Follow::momentum(0.9);
        let mut whole = Driver::new(rule());
        whole.announce("momentum", Some(f64::NAN));
        whole.announce("momentum", Some(0.95));
        let mut resumed = Driver::new(rule()).resume(&whole);
        assert_eq!(next(&mut resumed), next(&mut whole));
        assert_eq!(resumed.state(), whole.state());
        let run = RunLength::updates(100).resolve().unwrap();
        let saved = serde_json::json!({ "number": 1.5 });
        let error = rule().build(&run).unwrap().controller.restore(saved).unwrap_err();
        assert!(error.starts_with("number: Some(1.5)"), "{error}");
    }

    #[test]
    fn it_refuses_each_field_and_is_read_back() {
        let run = RunLength::updates(100).resolve().unwrap();
        let field = |rule: Follow| rule.build(&run).unwrap_err().field;
        assert_eq!(field(Follow::batch_size(0)), "reference");
        assert_eq!(field(Follow::gradient_noise_scale(0)), "batch_size");
        for momentum in [-0.1, 1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(field(Follow::momentum(momentum)), "reference");
            assert_eq!(field(Follow::mechanical_momentum(momentum)), "reference");
        }
        for number in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(field(Follow::temperature(number)), "reference");
            assert_eq!(field(Follow::curvature(number)), "smallest");
            assert_eq!(field(Follow::difficulty(number)), "rho");
        }
        assert_eq!(field(Follow::noise_level().square_root()), "square_root");
        assert_eq!(field(Follow::noise_level().batches_of(64)), "batches_of");
        assert_eq!(field(Follow::batch_size(64).batches_of(0)), "batches_of");
        assert_eq!(field(Follow::noise_level().announced_as("")), "announced_as");
        let both = Follow::batch_size(64).batches_of(64).announced_as("size");
        assert_eq!(field(both), "announced_as");
        for (least, most) in [(-1.0, 1.0), (2.0, 1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
            assert_eq!(field(Follow::noise_level().limits(least, most)), "limits");
        }
        let batch_size = || Follow::batch_size(64).square_root();
        for rule in [
            batch_size().batches_of(32).limits(0.1, 2.0),
            batch_size().announced_as("size"),
            Follow::noise_level(),
            Follow::gradient_noise_scale(64),
        ] {
            let json = serde_json::to_string(&rule).unwrap();
            assert_eq!(serde_json::from_str::<Follow>(&json).unwrap(), rule);
        }
    }
}
