//! Why a configuration of another library cannot be translated.

use super::report::nearest;
use anneal_schedule::peers::PeerError;
use thiserror::Error;

/// Why a configuration cannot be translated.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum TranslationError {
    /// A scheduler or a setting is unknown, wrong or refused.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// No kind of configuration has this name.
    #[error("unknown peer `{from}`{near}; known: {known}")]
    UnknownKind {
        /// The name.
        from: String,
        /// The nearest known name, phrased as a question.
        near: String,
        /// All known names.
        known: String,
    },
    /// The text is empty.
    #[error("the text is empty; allowed: {allowed}")]
    Empty {
        /// What it may be.
        allowed: &'static str,
    },
    /// The text cannot be read.
    #[error("not {format}: {error}{hint}")]
    Syntax {
        /// What it should be.
        format: &'static str,
        /// What is wrong, with its place.
        error: String,
        /// What to write instead, as a clause; may be empty.
        hint: &'static str,
    },
    /// The text is the configuration of another library.
    #[error(
        "this is not a configuration of {from}: it looks like one of {looks_like}; translate it as that (--from {looks_like})"
    )]
    OtherKind {
        /// The name of the kind that was asked for.
        from: String,
        /// The name of the kind that it looks like.
        looks_like: &'static str,
    },
    /// The scheduler has no name.
    #[error(
        "which scheduler? give its name with the arguments, as {{\"name\": …, \"args\": {{…}}}}, or apart (--name NAME)"
    )]
    Unnamed,
    /// The scheduler has two names.
    #[error("the scheduler is named twice, `{given}` and `{inside}`; give one of them")]
    NamedTwice {
        /// The name given apart.
        given: String,
        /// The name beside the arguments.
        inside: String,
    },
    /// The arguments are of a scheduler of another peer.
    #[error("the scheduler is said to be of {given} and of {inside}; give one of them")]
    PeerTwice {
        /// The peer given apart.
        given: String,
        /// The peer beside the arguments.
        inside: String,
    },
    /// The scheduler scales a rate that is not given.
    #[error("{peer} scales the rate of its optimizer: give the base rate (--base-lr RATE)")]
    NeedsBaseRate {
        /// The peer.
        peer: String,
    },
    /// The base rate is given twice.
    #[error("the base rate is given twice, apart and with the arguments; give one of them")]
    BaseRateTwice,
    /// The number of updates per epoch is needed.
    #[error(
        "{name}: `{argument}` counts epochs, and {why}: give the number of updates per epoch \
             (--steps-per-epoch N)"
    )]
    NeedsUpdatesPerEpoch {
        /// The scheduler or the configuration.
        name: String,
        /// The setting that counts epochs.
        argument: String,
        /// Why a length in epochs does not do.
        why: &'static str,
    },
    /// The number of updates of the whole run is needed.
    #[error("{name} needs the number of updates of the run: give {allowed}")]
    NeedsUpdates {
        /// The scheduler.
        name: String,
        /// What to give.
        allowed: &'static str,
    },
    /// The unit of lengths is given in two ways that differ.
    #[error(
        "two units: the unit is said to be {given}, and `{argument}` says {inside}; give one of them"
    )]
    TwoUnits {
        /// The unit given apart.
        given: &'static str,
        /// The argument that says another one.
        argument: &'static str,
        /// The unit that it says.
        inside: &'static str,
    },
    /// Something is said that has no effect.
    #[error("{from} does not use {option}; omit it")]
    NotUsed {
        /// The kind of the configuration, or the scheduler.
        from: String,
        /// What is said.
        option: &'static str,
    },
    /// The number of updates per epoch is out of range.
    #[error("updates per epoch: {0} is not allowed; allowed: 1 to 1,000,000")]
    UpdatesPerEpoch(u64),
    /// A unit of time that has no counterpart.
    #[error(
        "{name}: `{argument}` = {value} counts {unit}, which cannot be translated; allowed: {allowed}"
    )]
    Unit {
        /// The scheduler.
        name: String,
        /// The argument.
        argument: String,
        /// Its value.
        value: String,
        /// What it counts.
        unit: &'static str,
        /// What is allowed instead.
        allowed: &'static str,
    },
    /// A setting has a value for each of several groups of parameters, which have no names.
    #[error(
        "{name}: `{argument}` has {count} values, one for each group of parameters, and {named} groups are named; name \
         them in order (--group NAME=PATTERN), the pattern a regular expression for the beginning of the parameters' paths"
    )]
    Groups {
        /// The scheduler.
        name: String,
        /// The argument.
        argument: String,
        /// Its number of values.
        count: usize,
        /// The number of groups with a name.
        named: usize,
    },
    /// The scheduler does not use a metric.
    #[error("{name} does not use a metric; omit the signal")]
    NoMetric {
        /// The scheduler.
        name: String,
    },
    /// A part of the configuration cannot be translated, and nothing can take its place.
    #[error("{name} cannot be translated: {reason}")]
    Refused {
        /// The part.
        name: String,
        /// Why, and what to use instead.
        reason: String,
    },
    /// The translation is out of range here.
    #[error("{name}: {error}")]
    Invalid {
        /// The configuration.
        name: String,
        /// What is wrong with it.
        error: String,
    },
}

impl TranslationError {
    /// Whether the command is wrong rather than the configuration.
    pub fn is_usage(&self) -> bool {
        !matches!(
            self,
            Self::Unit { .. }
                | Self::Refused { .. }
                | Self::Invalid { .. }
                | Self::OtherKind { .. }
        ) && !matches!(self, Self::Peer(error) if !matches!(
            error,
            PeerError::UnknownPeer { .. } | PeerError::UnknownScheduler { .. }
        ))
    }

    pub(super) fn unknown_kind(from: &str, known: &[&'static str]) -> Self {
        Self::UnknownKind {
            from: from.to_string(),
            near: nearest(from, known.iter().copied()),
            known: known.join(", "),
        }
    }
}
