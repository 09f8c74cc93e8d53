//! What can be wrong with a controller.

use thiserror::Error;

/// A value outside its range.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{field}: {value} is not allowed; allowed: {allowed}")]
pub struct ControlError {
    /// The field.
    pub field: &'static str,
    /// The value found.
    pub value: String,
    /// The allowed range.
    pub allowed: &'static str,
}

impl ControlError {
    /// An error unless `ok`.
    ///
    /// # Errors
    /// That the field has a value out of its range.
    pub fn require(
        field: &'static str,
        value: impl std::fmt::Debug,
        ok: bool,
        allowed: &'static str,
    ) -> Result<(), Self> {
        if ok { Ok(()) } else { Err(Self { field, value: format!("{value:?}"), allowed }) }
    }
}
