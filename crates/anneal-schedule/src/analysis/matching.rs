//! Matches step decays with exponential decays.

use super::AnalysisError;
use super::error::{not_negative, positive, require};
use crate::{
    Decay, Exponential, Schedule, ScheduleConfig, Span, StepDecay, exponential, step_decay,
};
use serde::Serialize;
use std::f64::consts::LN_2;

/// A matching step decay and exponential decay.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Match {
    /// The step decay.
    pub step_decay: StepDecay,
    /// The exponential decay.
    pub exponential: Exponential,
    /// The κ of the exponential decay, per update.
    pub kappa: f64,
    /// The gap between the two.
    pub log_gap: LogGap,
}

/// The bounds of ln(step decay / exponential decay) at the same update: from `least` (attained) to `below`
/// (not attained unless both are 0).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LogGap {
    /// The smallest value.
    pub least: f64,
    /// The strict upper bound.
    pub below: f64,
}

/// Returns the exponential decay with the same end point as the step decay peak · γ^⌊t/T⌋ with T = `every`: κ
/// = −n ln γ / E, where n = ⌊E/T⌋ drops lie in the first E = `end` updates.
///
/// The log-gap lies in [n ln(1/γ) (nT/E − 1), κT): it is 0 at the start and at E, and if E is a multiple of T
/// it is never negative.
///
/// | argument | range |
/// | --- | --- |
/// | `peak` | finite, above 0 |
/// | `every`, `end` | at least 1 update |
/// | `gamma` | (0, 1] |
///
/// ```
/// use anneal_schedule::analysis::same_end;
/// let found = same_end(0.1, 30, 0.1, 90)?;
/// assert!((found.kappa - 3.0 * 10f64.ln() / 90.0).abs() < 1e-15);
/// assert_eq!(found.log_gap.least, 0.0);
/// # Ok::<(), anneal_schedule::analysis::AnalysisError>(())
/// ```
///
/// # Errors
/// [`AnalysisError::OutOfRange`] names the argument.
pub fn same_end(peak: f64, every: u64, gamma: f64, end: u64) -> Result<Match, AnalysisError> {
    require("gamma", gamma, gamma > 0.0 && gamma <= 1.0, "in (0, 1]")?;
    at_least_1("end", end)?;
    at_least_1("every", every)?;
    let drops = (end / every) as f64;
    let fall = -drops * gamma.ln();
    let kappa = fall / end as f64;
    let least = fall * (drops * every as f64 / end as f64 - 1.0);
    // Before the first drop, the gap is κt.
    let below = kappa * every.min(end) as f64;
    matched(peak, every, gamma, kappa, LogGap { least: least.min(0.0) + 0.0, below })
}

/// Returns the step decay with T = h and γ = ½ and the exponential decay with half-life h.
///
/// ```
/// use anneal_schedule::analysis::same_half_life;
/// let found = same_half_life(0.1, 10)?;
/// assert_eq!((found.step_decay.gamma, found.log_gap.below), (0.5, 2f64.ln()));
/// # Ok::<(), anneal_schedule::analysis::AnalysisError>(())
/// ```
///
/// # Errors
/// [`AnalysisError::OutOfRange`] names the argument.
pub fn same_half_life(peak: f64, half_life: u64) -> Result<Match, AnalysisError> {
    at_least_1("half_life", half_life)?;
    let found =
        matched(peak, half_life, 0.5, LN_2 / half_life as f64, LogGap { least: 0.0, below: LN_2 })?;
    let exponential = exponential(peak, Decay::HalfLife(Span::Steps(half_life)));
    Ok(Match { exponential, ..found })
}

/// Returns the step decay with T = `every` that decays as fast as e^(−κt): γ = e^(−κT).
///
/// The log-gap κ · (t mod T) lies in [0, κT).
///
/// ```
/// use anneal_schedule::analysis::same_decay;
/// let found = same_decay(0.1, 0.01, 100)?;
/// assert_eq!(found.step_decay.gamma, (-1f64).exp());
/// assert_eq!((found.log_gap.least, found.log_gap.below), (0.0, 1.0));
/// # Ok::<(), anneal_schedule::analysis::AnalysisError>(())
/// ```
///
/// # Errors
/// [`AnalysisError::OutOfRange`] names the argument; κT must leave a γ above 0.
pub fn same_decay(peak: f64, kappa: f64, every: u64) -> Result<Match, AnalysisError> {
    not_negative("kappa", kappa)?;
    at_least_1("every", every)?;
    let fall = kappa * every as f64;
    let gamma = (-fall).exp();
    require("kappa", kappa, gamma > 0.0, "small enough that e^(−κT) is above 0")?;
    matched(peak, every, gamma, kappa, LogGap { least: 0.0, below: fall })
}

