//! Ranges of arguments.

use crate::OutOfRange;

/// Returns `value` if it is a finite number above 0.
pub(super) fn positive(field: &str, value: f64) -> Result<f64, OutOfRange> {
    OutOfRange::require(field, value, value.is_finite() && value > 0.0, "above 0, finite")?;
    Ok(value)
}

/// Returns `value` if it is a finite number, at least 0.
pub(super) fn not_negative(field: &str, value: f64) -> Result<f64, OutOfRange> {
    OutOfRange::require(field, value, value.is_finite() && value >= 0.0, "at least 0, finite")?;
    Ok(value)
}

/// Returns `value` if it is finite.
pub(super) fn finite(field: &str, value: f64) -> Result<f64, OutOfRange> {
    OutOfRange::require(field, value, value.is_finite(), "finite")?;
    Ok(value)
}

/// Returns `value` if it is between 0 and 1, both excluded.
pub(super) fn share(field: &str, value: f64) -> Result<f64, OutOfRange> {
    OutOfRange::require(field, value, value > 0.0 && value < 1.0, "above 0, below 1")?;
    Ok(value)
}
