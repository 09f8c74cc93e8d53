//! From the description of a controller to the controller: once the length of the run is known.

use crate::controllers::Erased;
use crate::within::{AtEnd, Within};
use crate::{Controller, OutOfRange};
use anneal_schedule::{Run, Span};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Describes a controller: plain data, checked when the length of the run is known.
///
/// Every description of this crate does, and a controller of your own describes itself.
///
/// ```
/// use anneal_control::{Controllers, Cooldown, Describe, RunLength, Span};
///
/// let run = RunLength::updates(1_000).resolve()?;
/// let rule = Cooldown::after_non_finite_loss(100)?.on_group("head").until(Span::percent(50.0));
/// let mut controllers = Controllers::default();
/// controllers.add("cooldown", rule.build(&run)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Describe: fmt::Debug + Send + Sync + 'static {
    /// Checks it and makes the controller.
    ///
    /// # Errors
    /// [`OutOfRange`] names the field, the value, and what is allowed.
    fn build(&self, run: &Run) -> Result<AnyController, OutOfRange>;

    /// It acts on the rate of this group alone.
    fn on_group(self, group: impl Into<String>) -> Scoped<Self>
    where
        Self: Sized,
    {
        Scoped { group: Some(group.into()), ..Scoped::of(self) }
    }

    /// It begins after so much of the run, such as a warm-up; before, it hears nothing, and answers nothing.
    fn after(self, start: impl Into<Span>) -> Scoped<Self>
    where
        Self: Sized,
    {
        Scoped { after: Some(start.into()), ..Scoped::of(self) }
    }

    /// It hears nothing from here on; the factor that it has come to stays, unless
    /// [`released`](Scoped::released).
    fn until(self, end: impl Into<Span>) -> Scoped<Self>
    where
        Self: Sized,
    {
        Scoped { until: Some(end.into()), ..Scoped::of(self) }
    }
}

impl<C: Controller> Describe for C {
    fn build(&self, _: &Run) -> Result<AnyController, OutOfRange> {
        Ok(self.clone().into())
    }
}

/// A controller of any type, and the group that it acts on.
#[derive(Clone, Debug)]
pub struct AnyController {
    pub(crate) controller: Box<dyn Erased>,
    /// `None` for all.
    pub(crate) group: Option<String>,
    /// The steps in which it hears: from the first on, up to the second.
    pub(crate) steps: (u64, u64),
}

impl<C: Controller> From<C> for AnyController {
    fn from(controller: C) -> Self {
        Self { controller: Box::new(controller), group: None, steps: (0, u64::MAX) }
    }
}

/// A description for one group, or for a part of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[must_use]
pub struct Scoped<D> {
    /// What is described.
    pub rule: D,
    /// The group whose rate it acts on; all of them without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Where it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
    /// Where it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Span>,
    /// What becomes of its factor then.
    #[serde(default, skip_serializing_if = "AtEnd::is_hold")]
    pub at_end: AtEnd,
}

impl<D> Scoped<D> {
    fn of(rule: D) -> Self {
        Self { rule, group: None, after: None, until: None, at_end: AtEnd::Hold }
    }

    /// It acts on the rate of this group alone.
    pub fn on_group(self, group: impl Into<String>) -> Self {
        Self { group: Some(group.into()), ..self }
    }

    /// It begins after so much of the run.
    pub fn after(self, start: impl Into<Span>) -> Self {
        Self { after: Some(start.into()), ..self }
    }

    /// It hears nothing from here on.
    pub fn until(self, end: impl Into<Span>) -> Self {
        Self { until: Some(end.into()), ..self }
    }

    /// Where it ends its factor does too: for a schedule whose next part has its own rates.
    pub fn released(self) -> Self {
        Self { at_end: AtEnd::Release, ..self }
    }
}

impl<D: Describe> Describe for Scoped<D> {
    fn build(&self, run: &Run) -> Result<AnyController, OutOfRange> {
        let inner = self.rule.build(run)?;
        let from = self.after.map_or(Ok(0), |span| updates("after", span, run))?;
        let until = self.until.map_or(Ok(u64::MAX), |span| updates("until", span, run))?;
        OutOfRange::require("until", until, from < until, "above 0, and beyond `after`")?;
        let released = self.at_end == AtEnd::Release;
        OutOfRange::require(
            "released",
            released,
            !released || self.until.is_some(),
            "with `until`",
        )?;
        let group = self.group.clone().or(inner.group);
        let controller = match (self.after, self.until) {
            (None, None) => inner.controller,
            _ => {
                let warning = beyond_the_run(from, run);
                Box::new(Within::new(inner.controller, from..until, self.at_end, warning))
            }
        };
        Ok(AnyController { controller, group, steps: (from, until) })
    }
}

/// What to say of what begins at an update that the run does not come to.
pub(crate) fn beyond_the_run(update: u64, run: &Run) -> Option<String> {
    let updates = run.updates().filter(|updates| update >= *updates)?;
    Some(format!("it begins at update {update}, and the run has {updates}"))
}

/// The update that lies a span into the run.
pub(crate) fn updates(field: &'static str, span: Span, run: &Run) -> Result<u64, OutOfRange> {
    let allowed =
        "a length that this run has: updates, or epochs or percent of a run that knows them";
    let updates = span.update_in(run);
    updates.ok_or_else(|| OutOfRange::new(field, format_args!("`{span}`"), allowed))
}
