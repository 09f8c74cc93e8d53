//! How a velocity that includes the rate reacts when the schedule drops it.

use crate::{OutOfRange, ScheduleError};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What happens to the momentum when the rate drops.
///
/// If the buffer includes the rate, v ← β v + η g and w ← w − v, the velocity after a drop was still built at
/// the old rate: it moves the weights on by up to β/(1 − β) times its size, past where the new rate would
/// take them. PyTorch's form, w ← w − η v, has no such carry-over: a drop acts on the whole velocity at once.
///
/// A drop is an update with η_t < `below` · η_{t−1} whose fall is more than four times that of the updates
/// before and after it; the end of a cosine is not one. Drops are read from the schedule, so they are the
/// same after a resume, and a controller's changes do not count.
///
/// | action | at the drop |
/// | --- | --- |
/// | [`keep`](Self::keep) | nothing |
/// | [`reset`](Self::reset) | v ← 0 |
/// | [`rescale`](Self::rescale) | v ← v η_t/η_{t−1}: as in PyTorch's form |
/// | [`damp`](Self::damp) | β is multiplied by a factor for some updates |
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `below` | ratio of two consecutive rates, 0.9 by default | above 0, below 1 |
/// | `updates` | number of damped updates | 1 to 1,000 |
/// | `momentum` | factor of β while damped | 0 to 1 |
///
/// ```
/// use anneal_schedule::prelude::*;
/// use anneal_schedule::{DropEffect, RateDrop};
///
/// let schedule = step_decay(1.0, Span::steps(10), 0.1).resolve(RunLength::updates(30))?;
/// let policy = RateDrop::rescale();
/// let effect = |step| policy.effect(step, |step| schedule.rate(step));
/// assert_eq!(effect(9), DropEffect::NONE);
/// assert!((effect(10).velocity - 0.1).abs() < 1e-15);
/// # Ok::<(), ScheduleError>(())
/// ```
///
/// Source: PyTorch's documentation of `SGD` distinguishes the two forms; Goyal et al. 2017, "Accurate, large
/// minibatch SGD", section 2.3, calls the rescaling momentum correction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[must_use]
pub struct RateDrop {
    action: Action,
    #[serde(default = "default_below")]
    below: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Action {
    Keep,
    Reset,
    Rescale,
    Damp { updates: u64, momentum: f64 },
}

/// How an update changes the momentum because of a drop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DropEffect {
    /// Factor of the velocity before the update.
    pub velocity: f64,
    /// Factor of β in the update.
    pub momentum: f64,
}

impl DropEffect {
    /// No effect.
    pub const NONE: Self = Self { velocity: 1.0, momentum: 1.0 };
}

/// The maximum number of damped updates; each update looks back over that many.
const MAX_DAMPED: u64 = 1_000;

/// A drop must be this many times as large as its neighbours.
const STANDS_OUT: f64 = 4.0;

fn default_below() -> f64 {
    0.9
}

impl RateDrop {
    /// Changes nothing.
    pub fn keep() -> Self {
        Self::new(Action::Keep)
    }

    /// Resets the velocity to 0.
    pub fn reset() -> Self {
        Self::new(Action::Reset)
    }

    /// Scales the velocity with the rate.
    pub fn rescale() -> Self {
        Self::new(Action::Rescale)
    }

    /// Multiplies the momentum by `momentum` for `updates` updates, starting with the drop.
    pub fn damp(updates: u64, momentum: f64) -> Self {
        Self::new(Action::Damp { updates, momentum })
    }

    fn new(action: Action) -> Self {
        Self { action, below: default_below() }
    }

    /// Sets the threshold: a drop is an update with η_t < `ratio` · η_{t−1}.
    pub fn below(mut self, ratio: f64) -> Self {
        self.below = ratio;
        self
    }

    /// Whether it has any effect.
    pub fn changes_something(&self) -> bool {
        self.action != Action::Keep
    }

    /// Checks its fields.
    ///
    /// # Errors
    /// [`ScheduleError::OutOfRange`] with the path of the field, inside `field`.
    pub fn check(&self, field: &str) -> Result<(), ScheduleError> {
        let refuse = |name: &str, value: String, allowed: &str| {
            Err(OutOfRange::new(format!("{field}.{name}"), value, allowed).into())
        };
        if !(self.below > 0.0 && self.below < 1.0) {
            return refuse("below", format!("{:?}", self.below), "above 0, below 1");
        }
        match self.action {
            Action::Damp { updates, .. } if !(1..=MAX_DAMPED).contains(&updates) => {
                refuse("damp.updates", updates.to_string(), "1 to 1000")
            }
            Action::Damp { momentum, .. } if !(0.0..=1.0).contains(&momentum) => {
                refuse("damp.momentum", format!("{momentum:?}"), "0 to 1")
            }
            _ => Ok(()),
        }
    }

