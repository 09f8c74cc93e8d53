//! Findings of a lint.

use crate::suggest;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A possible mistake in a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The kind of finding: stable, for tools and for turning it off.
    pub code: Code,
    /// Its severity.
    pub severity: Severity,
    /// The update it refers to; `None` if it concerns all updates, or if there is no run.
    pub step: Option<u64>,
    /// What was found, in one sentence.
    pub message: String,
    /// The suggested change.
    pub change: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.severity, self.code)?;
        if let Some(step) = self.step {
            write!(f, " at update {step}")?;
        }
        write!(f, ": {}; {}", self.message, self.change)
    }
}

/// The severity of a [`Finding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It has a cost, and may be intended.
    Note,
    /// It is probably a mistake.
    Warning,
    /// Training with it makes no sense.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $variant:ident, $code:literal;)*) => {
        /// The kind of a [`Finding`]. Its text never changes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
        #[non_exhaustive]
        pub enum Code {$(
            $(#[doc = $doc])*
            #[serde(rename = $code)]
            $variant,
        )*}

        impl Code {
            /// All codes.
            pub const ALL: &[Code] = &[$(Code::$variant),*];

            /// Its text, for example `frozen-tail`.
            pub fn as_str(self) -> &'static str {
                match self {$(Self::$variant => $code,)*}
            }

            /// Its meaning, in one sentence.
            pub fn meaning(self) -> &'static str {
                match self {$(Self::$variant => concat!($($doc),*).trim_start(),)*}
            }
        }
    };
}

codes! {
    /// No update reaches even half of the peak that the description names.
    NeverWarm, "never-warm";
    /// The run ends before the schedule does, which `truncate` allows.
    CutShort, "cut-short";
    /// A quarter of the run at its end is below a hundredth of the peak, or several updates there have a rate
    /// of 0.
    FrozenTail, "frozen-tail";
    /// A curve does not fit into the run, restarts are cut off within a cycle, or a floor lies above the
    /// requested end.
    UnreachableEnd, "unreachable-end";
    /// A floor holds the rate flat although the curve could end at it.
    FlatFloor, "flat-floor";
    /// A decay changes the rate by less than 1 %.
    DecayNeverStarts, "decay-never-starts";
    /// A decay ends in the first tenth of its part of the run.
    EndsEarly, "ends-early";
    /// A cosine that continues rises again before the run ends.
    RisesAgain, "rises-again";
    /// The run contains no restart, or one that does not raise the rate.
    RestartResetsNothing, "restart-resets-nothing";
    /// A cycle restarts every few updates of a long run.
    ShortPeriod, "short-period";
    /// The rate changes more than a hundredfold from one part to the next.
    SuddenJump, "sudden-jump";
    /// A warm-up takes more than half of the run.
    WarmupLongerThanHalf, "warmup-longer-than-half";
    /// A warm-up leaves no updates for the schedule after it.
    WarmupLongerThanRun, "warmup-longer-than-run";
    /// A warm-up rounds to 0 updates.
    WarmupRoundsToZero, "warmup-rounds-to-zero";
    /// A length of a few updates would be a usual one of epochs by its number.
    LooksLikeEpochs, "looks-like-epochs";
    /// A length of more epochs than the run has would be one of updates by its number.
    LooksLikeUpdates, "looks-like-updates";
    /// A warm-up leads to a schedule that has its own warm-up.
    DoubleWarmup, "double-warmup";
    /// The largest rate is above 10.
    RateTooHigh, "rate-too-high";
    /// The largest rate is exactly 1, like the multipliers of torch's LambdaLR.
    LooksLikeMultiplier, "looks-like-multiplier";
    /// Rates are unstable on the given curvature.
    AboveStabilityCeiling, "above-stability-ceiling";
    /// The given weight decay shrinks weights by less than 0.1 % over the run.
    VanishingDecay, "vanishing-decay";
    /// The given weight decay follows the rate down, below a tenth of its largest share.
    FadingDecay, "fading-decay";
    /// The description does not resolve, for a reason without a code of its own.
    Invalid, "invalid";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Code {
    type Err = UnknownCode;

    /// Reads the text of a code.
    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let found = Self::ALL.iter().find(|code| code.as_str() == text);
        found.copied().ok_or_else(|| UnknownCode {
            code: text.into(),
            nearest: suggest::nearest(text, texts()),
        })
    }
}

/// A text that is not a [`Code`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{code}` is not the code of a finding{nearest}; allowed: {}", texts().join(", "))]
pub struct UnknownCode {
    code: String,
    nearest: String,
}

fn texts() -> Vec<&'static str> {
    Code::ALL.iter().map(|code| code.as_str()).collect()
}
