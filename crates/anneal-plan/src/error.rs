//! What can be wrong with a plan.

use thiserror::Error;

/// Why nothing could be planned.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A value outside its range.
    #[error("{field}: {value} is not allowed; allowed: {allowed}")]
    OutOfRange {
        /// The field.
        field: String,
        /// The value found.
        value: String,
        /// The allowed range.
        allowed: String,
    },
}

impl PlanError {
    /// An error unless `ok`.
    ///
    /// # Errors
    /// That the field has a value out of its range.
    pub fn require(
        field: impl Into<String>,
        value: impl std::fmt::Debug,
        ok: bool,
        allowed: impl Into<String>,
    ) -> Result<(), Self> {
        match ok {
            true => Ok(()),
            false => Err(Self::OutOfRange {
                field: field.into(),
                value: format!("{value:?}"),
                allowed: allowed.into(),
            }),
        }
    }
}
