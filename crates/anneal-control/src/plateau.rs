//! A rate that falls when a signal stops improving.

use crate::best::{ROLE, beginning, check_changes};
use crate::signal::Heard;
use crate::{
    Answer, AnyController, Controller, Describe, Event, Mode, OutOfRange, Run, Signal, Stop,
    Threshold,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Multiplies the rate by a factor when a signal stops improving: torch's `ReduceLROnPlateau`, on any
/// schedule.
///
/// ```text
/// better:  best ← value, bad ← 0        not better:  bad ← bad + 1
/// cooling down:  bad ← 0
/// bad > patience:  f ← f · factor, bad ← 0, cool down for `cooldown` values
/// η_t = max(f · schedule(t), min(min_rate, schedule(t)))
/// ```
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `signal`, `mode` | required | not the highest loss, not the lowest accuracy |
/// | `factor` | 0.1 | above 0, below 1 |
/// | `patience` | 10 values | |
/// | `threshold` | `Relative(1e-4)` | see [`Threshold`] |
/// | `cooldown` | 0 values | |
/// | `min_rate` | 0 | finite, at least 0 |
/// | `smallest_change` | 1e-8 | finite, at least 0 |
/// | `mean_over` | 1 value | at least 1 |
///
/// A reduction that changes the rate by at most `smallest_change`, torch's `eps`, is not made: f stops
/// falling once the rate has reached `min_rate`. Under a constant schedule the rates are torch's; under
/// another one the factor multiplies it, and neither a warm-up nor a decay is raised to `min_rate`.
///
/// An infinite or NaN value is not better, and is counted.
///
/// Source: `torch.optim.lr_scheduler.ReduceLROnPlateau`, as of 2.15.
///
/// ```
/// use anneal_control::{Controllers, Describe, Due, EpochMetrics, MetricOf, Observation, Plateau, RunLength};
///
/// let run = RunLength::updates(1_000).resolve()?;
/// let plateau = Plateau::min(MetricOf::valid("Loss")).factor(0.5).patience(1);
/// let mut controllers = Controllers::default();
/// controllers.add("plateau", plateau.build(&run)?);
/// let mut rates = vec![];
/// for (epoch, loss) in [0.9, 0.7, 0.8, 0.7, 0.6].into_iter().enumerate() {
///     let due = Due::at(epoch as u64, 0.1);
///     rates.push(controllers.update(due, &Observation::default())?.answer.rate(0.1));
///     let metrics = EpochMetrics::from_iter([(MetricOf::valid("Loss"), loss)]);
///     controllers.epoch(epoch as u64 + 1, &metrics)?;
/// }
/// assert_eq!(rates, [0.1, 0.1, 0.1, 0.1, 0.05]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Plateau {
    signal: Signal,
    mode: Mode,
    #[serde(default = "tenth")]
    factor: f64,
    #[serde(default = "ten")]
    patience: u64,
    #[serde(default = "ten_thousandth")]
    threshold: Threshold,
    #[serde(default)]
    cooldown: u64,
    #[serde(default)]
    min_rate: f64,
    #[serde(default = "hundred_millionth")]
    smallest_change: f64,
    #[serde(default = "one")]
    mean_over: u64,
}

fn tenth() -> f64 {
    0.1
}

fn ten() -> u64 {
    10
}

fn ten_thousandth() -> Threshold {
    Threshold::Relative(1e-4)
}

fn hundred_millionth() -> f64 {
    1e-8
}

fn one() -> u64 {
    1
}

impl Plateau {
    /// For a signal to minimize, for example `MetricOf::valid("Loss")`.
    pub fn min(signal: impl Into<Signal>) -> Self {
        Self::new(signal.into(), Mode::Min)
    }

    /// For a signal to maximize, for example `MetricOf::valid("Accuracy")`.
    pub fn max(signal: impl Into<Signal>) -> Self {
        Self::new(signal.into(), Mode::Max)
    }

    fn new(signal: Signal, mode: Mode) -> Self {
        Self {
            signal,
            mode,
            factor: tenth(),
            patience: ten(),
            threshold: ten_thousandth(),
            cooldown: 0,
            min_rate: 0.0,
            smallest_change: hundred_millionth(),
            mean_over: one(),
        }
    }

    /// Sets the signal.
    #[must_use]
    pub fn signal(self, signal: impl Into<Signal>) -> Self {
        Self { signal: signal.into(), ..self }
    }

