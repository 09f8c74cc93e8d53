//! A rate for private training, estimated from the noisy gradient.

use super::PrivateStep;
use crate::describe::updates;
use crate::pid::check_limits;
use crate::{
    Answer, AnyController, Controller, Describe, Event, Needs, OutOfRange, Run, Span, Stop,
};
use serde::{Deserialize, Serialize};

/// Sets the rate of DP-SGD to the best one for each update, as estimated from the noisy gradient: the
/// description.
///
/// ```text
/// factor = η* / η        η* = max(0, 1 − d σ²C²/(B² m)) / L
/// ```
///
/// with η the rate of the schedule, within the limits, and m = ‖g̃‖², or its moving mean with the given
/// `half_life`. [`PrivateStep`] explains the formula and its accuracy: without a mean, the rates are as noisy
/// as the gradient.
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `step` | required | see [`PrivateStep`] |
/// | `half_life` | none: each update by itself | a span of at least 1 update |
/// | `limits`: least, most | 1/100, 100 | finite, 0 < least < most |
///
/// **It uses only the norm of the gradient that the training passes on.** So it is private if that gradient
/// is: clipped per item, and with the noise added before the optimizer's update. If noise is added later, for
/// example by an optimizer, the norm is the one without noise, and the rate leaks it. The gradient is the sum
/// over the drawn items divided by the *expected* batch size; dividing by the drawn number would reveal that
/// number. So it requires a [private gradient](Needs::private_gradient), and training without one refuses it.
/// It needs the whole model, and cannot be limited to one group.
///
/// Before the first norm the rate is the schedule's. A norm that is infinite, NaN or missing is counted and
/// ignored. The norm of an update that an earlier controller skips is ignored too. A rate of 0 stays 0.
///
/// ```
/// use anneal_control::{Controllers, Describe, Due, Observation, PrivateRate, PrivateStep, RunLength};
///
/// let step = PrivateStep {
///     noise_multiplier: 1.0,
///     clip: 1.0,
///     batch: 100.0,
///     parameters: 10_000,
///     smoothness: 4.0,
/// };
/// let mut controllers = Controllers::default();
/// let run = RunLength::updates(1_000).resolve()?;
/// controllers.add("private rate", PrivateRate::new(step).build(&run)?);
/// let rates = [2.0, 1.0].map(|norm| {
///     let seen = Observation { gradient_norm: Some(norm), ..Observation::default() };
///     controllers.update(Due::at(0, 0.5), &seen).unwrap().answer.rate(0.5)
/// });
/// // The noise alone has a norm of 1: the second update shows nothing else, and gets the smallest rate.
/// assert_eq!(rates, [3.0 / 16.0, 0.5 / 100.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivateRate {
    step: PrivateStep,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    half_life: Option<Span>,
    #[serde(default = "default_limits")]
    limits: (f64, f64),
}

fn default_limits() -> (f64, f64) {
    (0.01, 100.0)
}

impl PrivateRate {
    /// For updates with these parameters.
    #[must_use]
    pub fn new(step: PrivateStep) -> Self {
        Self { step, half_life: None, limits: default_limits() }
    }

    /// Uses a moving mean of ‖g̃‖² with this half-life.
    #[must_use]
    pub fn half_life(self, updates: impl Into<Span>) -> Self {
        Self { half_life: Some(updates.into()), ..self }
    }

    /// Sets the smallest and the largest factor.
    #[must_use]
    pub fn limits(self, least: f64, most: f64) -> Self {
        Self { limits: (least, most), ..self }
    }
}

impl Describe for PrivateRate {
    fn build(&self, run: &Run) -> Result<AnyController, OutOfRange> {
        self.step.check()?;
        check_limits(self.limits)?;
        let half_life = self.half_life.map(|span| updates("half_life", span, run)).transpose()?;
        OutOfRange::require("half_life", half_life, half_life != Some(0), "at least 1 update")?;
        let memory = half_life.map_or(0.0, |updates| (-1.0 / updates as f64).exp2());
        Ok(Follower { rule: *self, memory, state: FollowerState::default() }.into())
    }
}