/// Returns the partner of a plain step decay or exponential decay: for a step decay, the exponential with the
/// same end point after `steps` updates; for an exponential decay, the step decay with T = `every` that
/// decays as fast, by default with its half-life, where γ = ½.
///
/// ```
/// use anneal_schedule::prelude::*;
/// use anneal_schedule::analysis::partner;
/// let schedule = step_decay(0.1, Span::steps(30), 0.1).resolve(RunLength::updates(90))?;
/// assert!((partner(&schedule, 90, None)?.kappa - 3.0 * 10f64.ln() / 90.0).abs() < 1e-15);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`AnalysisError::NoPartner`] for any other schedule, and the errors of [`same_end`], [`same_half_life`]
/// and [`same_decay`].
pub fn partner(
    schedule: &Schedule,
    steps: u64,
    every: Option<u64>,
) -> Result<Match, AnalysisError> {
    let none = || AnalysisError::NoPartner { schedule: schedule.to_string() };
    match schedule.node() {
        ScheduleConfig::StepDecay(decay) => same_end(decay.peak, decay.every, decay.gamma, steps),
        ScheduleConfig::Exponential(smooth) => {
            let kappa = match smooth.decay {
                Decay::HalfLife(half_life) if every.is_none() => {
                    return same_half_life(smooth.peak, half_life);
                }
                Decay::HalfLife(half_life) => LN_2 / half_life as f64,
                Decay::Kappa(kappa) => kappa,
                Decay::Factor { factor, per } => -factor.ln() / per as f64,
                Decay::Toward { .. } => return Err(none()),
            };
            let every = every.or_else(|| half_life(kappa)).ok_or_else(none)?;
            same_decay(smooth.peak, kappa, every)
        }
        _ => Err(none()),
    }
}

/// The half-life in whole updates; `None` if nothing decays.
fn half_life(kappa: f64) -> Option<u64> {
    let updates = LN_2 / kappa;
    updates.is_finite().then_some((updates.round() as u64).max(1))
}

fn matched(
    peak: f64,
    every: u64,
    gamma: f64,
    kappa: f64,
    log_gap: LogGap,
) -> Result<Match, AnalysisError> {
    positive("peak", peak)?;
    Ok(Match {
        step_decay: step_decay(peak, Span::Steps(every), gamma),
        exponential: exponential(peak, Decay::Kappa(kappa)),
        kappa,
        log_gap,
    })
}

fn at_least_1(field: &'static str, updates: u64) -> Result<(), AnalysisError> {
    require(field, updates as f64, updates > 0, "at least 1 update").map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RunLength, ScheduleExt};

    /// The log-gaps of the first `steps` updates.
    fn gaps(found: &Match, steps: u64) -> Vec<f64> {
        let run = RunLength::unbounded();
        let step = found.step_decay.clone().resolve(run).unwrap();
        let smooth = found.exponential.clone().resolve(run).unwrap();
        (0..=steps).map(|t| (step.rate(t) / smooth.rate(t)).ln()).collect()
    }

    fn check(found: &Match, steps: u64) {
        let gaps = gaps(found, steps);
        let least = gaps.iter().copied().fold(f64::MAX, f64::min);
        assert!((least - found.log_gap.least).abs() < 1e-12, "{found:?}: {least}");
        let largest = gaps.iter().copied().fold(f64::MIN, f64::max);
        // The largest is one update's κ below the bound.
        let expected = (found.log_gap.below - found.kappa).max(0.0);
        assert!((largest - expected).abs() < 1e-12, "{found:?}: {largest}");
    }

    #[test]
    fn the_same_end_is_met_and_the_gap_is_tight() {
        for (every, gamma, end) in [(30, 0.1, 90), (30, 0.1, 100), (7, 0.5, 20), (1, 0.9, 50)] {
            let found = same_end(0.1, every, gamma, end).unwrap();
            assert!(gaps(&found, end)[end as usize].abs() < 1e-12, "{found:?}");
            check(&found, end);
        }
        // No drop before the end: the exponential is constant.
        let flat = same_end(0.1, 100, 0.5, 50).unwrap();
        assert_eq!((flat.kappa, flat.log_gap), (0.0, LogGap { least: 0.0, below: 0.0 }));
    }

    #[test]
    fn half_life_and_decay_stay_within_one_drop() {
        for every in [1, 5, 40] {
            check(&same_half_life(1.0, every).unwrap(), 5 * every);
            check(&same_decay(1.0, 0.03, every).unwrap(), 5 * every);
        }
    }

    #[test]
    fn refuses_each_argument() {
        let field = |found: Result<Match, AnalysisError>| match found {
            Err(AnalysisError::OutOfRange(error)) => error.field,
            other => panic!("{other:?}"),
        };
        assert_eq!(field(same_end(0.0, 10, 0.5, 20)), "peak");
        assert_eq!(field(same_end(1.0, 0, 0.5, 20)), "every");
        assert_eq!(field(same_end(1.0, 10, 0.0, 20)), "gamma");
        assert_eq!(field(same_end(1.0, 10, 0.5, 0)), "end");
        assert_eq!(field(same_half_life(1.0, 0)), "half_life");
        assert_eq!(field(same_half_life(f64::NAN, 10)), "peak");
        assert_eq!(field(same_decay(1.0, -0.1, 10)), "kappa");
        assert_eq!(field(same_decay(1.0, 10.0, 1_000)), "kappa");
        assert_eq!(field(same_decay(1.0, 0.1, 0)), "every");
    }
}
