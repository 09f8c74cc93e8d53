//! What can be wrong with groups.

use anneal_schedule::{OutOfRange, ScheduleError};
use thiserror::Error;

/// Why a description of groups does not fit the model or the run.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum GroupError {
    /// A value outside its range.
    #[error(transparent)]
    OutOfRange(OutOfRange),
    /// A text that is no regular expression.
    #[error("{field}: `{pattern}` is no regular expression: {reason}")]
    Pattern {
        /// The field.
        field: String,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A pattern that matches no parameter that is trained.
    #[error("{field}: `{pattern}` matches no trained parameter{}", nearest_paths(.nearest))]
    NoMatch {
        /// The field.
        field: String,
        /// The pattern or name.
        pattern: String,
        /// The paths that look most like it.
        nearest: Vec<String>,
    },
    /// All parameters that a group selects are in groups before it.
    #[error(
        "groups.{group}: all that it selects is in a group before it, such as `{before}`; the \
             first group that selects a parameter has it"
    )]
    Empty {
        /// The group.
        group: String,
        /// The group that has the first of them.
        before: String,
    },
    /// Parameters that no group selects.
    #[error("groups: {count} parameters are in no group, such as `{}`; add a group for them, or \
             Group::rest(name) as the last", .first.join("`, `"))]
    Ungrouped {
        /// How many.
        count: usize,
        /// The first of them.
        first: Vec<String>,
    },
    /// Two groups of one name.
    #[error("groups.{group}: there are two groups of this name")]
    Duplicate {
        /// The name.
        group: String,
    },
    /// A name that no group has.
    #[error("{field}: there is no group `{name}`; the groups are {}", .groups.join(", "))]
    UnknownGroup {
        /// The field.
        field: String,
        /// The name.
        name: String,
        /// The names that there are.
        groups: Vec<String>,
    },
    /// A list with an entry per layer that is of another length.
    #[error("{field}: {found} values for {} layers; the layers are {}", .layers.len(), .layers.join(", "))]
    LayerCount {
        /// The field.
        field: String,
        /// How many values were given.
        found: usize,
        /// The layers.
        layers: Vec<String>,
    },
    /// The schedule of a group's rate or momentum.
    #[error("{field}: {error}")]
    Schedule {
        /// The field.
        field: String,
        /// What is wrong with it.
        error: ScheduleError,
    },
    /// A position that the run cannot say the update of, or that lies behind its end.
    #[error("{field}: {span} is {}; {reason}", .update.map_or("at no update".into(), |update| format!("update {update}")))]
    Position {
        /// The field.
        field: String,
        /// The span as the user wrote it.
        span: String,
        /// The update, where there is one.
        update: Option<u64>,
        /// What to do.
        reason: String,
    },
    /// No parameter is trained in the first update.
    #[error("groups: no parameter is trained in the first update; let one group start at 0")]
    NothingTrains,
    /// The module has no parameter that requires a gradient.
    #[error(
        "model: none of its {parameters} parameters requires a gradient; make it on \
             `device.autodiff()`, and do not freeze all of it"
    )]
    NoParameters {
        /// How many parameters it has.
        parameters: usize,
    },
    /// A weight decay, or the policy for rate drops, with a value out of its range.
    #[error(transparent)]
    Value(#[from] ScheduleError),
    /// A name that is no name of a file, which each group's metrics have.
    #[error(
        "groups.{group}: not allowed as a name; allowed: 1 to {MAX_LETTERS} letters, digits, spaces and signs, at most 200 bytes, without \
         / \\ : * ? \" < > | and line breaks, for metrics of the group are logged in files of this name"
    )]
    Name {
        /// The name.
        group: String,
    },
    /// Two groups whose metrics would have the same log files.
    #[error(
        "groups.{group}: its metrics would be logged in the files of `{other}`, for Burn writes a space as _"
    )]
    SameFile {
        /// One name.
        group: String,
        /// The other.
        other: String,
    },
}

/// Names of files may be 255 bytes long, with what a metric puts before and after.
const MAX_LETTERS: usize = 100;

/// Whether a group may have this name.
pub(crate) fn check_name(group: &str) -> Result<(), GroupError> {
    let length = group.chars().count();
    let forbidden = |c: char| c.is_control() || r#"/\:*?"<>|"#.contains(c);
    let ok =
        (1..=MAX_LETTERS).contains(&length) && group.len() <= 200 && !group.contains(forbidden);
    if ok { Ok(()) } else { Err(GroupError::Name { group: group.to_string() }) }
}

fn nearest_paths(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        paths => format!("; the nearest are `{}`", paths.join("`, `")),
    }
}

impl GroupError {
    pub(crate) fn out_of_range(field: &str, value: f64, allowed: &str) -> Self {
        Self::OutOfRange(OutOfRange::new(field, format_args!("{value:?}"), allowed))
    }
}