#[derive(Clone, Debug)]
struct Follower {
    rule: PrivateRate,
    /// The decay factor of all weights of the mean per update.
    memory: f64,
    state: FollowerState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FollowerState {
    /// The moving mean of ‖g̃‖².
    mean: f64,
    /// The total weight of its updates; 0 before the first.
    weight: f64,
    not_finite: u64,
}

impl Follower {
    fn hear_norm(&mut self, norm: Option<f64>) {
        match norm.map(|norm| norm * norm).filter(|square| square.is_finite()) {
            Some(square) => {
                self.state.weight = self.memory * self.state.weight + 1.0;
                self.state.mean += (square - self.state.mean) / self.state.weight;
            }
            None => self.state.not_finite = self.state.not_finite.saturating_add(1),
        }
    }
}

impl Controller for Follower {
    type State = FollowerState;

    fn needs(&self) -> Needs {
        Needs { gradient_norm: true, now: true, private_gradient: true, ..Needs::default() }
    }

    fn role(&self) -> Option<&'static str> {
        Some("a rate for private training")
    }

    fn is_of_update(&self) -> bool {
        true
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        let Event::Update(seen) = event else { return Ok(Answer::default()) };
        if seen.answered.skip.is_none() {
            self.hear_norm(seen.observation.gradient_norm);
        }
        let (least, most) = self.rule.limits;
        let best = self.rule.step.best_rate_of_square(self.state.mean);
        let factor = (best / seen.rate).clamp(least, most);
        let known = self.state.weight > 0.0 && seen.rate > 0.0 && seen.rate.is_finite();
        Ok(Answer { factor: known.then_some(factor), ..Answer::default() })
    }

    fn state(&self) -> FollowerState {
        self.state
    }

