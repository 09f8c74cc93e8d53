//! What can be wrong with the tasks of a pass.

use thiserror::Error;

/// Tasks that cannot be trained.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum TaskError {
    /// There is none.
    #[error("there is no task; give each loss of the pass to `task` or `weighted_task`")]
    None,
    /// Two have one name.
    #[error("there are two tasks of the name `{name}`; give each a name of its own")]
    SameName {
        /// The name.
        name: String,
    },
    /// A weight out of its range.
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
    #[error("a pass has two TaskGradients; give all of its tasks to one")]
    Again,
}
