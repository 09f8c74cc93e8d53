//! A lower rate after a non-finite loss.

use crate::{Answer, Controller, Event, Needs, OutOfRange, Stop};

/// Halves the rate for k updates after an infinite or NaN loss.
///
/// k is at least 1. With k = 3 and a NaN loss at update 7, the rates of updates 8, 9 and 10 are halved;
/// another such loss among them restarts the count. It does not skip update 7 itself;
/// [`FiniteGuard`](crate::FiniteGuard) does that.
///
/// It is the shortest controller, and a template for others.
///
/// ```
/// use anneal_control::{Controllers, Cooldown, Due, Observation};
///
/// let mut controllers = Controllers::default();
/// controllers.add("cooldown", Cooldown::after_non_finite_loss(2)?);
/// let factors = [1.0, f64::NAN, 0.9, 0.8, 0.7].map(|loss| {
///     let seen = Observation { loss: Some(loss), ..Observation::default() };
///     controllers.update(Due::at(0, 0.1), &seen).unwrap().answer.factor
/// });
/// assert_eq!(factors, [None, None, Some(0.5), Some(0.5), None]);
/// # Ok::<(), anneal_control::OutOfRange>(())
/// ```
#[derive(Clone, Debug)]
pub struct Cooldown {
    updates: u64,
    left: u64,
}

impl Cooldown {
    /// Halves the rate for `updates` updates.
    ///
    /// # Errors
    /// [`OutOfRange`] for 0 updates.
    pub fn after_non_finite_loss(updates: u64) -> Result<Self, OutOfRange> {
        OutOfRange::require("updates", updates, updates >= 1, "at least 1")?;
        Ok(Self { updates, left: 0 })
    }
}

impl Controller for Cooldown {
    type State = u64;

    fn needs(&self) -> Needs {
        Needs { loss: true, ..Needs::default() }
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        let Event::Update(seen) = event else { return Ok(Answer::default()) };
        let halves = self.left > 0;
        let is_finite = seen.observation.loss.is_none_or(f64::is_finite);
        self.left = if is_finite { self.left.saturating_sub(1) } else { self.updates };
        Ok(if halves { Answer::factor(0.5) } else { Answer::default() })
    }

    fn state(&self) -> u64 {
        self.left
    }

    fn restore(&mut self, left: u64) -> Result<(), OutOfRange> {
        self.left = left.min(self.updates);
        Ok(())
    }
}