    fn restore(&mut self, state: FollowerState) -> Result<(), OutOfRange> {
        let at_least_0 =
            |field, value: f64| OutOfRange::require(field, value, value >= 0.0, "at least 0");
        at_least_0("mean", state.mean)?;
        at_least_0("weight", state.weight)?;
        self.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Driver;
    use crate::{Controllers, Due, FiniteGuard, Observation, RunLength};

    /// The noise alone has a norm of √400 · 0.05 = 1.
    const STEP: PrivateStep = PrivateStep {
        noise_multiplier: 1.0,
        clip: 0.5,
        batch: 10.0,
        parameters: 400,
        smoothness: 2.0,
    };

    fn of_norm(norm: f64) -> Observation {
        Observation { gradient_norm: Some(norm), ..Observation::default() }
    }

    fn close(found: f64, expected: f64, within: f64) {
        assert!((found / expected - 1.0).abs() < within, "{found}, not {expected}");
    }

    #[test]
    fn the_rate_is_the_best_one_whatever_the_schedule_says() {
        let mut driver = Driver::new(PrivateRate::new(STEP));
        for (schedule, norm) in [(1.0, 1.1), (0.2, 3.0), (0.7, 1.5)] {
            driver.rate = schedule;
            let gradient = norm * norm - 1.0;
            close(driver.update(&of_norm(norm)), gradient / (2.0 * (gradient + 1.0)), 1e-12);
        }
        let mut driver = Driver::new(PrivateRate::new(STEP).limits(0.2, 0.3));
        assert_eq!([0.5, 9.0].map(|norm| driver.update(&of_norm(norm))), [0.2, 0.3]);
    }

    /// Normal numbers, by Box and Muller.
    fn normal(seed: &mut u64) -> f64 {
        let mut uniform = || {
            *seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((*seed >> 11) as f64 + 0.5) / (1u64 << 53) as f64
        };
        let radius = (-2.0 * uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * uniform()).cos()
    }

    #[test]
    fn a_mean_finds_the_best_rate_under_noise() {
        let mut seed = 7;
        let mut driver = Driver::new(PrivateRate::new(STEP).half_life(300));
        let noisy_norm = |seed: &mut u64| {
            // A gradient of norm 0.3, in 400 entries.
            let entry = 0.3 / 20.0;
            let square = |_| (entry + 0.05 * normal(seed)).powi(2);
            (0..400).map(square).sum::<f64>().sqrt()
        };
        let mut rate = 0.0;
        for _ in 0..3_000 {
            rate = driver.update(&of_norm(noisy_norm(&mut seed)));
        }
        // The mean has a deviation of 0.077 · √(ln 2 / 600) = 0.0026 against 0.09; the limit is four of them.
        close(rate, 0.09 / (2.0 * 1.09), 0.12);
    }

    #[test]
    fn updates_count_half_after_a_half_life() {
        let mut driver = Driver::new(PrivateRate::new(STEP).half_life(1));
        let norms = [2.0f64, 3.0, 4.0];
        let rate = norms.map(|norm| driver.update(&of_norm(norm)))[2];
        let mean = (4.0 + 2.0 * 9.0 + 4.0 * 16.0) / 7.0;
        close(rate, (1.0 - 1.0 / mean) / 2.0, 1e-12);
    }

    #[test]
    fn what_is_no_norm_is_counted_and_changes_nothing() {
        let mut driver = Driver::new(PrivateRate::new(STEP));
        assert_eq!(driver.update(&Observation::default()), 1.0);
        let rate = driver.update(&of_norm(2.0));
        for norm in [f64::NAN, f64::INFINITY, 1e200] {
            assert_eq!(driver.update(&of_norm(norm)), rate);
        }
        assert_eq!(driver.state()["not_finite"], 4);
        driver.rate = 0.0;
        assert_eq!(driver.decide(&of_norm(2.0)).answer.factor, None);
        driver.rate = f64::from_bits(1);
        assert_eq!(driver.decide(&of_norm(2.0)).answer.factor, Some(100.0));
    }

    #[test]
    fn a_skipped_update_is_not_heard() {
        let run = RunLength::updates(10).resolve().unwrap();
        let mut controllers = Controllers::default();
        controllers.add("guard", FiniteGuard::skip(3).unwrap());
        controllers.add("rate", PrivateRate::new(STEP).build(&run).unwrap());
        let mut factor = |loss, norm| {
            let seen = Observation { loss: Some(loss), ..of_norm(norm) };
            controllers.update(Due::at(0, 1.0), &seen).unwrap().answer.factor
        };
        let heard = factor(1.0, 2.0);
        assert_eq!(factor(f64::NAN, 3.0), heard);
        assert_ne!(factor(1.0, 3.0), heard);
    }

    #[test]
    fn it_resumes_exactly() {
        let rule = PrivateRate::new(STEP).half_life(5);
        let norm = |t: u32| of_norm(1.0 + f64::from(t * t % 7) / 5.0);
        let mut whole = Driver::new(rule);
        (0..9).for_each(|t| {
            whole.update(&norm(t));
        });
        let mut resumed = Driver::new(rule).resume(&whole);
        let rest =
            |driver: &mut Driver| (9..30).map(|t| driver.update(&norm(t))).collect::<Vec<_>>();
        assert_eq!(rest(&mut resumed), rest(&mut whole));
    }

    #[test]
    fn it_refuses_each_field_and_is_read_back() {
        let run = RunLength::updates(100).resolve().unwrap();
        let field = |rule: PrivateRate| rule.build(&run).unwrap_err().field;
        assert_eq!(field(PrivateRate::new(PrivateStep { batch: 0.0, ..STEP })), "batch");
        assert_eq!(field(PrivateRate::new(STEP).limits(2.0, 1.0)), "limits");
        for half_life in [Span::steps(0), Span::epochs(1), Span::Rest] {
            assert_eq!(field(PrivateRate::new(STEP).half_life(half_life)), "half_life");
        }
        let rule = PrivateRate::new(STEP).half_life(Span::percent(2.0)).limits(0.1, 1.0);
        let json = serde_json::to_string(&rule).unwrap();
        assert!(json.starts_with(r#"{"step":{"noise_multiplier":1.0,"#), "{json}");
        assert_eq!(serde_json::from_str::<PrivateRate>(&json).unwrap(), rule);
    }
}
