//! Errors in a description.

use crate::OutOfRange;
use std::fmt;
use thiserror::Error;

/// Why a description cannot be resolved into a schedule.
///
/// Every variant has the path of the field from the outermost part, for example
/// `warmup.schedule.cosine.peak`, the value found and what is allowed.
#[derive(Clone, PartialEq, Error)]
#[non_exhaustive]
#[must_use]
pub enum ScheduleError {
    /// A value outside its range; NaN and infinity are outside every range.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// A length that exceeds what is left of the run.
    #[error(
        "{field}: {span} is {}, but only {most} of the run {} left for it; allowed: at most {most}: shorten it, \
         lengthen the run, or cut the schedule off with .truncate()",
        counted(*updates, unit),
        if *left == 1 { "is" } else { "are" },
        most = counted(*left, unit)
    )]
    TooLong {
        /// Path of the field.
        field: String,
        /// The span as the user wrote it.
        span: String,
        /// Its length in updates, or in samples inside [`BySamples`](crate::BySamples).
        updates: u64,
        /// How many are left.
        left: u64,
        /// What they are: `"updates"` or `"samples"`.
        unit: &'static str,
    },
    /// A span that needs a run of known length.
    #[error(
        "{field}: {span} needs a run of known length; give the length in updates, or bound the run"
    )]
    NeedsRunLength {
        /// Path of the field.
        field: String,
        /// The span as the user wrote it.
        span: String,
    },
    /// A span in epochs, in a run without a fixed number of updates per epoch.
    #[error(
        "{field}: {span} needs a fixed number of updates per epoch, which this run does not have; \
         build it with RunLength::from_items or updates_per_epoch, or give the length in updates"
    )]
    NeedsEpochs {
        /// Path of the field.
        field: String,
        /// The span as the user wrote it.
        span: String,
    },
    /// A span in samples or tokens, or a schedule over them, in a run that does not count them.
    #[error(
        "{field}: {span} needs a run that counts samples, such as RunLength::from_items, samples or tokens{}",
        if span.ends_with("tok") { ", and its tokens_per_sample" } else { "" }
    )]
    NeedsSamples {
        /// Path of the field.
        field: String,
        /// The span, or the schedule, as the user wrote it.
        span: String,
    },
    /// Schedules nested deeper than [`MAX_DEPTH`](crate::MAX_DEPTH).
    #[error("{field}: nested {depth} deep; allowed: at most {} levels", crate::MAX_DEPTH)]
    TooDeep {
        /// Path of the field, truncated.
        field: String,
        /// The depth found.
        depth: usize,
    },
}

/// "1 update", "2 updates".
pub(crate) fn counted(number: u64, unit: &str) -> String {
    let one = unit.strip_suffix('s').filter(|_| number == 1);
    format!("{number} {}", one.unwrap_or(unit))
}

/// The message, so that `unwrap` and a `main` that returns it print what to do.
impl fmt::Debug for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl ScheduleError {
    /// The path of the field from the outermost part: `warmup.schedule.cosine.peak`.
    pub fn field(&self) -> &str {
        match self {
            Self::OutOfRange(OutOfRange { field, .. })
            | Self::TooLong { field, .. }
            | Self::NeedsRunLength { field, .. }
            | Self::NeedsEpochs { field, .. }
            | Self::NeedsSamples { field, .. }
            | Self::TooDeep { field, .. } => field,
        }
    }

    /// The same error for a schedule inside the field `outer`.
    pub fn inside(mut self, outer: &str) -> Self {
        let (Self::OutOfRange(OutOfRange { field, .. })
        | Self::TooLong { field, .. }
        | Self::NeedsRunLength { field, .. }
        | Self::NeedsEpochs { field, .. }
        | Self::NeedsSamples { field, .. }
        | Self::TooDeep { field, .. }) = &mut self;
        *field = format!("{outer}.{field}");
        self
    }
}
