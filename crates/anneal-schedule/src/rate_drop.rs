//! What a velocity that holds the rate does where the schedule drops it.

use crate::{OutOfRange, ScheduleError};
use serde::{Deserialize, Serialize};

/// What happens to momentum where the rate drops.
///
/// Where the rate sits inside the buffer, v ← β v + η g and w ← w − v, a drop of the rate leaves a
/// velocity that was built at the old rate: it moves the weights on by up to β/(1 − β) times its size,
/// past where the new rate would take them. PyTorch's form, w ← w − η v, has no such rest: a drop acts on
/// all of it at once.
///
/// A drop is where the schedule says η_t < `below` · η_{t−1}, in a fall more than four times those of the
/// updates before and after it: the end of a cosine is none. It is read off the schedule, so it is the
/// same after a resume, and no controller is taken for one.
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
/// | `below` | ratio of two rates, 0.9 unless said otherwise | above 0, below 1 |
/// | `updates` | updates that are damped | 1 to 1,000 |
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
/// Source: the two forms are told apart in PyTorch's documentation of `SGD`; Goyal et al. 2017,
/// "Accurate, large minibatch SGD", section 2.3, calls the rescaling momentum correction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[must_use]
pub struct RateDrop {
    action: Action,
    #[serde(default = "default_below")]
    below: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Action {
    Keep,
    Reset,
    Rescale,
    Damp { updates: u64, momentum: f64 },
}

/// What an update does to the momentum because of a drop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DropEffect {
    /// What the velocity is multiplied by before the update.
    pub velocity: f64,
    /// What β is multiplied by in the update.
    pub momentum: f64,
}

impl DropEffect {
    /// Nothing.
    pub const NONE: Self = Self { velocity: 1.0, momentum: 1.0 };
}

/// So many updates are looked back over at each one.
const MAX_DAMPED: u64 = 1_000;

/// A fall stands out that is so many times its neighbours.
const STANDS_OUT: f64 = 4.0;

fn default_below() -> f64 {
    0.9
}

impl RateDrop {
    /// Nothing happens.
    pub fn keep() -> Self {
        Self::new(Action::Keep)
    }

    /// The velocity becomes 0.
    pub fn reset() -> Self {
        Self::new(Action::Reset)
    }

    /// The velocity is multiplied as the rate is.
    pub fn rescale() -> Self {
        Self::new(Action::Rescale)
    }

    /// The momentum is multiplied by `momentum` for `updates` updates, the first of them that of the
    /// drop.
    pub fn damp(updates: u64, momentum: f64) -> Self {
        Self::new(Action::Damp { updates, momentum })
    }

    fn new(action: Action) -> Self {
        Self { action, below: default_below() }
    }

    /// A drop is where η_t < `ratio` · η_{t−1}.
    pub fn below(mut self, ratio: f64) -> Self {
        self.below = ratio;
        self
    }

    /// Whether it does anything.
    pub fn changes_something(&self) -> bool {
        self.action != Action::Keep
    }

    /// Checks its fields.
    ///
    /// # Errors
    /// [`ScheduleError::OutOfRange`] names the field, below `field`.
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

    /// What update `step` does, where `rate` is the schedule.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    fn effects(policy: RateDrop, schedule: &Schedule) -> Vec<(f64, f64)> {
        let effect = |step| policy.effect(step, |step| schedule.rate(step));
        (0..12).map(effect).map(|effect| (effect.velocity, effect.momentum)).collect()
    }

    /// Drops by 0.5 at 4 and at 8.
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
        // A drop by half is none where only drops below 0.4 are.
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
