//! What is wrong with a schedule before training.
//!
//! [`lint`] reads a description and the length of the run and gives [`Finding`]s, each with a
//! stable [`Code`], what it found, at which update, and what to change. What depends on the loss
//! or the optimizer is only looked at where the [`Options`] say it.
//!
//! | code | what is wrong | asks for |
//! | --- | --- | --- |
//! | `never-warm` | no update has even half of the peak that the description names | |
//! | `frozen-tail` | a quarter of the run at its end is frozen, or several updates have a rate of 0 | |
//! | `unreachable-end` | a curve does not fit into the run, restarts are cut off in a cycle, or a floor lies above an end | |
//! | `flat-floor` | note: a floor holds the rate flat where the curve could end at it | |
//! | `decay-never-starts` | a decay leaves the rate as it is | |
//! | `ends-early` | a decay is over in the first tenth of its part of the run | |
//! | `rises-again` | a cosine that continues goes up again before the run ends | |
//! | `restart-resets-nothing` | no restart in the run, or one that raises no rate | |
//! | `short-period` | something begins anew every few updates of a long run | |
//! | `sudden-jump` | from one part to the next the rate changes more than a hundredfold | |
//! | `warmup-longer-than-half` | a warm-up takes more than half of the run | |
//! | `warmup-longer-than-run` | a warm-up leaves no update for what follows | |
//! | `warmup-rounds-to-zero` | a warm-up rounds to 0 updates | |
//! | `double-warmup` | a warm-up leads to something that warms up itself | |
//! | `rate-too-high` | the largest rate is above 10 | |
//! | `looks-like-multiplier` | the largest rate is exactly 1, like a multiplier of torch's LambdaLR | |
//! | `above-stability-ceiling` | rates that are unstable on a curvature | curvature |
//! | `vanishing-decay` | note: the weight decay shrinks weights by less than 0.1 % in all | weight decay |
//! | `fading-decay` | note: the weight decay follows the rate down, below a tenth of its largest share | weight decay |
//! | `invalid` | the description does not resolve for another reason | |
//!
//! [`Code::explanation`] says of each why it matters, with a schedule that has it and one that does not.
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
use crate::{RunLength, ScheduleConfig, ScheduleError, ScheduleExt};

/// What is wrong with a description in a run, in the order of the updates; nothing for a good one.
///
/// A description that does not resolve is a finding, not an error.
///
/// # Errors
/// As [`Analysis::of`](crate::analysis::Analysis::of): a run without an end needs
/// [`Options::steps`], and a run above [`MAX_SUMMED`](crate::analysis::MAX_SUMMED) updates needs
/// a schedule with closed forms. [`AnalysisError::OutOfRange`] for an option.
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
    if findings.iter().any(|finding| finding.code == Code::EndsEarly) {
        // It says why.
        findings.retain(|finding| finding.code != Code::FrozenTail);
    }
    findings.sort_by_key(|finding| finding.step);
    Ok(findings)
}

/// The finding for a description that does not resolve.
fn unresolved(error: &ScheduleError) -> Finding {
    let (code, change) = match error {
        ScheduleError::TooLong { field, left, .. } if field.ends_with("warmup.length") => {
            (Code::WarmupLongerThanRun, format!("warm up for at most {left} updates"))
        }
        ScheduleError::TooLong { field, left, .. } => {
            (Code::UnreachableEnd, format!("set {field} to at most {left} updates"))
        }
        _ => (Code::Invalid, "give a value in the allowed range".into()),
    };
    Finding { code, severity: Severity::Error, step: None, message: error.to_string(), change }
}

#[cfg(test)]
mod mistakes;
#[cfg(test)]
mod tests;
