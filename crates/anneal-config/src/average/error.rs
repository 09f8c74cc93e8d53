//! The errors of averages.

use crate::groups::GroupError;
use anneal_schedule::{OutOfRange, ScheduleError};
use thiserror::Error;

/// Why weights cannot be averaged as described.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum AverageError {
    /// A value is out of its range.
    #[error("average.{0}")]
    OutOfRange(OutOfRange),
    /// An average takes no weights.
    #[error(
        "average: `{average}` takes no weights in the {updates} updates of the run; start earlier, or take weights \
         more often"
    )]
    Never {
        /// The average.
        average: String,
        /// The updates of the run.
        updates: u64,
    },
    /// Later averages select all parameters of an average.
    #[error(
        "average: `{average}` averages nothing: it selects no parameter, or later averages select all of them"
    )]
    Unused {
        /// The average.
        average: String,
    },
    /// A record does not fit the averages or the model.
    #[error(
        "average: the record does not hold this average of the model's parameters; first load the weights that were \
         saved with it, which restores the parameter ids, and describe the same average"
    )]
    OtherRecord,
    /// A part has no effect without an average.
    #[error("{part}: has no effect without an average; call LearnerBuilder::average(…) too")]
    Needed {
        /// The part of the builder.
        part: &'static str,
    },
    /// Running statistics are both averaged and recomputed.
    #[error("average_statistics: given beside recompute_statistics; remove one of the two")]
    StatisticsTwice,
    /// An average is given for an optimizer that averages its weights itself.
    #[error(
        "average: {optimizer} averages its weights itself, and its average is evaluated; remove LearnerBuilder::average, \
         or train with another optimizer"
    )]
    Twice {
        /// The optimizer.
        optimizer: String,
    },
    /// The length of the run is not valid.
    #[error(transparent)]
    Run(#[from] ScheduleError),
    /// A selection or a group does not fit the model.
    #[error(transparent)]
    Groups(#[from] GroupError),
}