    /// Sets the factor of each reduction.
    #[must_use]
    pub fn factor(self, factor: f64) -> Self {
        Self { factor, ..self }
    }

    /// Sets how many consecutive values may be no better; the next one reduces the rate.
    #[must_use]
    pub fn patience(self, values: u64) -> Self {
        Self { patience: values, ..self }
    }

    /// Sets how much better a value must be.
    #[must_use]
    pub fn threshold(self, threshold: Threshold) -> Self {
        Self { threshold, ..self }
    }

    /// Sets the number of values after a reduction that do not count as bad.
    #[must_use]
    pub fn cooldown(self, values: u64) -> Self {
        Self { cooldown: values, ..self }
    }

    /// Sets the rate below which it does not reduce.
    #[must_use]
    pub fn min_rate(self, rate: f64) -> Self {
        Self { min_rate: rate, ..self }
    }

    /// Sets the largest reduction that is not made.
    #[must_use]
    pub fn smallest_change(self, change: f64) -> Self {
        Self { smallest_change: change, ..self }
    }

    /// Uses the mean of every `values` values, for a signal that comes with each update.
    #[must_use]
    pub fn mean_over(self, values: u64) -> Self {
        Self { mean_over: values, ..self }
    }
}

impl Describe for Plateau {
    fn build(&self, _: &Run) -> Result<AnyController, OutOfRange> {
        let Self { factor, min_rate, smallest_change, mean_over, .. } = *self;
        self.mode.check(&self.signal)?;
        self.threshold.check(self.mode)?;
        check_changes(factor, min_rate, smallest_change)?;
        OutOfRange::require("mean_over", mean_over, mean_over >= 1, "at least 1 value")?;
        Ok(Reduction { rule: self.clone(), state: ReductionState::default() }.into())
    }
}

/// The chain of calls that constructs it.
impl fmt::Display for Plateau {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let default = Self::new(self.signal.clone(), self.mode);
        write!(f, "Plateau::{})", beginning(self.mode, &self.signal))?;
        write!(f, ".factor({})", self.factor)?;
        write!(f, ".patience({})", self.patience)?;
        if self.threshold != default.threshold {
            write!(f, ".threshold(Threshold::{:?})", self.threshold)?;
        }
        if self.cooldown != default.cooldown {
            write!(f, ".cooldown({})", self.cooldown)?;
        }
        if self.min_rate != default.min_rate {
            write!(f, ".min_rate({:?})", self.min_rate)?;
        }
        if self.smallest_change != default.smallest_change {
            write!(f, ".smallest_change({:?})", self.smallest_change)?;
        }
        if self.mean_over != default.mean_over {
            write!(f, ".mean_over({})", self.mean_over)?;
        }
        Ok(())
    }
}

/// The changing factor of a [`Plateau`].
#[derive(Clone, Debug)]
struct Reduction {
    rule: Plateau,
    state: ReductionState,
}

/// The state that a checkpoint saves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ReductionState {
    /// The product of the reductions.
    factor: f64,
    /// The best value.
    best: Option<f64>,
    /// Consecutive values that were no better.
    bad: u64,
    /// Remaining values of the cooldown.
    cooldown: u64,
    /// The rate of the schedule at the last update.
    rate: Option<f64>,
    heard: Heard,
}

impl Default for ReductionState {
    fn default() -> Self {
        let (best, bad, cooldown, rate, heard) = (None, 0, 0, None, Heard::default());
        Self { factor: 1.0, best, bad, cooldown, rate, heard }
    }
}

impl Reduction {
    fn judge(&mut self, value: f64) {
        let Self { rule, state } = self;
        if rule.mode.is_better(rule.threshold, value, state.best) {
            (state.best, state.bad) = (Some(value), 0);
        } else {
            state.bad += 1;
        }
        if state.cooldown > 0 {
            state.cooldown -= 1;
            state.bad = 0;
        }
        if state.bad > rule.patience {
            (state.cooldown, state.bad) = (rule.cooldown, 0);
            self.reduce();
        }
    }

    fn reduce(&mut self) {
        // Before the first update there is no rate to reduce.
        let Some(rate) = self.state.rate else { return };
        let reduced = (self.state.factor * self.rule.factor).max(f64::MIN_POSITIVE);
        let change = self.answer(self.state.factor).rate(rate) - self.answer(reduced).rate(rate);
        if change > self.rule.smallest_change {
            self.state.factor = reduced;
        }
    }

