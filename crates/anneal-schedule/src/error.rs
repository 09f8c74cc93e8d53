//! What can be wrong with a description.

use crate::OutOfRange;
use thiserror::Error;

/// Why a description could not be resolved into a schedule.
///
/// Every variant names the field as a path from the outermost part, such as
/// `warmup.schedule.cosine.peak`, the value found there and what is allowed.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
#[must_use]
pub enum ScheduleError {
    /// A value outside its range; NaN and infinities are outside every range.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// A length that does not fit into what is left of the run.
    #[error(
        "{field}: {span} is {updates} updates, but only {left} updates of the run are left for it; \
         allowed: at most {left} updates: shorten it, lengthen the run, or cut the schedule off with \
         .truncate()"
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
    /// A span in epochs, in a run that has no fixed number of updates in an epoch.
    #[error(
        "{field}: {span} needs a fixed number of updates in an epoch, which this run does not have; \
         count it by RunLength::from_items or updates_per_epoch, without a ramp of the accumulation, \
         or give the length in updates"
    )]
    NeedsEpochs {
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
    /// The field that it is about, as a path from the outermost part: `warmup.schedule.cosine.peak`.
    pub fn field(&self) -> &str {
        match self {
            Self::OutOfRange(OutOfRange { field, .. })
            | Self::TooLong { field, .. }
            | Self::NeedsRunLength { field, .. }
            | Self::NeedsEpochs { field, .. }
            | Self::TooDeep { field, .. } => field,
        }
    }

    /// The same of a schedule that stands in the field `outer` of something else.
    pub fn inside(mut self, outer: &str) -> Self {
        let (Self::OutOfRange(OutOfRange { field, .. })
        | Self::TooLong { field, .. }
        | Self::NeedsRunLength { field, .. }
        | Self::NeedsEpochs { field, .. }
        | Self::TooDeep { field, .. }) = &mut self;
        *field = format!("{outer}.{field}");
        self
    }
}
