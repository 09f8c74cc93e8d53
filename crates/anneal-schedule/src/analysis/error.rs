//! Errors of an analysis.

use crate::OutOfRange;
use thiserror::Error;

/// Why an analysis has no result.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum AnalysisError {
    /// A run without an end.
    #[error(
        "the run has no end: set the number of updates to analyze with `Options::steps` or \
         `Window::first`"
    )]
    NeedsSteps,
    /// A sum without a closed form over too many updates.
    #[error(
        "{what}: no closed form is known for this schedule, and {steps} updates are too many to \
         sum; allowed: at most {most}"
    )]
    TooManySteps {
        /// The requested result.
        what: &'static str,
        /// The number of updates analyzed.
        steps: u64,
        /// The maximum that is summed.
        most: u64,
    },
    /// A schedule that is neither a step decay nor an exponential decay.
    #[error(
        "{schedule}: neither a plain step decay nor a plain exponential decay without an end, so \
         it has no partner"
    )]
    NoPartner {
        /// The schedule.
        schedule: String,
    },
    /// An argument outside its range.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// A rate at which gradient descent diverges on this curvature.
    #[error(
        "rate {rate:?} at curvature {curvature:?}: ηλ is {}, so gradient descent diverges; \
         allowed: ηλ < 2, a rate below {:?}", rate * curvature, 2.0 / curvature
    )]
    Unstable {
        /// The rate η.
        rate: f64,
        /// The curvature λ.
        curvature: f64,
    },
    /// A result too large for an f64.
    #[error("{what}: the result is larger than an f64 can hold")]
    Overflow {
        /// The requested result.
        what: &'static str,
    },
}

/// Returns `value` if it is a finite number above 0.
pub(crate) fn positive(field: &'static str, value: f64) -> Result<f64, AnalysisError> {
    require(field, value, value > 0.0 && value.is_finite(), "a finite number above 0")
}

/// Returns `value` if it is a finite number, at least 0.
pub(crate) fn not_negative(field: &'static str, value: f64) -> Result<f64, AnalysisError> {
    require(field, value, value >= 0.0 && value.is_finite(), "a finite number, at least 0")
}

/// Returns `value` if `ok`.
pub(crate) fn require(
    field: &'static str,
    value: f64,
    ok: bool,
    allowed: &str,
) -> Result<f64, AnalysisError> {
    OutOfRange::require(field, value, ok, allowed)?;
    Ok(value)
}

/// Returns `value` if it is finite.
pub(crate) fn finite(what: &'static str, value: f64) -> Result<f64, AnalysisError> {
    if value.is_finite() { Ok(value) } else { Err(AnalysisError::Overflow { what }) }
}
