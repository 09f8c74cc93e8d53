//! What can be wrong with a description.

use thiserror::Error;

/// Why a description could not be resolved into a schedule.
///
/// Every variant names the field as a path from the outermost part, such as
/// `warmup.schedule.cosine.peak`, the value found there and what is allowed.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// A number outside its range; NaN and infinities are outside every range.
    #[error("{field}: {value} is not allowed; allowed: {allowed}")]
    OutOfRange {
        /// Path of the field.
        field: String,
        /// The value found.
        value: String,
        /// The allowed range.
        allowed: String,
    },
    /// A length that does not fit into what is left of the run.
    #[error(
        "{field}: {span} is {updates} updates, but only {left} updates of the run are left for it; \
         allowed: at most {left} updates"
    )]
    TooLong {
        /// Path of the field.
        field: String,
        /// The span as the user wrote it.
        span: String,
        /// Its length in updates.
        updates: u64,
        /// The updates that are left.
        left: u64,
    },
    /// A span that only a run of known length can resolve.
    #[error(
        "{field}: {span} needs a run of known length; give the length in updates, or bound the run"
    )]
    NeedsRunLength {
        /// Path of the field.
        field: String,
        /// The span as the user wrote it.
        span: String,
    },
    /// More schedules inside each other than [`MAX_DEPTH`](crate::MAX_DEPTH).
    #[error("{field}: nested {depth} deep; allowed: at most {} levels", crate::MAX_DEPTH)]
    TooDeep {
        /// Path of the field, cut to its beginning.
        field: String,
        /// The depth found.
        depth: usize,
    },
}

impl ScheduleError {
    /// The same of a schedule that stands in a field of something else.
    pub(crate) fn inside(mut self, outer: &str) -> Self {
        let (Self::OutOfRange { field, .. }
        | Self::TooLong { field, .. }
        | Self::NeedsRunLength { field, .. }
        | Self::TooDeep { field, .. }) = &mut self;
        *field = format!("{outer}.{field}");
        self
    }
}
