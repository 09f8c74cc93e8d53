//! A rate that rises while a signal improves, and falls otherwise.

use crate::best::{ROLE, beginning, check_changes};
use crate::{
    Answer, AnyController, Controller, Describe, Event, Mode, OutOfRange, Run, Signal, Stop,
    Threshold,
};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt;
use std::ops::RangeInclusive;

/// Raises the rate while values improve, and lowers it when they do not: transformers' `GreedyLR`, on any
/// schedule.
///
/// ```text
/// better:  best ← value, good ← good + 1, bad ← 0        not better:  bad ← bad + 1, good ← 0
/// good > patience:  rate ← min(rate / factor, max_rate), wait for `warmup` values
/// bad > patience:   rate ← max(rate · factor, min_rate), wait for `cooldown` values
/// η_t = f · schedule(t), with the f of the last change
/// ```
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `signal`, `mode` | required | not the highest loss, not the lowest accuracy |
/// | `min_rate`, `max_rate` | required | finite, 0 ≤ `min_rate` ≤ `max_rate`, 0 < `max_rate` |
/// | `factor` | 0.95 | above 0, below 1 |
/// | `patience` | 10 values | |
/// | `threshold` | `Absolute(1e-6)` | see [`Threshold`] |
/// | `cooldown`, `warmup` | 0 values | |
/// | `smallest_change` | 1e-8 | finite, at least 0 |
/// | `window` | each value by itself | at least 1 |
/// | `reset_after` | 500 reductions | at least 1 |
///
/// Values during a wait are not counted. Changes of at most `smallest_change`, transformers' `eps`, are not
/// made. With a `window` it judges the mean of the last values. If the rate is at `min_rate` and
/// `reset_after` more reductions are due without a rise in between, it resets to the rate of the schedule.
///
/// `min_rate` and `max_rate` bound its changes, not the schedule: under a constant schedule the rates are
/// those of transformers; another schedule may go below or above.
///
/// An infinite or NaN value is not better, is counted, and is left out of means.
///
/// Source: transformers 5.23; arXiv 2512.14527.
///
/// ```
/// use anneal_control::{Controllers, Describe, Due, Greedy, Observation, RunLength, Signal};
///
/// let run = RunLength::updates(1_000).resolve()?;
/// let greedy = Greedy::min(Signal::Loss, 0.01..=0.4).factor(0.5).patience(1);
/// let mut controllers = Controllers::default();
/// controllers.add("greedy", greedy.build(&run)?);
/// let rates = [0.9, 0.8, 0.7, 0.6, 0.7, 0.7, 0.7].map(|loss| {
///     let seen = Observation { loss: Some(loss), ..Observation::default() };
///     controllers.update(Due::at(0, 0.1), &seen).unwrap().answer.rate(0.1)
/// });
/// assert_eq!(rates, [0.1, 0.1, 0.2, 0.2, 0.4, 0.4, 0.2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Greedy {
    signal: Signal,
    mode: Mode,
    min_rate: f64,
    max_rate: f64,
    #[serde(default = "factor")]
    factor: f64,
    #[serde(default = "patience")]
    patience: u64,
    #[serde(default = "threshold")]
    threshold: Threshold,
    #[serde(default)]
    cooldown: u64,
    #[serde(default)]
    warmup: u64,
    #[serde(default = "smallest_change")]
    smallest_change: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    window: Option<u64>,
    #[serde(default = "reset_after")]
    reset_after: u64,
}

fn factor() -> f64 {
    0.95
}

fn patience() -> u64 {
    10
}

fn threshold() -> Threshold {
    Threshold::Absolute(1e-6)
}

fn smallest_change() -> f64 {
    1e-8
}

fn reset_after() -> u64 {
    500
}

impl Greedy {
    /// For a signal to minimize, between the lowest and the highest rate.
    pub fn min(signal: impl Into<Signal>, rates: RangeInclusive<f64>) -> Self {
        Self::new(signal.into(), Mode::Min, rates)
    }

