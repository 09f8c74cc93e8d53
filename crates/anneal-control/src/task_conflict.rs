//! A rate that falls while the gradients of several tasks conflict.

use crate::describe::updates;
use crate::{
    Answer, AnyController, Controller, Describe, Event, OutOfRange, Run, Signal, Span, Stop,
};
use serde::{Deserialize, Serialize};

/// Lowers the rate while the tasks of a model conflict: while the mean cosine between pairs of their
/// gradients is negative.
///
/// ```text
/// factor = 1 − κ max(0, −c)
/// ```
///
/// with c the mean cosine of the update, or its moving mean with the given `half_life`. If all tasks point
/// the same way or are orthogonal, the rate is the schedule's; with κ = 1, two exactly opposed tasks reduce
/// it to 0.
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `strength` κ | 1 | 0 to 1 |
/// | `half_life` | none: each update by itself | a span of at least 1 update |
///
/// The cosine is computed over the parameters that both tasks of a pair share, so the factor is mostly meant
/// for the group of these: `TaskConflict::new().on_group("trunk")`. The training defines its tasks with
/// burn-anneal's `TaskGradients`.
///
/// An update has no cosine if no two tasks share a parameter, or if all but one have no gradient, a zero
/// gradient, or a non-finite one. It is counted as `undefined` and leaves the factor unchanged, initially 1.
/// If none of the first 100 updates has one, the run stops: tasks that share nothing cannot conflict. An
/// update that an earlier controller skips changes nothing. The state also counts the updates with a cosine,
/// `defined`, and with a negative one, `conflicting`.
///
/// ```
/// use anneal_control::{Controllers, Describe, Due, Observation, RunLength, TaskConflict};
///
/// let run = RunLength::updates(1_000).resolve()?;
/// let mut controllers = Controllers::default();
/// controllers.add("conflict", TaskConflict::new().strength(0.5).build(&run)?);
/// let rates = [0.8, -0.4, f64::NAN].map(|cosine| {
///     let seen = Observation { task_cosine: Some(cosine), ..Observation::default() };
///     controllers.update(Due::at(0, 0.1), &seen).unwrap().answer.rate(0.1)
/// });
/// assert_eq!(rates, [0.1, 0.1 * 0.8, 0.1 * 0.8]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TaskConflict {
    #[serde(default = "default_strength")]
    strength: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    half_life: Option<Span>,
}

fn default_strength() -> f64 {
    1.0
}

/// One of this many first updates must have a cosine.
const WITHIN: u64 = 100;

impl Default for TaskConflict {
    fn default() -> Self {
        Self { strength: default_strength(), half_life: None }
    }
}

impl TaskConflict {
    /// With κ = 1 and no moving mean.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets κ: the share of the rate that is removed if tasks are exactly opposed.
    #[must_use]
    pub fn strength(self, kappa: f64) -> Self {
        Self { strength: kappa, ..self }
    }

    /// Uses a moving mean of the cosine with this half-life.
    #[must_use]
    pub fn half_life(self, updates: impl Into<Span>) -> Self {
        Self { half_life: Some(updates.into()), ..self }
    }
}

impl Describe for TaskConflict {
    fn build(&self, run: &Run) -> Result<AnyController, OutOfRange> {
        let ok = (0.0..=1.0).contains(&self.strength);
        OutOfRange::require("strength", self.strength, ok, "0 to 1")?;
        let half_life = self.half_life.map(|span| updates("half_life", span, run)).transpose()?;
        OutOfRange::require("half_life", half_life, half_life != Some(0), "at least 1 update")?;
        let memory = half_life.map_or(0.0, |updates| (-1.0 / updates as f64).exp2());
        Ok(Watcher { strength: self.strength, memory, state: WatcherState::default() }.into())
    }
}

