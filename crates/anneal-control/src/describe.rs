//! Builds a controller from its description, once the length of the run is known.

use crate::controllers::Erased;
use crate::within::{AtEnd, Within};
use crate::{Controller, OutOfRange};
use anneal_schedule::{Run, Span};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Describes a controller: plain data that is checked when the length of the run is known.
///
/// All descriptions in this crate implement it; a custom controller can describe itself.
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
    /// Checks the description and builds the controller.
    ///
    /// # Errors
    /// [`OutOfRange`] with the field, the value, and what is allowed.
    fn build(&self, run: &Run) -> Result<AnyController, OutOfRange>;

    /// Applies it to the rate of this group only, with all its parts; it hears the highest of their rates.
    fn on_group(self, group: impl Into<String>) -> Scoped<Self>
    where
        Self: Sized,
    {
        Scoped { group: Some(group.into()), ..Scoped::of(self) }
    }

    /// Starts it after this part of the run, for example a warm-up; before that it is inactive.
    fn after(self, start: impl Into<Span>) -> Scoped<Self>
    where
        Self: Sized,
    {
        Scoped { after: Some(start.into()), ..Scoped::of(self) }
    }

    /// Ends it here; its current factor stays, unless [`released`](Scoped::released).
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

/// A controller of any type, with the group it acts on.
#[derive(Clone, Debug)]
pub struct AnyController {
    pub(crate) controller: Box<dyn Erased>,
    /// `None` for all groups.
    pub(crate) group: Option<String>,
    /// The steps in which it is active: from the first, up to but excluding the second.
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
    /// The inner description.
    pub rule: D,
    /// The group whose rate it acts on; all groups if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Where it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
    /// Where it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Span>,
    /// What happens to its factor at the end.
    #[serde(default, skip_serializing_if = "AtEnd::is_hold")]
    pub at_end: AtEnd,
}

impl<D> Scoped<D> {
    fn of(rule: D) -> Self {
        Self { rule, group: None, after: None, until: None, at_end: AtEnd::Hold }
    }

    /// Applies it to the rate of this group only.
    pub fn on_group(self, group: impl Into<String>) -> Self {
        Self { group: Some(group.into()), ..self }
    }

    /// Starts it after this part of the run.
    pub fn after(self, start: impl Into<Span>) -> Self {
        Self { after: Some(start.into()), ..self }
    }

    /// Ends it here.
    pub fn until(self, end: impl Into<Span>) -> Self {
        Self { until: Some(end.into()), ..self }
    }

    /// Resets its factor at the end: for a schedule whose next part has its own rates.
    pub fn released(self) -> Self {
        Self { at_end: AtEnd::Release, ..self }
    }
}

impl<D: Describe> Describe for Scoped<D> {
    fn build(&self, run: &Run) -> Result<AnyController, OutOfRange> {
        let inner = self.rule.build(run)?;
        let from = self.after.map_or(Ok(0), |span| updates("after", span, run))?;
        let until = self.until.map_or(Ok(u64::MAX), |span| updates("until", span, run))?;
        OutOfRange::require("until", until, from < until, "above 0, and after `after`")?;
        if self.at_end == AtEnd::Release && self.until.is_none() {
            return Err(OutOfRange::new("at_end", "release", "hold, or release with `until`"));
        }
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

/// A warning about a start beyond the end of the run.
pub(crate) fn beyond_the_run(update: u64, run: &Run) -> Option<String> {
    let updates = run.updates().filter(|updates| update >= *updates)?;
    Some(format!("it starts at update {update}, but the run has {updates}"))
}

/// The update at this span from the start of the run.
pub(crate) fn updates(field: &'static str, span: Span, run: &Run) -> Result<u64, OutOfRange> {
    let allowed =
        "a length that this run can resolve: updates, or epochs or percent if the run has them";
    let updates = span.update_in(run);
    updates.ok_or_else(|| OutOfRange::new(field, format_args!("`{span}`"), allowed))
}
