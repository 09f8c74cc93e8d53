//! What a weight decay takes of a weight at each update.

use super::Policy;
use crate::{Schedule, ScheduleError};

/// The share d_t of a weight that update t takes: a [`WeightDecay`](super::WeightDecay), checked and
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
    Scheduled(Schedule),
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

/// The most updates whose share is looked at one by one: a few seconds.
const MOST_CHECKED: u64 = 100_000_000;

impl Shrinkage {
    /// One that takes nothing.
    pub fn none() -> Self {
        Self::new(Policy::Coupled, Coefficient::Constant(0.0), 0.0, false)
    }

    pub(super) fn new(policy: Policy, coefficient: Coefficient, peak: f64, cautious: bool) -> Self {
        Self { policy, coefficient, peak, cautious }
    }

    /// d_t of update `step`, whose rate is η_t = `rate`.
    pub fn at(&self, step: u64, rate: f64) -> f64 {
        self.share(self.coefficient(step), rate)
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

    /// A share that no update exceeds.
    pub fn bound(&self) -> f64 {
        self.share(self.coefficient.peak(), self.peak)
    }

    /// What it is tied to.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Whether only weights shrink that the update moves towards 0 too.
    pub fn is_cautious(&self) -> bool {
        self.cautious
    }

    /// Whether its share depends on the step, and not on the rate alone.
    pub fn follows_the_step(&self) -> bool {
        matches!(self.coefficient, Coefficient::Scheduled(_))
    }

    /// Whether it never takes anything.
    pub fn is_none(&self) -> bool {
        self.bound() == 0.0
    }

    /// Refuses a share of 1 or more, in which nothing is left of a weight, at any of `updates`.
    pub(super) fn check(
        &self,
        field: &str,
        rate: impl Fn(u64) -> f64,
        updates: Option<u64>,
    ) -> Result<(), ScheduleError> {
        if self.bound() < 1.0 {
            return Ok(());
        }
        // The bound may lie above what is reached; where the run is too long to know it counts.
        let reached = |step: u64| self.at(step, rate(step)) >= 1.0;
        let first = match updates.filter(|&updates| updates <= MOST_CHECKED) {
            Some(updates) => match (0..updates).find(|&step| reached(step)) {
                Some(step) => Some(step),
                None => return Ok(()),
            },
            None => (0..1_000).find(|&step| reached(step)),
        };
        let place = first.map_or("somewhere in the run".to_string(), |step| {
            format!("at update {step}, at the rate {:?}", rate(step))
        });
        let omega = first.map_or(self.coefficient.peak(), |step| self.coefficient.at(step));
        let share = first.map_or(self.bound(), |step| self.at(step, rate(step)));
        Err(ScheduleError::OutOfRange {
            field: field.to_string(),
            value: format!("{omega:?}"),
            allowed: format!(
                "what takes a share below 1 of each weight; it takes {share:?} {place}"
            ),
        })
    }
}
