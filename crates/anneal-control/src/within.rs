//! A controller that is active in a part of the run.

use crate::controllers::Erased;
use crate::{
    Answer, Controller, Event, GradientNoise, LossScale, MetricOf, Needs, OutOfRange,
    PrivacyAccountant, Stop,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ops::Range;

/// What happens to a controller's factor at the end of its part of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AtEnd {
    /// It keeps its last value.
    #[default]
    Hold,
    /// It returns to 1.
    Release,
}

impl AtEnd {
    pub(crate) fn is_hold(&self) -> bool {
        *self == Self::Hold
    }
}

/// Makes another controller active only in some steps of the schedule.
#[derive(Clone, Debug)]
pub(crate) struct Within {
    inner: Box<dyn Erased>,
    steps: Range<u64>,
    at_end: AtEnd,
    warning: Option<String>,
    state: WithinState,
}

/// The state that a checkpoint saves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WithinState {
    inner: Value,
    /// The step of the last update; `None` before the first.
    #[serde(default)]
    step: Option<u64>,
    /// Its last answer.
    #[serde(default)]
    factor: Option<f64>,
    #[serde(default)]
    floor: Option<f64>,
}

impl Within {
    pub fn new(
        inner: Box<dyn Erased>,
        steps: Range<u64>,
        at_end: AtEnd,
        warning: Option<String>,
    ) -> Self {
        Self { inner, steps, at_end, warning, state: WithinState::default() }
    }
}

impl Within {
    /// Whether the next update is in its part.
    fn is_next(&self) -> bool {
        self.steps.contains(&self.state.step.map_or(0, |step| step + 1))
    }

    /// Handles an update in its part or after it.
    fn update(&mut self, event: &Event<'_>, step: u64) -> Result<Answer, Stop> {
        let before = self.state.step.replace(step);
        let was_within = before.is_some_and(|step| self.steps.contains(&step));
        // A reaction to an epoch takes effect at the update after it.
        let has_more = was_within && !self.inner.metrics().is_empty();
        let is_over = step >= self.steps.end;
        if self.steps.contains(&step) || (is_over && has_more) {
            let answer = self.inner.hear(event)?;
            (self.state.factor, self.state.floor) = (answer.factor, answer.floor);
            if !is_over {
                return Ok(answer);
            }
        }
        let WithinState { factor, floor, .. } = self.state;
        Ok(match is_over && self.at_end.is_hold() {
            true => Answer { factor, floor, ..Answer::default() },
            false => Answer::default(),
        })
    }
}

impl Controller for Within {
    type State = WithinState;

    fn needs(&self) -> Needs {
        let is_over = self.state.step.is_some_and(|step| step >= self.steps.end);
        if is_over { Needs::default() } else { self.inner.needs() }
    }

    fn loss_scale(&self) -> Option<LossScale> {
        self.inner.loss_scale()
    }

    fn gradient_noise(&self) -> Option<GradientNoise> {
        self.inner.gradient_noise()
    }

    fn privacy(&self) -> Option<&PrivacyAccountant> {
        self.inner.privacy()
    }

    fn metrics(&self) -> Vec<MetricOf> {
        self.inner.metrics()
    }

    fn announcements(&self) -> Vec<String> {
        if self.is_next() { self.inner.announcements() } else { vec![] }
    }

