//! The errors of the tasks of a pass.

use thiserror::Error;

/// Why the tasks of a pass cannot be trained.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum TaskError {
    /// There is no task.
    #[error("there is no task; give each loss of the pass to `task` or `weighted_task`")]
    None,
    /// Two tasks have the same name.
    #[error("two tasks have the name `{name}`; give each its own name")]
    SameName {
        /// The name.
        name: String,
    },
    /// A weight is out of its range.
    #[error(
        "the weight of `{name}`: {weight:?} is not allowed; allowed: a finite number, at least 0"
    )]
    Weight {
        /// The name of the task.
        name: String,
        /// Its weight.
        weight: f64,
    },
    /// A pass has more than one set of tasks.
    #[error("a pass has two TaskGradients; give all of its tasks to one of them")]
    Again,
}
