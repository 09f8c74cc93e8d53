//! What a lint finds.

use crate::suggest;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Something wrong with a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which kind of thing: stable, for tools and for turning it off.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// The update where it is; `None` where it is about all of them, or where there is no run.
    pub step: Option<u64>,
    /// What was found, a sentence.
    pub message: String,
    /// What to change.
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

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It costs something, and may be meant.
    Note,
    /// It is most likely not what was meant.
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
            /// All of them.
            pub const ALL: &[Code] = &[$(Code::$variant),*];

            /// Its text, such as `frozen-tail`.
            pub fn as_str(self) -> &'static str {
                match self {$(Self::$variant => $code,)*}
            }

            /// What it means, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self {$(Self::$variant => concat!($($doc),*).trim_start(),)*}
            }
        }
    };
}

codes! {
    /// No update has even half of the peak that the description names.
    NeverWarm, "never-warm";
    /// A quarter of the run at its end is below a hundredth of the peak, or several updates of it
    /// have a rate of 0.
    FrozenTail, "frozen-tail";
    /// A curve does not fit into the run, restarts are cut off in a cycle, or a floor lies above the
    /// end that is asked for.
    UnreachableEnd, "unreachable-end";
    /// A floor holds the rate flat where the curve could end at it.
    FlatFloor, "flat-floor";
    /// A decay leaves the rate as it is, to 1 %.
    DecayNeverStarts, "decay-never-starts";
    /// A decay is over in the first tenth of its part of the run.
    EndsEarly, "ends-early";
    /// A cosine that continues goes up again before the run ends.
    RisesAgain, "rises-again";
    /// There is no restart in the run, or one that raises no rate.
    RestartResetsNothing, "restart-resets-nothing";
    /// Something begins anew every few updates of a long run.
    ShortPeriod, "short-period";
    /// From one part to the next the rate changes more than a hundredfold.
    SuddenJump, "sudden-jump";
    /// A warm-up takes more than half of the run.
    WarmupLongerThanHalf, "warmup-longer-than-half";
    /// A warm-up leaves no update for what follows.
    WarmupLongerThanRun, "warmup-longer-than-run";
    /// A warm-up rounds to 0 updates.
    WarmupRoundsToZero, "warmup-rounds-to-zero";
    /// A warm-up leads to something that warms up itself.
    DoubleWarmup, "double-warmup";
    /// The largest rate is above 10.
    RateTooHigh, "rate-too-high";
    /// The largest rate is exactly 1, like the multipliers of torch's LambdaLR.
    LooksLikeMultiplier, "looks-like-multiplier";
    /// Rates that are unstable on the curvature given.
    AboveStabilityCeiling, "above-stability-ceiling";
    /// The weight decay given shrinks weights by less than 0.1 % over the run.
    VanishingDecay, "vanishing-decay";
    /// The weight decay given follows the rate down, below a tenth of its largest share.
    FadingDecay, "fading-decay";
    /// The description does not resolve, for a reason that has no code of its own.
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

/// A text that is no [`Code`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{code}` is no code of a finding{nearest}; allowed: {}", texts().join(", "))]
pub struct UnknownCode {
    code: String,
    nearest: String,
}

fn texts() -> Vec<&'static str> {
    Code::ALL.iter().map(|code| code.as_str()).collect()
}
