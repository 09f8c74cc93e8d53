//! Handles updates with non-finite gradients.

use crate::{Answer, Controller, Event, Needs, OutOfRange, Stop};
use serde::{Deserialize, Serialize};

/// Skips an update with an infinite or NaN loss or gradient, or stops the run.
///
/// For training without loss scaling, which already does this. The same as `error_if_nonfinite` of torch's
/// `clip_grad_norm_` and optax's `apply_if_finite`.
///
/// ```
/// use anneal_control::{Controllers, Due, FiniteGuard, Observation};
///
/// let seen = Observation { overflow: true, ..Observation::default() };
/// let mut controllers = Controllers::default();
/// controllers.add("guard", FiniteGuard::skip(2)?);
/// assert!(controllers.update(Due::at(0, 0.1), &seen)?.answer.skip.is_some());
/// let error = controllers.update(Due::at(1, 0.1), &seen).unwrap_err().to_string();
/// assert!(error.contains("in 2 updates in a row"), "{error}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FiniteGuard {
    most: u64,
    state: FiniteGuardState,
}

/// The state of a [`FiniteGuard`] that a checkpoint saves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FiniteGuardState {
    /// Consecutive non-finite updates.
    pub in_a_row: u64,
}

impl FiniteGuard {
    /// Skips such updates, and stops the run at the last of `most` consecutive ones; at least 1.
    ///
    /// # Errors
    /// [`OutOfRange`] for 0 updates.
    pub fn skip(most: u64) -> Result<Self, OutOfRange> {
        OutOfRange::require("most", most, most >= 1, "at least 1")?;
        Ok(Self { most, state: FiniteGuardState::default() })
    }

    /// Stops the run at the first such update.
    pub fn stop() -> Self {
        Self { most: 1, state: FiniteGuardState::default() }
    }
}

impl Controller for FiniteGuard {
    type State = FiniteGuardState;

    fn needs(&self) -> Needs {
        Needs { gradient_norm: true, now: true, ..Needs::default() }
    }

    fn is_of_update(&self) -> bool {
        true
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        let Event::Update(seen) = event else { return Ok(Answer::default()) };
        if seen.observation.is_finite() {
            self.state.in_a_row = 0;
            return Ok(Answer::default());
        }
        self.state.in_a_row += 1;
        if self.state.in_a_row < self.most {
            return Ok(Answer::skip("the loss or a gradient is infinite or NaN"));
        }
        let loss = seen.observation.loss.map_or("unknown".to_string(), |loss| loss.to_string());
        let norm = seen.observation.gradient_norm;
        Err(Stop::new(format!(
            "the loss is {loss} and the norm of the gradients {}, in {} updates in a row: look for a division \
             by 0, the logarithm of 0, or inputs that are not finite; a lower learning rate, or clipping, may keep \
             weights from getting there",
            norm.map_or("unknown".to_string(), |norm| norm.to_string()),
            self.state.in_a_row,
        )))
    }

    fn state(&self) -> FiniteGuardState {
        self.state
    }

    fn restore(&mut self, state: FiniteGuardState) -> Result<(), OutOfRange> {
        self.state = state;
        Ok(())
    }
}
