//! The share of a weight that decay removes at each update.

use super::Policy;
use crate::Schedule;
use crate::analysis::Window;
use std::fmt;

/// The share d_t of a weight that update t removes: a [`WeightDecay`](super::WeightDecay), checked and
/// resolved for a run. A pure function of the step and of the rate.
#[derive(Clone, Debug, PartialEq)]
pub struct Shrinkage {
    policy: Policy,
    coefficient: Coefficient,
    peak: f64,
    cautious: bool,
}

/// ω or ω(t).
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Coefficient {
    Constant(f64),
    Scheduled(Box<Schedule>),
}

impl Coefficient {
    fn at(&self, step: u64) -> f64 {
        match self {
            Self::Constant(omega) => *omega,
            Self::Scheduled(schedule) => schedule.rate(step),
        }
    }

    fn peak(&self) -> f64 {
        match self {
            Self::Constant(omega) => *omega,
            Self::Scheduled(schedule) => schedule.peak(),
        }
    }
}

/// The maximum number of updates searched for the largest rate: a tenth of a second.
const MAX_LOOKED_AT: u64 = 1_000_000;

/// The maximum number of updates whose share is checked one by one: a few seconds.
const MAX_CHECKED: u64 = 100_000_000;

impl Shrinkage {
    /// A decay that removes nothing.
    pub fn none() -> Self {
        Self::new(Policy::Coupled, Coefficient::Constant(0.0), 0.0, false)
    }

    pub(super) fn new(policy: Policy, coefficient: Coefficient, peak: f64, cautious: bool) -> Self {
        Self { policy, coefficient, peak, cautious }
    }

    /// d_t of update `step` with the rate η_t = `rate`. At most 1, which a schedule may exceed after the end
    /// of the run.
    pub fn at(&self, step: u64, rate: f64) -> f64 {
        self.share(self.coefficient(step), rate).min(1.0)
    }

    fn share(&self, omega: f64, rate: f64) -> f64 {
        let relative = || if self.peak > 0.0 { rate / self.peak } else { 0.0 };
        match self.policy {
            Policy::Coupled => rate * omega,
            Policy::Independent => omega,
            Policy::Relative => relative() * omega,
            Policy::Corrected => rate * relative() * omega,
        }
    }

    /// ω, or ω(t) of update `step`.
    pub fn coefficient(&self, step: u64) -> f64 {
        self.coefficient.at(step)
    }

    /// An upper bound of the share.
    pub fn bound(&self) -> f64 {
        self.share(self.coefficient.peak(), self.peak)
    }

    /// Whether it shrinks only weights that the update also moves towards 0.
    pub fn is_cautious(&self) -> bool {
        self.cautious
    }

    /// Whether its share depends on the step, not on the rate alone.
    pub fn follows_the_step(&self) -> bool {
        matches!(self.coefficient, Coefficient::Scheduled(_))
    }

    /// Whether it never removes anything.
    pub fn is_none(&self) -> bool {
        self.bound() == 0.0
    }

    /// The allowed range for the error, if the share is 1 or more at any of `updates`, so that nothing is
    /// left of a weight.
    pub(super) fn too_large(
        &self,
        rate: impl Fn(u64) -> f64,
        updates: Option<u64>,
    ) -> Option<String> {
        if self.bound() < 1.0 {
            return None;
        }
        // The bound may exceed what is reached.
        let share = |step: u64| self.share(self.coefficient(step), rate(step));
        let looked_at = updates.filter(|&updates| updates <= MAX_CHECKED);
        let found = (0..looked_at.unwrap_or(1_000)).find(|&step| share(step) >= 1.0);
        match (found, looked_at) {
            (Some(step), _) => Some(format!(
                "a share below 1 of each weight; it is {:?} at update {step}, at the rate \
                 {:?}",
                share(step),
                rate(step)
            )),
            (None, Some(_)) => None,
            (None, None) => Some(format!(
                "a share below 1 of each weight; it may reach {:?} in the run, \
                 which is too long to check every update: put a cap around the rising schedule",
                self.bound()
            )),
        }
    }
}

impl fmt::Display for Shrinkage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cautious = if self.cautious { ", cautious" } else { "" };
        let (policy, peak) = (self.policy.name(), self.peak);
        match &self.coefficient {
            Coefficient::Constant(omega) => write!(f, "{policy}({omega:?}){cautious}")?,
            Coefficient::Scheduled(schedule) => write!(f, "{policy}({schedule}){cautious}")?,
        }
        match self.policy {
            Policy::Relative | Policy::Corrected => write!(f, ", peak {peak:?}"),
            Policy::Coupled | Policy::Independent => Ok(()),
        }
    }
}

/// The largest rate of a schedule in its run: in closed form, or searched among up to a million updates;
/// otherwise the bound that [`Schedule::peak`] gives.
pub fn peak_rate(schedule: &Schedule) -> f64 {
    let looked_at = Window::run(schedule)
        .ok()
        .filter(|window| window.steps() <= MAX_LOOKED_AT || window.pieces().is_some());
    let found = looked_at.and_then(|window| Some(window.cooling(1.0).ok()?.peak));
    found.unwrap_or_else(|| schedule.peak())
}
