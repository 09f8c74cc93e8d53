//! What can be wrong with groups.

use crate::decay::DecayError;
use anneal_schedule::ScheduleError;
use thiserror::Error;

/// Why a description of groups does not fit the model or the run.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum GroupError {
    /// A value outside its range.
    #[error("{field}: {value} is not allowed; allowed: {allowed}")]
    OutOfRange {
        /// The field.
        field: String,
        /// The value found.
        value: String,
        /// The allowed range.
        allowed: String,
    },
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
    #[error("{field}: {source}")]
    Schedule {
        /// The field.
        field: String,
        /// What is wrong with it.
        source: ScheduleError,
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
    /// The optimizer has a weight decay of its own.
    #[error(transparent)]
    Decay(#[from] DecayError),
    /// A momentum schedule for an optimizer that has its own momentum.
    #[error(
        "momentum: the optimizer does not follow it; train with ScheduledAdam, or with Burn's \
             SGD as ScheduledMomentum::from(SgdConfig::new())"
    )]
    Momentum,
    /// A policy for rate drops for an optimizer whose velocity does not hold the rate.
    #[error(
        "rate_drop: the optimizer's velocity does not hold the rate, so a drop acts on all of it at \
             once; leave rate_drop out, or train with RateInsideSgd"
    )]
    RateDrop,
    /// An optimizer whose master weights would not hear of what groups do to the weights.
    #[error(
        "optimizer: its master weights would not hear of the groups' decay; give the bare optimizer, and \
         call LearnerBuilder::half_precision, or in a loop of your own \
         GroupOptimizer::with_master_weights"
    )]
    MasterWeights,
}

fn nearest_paths(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        paths => format!("; the nearest are `{}`", paths.join("`, `")),
    }
}

impl GroupError {
    pub(crate) fn out_of_range(field: &str, value: f64, allowed: &str) -> Self {
        Self::OutOfRange {
            field: field.to_string(),
            value: format!("{value:?}"),
            allowed: allowed.to_string(),
        }
    }
}
