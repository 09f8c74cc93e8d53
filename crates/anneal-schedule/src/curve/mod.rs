//! The curves, one file each, with formula, parameters, checks, rate, source and tests.

mod constant;
mod cosine;
mod custom;
pub(crate) mod cycle;
mod cyclic;
mod exponential;
mod inverse_curvature;
mod inverse_sqrt;
mod inverse_time;
mod multi_step;
mod noam;
mod one_cycle;
pub(crate) mod pieces;
mod piecewise_constant;
mod piecewise_interpolate;
mod polynomial;
mod power_law;
mod stable_decay;
mod step_decay;
mod table;
pub(crate) mod tail;
mod tanh;
mod warm_restarts;

pub use constant::{Constant, constant};
pub use cosine::{AfterEnd, Cosine, cosine};
pub use custom::{Custom, custom};
pub use cyclic::{CycleScaling, Cyclic, cyclic};
pub use exponential::{Decay, Exponential, exponential};
pub use inverse_curvature::{InverseCurvature, curvature_weights, inverse_curvature};
pub use inverse_sqrt::{InverseSqrt, inverse_sqrt};
pub use inverse_time::{InverseTime, inverse_time};
pub use multi_step::{MultiStep, multi_step};
pub use noam::{Noam, noam};
pub use one_cycle::{AnnealStrategy, OneCycle, one_cycle};
pub use piecewise_constant::{PiecewiseConstant, piecewise_constant};
pub use piecewise_interpolate::{PiecewiseInterpolate, piecewise_interpolate};
pub use polynomial::{Polynomial, linear, polynomial};
pub use power_law::{PowerLaw, power_law};
pub use stable_decay::{DecayShape, Stable, StableDecay, stable_decay, warmup_stable_decay};
pub use step_decay::{StepDecay, step_decay};
pub use table::{Table, table};
pub use tanh::{Tanh, tanh};
pub use warm_restarts::{WarmRestarts, warm_restarts};

#[cfg(feature = "peers")]
pub(crate) use tanh::falling_tanh;

use crate::{ScheduleConfig, ScheduleError, scope::Scope};
use pieces::Piece;
use tail::Tail;

/// A description of a curve or combinator.
pub(crate) trait Describe {
    /// Its type once its lengths are updates.
    type Resolved;

    /// The name that errors give it, by default that of its table.
    fn name_in_errors(&self, table: &'static str) -> &'static str {
        table
    }

    /// Checks every field and turns spans into updates.
    fn resolve(&self, scope: &Scope<'_>) -> Result<Self::Resolved, ScheduleError>;
}

/// A resolved curve or combinator: a pure function of the step.
pub(crate) trait Rate {
    /// The rate of update `step`: finite, not negative, in closed form.
    fn rate(&self, step: u64) -> f64;

    /// Fills in the rates of consecutive updates from `first` on, dispatching on the curve only once.
    fn fill(&self, first: u64, rates: &mut [f64]) {
        for (step, rate) in (first..).zip(rates) {
            *rate = self.rate(step);
        }
    }

    /// The rate that is held if the schedule ends at `step`: the rate reached there, not the one it would
    /// jump to.
    fn end_rate(&self, step: u64) -> f64 {
        self.rate(step)
    }

    /// An upper bound of the rate; the maximum if it is known in closed form.
    fn peak(&self) -> f64;

    /// The mean of the `window` ≥ 1 rates up to and including `step`, with the first rate at steps below 0;
    /// only if it has a closed form and no jumps.
    fn mean(&self, _step: u64, _window: u64) -> Option<f64> {
        None
    }

    /// Its behaviour as t grows without bound.
    fn tail(&self) -> Tail {
        Tail::Unknown
    }

    /// Its first `steps` updates as monotone pieces with known sums; `None` if it has none, so that the
    /// analysis must sum over its updates.
    fn pieces(&self, _steps: u64) -> Option<Vec<Piece>> {
        None
    }

    /// The first update from `from` on that ends a cycle: see
    /// [`Schedule::cycle_ends`](crate::Schedule::cycle_ends). By default, a cycle of one of its inner
    /// schedules.
    fn cycle_end(&self, from: u64) -> Option<u64> {
        let ends = self.inner().into_iter().filter_map(|inner| inner.cycle_end(from));
        ends.min()
    }

    /// Its inner schedules, if they share its updates and their values are rates: none if time runs faster or
    /// the values are batch sizes.
    fn inner(&self) -> Vec<Inner<'_>> {
        vec![]
    }
}

/// A schedule inside a combinator.
pub(crate) struct Inner<'a> {
    /// The schedule.
    pub(crate) node: &'a ScheduleConfig<u64>,
    /// The update of the combinator at which it starts.
    pub(crate) start: u64,
    /// The maximum number of updates it is used for.
    pub(crate) length: u64,
}

impl<'a> Inner<'a> {
    /// A schedule that is used from start to end.
    pub(crate) fn whole(node: &'a ScheduleConfig<u64>) -> Self {
        Self { node, start: 0, length: u64::MAX }
    }

    /// The first update of the combinator from `from` on that ends one of its cycles.
    fn cycle_end(&self, from: u64) -> Option<u64> {
        let end = self.node.cycle_end(from.saturating_sub(self.start))?;
        (end < self.length).then(|| self.start.saturating_add(end))
    }
}

/// The share of `length` updates that have passed at `step`, in [0, 1]; 1 if `length` is 0.
pub(crate) fn fraction(step: u64, length: u64) -> f64 {
    if step >= length { 1.0 } else { step as f64 / length as f64 }
}

/// Exactly `from` at weight 1 and `to` at weight 0; always between the two.
pub(crate) fn mix(from: f64, to: f64, weight: f64) -> f64 {
    (from * weight + to * (1.0 - weight)).clamp(from.min(to), from.max(to))
}

/// Like [`mix`], but geometric: from^weight · to^(1 − weight), for numbers above 0.
pub(crate) fn geometric_mix(from: f64, to: f64, weight: f64) -> f64 {
    (from.powf(weight) * to.powf(1.0 - weight)).clamp(from.min(to), from.max(to))
}

/// The default factor of a drop, as in torch.
fn tenth() -> f64 {
    0.1
}

/// base^exponent, at no cost for the default exponent 1.
pub(crate) fn power(base: f64, exponent: f64) -> f64 {
    if exponent == 1.0 { base } else { base.powf(exponent) }
}

/// The falling half of a cosine wave: 1 at x = 0, 0 at x = 1.
pub(crate) fn half_cosine(x: f64) -> f64 {
    0.5 * (1.0 + (std::f64::consts::PI * x).cos())
}

/// The number of `period`s that have passed at `step`; whole ones for a staircase.
pub(crate) fn periods(step: u64, period: u64, staircase: bool) -> f64 {
    if staircase { (step / period) as f64 } else { step as f64 / period as f64 }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
pub(crate) use testing::{refused, resolved};
