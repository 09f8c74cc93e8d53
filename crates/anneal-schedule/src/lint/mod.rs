//! Finds likely mistakes in a schedule before training.
//!
//! [`lint`] reads a description and the length of the run and returns [`Finding`]s, each with a stable
//! [`Code`], what it found, at which update, and what to change. Checks that depend on the loss or the
//! optimizer run only if the [`Options`] are set.
//!
//! | code | what is wrong | option |
//! | --- | --- | --- |
//! | `never-warm` | no update reaches even half of the peak that the description names | |
//! | `cut-short` | note: the run ends before the schedule does, which `truncate` allows | |
//! | `frozen-tail` | a quarter of the run at its end is frozen, or several updates have a rate of 0 | |
//! | `unreachable-end` | a curve does not fit into the run, restarts are cut off within a cycle, or a floor lies above an end | |
//! | `flat-floor` | note: a floor holds the rate flat although the curve could end at it | |
//! | `decay-never-starts` | a decay does not change the rate | |
//! | `ends-early` | a decay ends in the first tenth of its part of the run | |
//! | `rises-again` | a cosine that continues rises again before the run ends | |
//! | `restart-resets-nothing` | the run contains no restart, or one that does not raise the rate | |
//! | `short-period` | a cycle restarts every few updates of a long run | |
//! | `sudden-jump` | the rate changes more than a hundredfold from one part to the next | |
//! | `warmup-longer-than-half` | a warm-up takes more than half of the run | |
//! | `warmup-longer-than-run` | a warm-up leaves no updates for the schedule after it | |
//! | `warmup-rounds-to-zero` | a warm-up rounds to 0 updates | |
//! | `looks-like-epochs` | a length is as few updates as it could be epochs | |
//! | `looks-like-updates` | a length is as many epochs as it could be updates | |
//! | `double-warmup` | a warm-up leads to a schedule that has its own warm-up | |
//! | `rate-too-high` | the largest rate is above 10 | |
//! | `looks-like-multiplier` | the largest rate is exactly 1, like a multiplier of torch's LambdaLR | |
//! | `above-stability-ceiling` | rates are unstable on a curvature | curvature |
//! | `vanishing-decay` | note: the weight decay shrinks weights by less than 0.1 % in all | weight decay |
//! | `fading-decay` | note: the weight decay follows the rate down, below a tenth of its largest share | weight decay |
//! | `invalid` | the description does not resolve for another reason | |
//!
//! [`Code::explanation`] explains why each matters, with an example that triggers it and one that does not.
//!
//! ```
//! use anneal_schedule::prelude::*;
//! use anneal_schedule::analysis::Options;
//! use anneal_schedule::lint::{Code, lint};
//!
//! let good = cosine(3e-4).warmup(Span::percent(5.0));
//! assert!(lint(&good.into(), RunLength::updates(1_000), &Options::new())?.is_empty());
//!
//! let short = warm_restarts(0.1, Span::steps(600));
//! let findings = lint(&short.into(), RunLength::updates(1_000), &Options::new())?;
//! assert_eq!(findings[0].code, Code::UnreachableEnd);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod behaviour;
mod explanation;
mod finding;
mod floors;
mod sequences;
mod structure;
mod units;
mod warmups;

pub use explanation::{Example, Explanation};
pub use finding::{Code, Finding, Severity, UnknownCode};

use crate::analysis::{AnalysisError, Options};
use crate::error::counted;
use crate::{RunLength, Schedule, ScheduleConfig, ScheduleError, ScheduleExt};

/// Returns the likely mistakes in a description for a run, in the order of the updates; none for a good one.
///
/// A description that does not resolve is a finding, not an error.
///
/// # Errors
/// As [`Analysis::of`](crate::analysis::Analysis::of): a run without an end needs [`Options::steps`], and a
/// run above [`MAX_SUMMED`](crate::analysis::MAX_SUMMED) updates needs a schedule with closed forms.
/// [`AnalysisError::OutOfRange`] for an option.
pub fn lint(
    config: &ScheduleConfig,
    run: RunLength,
    options: &Options,
) -> Result<Vec<Finding>, AnalysisError> {
    options.check()?;
    let schedule = match config.clone().resolve(run) {
        Ok(schedule) => schedule,
        Err(error) => return Ok(vec![unresolved(&error)]),
    };
    let window = options.window(&schedule)?;
    let mut findings = structure::findings(&window);
    findings.extend(behaviour::findings(&window, options)?);
    let explains = [Code::EndsEarly, Code::LooksLikeEpochs];
    if findings.iter().any(|finding| explains.contains(&finding.code)) {
        // It explains the frozen tail.
        findings.retain(|finding| finding.code != Code::FrozenTail);
    }
    findings.extend(cut_short(&schedule));
    findings.sort_by_key(|finding| finding.step);
    Ok(findings)
}

/// The finding for a schedule of which the run has only the beginning.
fn cut_short(schedule: &Schedule) -> Option<Finding> {
    let (updates, whole) = (schedule.length()?, schedule.truncated_from()?);
    Some(Finding {
        code: Code::CutShort,
        severity: Severity::Note,
        step: None,
        message: format!("the run ends after {updates} of the {whole} updates of the schedule"),
        change: "lengthen the run, unless only its beginning is to be tried".into(),
    })
}

/// The finding for a description that does not resolve.
fn unresolved(error: &ScheduleError) -> Finding {
    let (code, change) = match error {
        ScheduleError::TooLong { field, left, unit, .. } if field.ends_with("warmup.length") => {
            (Code::WarmupLongerThanRun, format!("warm up for at most {}", counted(*left, unit)))
        }
        ScheduleError::TooLong { field, left, span, updates, unit } => {
            let number = span.strip_suffix("ep").and_then(|number| number.parse::<u64>().ok());
            let change = format!("set {field} to at most {}", counted(*left, unit));
            // As updates it fits, and is an epoch or more.
            match number
                .filter(|number| number <= left && number.saturating_mul(*number) >= *updates)
            {
                Some(number) => (
                    Code::LooksLikeUpdates,
                    format!("write {number} if updates are meant, or {change}"),
                ),
                None => (Code::UnreachableEnd, change),
            }
        }
        _ => (Code::Invalid, "give a value in the allowed range".into()),
    };
    Finding { code, severity: Severity::Error, step: None, message: error.to_string(), change }
}

#[cfg(test)]
mod mistakes;
#[cfg(test)]
mod tests;