    /// For a signal to maximize, between the lowest and the highest rate.
    pub fn max(signal: impl Into<Signal>, rates: RangeInclusive<f64>) -> Self {
        Self::new(signal.into(), Mode::Max, rates)
    }

    fn new(signal: Signal, mode: Mode, rates: RangeInclusive<f64>) -> Self {
        Self {
            signal,
            mode,
            min_rate: *rates.start(),
            max_rate: *rates.end(),
            factor: factor(),
            patience: patience(),
            threshold: threshold(),
            cooldown: 0,
            warmup: 0,
            smallest_change: smallest_change(),
            window: None,
            reset_after: reset_after(),
        }
    }

    /// Sets the signal.
    #[must_use]
    pub fn signal(self, signal: impl Into<Signal>) -> Self {
        Self { signal: signal.into(), ..self }
    }

    /// Sets the factor by which the rate falls; it rises by the inverse.
    #[must_use]
    pub fn factor(self, factor: f64) -> Self {
        Self { factor, ..self }
    }

    /// Sets how many consecutive values may be better, or not better; the next one changes the rate.
    #[must_use]
    pub fn patience(self, values: u64) -> Self {
        Self { patience: values, ..self }
    }

    /// Sets how much better a value must be.
    #[must_use]
    pub fn threshold(self, threshold: Threshold) -> Self {
        Self { threshold, ..self }
    }

    /// Sets the number of values to ignore after a reduction.
    #[must_use]
    pub fn cooldown(self, values: u64) -> Self {
        Self { cooldown: values, ..self }
    }

    /// Sets the number of values to ignore after a rise.
    #[must_use]
    pub fn warmup(self, values: u64) -> Self {
        Self { warmup: values, ..self }
    }

    /// Sets the largest change that is not made.
    #[must_use]
    pub fn smallest_change(self, change: f64) -> Self {
        Self { smallest_change: change, ..self }
    }

    /// Judges the mean of this many last values.
    #[must_use]
    pub fn window(self, values: u64) -> Self {
        Self { window: Some(values), ..self }
    }

    /// Sets the number of unsuccessful reductions before a reset.
    #[must_use]
    pub fn reset_after(self, reductions: u64) -> Self {
        Self { reset_after: reductions, ..self }
    }
}

impl Describe for Greedy {
    fn build(&self, _: &Run) -> Result<AnyController, OutOfRange> {
        let Self { factor, min_rate, max_rate, smallest_change, window, reset_after, .. } = *self;
        self.mode.check(&self.signal)?;
        self.threshold.check(self.mode)?;
        check_changes(factor, min_rate, smallest_change)?;
        let ok = max_rate > 0.0 && max_rate.is_finite() && max_rate >= min_rate;
        OutOfRange::require("max_rate", max_rate, ok, "finite, above 0, at least min_rate")?;
        OutOfRange::require("window", window, window != Some(0), "at least 1 value")?;
        OutOfRange::require("reset_after", reset_after, reset_after >= 1, "at least 1")?;
        Ok(Search { rule: self.clone(), state: SearchState::default() }.into())
    }
}

/// The chain of calls that constructs it.
impl fmt::Display for Greedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { signal, mode, min_rate, max_rate, .. } = self;
        let default = Self::new(signal.clone(), *mode, *min_rate..=*max_rate);
        write!(f, "Greedy::{}, {min_rate:?}..={max_rate:?})", beginning(*mode, signal))?;
        write!(f, ".factor({}).patience({})", self.factor, self.patience)?;
        if self.threshold != default.threshold {
            write!(f, ".threshold(Threshold::{:?})", self.threshold)?;
        }
        for (name, value, default) in [
            ("cooldown", self.cooldown, default.cooldown),
            ("warmup", self.warmup, default.warmup),
            ("reset_after", self.reset_after, default.reset_after),
        ] {
            if value != default {
                write!(f, ".{name}({value})")?;
            }
        }
        if self.smallest_change != default.smallest_change {
            write!(f, ".smallest_change({:?})", self.smallest_change)?;
        }
        self.window.map_or(Ok(()), |window| write!(f, ".window({window})"))
    }
}