#[derive(Clone, Debug)]
struct Watcher {
    strength: f64,
    /// The decay factor of all weights of the mean per update.
    memory: f64,
    state: WatcherState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WatcherState {
    /// The moving mean of the cosine.
    mean: f64,
    /// The total weight of its updates; 0 before the first.
    weight: f64,
    /// Updates with a cosine.
    defined: u64,
    /// Updates with a negative one.
    conflicting: u64,
    /// Updates without one.
    undefined: u64,
}

impl Watcher {
    fn hear_cosine(&mut self, cosine: Option<f64>) -> Result<(), Stop> {
        let state = &mut self.state;
        let Some(cosine) = cosine.filter(|cosine| cosine.is_finite()) else {
            state.undefined = state.undefined.saturating_add(1);
            return match state.defined == 0 && state.undefined >= WITHIN {
                true => Err(Stop::new(format!(
                    "none of the first {WITHIN} updates has a cosine between task gradients: no two tasks share a \
                     parameter, so that they cannot conflict, or all gradients but one are 0 or not finite; \
                     TaskGradients::cosines shows which. Let them share a trunk, or remove this controller"
                ))),
                false => Ok(()),
            };
        };
        state.weight = self.memory * state.weight + 1.0;
        let share = 1.0 / state.weight;
        state.mean = (state.mean * (1.0 - share) + cosine * share).clamp(-1.0, 1.0);
        state.defined = state.defined.saturating_add(1);
        state.conflicting = state.conflicting.saturating_add(u64::from(cosine < 0.0));
        Ok(())
    }
}

impl Controller for Watcher {
    type State = WatcherState;

    fn signal(&self) -> Option<&Signal> {
        Some(&Signal::TaskCosine)
    }

    fn role(&self) -> Option<&'static str> {
        Some("a rule for conflicting tasks")
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        let Event::Update(seen) = event else { return Ok(Answer::default()) };
        if seen.answered.skip.is_none() {
            self.hear_cosine(seen.observation.task_cosine)?;
        }
        Ok(Answer::factor(1.0 - self.strength * (-self.state.mean).max(0.0)))
    }

    fn state(&self) -> WatcherState {
        self.state
    }

