//! A controller for a part of the run.

use crate::controllers::Erased;
use crate::{Answer, ControlError, Controller, Event, LossScale, MetricOf, Needs, Stop};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ops::Range;

/// What becomes of a controller's factor where its part of the run ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtEnd {
    /// It stays what it has come to.
    #[default]
    Hold,
    /// It is 1 again.
    Release,
}

impl AtEnd {
    pub(crate) fn is_hold(&self) -> bool {
        *self == Self::Hold
    }
}

/// Lets another hear only in some steps of the schedule.
#[derive(Clone, Debug)]
pub(crate) struct Within {
    inner: Box<dyn Erased>,
    steps: Range<u64>,
    at_end: AtEnd,
    state: WithinState,
}

/// What a checkpoint saves of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WithinState {
    inner: Value,
    /// The step of the last update.
    #[serde(default)]
    step: u64,
    /// What it answered last.
    #[serde(default)]
    factor: Option<f64>,
    #[serde(default)]
    floor: Option<f64>,
}

impl Within {
    pub fn new(inner: Box<dyn Erased>, steps: Range<u64>, at_end: AtEnd) -> Self {
        Self { inner, steps, at_end, state: WithinState::default() }
    }
}

impl Controller for Within {
    type State = WithinState;

    fn needs(&self) -> Needs {
        self.inner.needs()
    }

    fn loss_scale(&self) -> Option<LossScale> {
        self.inner.loss_scale()
    }

    fn metrics(&self) -> Vec<MetricOf> {
        self.inner.metrics()
    }

    fn announcements(&self) -> Vec<String> {
        self.inner.announcements()
    }

    fn role(&self) -> Option<&'static str> {
        self.inner.role()
    }

    fn warnings(&self) -> Vec<String> {
        self.inner.warnings()
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        if let Event::Update(seen) = event {
            self.state.step = seen.step;
        }
        if self.steps.contains(&self.state.step) {
            let answer = self.inner.hear(event)?;
            if matches!(event, Event::Update(_)) {
                (self.state.factor, self.state.floor) = (answer.factor, answer.floor);
            }
            return Ok(answer);
        }
        let holds = self.at_end.is_hold() && self.state.step >= self.steps.end;
        Ok(match event {
            Event::Update(_) if holds => {
                let WithinState { factor, floor, .. } = self.state;
                Answer { factor, floor, ..Answer::default() }
            }
            _ => Answer::default(),
        })
    }

    fn state(&self) -> WithinState {
        WithinState { inner: self.inner.save(), ..self.state.clone() }
    }

    fn restore(&mut self, state: WithinState) -> Result<(), ControlError> {
        let damaged = |value| ControlError { field: "inner", value, allowed: "a state of its" };
        self.inner.restore(state.inner.clone()).map_err(damaged)?;
        self.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::driver::Driver;
    use crate::{Cooldown, Describe};

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