    /// The effect at update `step` under the schedule `rate`.
    pub fn effect(&self, step: u64, rate: impl Fn(u64) -> f64) -> DropEffect {
        let ratio = |step: u64| -> Option<f64> {
            let (before, now) = (rate(step.checked_sub(1)?), rate(step));
            if now >= self.below * before {
                return None;
            }
            let earlier = step.checked_sub(2).map_or(0.0, |step| (rate(step) - before).abs());
            let later = (now - rate(step.saturating_add(1))).abs();
            (before - now > STANDS_OUT * earlier.max(later)).then(|| now / before)
        };
        match self.action {
            Action::Keep => DropEffect::NONE,
            Action::Reset => DropEffect {
                velocity: if ratio(step).is_some() { 0.0 } else { 1.0 },
                ..DropEffect::NONE
            },
            Action::Rescale => {
                DropEffect { velocity: ratio(step).unwrap_or(1.0), ..DropEffect::NONE }
            }
            Action::Damp { updates, momentum } => {
                let first = (step + 1).saturating_sub(updates);
                let dropped = (first..=step).any(|step| ratio(step).is_some());
                DropEffect { momentum: if dropped { momentum } else { 1.0 }, ..DropEffect::NONE }
            }
        }
    }
}

/// `rescale below 0.9`, `damp for 10 updates by 0.5 below 0.9`
impl fmt::Display for RateDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.action {
            Action::Keep => f.write_str("keep"),
            Action::Reset => write!(f, "reset below {}", self.below),
            Action::Rescale => write!(f, "rescale below {}", self.below),
            Action::Damp { updates, momentum } => {
                write!(f, "damp for {updates} updates by {momentum} below {}", self.below)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    fn effects(policy: RateDrop, schedule: &Schedule) -> Vec<(f64, f64)> {
        let effect = |step| policy.effect(step, |step| schedule.rate(step));
        (0..12).map(effect).map(|effect| (effect.velocity, effect.momentum)).collect()
    }

    /// Drops by half at 4 and at 8.
    #[test]
    fn each_action_acts_where_the_schedule_drops() {
        let schedule =
            step_decay(1.0, Span::steps(4), 0.5).resolve(RunLength::updates(12)).unwrap();
        let at = |steps: &[usize], effect: (f64, f64)| -> Vec<(f64, f64)> {
            (0..12).map(|step| if steps.contains(&step) { effect } else { (1.0, 1.0) }).collect()
        };
        assert_eq!(effects(RateDrop::keep(), &schedule), at(&[], (0.0, 0.0)));
        assert_eq!(effects(RateDrop::reset(), &schedule), at(&[4, 8], (0.0, 1.0)));
        assert_eq!(effects(RateDrop::rescale(), &schedule), at(&[4, 8], (0.5, 1.0)));
        let damped = at(&[4, 5, 6, 8, 9, 10], (1.0, 0.25));
        assert_eq!(effects(RateDrop::damp(3, 0.25), &schedule), damped);
        // A drop by half does not count with a threshold of 0.4.
        assert_eq!(effects(RateDrop::reset().below(0.4), &schedule), at(&[], (0.0, 0.0)));
    }

    #[test]
    fn a_rise_and_a_smooth_fall_are_no_drops() {
        let run = RunLength::updates(1_000);
        let steep = Decay::Factor { factor: 0.8, per: Span::steps(1) };
        for schedule in [
            cosine(1.0).resolve(run),
            linear(0.1, 1.0).resolve(run),
            linear(1.0, 0.0).resolve(run),
            one_cycle(1.0).resolve(run),
            exponential(1.0, steep).resolve(run),
        ] {
            let schedule = schedule.unwrap();
            let policy = RateDrop::reset();
            let effect = |step| policy.effect(step, |step| schedule.rate(step));
            assert!((0..1_000).all(|step| effect(step) == DropEffect::NONE));
        }
    }

    #[test]
    fn refuses_each_field() {
        let error = |policy: RateDrop| policy.check("rate_drop").unwrap_err().to_string();
        for below in [0.0, 1.0, f64::NAN] {
            assert!(error(RateDrop::reset().below(below)).starts_with("rate_drop.below: "));
        }
        assert!(error(RateDrop::damp(0, 0.5)).starts_with("rate_drop.damp.updates: 0 "));
        for momentum in [-0.1, 1.5, f64::NAN] {
            let text = error(RateDrop::damp(5, momentum));
            assert!(text.starts_with("rate_drop.damp.momentum: "), "{text}");
        }
        assert!(RateDrop::damp(5, 0.0).check("").is_ok());
    }
}
