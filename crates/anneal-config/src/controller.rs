//! A controller of a training: its name, its rule, and where it acts.

use anneal_control::{AtEnd, Rule, Scoped};
use anneal_schedule::Span;
use serde::{Deserialize, Serialize};

/// A named controller: any [`Rule`] of `anneal-control`, for all groups or one, for the whole run or part of it.
///
/// ```toml
/// [[controller]]
/// name = "plateau"
/// group = "head"
/// after = "2ep"
/// [controller.rule.plateau]
/// signal = "valid Loss"
/// mode = "min"
/// patience = 3
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Controller"))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ControllerConfig {
    /// Its name, in logs and checkpoints.
    pub name: String,
    /// What it does: a table named after its kind.
    pub rule: Rule,
    /// The group whose rate it changes; all groups by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Where in the run it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
    /// Where in the run it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Span>,
    /// What happens to its factor at its end.
    #[serde(default, skip_serializing_if = "is_hold")]
    pub at_end: AtEnd,
}

fn is_hold(at_end: &AtEnd) -> bool {
    *at_end == AtEnd::Hold
}

impl ControllerConfig {
    /// A controller for all groups and the whole run.
    pub fn new(name: impl Into<String>, rule: impl Into<Rule>) -> Self {
        Self {
            name: name.into(),
            rule: rule.into(),
            group: None,
            after: None,
            until: None,
            at_end: AtEnd::Hold,
        }
    }

    /// Its rule, with its group and its part of the run.
    pub fn scoped(&self) -> Scoped<Rule> {
        let Self { rule, group, after, until, at_end, .. } = self.clone();
        Scoped { rule, group, after, until, at_end }
    }
}