    fn answer(&self, factor: f64) -> Answer {
        let min_rate = self.rule.min_rate;
        Answer { floor: (min_rate > 0.0).then_some(min_rate), ..Answer::factor(factor) }
    }
}

impl Controller for Reduction {
    type State = ReductionState;

    fn signal(&self) -> Option<&Signal> {
        Some(&self.rule.signal)
    }

    fn role(&self) -> Option<&'static str> {
        Some(ROLE)
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        // An update is answered to from the next one on.
        let answer = match event {
            Event::Update(seen) => {
                self.state.rate = Some(seen.rate);
                self.answer(self.state.factor)
            }
            _ => Answer::default(),
        };
        let Plateau { signal, mean_over, .. } = &self.rule;
        if let Some(value) = self.state.heard.hear(signal, *mean_over, event) {
            self.judge(value);
        }
        Ok(answer)
    }

    fn state(&self) -> ReductionState {
        self.state.clone()
    }

    fn restore(&mut self, state: ReductionState) -> Result<(), OutOfRange> {
        let (factor, rate) = (state.factor, state.rate);
        OutOfRange::require("factor", factor, factor > 0.0 && factor <= 1.0, "above 0, at most 1")?;
        OutOfRange::require("rate", rate, rate.is_none_or(|rate| rate >= 0.0), "at least 0")?;
        self.state = ReductionState { cooldown: state.cooldown.min(self.rule.cooldown), ..state };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Driver;
    use crate::{Controllers, MetricOf, RunLength, SetupError};

    fn valid_loss() -> Plateau {
        Plateau::min(MetricOf::valid("Loss"))
    }

    /// The rate of an update after each of these epochs.
    fn rates(rule: impl Describe, losses: &[f64]) -> Vec<f64> {
        let mut driver = Driver::new(rule);
        driver.loss(1.0);
        let after = |loss: &f64| {
            driver.epoch(*loss);
            driver.loss(1.0)
        };
        losses.iter().map(after).collect()
    }

    /// By hand: patience 1 and a cooldown of 2, during which a better value counts and none is bad.
    #[test]
    fn it_waits_for_its_patience_and_its_cooldown() {
        let exactly = Threshold::Absolute(0.0);
        let rule = || valid_loss().factor(0.5).patience(1).cooldown(2).threshold(exactly);
        let losses = [5.0, 5.0, 6.0, 6.0, 4.0, 4.5, 4.5, 4.5];
        assert_eq!(rates(rule(), &losses), [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]);
        let worse = [5.0, 6.0, 6.0, 6.0, 6.0, 6.0, 6.0];
        assert_eq!(rates(rule(), &worse), [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25]);
    }

    #[test]
    fn the_floor_holds_and_the_factor_does_not_fall_on_behind_it() {
        let rule = valid_loss().factor(0.1).patience(0).min_rate(0.02);
        let mut driver = Driver::new(rule);
        driver.loss(1.0);
        for _ in 0..9 {
            driver.epoch(1.0);
            driver.loss(1.0);
        }
        assert_eq!(driver.loss(1.0), 0.02);
        assert_eq!(driver.state()["factor"], 0.1 * 0.1);
        driver.rate = 100.0;
        assert_eq!(driver.loss(1.0), 100.0 * (0.1 * 0.1));
        driver.rate = 0.01;
        assert_eq!(driver.loss(1.0), 0.01, "a floor does not raise the schedule");
    }

    #[test]
    fn a_change_that_is_too_small_is_not_made() {
        let rule = |change| valid_loss().factor(0.5).patience(0).smallest_change(change);
        assert_eq!(rates(rule(0.2), &[1.0; 4]), [1.0, 0.5, 0.25, 0.25]);
        assert_eq!(rates(rule(0.25), &[1.0; 4]), [1.0, 0.5, 0.5, 0.5]);
    }

    #[test]
    fn it_hears_means_of_updates_from_the_next_update_on() {
        let rule = Plateau::min(Signal::Loss).factor(0.5).patience(0).mean_over(2);
        let mut driver = Driver::new(rule);
        let losses = [4.0, 2.0, 1.0, 3.0, 8.0, 0.0, 9.0];
        assert_eq!(losses.map(|loss| driver.loss(loss)), [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5]);
    }

    #[test]
    fn it_hears_announcements() {
        let mut driver =
            Driver::new(Plateau::max(Signal::Announced("reward".into())).factor(0.5).patience(0));
        driver.loss(1.0);
        for (reward, rate) in [(Some(1.0), 1.0), (Some(2.0), 1.0), (Some(1.5), 0.5), (None, 0.25)] {
            driver.announce("reward", reward);
            assert_eq!(driver.loss(1.0), rate);
        }
    }

    #[test]
    fn what_is_not_finite_is_no_better_and_counted() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        let rule = || valid_loss().factor(0.5).patience(0);
        let found = rates(rule(), &[nan, 3.0, -inf, 2.0, inf, 1.0]);
        assert_eq!(found, [0.5, 0.5, 0.25, 0.25, 0.125, 0.125]);
        let mut driver = Driver::new(Plateau::max(Signal::Loss).signal(Signal::GradientL1));
        for loss in [nan, 1.0] {
            // Its own signal is missing.
            driver.loss(loss);
        }
        assert_eq!(driver.state()["heard"]["not_finite"], 2);
        let mut driver = Driver::new(rule());
        for loss in [nan, -inf, inf] {
            driver.epoch(loss);
        }
        assert_eq!(driver.state()["heard"]["not_finite"], 3);
        assert_eq!(driver.state()["best"], serde_json::Value::Null);
    }

    #[test]
    fn it_goes_on_from_a_checkpoint() {
        let rule = || Plateau::min(Signal::Loss).factor(0.7).patience(1).cooldown(3).mean_over(3);
        let loss = |t: u64| 1.0 + (t as f64 * 0.7).sin() + 1e-3 * t as f64;
        for cut in 1..60 {
            let mut whole = Driver::new(rule());
            for t in 0..cut {
                whole.loss(loss(t));
            }
            let mut resumed = Driver::new(rule()).resume(&whole);
            let rest = |driver: &mut Driver| -> Vec<f64> {
                (cut..99).map(|t| driver.loss(loss(t))).collect()
            };
            assert_eq!(rest(&mut whole), rest(&mut resumed));
            assert_eq!(whole.state(), resumed.state());
        }
    }

    #[test]
    fn a_state_that_is_none_is_refused() {
        let run = RunLength::updates(9).resolve().unwrap();
        for state in [serde_json::json!({ "factor": 0.0 }), serde_json::json!({ "rate": -1.0 })] {
            let mut controller = valid_loss().build(&run).unwrap().controller;
            assert!(controller.restore(state.clone()).is_err(), "{state}");
        }
    }

    #[test]
    fn each_field_out_of_range_is_refused() {
        let run = RunLength::updates(9).resolve().unwrap();
        let field = |rule: Plateau| rule.build(&run).unwrap_err().field;
        for factor in [0.0, 1.0, -0.5, f64::NAN] {
            assert_eq!(field(valid_loss().factor(factor)), "factor");
        }
        for value in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(field(valid_loss().min_rate(value)), "min_rate");
            assert_eq!(field(valid_loss().smallest_change(value)), "smallest_change");
        }
        assert_eq!(field(valid_loss().threshold(Threshold::Relative(1.0))), "threshold");
        assert_eq!(field(valid_loss().mean_over(0)), "mean_over");
        assert_eq!(field(Plateau::max(Signal::Loss)), "max");
        assert_eq!(field(Plateau::min(MetricOf::valid("Accuracy"))), "min");
    }

    #[test]
    fn two_on_one_group_contradict_each_other() {
        let run = RunLength::updates(9).resolve().unwrap();
        let mut controllers = Controllers::default();
        controllers.add("one", valid_loss().build(&run).unwrap());
        controllers.add("other", valid_loss().build(&run).unwrap());
        let error = controllers.set_up([["all"]]).unwrap_err();
        assert!(matches!(error, SetupError::Contradiction { .. }), "{error}");
    }

    #[test]
    fn it_is_written_and_read_back() {
        let rule = Plateau::max(MetricOf::valid("Accuracy")).factor(0.5).min_rate(1e-6);
        let text = serde_json::to_string(&rule).unwrap();
        assert_eq!(serde_json::from_str::<Plateau>(&text).unwrap(), rule);
        let least = r#"{ "signal": "valid Loss", "mode": "min" }"#;
        assert_eq!(serde_json::from_str::<Plateau>(least).unwrap(), valid_loss());
        let chain =
            "Plateau::max(MetricOf::valid(\"Accuracy\")).factor(0.5).patience(10).min_rate(1e-6)";
        assert_eq!(rule.to_string(), chain);
    }
}
