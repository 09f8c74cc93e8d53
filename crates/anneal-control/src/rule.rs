//! Any controller of this crate, as a file describes it.

use crate::{
    AnyController, Curriculum, Describe, Follow, Greedy, Hypergradient, LocalSteps, NoiseScale,
    OutOfRange, Pid, Plateau, PruningRestart, Rehearsal, Run, SpikeGuard, TaskConflict,
};
use serde::{Deserialize, Serialize};

macro_rules! rules {
    ($($name:ident),*) => {
        /// The description of a controller, under the name of its kind: plain data, for a file. `serde_json` or `toml`
        /// prints one that a program makes, with the names of its fields.
        ///
        /// ```
        /// use anneal_control::{MetricOf, Plateau, Rule, Scoped};
        ///
        /// let text = r#"{
        ///     "rule": {"plateau": {"mode": "min", "signal": "valid Loss", "patience": 3}},
        ///     "group": "head",
        ///     "after": "5ep"
        /// }"#;
        /// let rule: Scoped<Rule> = serde_json::from_str(text)?;
        /// assert_eq!(rule.rule, Plateau::min(MetricOf::valid("Loss")).patience(3).into());
        /// # Ok::<(), serde_json::Error>(())
        /// ```
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Rule {
            $(#[doc = concat!("[`", stringify!($name), "`].")] $name($name),)*
        }

        impl Describe for Rule {
            fn build(&self, run: &Run) -> Result<AnyController, OutOfRange> {
                match self {
                    $(Self::$name(rule) => rule.build(run),)*
                }
            }
        }

        $(impl From<$name> for Rule {
            fn from(rule: $name) -> Self {
                Self::$name(rule)
            }
        })*
    };
}

rules!(
    Plateau,
    Greedy,
    Pid,
    Hypergradient,
    SpikeGuard,
    Curriculum,
    Rehearsal,
    Follow,
    LocalSteps,
    PruningRestart,
    TaskConflict,
    NoiseScale
);