/// The changing factor of a [`Greedy`].
#[derive(Clone, Debug)]
struct Search {
    rule: Greedy,
    state: SearchState,
}

/// The state that a checkpoint saves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SearchState {
    factor: f64,
    best: Option<f64>,
    /// Consecutive values that were better.
    good: u64,
    /// Consecutive values that were not.
    bad: u64,
    /// Remaining values of the wait after a change.
    wait: u64,
    /// Reductions at the lowest rate since the last rise.
    in_vain: u64,
    /// The last values, and their running sum.
    window: VecDeque<f64>,
    sum: f64,
    /// The rate of the schedule at the last update.
    rate: Option<f64>,
    /// The rate of the schedule at the last change, and the rate it was changed to.
    set: Option<(f64, f64)>,
    not_finite: u64,
}

impl Default for SearchState {
    fn default() -> Self {
        Self {
            factor: 1.0,
            best: None,
            good: 0,
            bad: 0,
            wait: 0,
            in_vain: 0,
            window: VecDeque::new(),
            sum: 0.0,
            rate: None,
            set: None,
            not_finite: 0,
        }
    }
}

impl Search {
    /// The mean of the last values including this one; NaN for a non-finite value.
    fn mean(&mut self, value: f64) -> f64 {
        let state = &mut self.state;
        let sum = state.sum + value;
        if !sum.is_finite() {
            state.not_finite += 1;
            return f64::NAN;
        }
        let Some(window) = self.rule.window else { return value };
        state.sum = sum;
        state.window.push_back(value);
        while state.window.len() as u64 > window {
            state.sum -= state.window.pop_front().unwrap_or(0.0);
        }
        state.sum / state.window.len() as f64
    }

    fn judge(&mut self, value: f64) {
        let Self { rule, state } = self;
        if state.wait > 0 {
            state.wait -= 1;
            return;
        }
        if rule.mode.is_better(rule.threshold, value, state.best) {
            (state.best, state.good, state.bad) = (Some(value), state.good.saturating_add(1), 0);
        } else {
            (state.good, state.bad) = (0, state.bad.saturating_add(1));
        }
        if state.good > rule.patience {
            (state.wait, state.good) = (rule.warmup, 0);
            self.rise();
        } else if state.bad > rule.patience {
            (state.wait, state.bad) = (rule.cooldown, 0);
            self.fall();
        }
    }

    fn rise(&mut self) {
        self.state.in_vain = 0;
        let Some(rate) = self.state.rate else { return };
        let old = self.rate_at(rate);
        let new = (old / self.rule.factor).min(self.rule.max_rate);
        if new - old > self.rule.smallest_change {
            self.set(rate, new);
        }
    }

    fn fall(&mut self) {
        let Some(rate) = self.state.rate else { return };
        let min_rate = self.rule.min_rate;
        let old = self.rate_at(rate);
        let new = (old * self.rule.factor).max(min_rate);
        if old - new > self.rule.smallest_change {
            self.set(rate, new);
        }
        self.state.in_vain += u64::from(self.rate_at(rate) <= min_rate);
        if self.state.in_vain >= self.rule.reset_after {
            self.reset();
        }
    }

    fn set(&mut self, rate: f64, new: f64) {
        self.state.factor = (new / rate).clamp(f64::MIN_POSITIVE, f64::MAX);
        self.state.set = Some((rate, new));
    }

    /// The rate for the scheduled `rate`; exact to the last digit if the schedule has not changed.
    fn rate_at(&self, rate: f64) -> f64 {
        let set = self.state.set.filter(|(at, _)| *at == rate);
        set.map_or_else(|| self.answer(rate).rate(rate), |(_, set)| set)
    }

    /// Resets everything except the waits.
    fn reset(&mut self) {
        let SearchState { wait, rate, not_finite, .. } = self.state;
        self.state = SearchState { wait, rate, not_finite, ..SearchState::default() };
    }

    /// The factor and the floor for a scheduled rate, which may have risen since the factor was found.
    fn answer(&self, rate: f64) -> Answer {
        let Greedy { min_rate, max_rate, .. } = self.rule;
        let factor = self.state.factor.min((max_rate / rate).max(1.0));
        Answer { floor: (min_rate > 0.0).then_some(min_rate), ..Answer::factor(factor) }
    }
}

