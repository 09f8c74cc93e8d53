//! The errors of groups.

use crate::names::NameError;
use anneal_schedule::{OutOfRange, ScheduleError};
use thiserror::Error;

/// Why a description of groups does not fit the model or the run.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum GroupError {
    /// A value is out of its range.
    #[error(transparent)]
    OutOfRange(OutOfRange),
    /// A pattern is not a valid regular expression.
    #[error("{field}: `{pattern}` is not a valid regular expression: {reason}")]
    Pattern {
        /// The field.
        field: String,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A pattern matches no trained parameter.
    #[error("{field}: `{pattern}` matches no trained parameter{}", nearest_paths(.nearest))]
    NoMatch {
        /// The field.
        field: String,
        /// The pattern or name.
        pattern: String,
        /// The paths that look most like it.
        nearest: Vec<String>,
    },
    /// Each parameter must match a pattern of the layers, and some match none.
    #[error(
        "layers: no pattern matches {}; the patterns are `{}`, and strict_layers needs one for each parameter, \
             the head's too", and_more(.paths.iter().map(|path| format!("`{path}`"))), .patterns.join("`, `")
    )]
    Unmatched {
        /// The paths that no pattern matches.
        paths: Vec<String>,
        /// The patterns.
        patterns: Vec<String>,
    },
    /// All parameters that a group selects are in earlier groups.
    #[error(
        "groups.{group}: all parameters that it selects are in earlier groups, for example `{before}`; \
             a parameter belongs to the first group that selects it"
    )]
    Empty {
        /// The group.
        group: String,
        /// The group that has the first of them.
        before: String,
    },
    /// Some parameters are in no group.
    #[error("groups: {count} parameters are in no group, for example `{}`; add a group for them, or \
             one that selects everything at the end", .first.join("`, `"))]
    Ungrouped {
        /// How many.
        count: usize,
        /// The first of them.
        first: Vec<String>,
    },
    /// No group has this name.
    #[error("{field}: there is no group `{name}`; the groups are `{}`", .groups.join("`, `"))]
    UnknownGroup {
        /// The field.
        field: String,
        /// The name.
        name: String,
        /// The names of all groups.
        groups: Vec<String>,
    },
    /// A list with one entry per layer has the wrong length.
    #[error("{field}: {found} values for {} layers; the layers are `{}`", .layers.len(), .layers.join("`, `"))]
    LayerCount {
        /// The field.
        field: String,
        /// How many values were given.
        found: usize,
        /// The layers.
        layers: Vec<String>,
    },
    /// A group's schedule of the rate or momentum is not valid.
    #[error("{field}: {error}")]
    Schedule {
        /// The field.
        field: String,
        /// What is wrong with it.
        error: ScheduleError,
    },
    /// The run cannot count a position, or ends before it.
    #[error("{field}: {span} is {}; {reason}", .update.map_or("not a known update".into(), |update| format!("update {update}")))]
    Position {
        /// The field.
        field: String,
        /// The span as the user wrote it.
        span: String,
        /// Its update, if known.
        update: Option<u64>,
        /// What to do.
        reason: String,
    },
    /// No parameter is trained in the first update.
    #[error(
        "groups: no parameter is trained in the first update; let at least one group train from the start"
    )]
    NothingTrains,
    /// The module has no parameter that requires a gradient.
    #[error(
        "model: none of its {parameters} parameters requires a gradient; create it on \
             `device.autodiff()`, and do not freeze all of it"
    )]
    NoParameters {
        /// How many parameters it has.
        parameters: usize,
    },
    /// A value of a weight decay or of the policy for rate drops is out of its range.
    #[error(transparent)]
    Value(#[from] ScheduleError),
    /// A name is not allowed.
    #[error("groups.{}: {error}", error.name())]
    Name {
        /// What is wrong with it.
        #[from]
        error: NameError,
    },
}

/// The first five with commas between them, and how many more there are.
///
/// ```
/// let names = (0..7).map(|i| i.to_string());
/// assert_eq!(anneal_config::and_more(names), "0, 1, 2, 3, 4 and 2 more");
/// ```
pub fn and_more(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    match items.split_at_checked(5) {
        Some((first, more)) if !more.is_empty() => {
            format!("{} and {} more", first.join(", "), more.len())
        }
        _ => items.join(", "),
    }
}

fn nearest_paths(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        paths => format!("; the nearest are `{}`", paths.join("`, `")),
    }
}

impl GroupError {
    /// The field with the error: for example `groups.head.multiple`, `layer_decay`, or `groups` for all of
    /// them.
    pub fn field(&self) -> String {
        match self {
            Self::OutOfRange(error) => error.field.clone(),
            Self::Pattern { field, .. }
            | Self::NoMatch { field, .. }
            | Self::UnknownGroup { field, .. }
            | Self::LayerCount { field, .. }
            | Self::Position { field, .. } => field.clone(),
            Self::Schedule { field, error } => format!("{field}.{}", error.field()),
            Self::Value(error) => error.field().to_string(),
            Self::Empty { group, .. } => format!("groups.{group}"),
            Self::Name { error } => format!("groups.{}", error.name()),
            Self::Unmatched { .. } => "layers".to_string(),
            Self::Ungrouped { .. } | Self::NothingTrains => "groups".to_string(),
            Self::NoParameters { .. } => "model".to_string(),
        }
    }

    pub(crate) fn out_of_range(field: &str, value: f64, allowed: &str) -> Self {
        Self::OutOfRange(OutOfRange::new(field, format_args!("{value:?}"), allowed))
    }
}
