//! What the curves' and combinators' own tests share.

use crate::{RunLength, Schedule, ScheduleConfig, ScheduleError, ScheduleExt};

/// The schedule of a description alone in a run of `updates` updates.
pub(crate) fn resolved(config: impl Into<ScheduleConfig>, updates: u64) -> Schedule {
    config.into().resolve(RunLength::updates(updates)).unwrap()
}

/// The field that the description's resolution complains about, in a run of 100 updates.
pub(crate) fn refused(config: impl Into<ScheduleConfig>) -> String {
    match config.into().resolve(RunLength::updates(100)) {
        Err(error @ (ScheduleError::OutOfRange(_) | ScheduleError::TooLong { .. })) => {
            error.field().to_string()
        }
        other => panic!("expected a field out of range, found {other:?}"),
    }
}
