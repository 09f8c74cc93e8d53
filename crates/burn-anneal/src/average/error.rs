//! What can be wrong with averages.

use crate::groups::GroupError;
use anneal_schedule::{OutOfRange, ScheduleError};
use thiserror::Error;

/// Why weights cannot be averaged so.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum AverageError {
    /// A value outside its range.
    #[error("average.{0}")]
    OutOfRange(OutOfRange),
    /// An average that would take no weights.
    #[error(
        "average: `{average}` takes no weights in the {updates} updates of the run; let it start earlier, or take them \
         more often"
    )]
    Never {
        /// The average.
        average: String,
        /// The updates of the run.
        updates: u64,
    },
    /// An average of nothing.
    #[error("average: `{average}` averages nothing: later averages select all of its parameters")]
    Unused {
        /// The average.
        average: String,
    },
    /// A record of something else.
    #[error(
        "average: the record has no average of this kind for the parameters of the model; load the weights that were saved \
         beside it first, which brings their ids back, and describe the same average"
    )]
    OtherRecord,
    /// A part that does nothing without an average.
    #[error("{part}: does nothing without an average; call LearnerBuilder::average(…) too")]
    Needed {
        /// The part of the builder.
        part: &'static str,
    },
    /// Two ways to have running statistics.
    #[error("average_statistics: given beside recompute_statistics; leave one of the two out")]
    StatisticsTwice,
    /// An average beside an optimizer that averages by itself.
    #[error(
        "average: {optimizer} averages its weights itself, and those are evaluated; leave LearnerBuilder::average out, or \
         train with another optimizer"
    )]
    Twice {
        /// The optimizer.
        optimizer: String,
    },
    /// The run has no length that can be.
    #[error(transparent)]
    Run(#[from] ScheduleError),
    /// A selection or a group that is not there.
    #[error(transparent)]
    Groups(#[from] GroupError),
}
