//! Helpers for the tests of curves and combinators.

use crate::{RunLength, Schedule, ScheduleConfig, ScheduleError, ScheduleExt};

/// Resolves a description for a run of `updates` updates.
pub(crate) fn resolved(config: impl Into<ScheduleConfig>, updates: u64) -> Schedule {
    config.into().resolve(RunLength::updates(updates)).unwrap()
}

/// The field for which resolution fails in a run of 100 updates.
pub(crate) fn refused(config: impl Into<ScheduleConfig>) -> String {
    match config.into().resolve(RunLength::updates(100)) {
        Err(error @ (ScheduleError::OutOfRange(_) | ScheduleError::TooLong { .. })) => {
            error.field().to_string()
        }
        other => panic!("expected a field out of range, found {other:?}"),
    }
}
