//! Errors of a translation.

use crate::{ScheduleError, suggest};
use thiserror::Error;

/// Why a peer's scheduler cannot be translated.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum PeerError {
    /// No peer has this name.
    #[error("unknown peer `{peer}`{near}; known: {known}")]
    UnknownPeer {
        /// The name.
        peer: String,
        /// The nearest known name, phrased as a question.
        near: String,
        /// All known names.
        known: String,
    },
    /// The peer has no scheduler with this name.
    #[error("{peer} has no scheduler `{name}`{near}; known: {known}")]
    UnknownScheduler {
        /// The peer.
        peer: &'static str,
        /// The name.
        name: String,
        /// The nearest known name, phrased as a question.
        near: String,
        /// All known names.
        known: String,
    },
    /// A scheduler that is not a pure function of the step.
    #[error("{name} cannot be translated: {reason}")]
    Refused {
        /// The scheduler.
        name: String,
        /// Why, and what to use instead.
        reason: &'static str,
    },
    /// The arguments are not a JSON object.
    #[error(
        "{name}: the arguments must be a JSON object such as {{\"gamma\": 0.1}}, found {found}"
    )]
    NoObject {
        /// The scheduler.
        name: String,
        /// What was found.
        found: String,
    },
    /// The scheduler has no argument with this name.
    #[error("{name} has no argument `{argument}`{near}{known}")]
    UnknownArgument {
        /// The scheduler.
        name: String,
        /// The argument.
        argument: String,
        /// The nearest known name, phrased as a question.
        near: String,
        /// All known names, as a clause; empty if another argument is missing, too.
        known: String,
    },
    /// A required argument is missing.
    #[error("{name}: `{argument}` is missing; it must be {allowed}")]
    Missing {
        /// The scheduler.
        name: String,
        /// The argument.
        argument: &'static str,
        /// What it must be.
        allowed: String,
    },
    /// An argument of the wrong kind or out of range.
    #[error("{name}: `{argument}` = {value} is not allowed; allowed: {allowed}")]
    Argument {
        /// The scheduler.
        name: String,
        /// The argument.
        argument: String,
        /// The value found.
        value: String,
        /// The allowed kind or range.
        allowed: String,
    },
    /// The translated description does not resolve.
    #[error("{name}: {error}")]
    Schedule {
        /// The scheduler.
        name: String,
        /// The cause.
        error: ScheduleError,
    },
}

/// Why a scheduler that needs a metric is not a schedule.
pub(crate) const ANSWERS_TO_TRAINING: &str = "it reacts to training, so it is not a function of the step; \
                                              anneal_control::peers translates it, to a schedule and a controller";

impl PeerError {
    /// The error for a scheduler that needs a metric.
    pub(crate) fn answers_to_training(name: &str) -> Self {
        Self::Refused { name: name.to_string(), reason: ANSWERS_TO_TRAINING }
    }

    /// The error for a scheduler `name` that the peer does not have among the `known` ones.
    #[doc(hidden)]
    pub fn unknown_scheduler(peer: &'static str, name: &str, known: &[&str]) -> Self {
        Self::UnknownScheduler {
            peer,
            name: name.to_string(),
            near: suggest::nearest(name, known.iter().copied()),
            known: known.join(", "),
        }
    }
}
