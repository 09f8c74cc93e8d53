//! Any controller of this crate, as described in a file.

use crate::{
    AnyController, Curriculum, Describe, Follow, Greedy, Hypergradient, LocalSteps, NoiseScale,
    OutOfRange, Pid, Plateau, PruningRestart, Rehearsal, Run, SpikeGuard, TaskConflict,
};
use serde::{Deserialize, Serialize};

macro_rules! rules {
    ($($kind:ident $name:ident),*) => {
        /// The description of a controller under the name of its kind: plain data for a file. To see the
        /// field names, print one that a program makes with `serde_json` or `toml`.
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
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Rule {
            $(#[doc = concat!("[`", stringify!($name), "`].")] $name($name),)*
        }

        impl Rule {
            /// The name of the kind, as in a file.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($kind),)*
                }
            }
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
    plateau Plateau,
    greedy Greedy,
    pid Pid,
    hypergradient Hypergradient,
    spike_guard SpikeGuard,
    curriculum Curriculum,
    rehearsal Rehearsal,
    follow Follow,
    local_steps LocalSteps,
    pruning_restart PruningRestart,
    task_conflict TaskConflict,
    noise_scale NoiseScale
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MetricOf, Signal};

    #[test]
    fn a_kind_is_the_name_in_a_file() {
        let rules: [Rule; 4] = [
            Plateau::min(MetricOf::valid("Loss")).into(),
            SpikeGuard::clip().into(),
            Pid::set_point(Signal::Loss, 1.0, [1.0, 0.0, 0.0]).into(),
            NoiseScale::new().into(),
        ];
        for rule in rules {
            let written = serde_json::to_value(&rule).unwrap();
            assert!(written.get(rule.kind()).is_some(), "{written}");
        }
    }
}
