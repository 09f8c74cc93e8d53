//! Checks an optimizer's momentum.

use anneal_schedule::OutOfRange;

/// Checks that a momentum is in [0, 1).
pub(crate) fn check_momentum(field: &str, value: f64) -> Result<(), OutOfRange> {
    OutOfRange::require(field, value, (0.0..1.0).contains(&value), "at least 0, below 1")
}
