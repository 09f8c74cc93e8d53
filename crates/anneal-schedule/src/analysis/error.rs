//! Why nothing can be said of a schedule.

use crate::OutOfRange;
use thiserror::Error;

/// Why an analysis has no result.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum AnalysisError {
    /// A run without an end.
    #[error(
        "the run has no end: say how many of its updates to look at, with `Options::steps` or \
         `Window::first`"
    )]
    NeedsSteps,
    /// A sum without a closed form over more updates than are summed.
    #[error(
        "{what}: no closed form is known for this schedule, and {steps} updates are too many to \
         sum; allowed: at most {most}"
    )]
    TooManySteps {
        /// What was asked for.
        what: &'static str,
        /// The updates looked at.
        steps: u64,
        /// The most that are summed.
        most: u64,
    },
    /// A schedule that is neither a step decay nor an exponential decay.
    #[error(
        "{schedule}: neither a step decay nor an exponential decay without an end, on its own, so \
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
        "rate {rate:?} at curvature {curvature:?}: ηλ is {} and gradient descent diverges; \
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
        /// What was asked for.
        what: &'static str,
    },
}

/// `value` where it is a finite number above 0.
pub(crate) fn positive(field: &'static str, value: f64) -> Result<f64, AnalysisError> {
    require(field, value, value > 0.0 && value.is_finite(), "a finite number above 0")
}

/// `value` where it is a finite number of at least 0.
pub(crate) fn not_negative(field: &'static str, value: f64) -> Result<f64, AnalysisError> {
    require(field, value, value >= 0.0 && value.is_finite(), "a finite number, at least 0")
}

/// `value` where `ok`.
pub(crate) fn require(
    field: &'static str,
    value: f64,
    ok: bool,
    allowed: &str,
) -> Result<f64, AnalysisError> {
    OutOfRange::require(field, value, ok, allowed)?;
    Ok(value)
}

/// `value` where an f64 holds it.
pub(crate) fn finite(what: &'static str, value: f64) -> Result<f64, AnalysisError> {
    if value.is_finite() { Ok(value) } else { Err(AnalysisError::Overflow { what }) }
}
