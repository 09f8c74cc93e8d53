//! What can be wrong with an optimizer's momentum.

use thiserror::Error;

/// A value of an optimizer outside its range.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{field}: {value} is not allowed; allowed: {allowed}")]
pub struct MomentumError {
    /// The field.
    pub field: &'static str,
    /// The value found.
    pub value: String,
    /// The allowed range.
    pub allowed: &'static str,
}

impl MomentumError {
    pub(crate) fn require(
        field: &'static str,
        value: f64,
        ok: bool,
        allowed: &'static str,
    ) -> Result<(), Self> {
        if ok { Ok(()) } else { Err(Self { field, value: format!("{value:?}"), allowed }) }
    }

    /// A share of what was before that stays: in [0, 1).
    pub(crate) fn check_momentum(field: &'static str, value: f64) -> Result<(), Self> {
        Self::require(field, value, (0.0..1.0).contains(&value), "at least 0, below 1")
    }
}