    fn restore(&mut self, state: WatcherState) -> Result<(), OutOfRange> {
        let WatcherState { mean, weight, .. } = state;
        OutOfRange::require("mean", mean, (-1.0..=1.0).contains(&mean), "-1 to 1")?;
        OutOfRange::require("weight", weight, weight >= 0.0, "at least 0")?;
        self.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Driver;
    use crate::{Controllers, Due, FiniteGuard, Observation, RunLength, SetupError};

    fn of(cosine: f64) -> Observation {
        Observation { task_cosine: Some(cosine), ..Observation::default() }
    }

    fn run() -> Run {
        RunLength::updates(1_000).resolve().unwrap()
    }

    #[test]
    fn the_factor_is_that_of_the_formula() {
        for (strength, expected) in
            [(1.0, [1.0, 1.0, 0.75, 0.0]), (0.5, [1.0, 1.0, 0.875, 0.5]), (0.0, [1.0; 4])]
        {
            let mut driver = Driver::new(TaskConflict::new().strength(strength));
            assert_eq!([1.0, 0.0, -0.25, -1.0].map(|cosine| driver.update(&of(cosine))), expected);
        }
    }

    /// By hand: weights 1, ½, ¼, counted back from the last one.
    #[test]
    fn a_moving_mean_has_its_half_life() {
        let mut driver = Driver::new(TaskConflict::new().half_life(1));
        let factors = [-0.8, 0.2, -0.6].map(|cosine| driver.update(&of(cosine)));
        let mean = [-0.8, (-0.4 + 0.2) / 1.5, (-0.2 + 0.1 - 0.6) / 1.75];
        for (factor, mean) in factors.iter().zip(mean) {
            assert!((factor - (1.0 + mean)).abs() < 1e-15, "{factor}, not 1 + {mean}");
        }
        let mut driver = Driver::new(TaskConflict::new().half_life(Span::percent(1)));
        for number in 0..20 {
            driver.update(&of(if number < 10 { 0.0 } else { -1.0 }));
        }
        // Each ten count half as much as the ten after them.
        assert!((driver.update(&of(f64::NAN)) - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn what_is_undefined_is_counted_and_leaves_the_factor() {
        let mut driver = Driver::new(TaskConflict::new());
        assert_eq!(driver.update(&Observation::default()), 1.0);
        assert_eq!(driver.update(&of(-0.5)), 0.5);
        for cosine in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(driver.update(&of(cosine)), 0.5);
        }
        driver.update(&of(0.5));
        let state = driver.state();
        let counts = ["undefined", "defined", "conflicting"].map(|name| state[name].as_u64());
        assert_eq!(counts, [Some(4), Some(2), Some(1)]);
        // Rounded sums may exceed the range.
        assert_eq!(driver.update(&of(-1.000_001)), 0.0);
    }

    #[test]
    fn it_stops_where_no_update_of_a_hundred_has_a_cosine() {
        let hear = |first: f64| {
            let mut controllers = Controllers::default();
            controllers.add("it", TaskConflict::new().build(&run()).unwrap());
            let seen = |number| if number == 0 { of(first) } else { of(f64::NAN) };
            let mut all = 0..300;
            let stopped = all
                .find_map(|number| controllers.update(Due::at(number, 1.0), &seen(number)).err());
            (all.start, stopped.map(|stopped| stopped.to_string()))
        };
        let (heard, stopped) = hear(f64::NAN);
        assert_eq!(heard, 100);
        assert!(stopped.is_some_and(|text| text.contains("no two tasks share a parameter")));
        assert_eq!(hear(0.1), (300, None));
    }

    #[test]
    fn a_skipped_update_changes_nothing() {
        let mut controllers = Controllers::default();
        controllers.add("guard", FiniteGuard::skip(9).unwrap());
        controllers.add("it", TaskConflict::new().build(&run()).unwrap());
        let mut factor = |overflow, cosine| {
            let seen = Observation { overflow, ..of(cosine) };
            controllers.update(Due::at(0, 1.0), &seen).unwrap().answer.factor
        };
        assert_eq!(factor(false, -0.5), Some(0.5));
        assert_eq!(factor(true, -0.9), Some(0.5));
        assert_eq!(factor(true, f64::NAN), Some(0.5));
        assert_eq!(controllers.states().nth(1).unwrap().1["undefined"], 0);
    }

    /// Works on one group too, but not twice.
    #[test]
    fn it_can_be_of_a_group() {
        let set_up = |groups: [&str; 2]| {
            let mut controllers = Controllers::default();
            for (name, group) in ["one", "other"].into_iter().zip(groups) {
                let rule = TaskConflict::new().on_group(group);
                controllers.add(name, rule.build(&run()).unwrap());
            }
            controllers.set_up([["trunk"], ["heads"]])
        };
        assert_eq!(set_up(["trunk", "heads"]), Ok(()));
        assert!(matches!(set_up(["trunk", "trunk"]), Err(SetupError::Contradiction { .. })));
    }

    #[test]
    fn it_goes_on_where_it_was() {
        for rule in [TaskConflict::new(), TaskConflict::new().strength(0.7).half_life(7)] {
            let cosine = |i: i32| match i % 5 {
                0 => f64::NAN,
                _ => f64::from(i * i % 17) / 9.0 - 0.9,
            };
            let rates = |driver: &mut Driver, part: std::ops::Range<i32>| {
                part.map(|i| driver.update(&of(cosine(i)))).collect::<Vec<_>>()
            };
            let mut whole = Driver::new(rule);
            rates(&mut whole, 0..10);
            let mut resumed = Driver::new(rule).resume(&whole);
            assert_eq!(rates(&mut resumed, 10..40), rates(&mut whole, 10..40));
            assert_eq!(resumed.state(), whole.state());
            let text = serde_json::to_string(&rule).unwrap();
            assert_eq!(serde_json::from_str::<TaskConflict>(&text).unwrap(), rule);
        }
        assert_eq!(serde_json::from_str::<TaskConflict>("{}").unwrap(), TaskConflict::new());
    }

    #[test]
    fn a_state_that_is_none_is_refused() {
        for state in [serde_json::json!({ "mean": -1.5 }), serde_json::json!({ "weight": -1.0 })] {
            let mut controller = TaskConflict::new().build(&run()).unwrap().controller;
            assert!(controller.restore(state.clone()).is_err(), "{state}");
        }
    }

    #[test]
    fn refuses_each_field() {
        let field = |rule: TaskConflict| rule.build(&run()).unwrap_err().field;
        for kappa in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(field(TaskConflict::new().strength(kappa)), "strength");
        }
        assert_eq!(field(TaskConflict::new().half_life(0)), "half_life");
        assert_eq!(field(TaskConflict::new().half_life(Span::epochs(1))), "half_life");
    }
}
