//! The error for a value outside its range.

use std::fmt;
use thiserror::Error;

/// A value outside its range: the field, the value, and what is allowed.
///
/// All crates of Anneal use this type, so that their messages read alike.
///
/// ```
/// use anneal_schedule::OutOfRange;
/// let error = OutOfRange::require("momentum", 1.5, false, "at least 0, below 1").unwrap_err();
/// assert_eq!(error.to_string(), "momentum: 1.5 is not allowed; allowed: at least 0, below 1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {value} is not allowed; allowed: {allowed}")]
#[non_exhaustive]
#[must_use]
pub struct OutOfRange {
    /// The field, as a path from the outermost part: `warmup.schedule.cosine.peak`.
    pub field: String,
    /// The value found.
    pub value: String,
    /// The allowed range.
    pub allowed: String,
}

impl OutOfRange {
    /// An error for the `value` of `field`; `allowed` states the valid range.
    pub fn new(
        field: impl Into<String>,
        value: impl fmt::Display,
        allowed: impl Into<String>,
    ) -> Self {
        Self { field: field.into(), value: value.to_string(), allowed: allowed.into() }
    }

    /// Returns an error unless `ok`; the value is formatted with `{:?}`.
    ///
    /// # Errors
    /// `field` has a value outside its range.
    pub fn require(
        field: impl Into<String>,
        value: impl fmt::Debug,
        ok: bool,
        allowed: impl Into<String>,
    ) -> Result<(), Self> {
        if ok { Ok(()) } else { Err(Self::new(field, format_args!("{value:?}"), allowed)) }
    }

    /// The same error for something inside the field `outer`.
    pub fn inside(mut self, outer: &str) -> Self {
        self.field = format!("{outer}.{}", self.field);
        self
    }
}