    fn role(&self) -> Option<&'static str> {
        self.inner.role()
    }

    fn is_of_update(&self) -> bool {
        self.inner.is_of_update()
    }

    fn warnings(&self) -> Vec<String> {
        self.inner.warnings().into_iter().chain(self.warning.clone()).collect()
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        let hears = match event {
            Event::Update(seen) => return self.update(event, seen.step),
            Event::Announced(_) => self.is_next(),
            _ => self.state.step.is_some_and(|step| self.steps.contains(&step)),
        };
        if hears { self.inner.hear(event) } else { Ok(Answer::default()) }
    }

    fn state(&self) -> WithinState {
        WithinState { inner: self.inner.save(), ..self.state.clone() }
    }

    fn restore(&mut self, state: WithinState) -> Result<(), OutOfRange> {
        let damaged = |value| OutOfRange::new("inner", value, "a valid state");
        self.inner.restore(state.inner.clone()).map_err(damaged)?;
        Answer { factor: state.factor, floor: state.floor, ..Answer::default() }.check()?;
        self.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::driver::Driver;
    use crate::{Cooldown, Describe, MetricOf, Plateau, PruningRestart, RunLength, Scoped};

    fn after_nan(rule: impl Describe) -> Vec<f64> {
        let mut driver = Driver::new(rule);
        [1.0, f64::NAN, f64::NAN, 1.0, 1.0, 1.0].map(|loss| driver.loss(loss)).to_vec()
    }

    fn cooldown() -> Cooldown {
        Cooldown::after_non_finite_loss(9).unwrap()
    }

    #[test]
    fn it_hears_in_its_part_of_the_run_and_its_factor_stays() {
        assert_eq!(after_nan(cooldown()), [1.0, 1.0, 0.5, 0.5, 0.5, 0.5]);
        assert_eq!(after_nan(cooldown().after(2)), [1.0, 1.0, 1.0, 0.5, 0.5, 0.5]);
        assert_eq!(after_nan(cooldown().after(3)), [1.0; 6]);
        assert_eq!(after_nan(cooldown().until(4)), [1.0, 1.0, 0.5, 0.5, 0.5, 0.5]);
        assert_eq!(after_nan(cooldown().until(4).released()), [1.0, 1.0, 0.5, 0.5, 1.0, 1.0]);
    }

    /// The epoch that ends with its part is handled, and its result is held.
    #[test]
    fn the_last_epoch_of_its_part_counts() {
        let plateau = || Plateau::min(MetricOf::valid("Loss")).patience(0).factor(0.5);
        let rates = |rule: Scoped<Plateau>| {
            let mut driver = Driver::new(rule);
            let mut rates = vec![];
            for loss in [1.0, 1.0, 1.0, 1.0] {
                rates.extend([driver.loss(0.0), driver.loss(0.0)]);
                driver.epoch(loss);
            }
            rates
        };
        let held = rates(plateau().until(4));
        assert_eq!(held, [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5]);
        assert_eq!(rates(plateau().until(4).released()), [1.0; 8]);
        assert_eq!(rates(plateau().after(4))[4..], [1.0, 1.0, 1.0, 1.0]);
    }

    /// An announcement goes to the controllers active at the next update, and to none if that is outside all
    /// parts.
    #[test]
    fn announcements_are_for_the_next_update() {
        let mut driver = Driver::new(PruningRestart::new(3.0, 1).after(1).until(3));
        assert!(driver.try_announce("pruned").is_err());
        driver.loss(0.0);
        driver.announce("pruned", None);
        assert_eq!([(); 2].map(|()| driver.loss(0.0)), [3.0, 2.0]);
        assert!(driver.try_announce("pruned").is_err());
        assert_eq!(driver.loss(0.0), 2.0);
    }

    #[test]
    fn a_part_beyond_the_run_is_warned_of() {
        let run = RunLength::updates(10).resolve().unwrap();
        let warnings = |rule: Scoped<Cooldown>| rule.build(&run).unwrap().controller.warnings();
        assert_eq!(warnings(cooldown().after(10)), ["it starts at update 10, but the run has 10"]);
        assert!(warnings(cooldown().after(9).until(90)).is_empty());
    }

    #[test]
    fn what_it_holds_is_resumed() {
        let rule = || cooldown().until(2);
        let mut whole = Driver::new(rule());
        for loss in [f64::NAN, 1.0, 1.0] {
            whole.loss(loss);
        }
        assert_eq!(Driver::new(rule()).resume(&whole).loss(1.0), 0.5);
    }
}