impl Controller for Search {
    type State = SearchState;

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
                self.answer(seen.rate)
            }
            _ => Answer::default(),
        };
        if let Some(value) = self.rule.signal.in_event(event) {
            let value = self.mean(value);
            self.judge(value);
        }
        Ok(answer)
    }

    fn state(&self) -> SearchState {
        self.state.clone()
    }

    fn restore(&mut self, state: SearchState) -> Result<(), OutOfRange> {
        let (factor, rate) = (state.factor, state.rate);
        OutOfRange::require("factor", factor, factor > 0.0, "above 0")?;
        OutOfRange::require("rate", rate, rate.is_none_or(|rate| rate >= 0.0), "at least 0")?;
        let ok = state.set.is_none_or(|(at, to)| at >= 0.0 && to >= 0.0);
        OutOfRange::require("set", state.set, ok, "rates, at least 0")?;
        let wait = state.wait.min(self.rule.cooldown.max(self.rule.warmup));
        self.state = SearchState { wait, ..state };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RunLength;
    use crate::driver::Driver;

    fn rule() -> Greedy {
        let exactly = Threshold::Absolute(0.0);
        Greedy::min(Signal::Loss, 0.1..=4.0).factor(0.5).patience(1).threshold(exactly)
    }

    fn rates(rule: Greedy, losses: &[f64]) -> Vec<f64> {
        let mut driver = Driver::new(rule);
        losses.iter().map(|loss| driver.loss(*loss)).collect()
    }

    #[test]
    fn it_rises_and_falls_within_its_rates() {
        let losses: Vec<f64> = (0..9).map(|t| -f64::from(t)).collect();
        let rising = [1.0, 1.0, 2.0, 2.0, 4.0, 4.0, 4.0, 4.0, 4.0];
        assert_eq!(rates(rule(), &losses), rising);
        let falling = [1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.1, 0.1];
        assert_eq!(rates(rule(), &[1.0; 11]), falling);
    }

    #[test]
    fn it_counts_nothing_while_it_waits() {
        let found = rates(rule().warmup(2), &[5.0, 4.0, 3.0, 2.0, 1.0, 0.5, 0.2]);
        assert_eq!(found, [1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 4.0]);
        let found = rates(rule().cooldown(2), &[1.0; 9]);
        assert_eq!(found, [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]);
    }

    #[test]
    fn it_begins_anew_after_reductions_in_vain() {
        // 0.5, 0.4 (in vain: it is the lowest rate), 0.4 again, then a reset.
        let rule = Greedy { min_rate: 0.4, ..rule() }.reset_after(2).patience(0);
        let found = rates(rule, &[1.0, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(found, [1.0, 2.0, 1.0, 0.5, 0.4]);
        let rule = Greedy { min_rate: 0.4, ..self::rule() }.reset_after(2).patience(0);
        assert_eq!(rates(rule, &[1.0; 7])[5..], [1.0, 2.0]);
    }

    #[test]
    fn a_change_that_is_too_small_is_not_made() {
        assert_eq!(rates(rule().smallest_change(0.5), &[1.0; 4])[3], 1.0);
        assert_eq!(rates(rule().smallest_change(0.4), &[1.0; 4])[3], 0.5);
    }

    #[test]
    fn it_judges_the_mean_of_the_last_values() {
        // Means 4, 3, 2.5, 3, 3: better, better (a rise), better, not, not (a fall).
        let found = rates(rule().window(2), &[4.0, 2.0, 3.0, 3.0, 3.0, 3.0]);
        assert_eq!(found, [1.0, 1.0, 2.0, 2.0, 2.0, 1.0]);
    }

    #[test]
    fn what_is_not_finite_is_no_better_counted_and_no_part_of_a_mean() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut driver = Driver::new(rule().window(2));
            assert_eq!([value, value, 1.0].map(|loss| driver.loss(loss)), [1.0, 1.0, 0.5]);
            assert_eq!(driver.state()["not_finite"], 2);
            assert_eq!(driver.state()["best"], 1.0);
            assert_eq!(driver.state()["sum"], 1.0);
        }
        let mut driver = Driver::new(rule().window(2));
        driver.loss(f64::MAX);
        driver.loss(f64::MAX);
        assert_eq!(driver.state()["not_finite"], 1);
    }

    #[test]
    fn it_moves_with_the_schedule_within_its_rates() {
        let mut driver = Driver::new(rule().patience(0));
        let mut at = |rate: f64, loss: f64| {
            driver.rate = rate;
            driver.loss(loss)
        };
        assert_eq!((at(1.0, 3.0), at(1.0, 2.0)), (1.0, 2.0));
        assert_eq!(at(0.1, 1.0), 0.1 * 4.0);
        assert_eq!(at(3.0, 0.9), 4.0, "the highest rate holds");
        assert_eq!(at(5.0, 0.8), 5.0, "but not against the schedule");
        assert_eq!(at(0.01, 0.7), 0.01 * 8.0, "nor does the lowest");
    }

    #[test]
    fn it_goes_on_from_a_checkpoint() {
        let rule = || rule().factor(0.9).window(3).warmup(2).cooldown(1).reset_after(2);
        let loss = |t: u64| 1.0 + (t as f64 * 0.3).sin() - 1e-2 * t as f64;
        for cut in 1..60 {
            let mut whole = Driver::new(rule());
            for t in 0..cut {
                whole.loss(loss(t));
            }
            let mut resumed = Driver::new(rule()).resume(&whole);
            let rest = |driver: &mut Driver| -> Vec<f64> {
                (cut..120).map(|t| driver.loss(loss(t))).collect()
            };
            assert_eq!(rest(&mut whole), rest(&mut resumed));
            assert_eq!(whole.state(), resumed.state());
        }
    }

    #[test]
    fn a_state_that_is_none_is_refused() {
        let run = RunLength::updates(9).resolve().unwrap();
        for state in [r#"{"factor": 0}"#, r#"{"rate": -1}"#, r#"{"set": [1, -1]}"#] {
            let mut controller = rule().build(&run).unwrap().controller;
            assert!(controller.restore(serde_json::from_str(state).unwrap()).is_err(), "{state}");
        }
    }

    #[test]
    fn each_field_out_of_range_is_refused() {
        let run = RunLength::updates(9).resolve().unwrap();
        let field = |rule: Greedy| rule.build(&run).unwrap_err().field;
        for factor in [0.0, 1.0, -0.5, f64::NAN] {
            assert_eq!(field(rule().factor(factor)), "factor");
        }
        for value in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(field(Greedy::min(Signal::Loss, value..=1.0)), "min_rate");
            assert_eq!(field(Greedy::min(Signal::Loss, 0.0..=value)), "max_rate");
            assert_eq!(field(rule().smallest_change(value)), "smallest_change");
        }
        assert_eq!(field(Greedy::min(Signal::Loss, 0.2..=0.1)), "max_rate");
        assert_eq!(field(rule().threshold(Threshold::Relative(1.0))), "threshold");
        assert_eq!(field(rule().window(0)), "window");
        assert_eq!(field(rule().reset_after(0)), "reset_after");
        assert_eq!(field(Greedy::max(Signal::Loss, 0.1..=1.0)), "max");
    }

    #[test]
    fn it_is_written_and_read_back() {
        let rule = rule().window(3);
        let text = serde_json::to_string(&rule).unwrap();
        assert_eq!(serde_json::from_str::<Greedy>(&text).unwrap(), rule);
        let chain = "Greedy::min(Signal::Loss, 0.1..=4.0).factor(0.5).patience(1)\
                     .threshold(Threshold::Absolute(0.0)).window(3)";
        assert_eq!(rule.to_string(), chain);
        let least = r#"{ "signal": "loss", "mode": "min", "min_rate": 0, "max_rate": 1 }"#;
        let read: Greedy = serde_json::from_str(least).unwrap();
        assert_eq!(read, Greedy::min(Signal::Loss, 0.0..=1.0));
    }
}
