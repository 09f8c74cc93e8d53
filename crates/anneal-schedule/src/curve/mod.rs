//! The curves: a file each, with its formula, parameters, check, rate, source and tests.

mod constant;
mod cosine;
mod exponential;
mod multi_step;
mod one_cycle;
mod polynomial;
mod stable_decay;
mod step_decay;
mod warm_restarts;

pub use constant::{Constant, constant};
pub use cosine::{AfterEnd, Cosine, cosine};
pub use exponential::{Decay, Exponential, exponential};
pub use multi_step::{MultiStep, multi_step};
pub use one_cycle::{Anneal, OneCycle, one_cycle};
pub use polynomial::{Polynomial, linear, polynomial};
pub use stable_decay::{DecayShape, Stable, StableDecay, stable_decay, warmup_stable_decay};
pub use step_decay::{StepDecay, step_decay};
pub use warm_restarts::{WarmRestarts, warm_restarts};

use crate::{ScheduleError, scope::Scope};

/// A part of a description, curve or combinator.
pub(crate) trait Describe {
    /// What it is once its lengths are updates.
    type Resolved;

    /// Checks every field and turns spans into updates.
    fn resolve(&self, scope: &Scope<'_>) -> Result<Self::Resolved, ScheduleError>;
}

/// A resolved curve or combinator: a pure function of the step.
pub(crate) trait Rate {
    /// The rate of update `step`: finite, not negative, closed form.
    fn rate(&self, step: u64) -> f64;

    /// The rate that is held where the schedule ends at `step`: the one that it has reached there,
    /// not the one that it would jump to.
    fn held(&self, step: u64) -> f64 {
        self.rate(step)
    }

    /// A rate that is never exceeded; the largest one wherever that is known in closed form.
    fn peak(&self) -> f64;
}

/// The share of `length` updates that have passed at `step`, in [0, 1]; 1 where there are none.
pub(crate) fn fraction(step: u64, length: u64) -> f64 {
    if step >= length { 1.0 } else { step as f64 / length as f64 }
}

/// `from` at weight 1, `to` at weight 0, exactly; never outside the two.
pub(crate) fn mix(from: f64, to: f64, weight: f64) -> f64 {
    (from * weight + to * (1.0 - weight)).clamp(from.min(to), from.max(to))
}

/// Like [`mix`], but geometric: from^weight · to^(1 − weight), of numbers above 0.
pub(crate) fn geometric_mix(from: f64, to: f64, weight: f64) -> f64 {
    (from.powf(weight) * to.powf(1.0 - weight)).clamp(from.min(to), from.max(to))
}

/// The falling half of a cosine wave: 1 at x = 0, 0 at x = 1.
pub(crate) fn half_cosine(x: f64) -> f64 {
    0.5 * (1.0 + (std::f64::consts::PI * x).cos())
}

#[cfg(test)]
mod testing;
#[cfg(test)]
pub(crate) use testing::{refused, resolved};
