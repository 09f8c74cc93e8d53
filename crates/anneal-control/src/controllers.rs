//! Several controllers that act as one.

use crate::{
    Announcement, Answer, AnyController, BatchChange, Controller, Decision, Due, EpochMetrics,
    EpochSeen, Event, GradientNoise, LossScale, MetricOf, Needs, Observation, OutOfRange,
    PrivacyAccountant, Seen, Stop,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use thiserror::Error;

/// Named controllers in the order in which they are called, and the loss scale that they set.
///
/// A training loop asks it for its [`needs`](Self::needs), measures them, reports the update with
/// [`update`](Self::update), applies the answer, and reports the result with [`outcome`](Self::outcome).
///
/// ```
/// use anneal_control::{Controllers, Cooldown, Due, LossScaling, Observation};
///
/// let mut controllers = Controllers::default();
/// controllers.add("loss scale", LossScaling::new().build()?);
/// controllers.add("cooldown", Cooldown::after_non_finite_loss(2)?);
/// assert_eq!(controllers.loss_scale(), Some(65_536.0));
///
/// let overflow = Observation { overflow: true, ..Observation::default() };
/// let decision = controllers.update(Due::at(0, 0.1), &overflow)?;
/// assert!(decision.answer.skip.is_some());
/// controllers.outcome(Due::at(0, 0.1), &overflow, &decision, None)?;
/// assert_eq!(controllers.loss_scale(), Some(32_768.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Controllers {
    named: Vec<Named>,
    /// The scale of the next loss.
    loss_scale: Option<LossScale>,
    /// The scale of the last update's losses.
    scaled_by: Option<f64>,
    /// The floor for all rates.
    floor: Option<f64>,
}

#[derive(Clone, Debug)]
struct Named {
    name: String,
    controller: Box<dyn Erased>,
    group: Option<OfGroup>,
    /// The range of steps in which it is active.
    steps: (u64, u64),
    /// Its answer to the last update.
    answered: Answer,
}

/// A group by name, and the indices of all groups of the training with this name.
#[derive(Clone, Debug)]
struct OfGroup {
    name: String,
    indices: Vec<usize>,
}

/// A controller ended the run.
#[derive(Clone, Debug, Error)]
#[error("{controller}: {stop}")]
pub struct Stopped {
    /// Its name.
    pub controller: String,
    /// The reason.
    pub stop: Stop,
}

/// Why controllers cannot continue from a saved state.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// It was saved with different controllers.
    #[error(
        "it was saved with {}, but now there {}; give the same controllers under the same names",
        listed(saved),
        if now.is_empty() { "are none".to_string() } else { format!("are {}", listed(now)) }
    )]
    Others {
        /// The saved names.
        saved: Vec<String>,
        /// The current names.
        now: Vec<String>,
    },
    /// The saved data is not a state of the controller.
    #[error(
        "the saved state does not fit `{controller}`: {reason}; use the same description, for the same part of the \
         run, as in the saved run"
    )]
    Damaged {
        /// Its name.
        controller: String,
        /// The mismatch.
        reason: String,
    },
}

/// Why controllers cannot be combined, or not in this training.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SetupError {
    /// Two have the same effect on the rate of one group.
    #[error(
        "`{first}` and `{second}` are both {role}, of {}, in the same part of the run: remove one, give each a \
         group of its own, or end one before the other begins",
        group.as_ref().map_or("all groups".to_string(), |group| format!("the group `{group}`"))
    )]
    Contradiction {
        /// The name of one.
        first: String,
        /// The name of the other.
        second: String,
        /// Their common effect.
        role: &'static str,
        /// The group; `None` for all.
        group: Option<String>,
    },
    /// A controller of the whole update was put on a group.
    #[error(
        "`{controller}` acts on the whole update or needs the whole model, so it cannot be limited to one group: leave \
         on_group out"
    )]
    OfUpdate {
        /// Its name.
        controller: String,
    },
    /// A controller acts on an unknown group.
    #[error(
        "`{controller}` acts on the group `{group}`, which does not exist; there {}",
        match &groups[..] {
            [] => "are no groups".to_string(),
            [one] => format!("is `{one}`"),
            groups => format!("are {}", listed(groups)),
        }
    )]
    UnknownGroup {
        /// Its name.
        controller: String,
        /// The name of the group.
        group: String,
        /// The existing groups.
        groups: Vec<String>,
    },
}

/// An announcement that no controller handles.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "no controller handles `{name}`; {}",
    match heard.is_empty() {
        true => "no controller handles any announcement".to_string(),
        false => format!("they handle {}", listed(heard)),
    }
)]
#[non_exhaustive]
pub struct UnheardAnnouncement {
    /// Its name.
    pub name: String,
    /// The names that they handle.
    pub heard: Vec<String>,
}

/// Why an announcement is refused.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum AnnounceError {
    /// No controller handles it.
    #[error(transparent)]
    Unheard(#[from] UnheardAnnouncement),
    /// A controller ended the run in response.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// The epoch lacks a metric that a controller needs.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("it needs the metric `{needed}`, which this training does not have; {}", those(metrics))]
#[non_exhaustive]
pub struct MissingMetric {
    /// The metric.
    pub needed: MetricOf,
    /// The available metrics.
    pub metrics: EpochMetrics,
}

fn those(metrics: &EpochMetrics) -> String {
    let names: Vec<String> = metrics.iter().map(|(name, _)| format!("`{name}`")).collect();
    match names.is_empty() {
        true => "it has none: register it with the training, or pass it to end_epoch".into(),
        false => format!("the known names are {}", names.join(", ")),
    }
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "no controllers".to_string(),
        names => format!("`{}`", names.join("`, `")),
    }
}

/// A controller of any type.
pub(crate) trait Erased: fmt::Debug + Send + Sync {
    fn needs(&self) -> Needs;
    fn metrics(&self) -> Vec<MetricOf>;
    fn announcements(&self) -> Vec<String>;
    fn role(&self) -> Option<&'static str>;
    fn is_of_update(&self) -> bool;
    fn warnings(&self) -> Vec<String>;
    fn loss_scale(&self) -> Option<LossScale>;
    fn gradient_noise(&self) -> Option<GradientNoise>;
    fn privacy(&self) -> Option<&PrivacyAccountant>;
    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop>;
    fn save(&self) -> Value;
    fn restore(&mut self, saved: Value) -> Result<(), String>;
    fn boxed(&self) -> Box<dyn Erased>;
}

impl<C: Controller> Erased for C {
    fn needs(&self) -> Needs {
        Controller::needs(self)
    }

    fn metrics(&self) -> Vec<MetricOf> {
        Controller::metrics(self)
    }

    fn announcements(&self) -> Vec<String> {
        Controller::announcements(self)
    }

    fn role(&self) -> Option<&'static str> {
        Controller::role(self)
    }

    fn is_of_update(&self) -> bool {
        Controller::is_of_update(self)
    }

    fn warnings(&self) -> Vec<String> {
        Controller::warnings(self)
    }

    fn loss_scale(&self) -> Option<LossScale> {
        Controller::loss_scale(self)
    }

    fn gradient_noise(&self) -> Option<GradientNoise> {
        Controller::gradient_noise(self)
    }

    fn privacy(&self) -> Option<&PrivacyAccountant> {
        Controller::privacy(self)
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        Controller::hear(self, event)
    }

    fn save(&self) -> Value {
        serde_json::to_value(self.state()).unwrap_or_default()
    }

    fn restore(&mut self, saved: Value) -> Result<(), String> {
        let state = serde_json::from_value(saved).map_err(|error| error.to_string())?;
        Controller::restore(self, state).map_err(|error| error.to_string())
    }

    fn boxed(&self) -> Box<dyn Erased> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Erased> {
    fn clone(&self) -> Self {
        self.as_ref().boxed()
    }
}

impl Controllers {
    /// Adds a controller, which is called after the earlier ones.
    pub fn add(&mut self, name: impl Into<String>, controller: impl Into<AnyController>) {
        let AnyController { controller, group, steps } = controller.into();
        self.loss_scale = controller.loss_scale().or(self.loss_scale);
        let group = group.map(|name| OfGroup { name, indices: vec![] });
        let (name, answered) = (name.into(), Answer::default());
        self.named.push(Named { name, controller, group, steps, answered });
    }

    /// Keeps only the controllers for which `keep` returns true, given the name and whether it sets the loss
    /// scale.
    pub fn retain(&mut self, keep: impl Fn(&str, bool) -> bool) {
        self.named.retain(|named| keep(&named.name, named.controller.loss_scale().is_some()));
        self.floor = None;
    }

    /// Sets the floor for all rates: see [`Answer::floor`].
    ///
    /// # Errors
    /// [`OutOfRange`] unless it is finite and at least 0.
    pub fn set_floor(&mut self, rate: f64) -> Result<(), OutOfRange> {
        let ok = rate >= 0.0 && rate.is_finite();
        OutOfRange::require("rate", rate, ok, "a finite number, at least 0")?;
        self.floor = Some(rate);
        Ok(())
    }

    /// Resolves the groups that they act on, and checks for conflicts. Each group of the training has its own
    /// name first, and then the names that it shares: a controller on a shared name acts on all of its groups.
    ///
    /// ```
    /// # use anneal_control::{Controllers, Cooldown, Describe, RunLength};
    /// # let run = RunLength::updates(100).resolve()?;
    /// let mut controllers = Controllers::default();
    /// let rule = Cooldown::after_non_finite_loss(2)?.on_group("head");
    /// controllers.add("cooldown", rule.build(&run)?);
    /// controllers.set_up([vec!["body"], vec!["head"], vec!["head, no decay", "head"]])?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SetupError`] names the controllers.
    pub fn set_up<'a, G: IntoIterator<Item = &'a str>>(
        &mut self,
        groups: impl IntoIterator<Item = G>,
    ) -> Result<(), SetupError> {
        let groups: Vec<Vec<&str>> =
            groups.into_iter().map(|names| names.into_iter().collect()).collect();
        for named in &mut self.named {
            let Some(group) = &mut named.group else { continue };
            if named.controller.is_of_update() {
                return Err(SetupError::OfUpdate { controller: named.name.clone() });
            }
            let is_named = |index: &usize| groups[*index].contains(&group.name.as_str());
            group.indices = (0..groups.len()).filter(is_named).collect();
            if group.indices.is_empty() {
                let own = groups.iter().filter_map(|names| names.first());
                return Err(SetupError::UnknownGroup {
                    controller: named.name.clone(),
                    group: group.name.clone(),
                    groups: own.map(|name| name.to_string()).collect(),
                });
            }
        }
        for (i, first) in self.named.iter().enumerate() {
            let second = self.named[i + 1..].iter().find(|second| first.contradicts(second));
            if let (Some(second), Some(role)) = (second, first.controller.role()) {
                let group = first.group.as_ref().or(second.group.as_ref());
                return Err(SetupError::Contradiction {
                    first: first.name.clone(),
                    second: second.name.clone(),
                    role,
                    group: group.map(|group| group.name.clone()),
                });
            }
        }
        Ok(())
    }

    /// Settings that are allowed but probably not intended, each with the name of the controller.
    pub fn warnings(&self) -> Vec<String> {
        let of = |named: &Named| {
            let warnings = named.controller.warnings();
            warnings.into_iter().map(|warning| format!("{}: {warning}", named.name)).collect()
        };
        self.named.iter().flat_map(of as fn(&Named) -> Vec<String>).collect()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.iter().map(|named| named.name.as_str())
    }

    /// The answer of each to the last update, in order.
    pub fn answers(&self) -> impl Iterator<Item = (&str, Answer)> {
        self.named.iter().map(|named| (named.name.as_str(), named.answered))
    }

    /// The state of each, in order, as plain data.
    pub fn states(&self) -> impl Iterator<Item = (&str, Value)> {
        self.named.iter().map(|named| (named.name.as_str(), named.controller.save()))
    }

    /// The scale of the next loss; `None` without loss scaling.
    pub fn loss_scale(&self) -> Option<f64> {
        self.loss_scale.map(|scale| scale.next)
    }

    /// The noise estimate of the first controller that measures it; `None` before its first update.
    pub fn gradient_noise(&self) -> Option<GradientNoise> {
        self.named.iter().find_map(|named| named.controller.gradient_noise())
    }

    /// The privacy account of the first controller that has one; `None` if none does.
    pub fn privacy(&self) -> Option<&PrivacyAccountant> {
        self.named.iter().find_map(|named| named.controller.privacy())
    }

    /// What must be measured in the next update.
    pub fn needs(&self) -> Needs {
        self.named.iter().fold(Needs::default(), |needs, named| needs.and(named.controller.needs()))
    }

    /// The needs of one controller for the next update.
    pub fn needs_of(&self, name: &str) -> Option<Needs> {
        Some(self.named.iter().find(|named| named.name == name)?.controller.needs())
    }

    /// Reports an update to all, and returns their combined answer.
    ///
    /// # Errors
    /// [`Stopped`] by one of them, or because an answer is out of range.
    pub fn update(&mut self, due: Due<'_>, observation: &Observation) -> Result<Decision, Stopped> {
        let (floor, loss_scale) = (self.floor, self.loss_scale);
        let answer = Answer { floor, loss_scale, ..Answer::default() };
        let mut decision = Decision { answer, groups: vec![] };
        self.scaled_by = self.loss_scale();
        for named in &mut self.named {
            let answered = named.of(&decision, due);
            let seen = named.seen(due, observation, self.scaled_by, &answered, &decision);
            named.answered = named.answer(&Event::Update(seen))?;
            named.check_scale(&named.answered, self.loss_scale.is_some())?;
            decision.add(named.indices(), named.answered);
            if !named.answered.of_rates().is_none() {
                named.check_together(&decision, due)?;
            }
        }
        self.loss_scale = decision.answer.loss_scale;
        Ok(decision)
    }

    /// Reports to all what happened to the update they answered to.
    ///
    /// # Errors
    /// [`Stopped`] by one of them, or because an answer is out of range.
    pub fn outcome(
        &mut self,
        due: Due<'_>,
        observation: &Observation,
        decision: &Decision,
        change: Option<BatchChange>,
    ) -> Result<(), Stopped> {
        let mut decision = decision.clone();
        decision.answer.loss_scale = self.loss_scale;
        for named in &mut self.named {
            let answered = named.of(&decision, due);
            let seen = named.seen(due, observation, self.scaled_by, &answered, &decision);
            let answer = named.answer(&Event::Outcome(seen, change))?;
            named.check_scale(&answer, self.loss_scale.is_some())?;
            decision.answer.loss_scale = answer.loss_scale.or(decision.answer.loss_scale);
        }
        self.loss_scale = decision.answer.loss_scale;
        Ok(())
    }

    /// Passes an announcement of the loop to all.
    ///
    /// # Errors
    /// [`UnheardAnnouncement`] if none of them handles this name.
    pub fn announce(&mut self, said: Announcement<'_>) -> Result<(), AnnounceError> {
        let mut heard: Vec<String> =
            self.named.iter().flat_map(|named| named.controller.announcements()).collect();
        if !heard.iter().any(|name| name == said.name) {
            heard.sort();
            heard.dedup();
            let unheard = UnheardAnnouncement { name: said.name.to_string(), heard };
            return Err(unheard.into());
        }
        for named in &mut self.named {
            named.answer(&Event::Announced(said))?;
        }
        Ok(())
    }

    /// The epoch metrics that they need, each once, with the first controller that needs it.
    pub fn metrics(&self) -> Vec<(MetricOf, String)> {
        let mut all: Vec<(MetricOf, String)> = vec![];
        for Named { name, controller, .. } in &self.named {
            for metric in controller.metrics() {
                if all.iter().all(|(other, _)| *other != metric) {
                    all.push((metric, name.clone()));
                }
            }
        }
        all
    }

    /// Reports a finished epoch to all.
    ///
    /// # Errors
    /// [`Stopped`] by one of them, including for a missing metric.
    pub fn epoch(&mut self, epoch: u64, metrics: &EpochMetrics) -> Result<(), Stopped> {
        for (needed, controller) in self.metrics() {
            if metrics.get(&needed).is_none() {
                let stop = Stop::new(MissingMetric { needed, metrics: metrics.clone() });
                return Err(Stopped { controller, stop });
            }
        }
        for named in &mut self.named {
            named.answer(&Event::Epoch(EpochSeen { epoch, metrics }))?;
        }
        Ok(())
    }

    /// The data for a checkpoint: the state of each by name, and the loss scale.
    pub fn save(&self) -> SavedControllers {
        let states = self.named.iter().map(|named| (named.name.clone(), named.controller.save()));
        SavedControllers { loss_scale: self.loss_scale(), states: states.collect() }
    }

    /// Continues from a checkpoint, under the current descriptions.
    ///
    /// # Errors
    /// [`RestoreError`] if it was saved with different controllers, or does not fit them.
    pub fn restore(&mut self, saved: SavedControllers) -> Result<(), RestoreError> {
        let mut now: Vec<String> = self.names().map(String::from).collect();
        now.sort();
        let names: Vec<String> = saved.states.keys().cloned().collect();
        if names != now {
            return Err(RestoreError::Others { saved: names, now });
        }
        let mut states = saved.states;
        for Named { name, controller, .. } in &mut self.named {
            let state = states.remove(name).unwrap_or_default();
            controller
                .restore(state)
                .map_err(|reason| RestoreError::Damaged { controller: name.clone(), reason })?;
        }
        // A controller after the one that sets the scale may have lowered it.
        let decided =
            self.named.iter().filter_map(|named| named.controller.loss_scale()).next_back();
        self.loss_scale = decided.map(|LossScale { next, least }| LossScale {
            next: saved.loss_scale.map_or(next, |saved| saved.min(next).max(least)),
            least,
        });
        Ok(())
    }
}

impl Named {
    /// The groups that it acts on; `None` for all.
    fn indices(&self) -> Option<&[usize]> {
        self.group.as_ref().map(|group| &group.indices[..])
    }

    /// The group that it sees: of those that it acts on, the one with the highest rate.
    fn index(&self, due: Due<'_>) -> Option<usize> {
        let rate = |index: &usize| due.group_rates.get(*index).copied().unwrap_or(due.rate);
        let higher = |one, other| if rate(&other) > rate(&one) { other } else { one };
        self.indices()?.iter().copied().reduce(higher)
    }

    /// The decision for the group that it sees.
    fn of(&self, decision: &Decision, due: Due<'_>) -> Answer {
        self.index(due).map_or(decision.answer, |index| decision.of(index))
    }

    fn seen<'a>(
        &self,
        due: Due<'a>,
        observation: &'a Observation,
        scaled_by: Option<f64>,
        answered: &'a Answer,
        decision: &'a Decision,
    ) -> Seen<'a> {
        let of_group = self.index(due).and_then(|index| due.group_rates.get(index));
        Seen {
            number: due.number,
            step: due.step,
            rate: of_group.copied().unwrap_or(due.rate),
            observation,
            loss_scale: scaled_by.unwrap_or(1.0),
            answered,
            decision,
            due,
        }
    }

    /// Answers may be in range individually but not combined.
    fn check_together(&self, decision: &Decision, due: Due<'_>) -> Result<(), Stopped> {
        // An answer for all groups is finite for each if it is finite for the largest rate.
        let most = due.group_rates.iter().copied().fold(due.rate, f64::max);
        let own = decision.groups.iter().map(|(group, _)| {
            (decision.of(*group), due.group_rates.get(*group).copied().unwrap_or(due.rate))
        });
        for (answer, rate) in own.chain([(decision.answer, most)]) {
            let finite = !rate.is_finite() || answer.rate(rate).is_finite();
            if answer.of_rates().check().is_err() || !finite {
                let stop = Stop::new(format!(
                    "combined with the earlier answers, its own gives `{answer}`"
                ));
                return Err(Stopped { controller: self.name.clone(), stop });
            }
        }
        Ok(())
    }

    /// Whether both have the same effect on the same group in the same part of the run.
    fn contradicts(&self, other: &Self) -> bool {
        let same_group = match (self.indices(), other.indices()) {
            (Some(one), Some(other)) => one.iter().any(|group| other.contains(group)),
            _ => true,
        };
        let role = self.controller.role();
        let together = self.steps.0 < other.steps.1 && other.steps.0 < self.steps.1;
        same_group && together && role.is_some() && role == other.controller.role()
    }

    /// A loss is scaled from the first pass on, or never.
    fn check_scale(&self, answer: &Answer, scales: bool) -> Result<(), Stopped> {
        if scales || answer.loss_scale.is_none() {
            return Ok(());
        }
        let reason = "it answered with a loss scale, but no controller sets an initial one: see \
                      Controller::loss_scale";
        Err(Stopped { controller: self.name.clone(), stop: Stop::new(reason) })
    }

    fn answer(&mut self, event: &Event<'_>) -> Result<Answer, Stopped> {
        let stopped = |stop| Stopped { controller: self.name.clone(), stop };
        let answer = self.controller.hear(event).map_err(stopped)?;
        let out_of_range =
            |error: OutOfRange| stopped(Stop::new(format!("its answer is invalid: {error}")));
        answer.check().map_err(out_of_range)?;
        Ok(answer)
    }
}

/// The data that a checkpoint saves of [`Controllers`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SavedControllers {
    /// The scale of the next loss.
    pub loss_scale: Option<f64>,
    /// The state of each by its name.
    pub states: BTreeMap<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cooldown, Describe, LossScaling, OverflowCap, RunLength, Scoped};

    /// Gives a fixed answer, and remembers the answers before it.
    #[derive(Clone, Debug)]
    struct Says(Answer, Option<Answer>);

    impl Controller for Says {
        type State = Option<u8>;

        fn loss_scale(&self) -> Option<LossScale> {
            self.0.loss_scale
        }

        fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
            let Event::Update(seen) = event else { return Ok(Answer::default()) };
            self.1 = Some(*seen.answered);
            match self.0.factor {
                Some(factor) if factor > 9.0 => Err(Stop::new("too much")),
                _ => Ok(self.0),
            }
        }

        fn state(&self) -> Option<u8> {
            Some(7)
        }

        fn restore(&mut self, state: Option<u8>) -> Result<(), OutOfRange> {
            OutOfRange::require("state", state, state == Some(7), "7")
        }
    }

    #[test]
    fn controllers_of_one_role_on_one_group_are_refused() {
        #[derive(Clone, Debug)]
        struct Plays;
        impl Controller for Plays {
            type State = ();
            fn role(&self) -> Option<&'static str> {
                Some("a player")
            }
            fn hear(&mut self, _: &Event<'_>) -> Result<Answer, Stop> {
                Ok(Answer::factor(0.5))
            }
            fn state(&self) {}
            fn restore(&mut self, (): ()) -> Result<(), OutOfRange> {
                Ok(())
            }
        }
        let run = RunLength::updates(100).resolve().unwrap();
        let set_up = |one: Scoped<Plays>, other: Scoped<Plays>| {
            let mut controllers = Controllers::default();
            controllers.add("one", one.build(&run).unwrap());
            controllers.add("other", other.build(&run).unwrap());
            let groups = [vec!["body"], vec!["head"], vec!["head, no decay", "head"]];
            let done = controllers.set_up(groups);
            done.map(|()| controllers).map_err(|error| error.to_string())
        };
        let all = || Plays.after(0);
        let error = set_up(all(), all().on_group("head")).unwrap_err();
        assert!(error.starts_with("`one` and `other` are both a player, of the group `head`"));
        assert!(set_up(all(), all()).unwrap_err().contains("of all groups"));
        let error = set_up(all().on_group("body"), all().on_group("neck")).unwrap_err();
        assert!(error.contains("`neck`") && error.contains("`body`, `head`, `head, no"), "{error}");
        let error = set_up(all().on_group("head"), all().on_group("head, no decay")).unwrap_err();
        assert!(error.starts_with("`one` and `other` are both a player"), "{error}");
        assert!(set_up(all().until(50), all().after(50)).is_ok());
        let mut controllers = set_up(all().on_group("body"), all().on_group("head")).unwrap();
        controllers.add("third", says(Answer::factor(0.5)));
        controllers.set_floor(0.4).unwrap();
        let due = Due { group_rates: &[1.0, 2.0], ..Due::at(0, 1.0) };
        let decision = controllers.update(due, &Observation::default()).unwrap();
        assert_eq!([0, 1].map(|group| decision.of(group).rate(due.group_rates[group])), [0.4, 0.5]);
        assert_eq!(decision.answer.rate(1.0), 0.5);
    }

    #[test]
    fn an_announcement_that_nobody_hears_is_refused() {
        #[derive(Clone, Debug, Default)]
        struct Listens(Option<f64>);
        impl Controller for Listens {
            type State = Option<f64>;
            fn announcements(&self) -> Vec<String> {
                vec!["temperature".into()]
            }
            fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
                if let Event::Announced(said) = event {
                    self.0 = said.value;
                }
                Ok(Answer { factor: self.0, ..Answer::default() })
            }
            fn state(&self) -> Option<f64> {
                self.0
            }
            fn restore(&mut self, state: Option<f64>) -> Result<(), OutOfRange> {
                self.0 = state;
                Ok(())
            }
        }
        let mut controllers = two(Answer::default(), Answer::default());
        let said = |name| Announcement { name, value: Some(0.5) };
        let error = controllers.announce(said("temperature")).unwrap_err().to_string();
        assert!(error.contains("handles any announcement"), "{error}");
        controllers.add("follower", Listens::default());
        controllers.announce(said("temperature")).unwrap();
        let error = controllers.announce(said("temprature")).unwrap_err().to_string();
        assert_eq!(error, "no controller handles `temprature`; they handle `temperature`");
        let decision = controllers.update(Due::at(0, 1.0), &Observation::default()).unwrap();
        assert_eq!(decision.answer.factor, Some(0.5));
    }

    fn says(answer: Answer) -> Says {
        Says(answer, None)
    }

    fn two(one: Answer, other: Answer) -> Controllers {
        let mut controllers = Controllers::default();
        controllers.add("one", says(one));
        controllers.add("other", says(other));
        controllers
    }

    #[test]
    fn answers_are_put_together() {
        let one = Answer {
            factor: Some(0.5),
            floor: Some(0.01),
            limit: Some(0.5),
            cap: Some(0.1),
            gradient_factor: Some(3.0),
            skip: None,
            loss_scale: Some(LossScale { next: 8.0, least: 1.0 }),
        };
        let other = Answer {
            factor: Some(0.25),
            floor: Some(0.02),
            limit: Some(0.5),
            cap: Some(0.2),
            gradient_factor: Some(2.0),
            skip: Some("enough"),
            loss_scale: Some(LossScale { next: 4.0, least: 2.0 }),
        };
        let answer =
            two(one, other).update(Due::at(0, 1.0), &Observation::default()).unwrap().answer;
        let expected = Answer {
            factor: Some(0.125),
            floor: Some(0.02),
            limit: Some(0.25),
            cap: Some(0.1),
            gradient_factor: Some(6.0),
            skip: Some("enough"),
            loss_scale: Some(LossScale { next: 4.0, least: 2.0 }),
        };
        assert_eq!(answer, expected);
        let text = answer.to_string();
        assert_eq!(
            text,
            "rate × 0.1250, rate at least 2.000e-2, rate × 0.2500 for safety, rate at most 1.000e-1, gradients × 6.0000, \
             skipped: enough, next loss scale 4"
        );
        assert_eq!(Answer::default().to_string(), "nothing");
    }

    #[test]
    fn a_controller_that_stops_is_named_and_so_is_an_answer_out_of_range() {
        let stopped = |answer| {
            two(Answer::default(), answer).update(Due::at(3, 1.0), &Observation::default())
        };
        let text = |answer| stopped(answer).unwrap_err().to_string();
        assert_eq!(text(Answer::factor(10.0)), "other: too much");
        for factor in [f64::NAN, -1.0, f64::NEG_INFINITY] {
            let error = text(Answer::factor(factor));
            assert!(error.starts_with("other: its answer is invalid: factor: "), "{error}");
        }
        assert!(stopped(Answer::factor(0.0)).is_ok());
        // Each is finite.
        let mut large = two(Answer::factor(9.0), Answer::factor(9.0));
        let huge = Due::at(0, f64::MAX / 20.0);
        let error = large.update(huge, &Observation::default()).unwrap_err().to_string();
        assert!(error.starts_with("other: combined with the earlier answers"), "{error}");
        let cap = |cap| Answer { cap: Some(cap), ..Answer::default() };
        assert!(stopped(cap(f64::INFINITY)).is_ok());
        assert!(text(cap(f64::NAN)).contains("cap: NaN"));
        let scale = LossScale { next: 0.0, least: 0.0 };
        let error = text(Answer { loss_scale: Some(scale), ..Answer::default() });
        assert!(error.contains("loss_scale: LossScale { next: 0.0"), "{error}");
    }

    /// Answers with a loss scale although losses are not scaled.
    #[test]
    fn a_scale_out_of_nothing_is_refused() {
        #[derive(Clone, Debug)]
        struct Scales;
        impl Controller for Scales {
            type State = ();
            fn hear(&mut self, _: &Event<'_>) -> Result<Answer, Stop> {
                let scale = LossScale { next: 2.0, least: 1.0 };
                Ok(Answer { loss_scale: Some(scale), ..Answer::default() })
            }
            fn state(&self) {}
            fn restore(&mut self, (): ()) -> Result<(), OutOfRange> {
                Ok(())
            }
        }
        let mut controllers = Controllers::default();
        controllers.add("scales", Scales);
        let error =
            controllers.update(Due::at(0, 1.0), &Observation::default()).unwrap_err().to_string();
        assert!(error.starts_with("scales: ") && error.contains("loss_scale"), "{error}");
    }

    /// Remembers a metric of each epoch.
    #[derive(Clone, Debug, Default)]
    struct Hears(Vec<f64>);

    impl Controller for Hears {
        type State = Vec<f64>;

        fn metrics(&self) -> Vec<MetricOf> {
            vec![MetricOf::valid("Loss")]
        }

        fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
            if let Event::Epoch(seen) = event {
                self.0.extend(seen.metrics.get(&MetricOf::valid("Loss")));
            }
            Ok(Answer::default())
        }

        fn state(&self) -> Vec<f64> {
            self.0.clone()
        }

        fn restore(&mut self, state: Vec<f64>) -> Result<(), OutOfRange> {
            self.0 = state;
            Ok(())
        }
    }

    #[test]
    fn an_epoch_is_heard_and_a_metric_that_is_missing_stops_the_run() {
        let mut controllers = Controllers::default();
        controllers.add("plateau", Hears::default());
        controllers.add("other", Hears::default());
        assert_eq!(controllers.metrics(), [(MetricOf::valid("Loss"), "plateau".to_string())]);
        let metrics = |name: &str| EpochMetrics::from_iter([(MetricOf::valid(name), 0.5)]);
        controllers.epoch(1, &metrics("Loss")).unwrap();
        let states: Vec<Value> = controllers.states().map(|(_, state)| state).collect();
        assert_eq!(states, [serde_json::json!([0.5]), serde_json::json!([0.5])]);
        let error = controllers.epoch(2, &metrics("Accuracy")).unwrap_err().to_string();
        let expected = "plateau: it needs the metric `valid Loss`, which this training does not have; the known \
                        names are `valid Accuracy`";
        assert_eq!(error, expected);
    }

    #[test]
    fn another_set_of_controllers_is_refused() {
        let saved = two(Answer::default(), Answer::default()).save();
        let mut others = Controllers::default();
        let error = others.clone().restore(saved.clone()).unwrap_err().to_string();
        assert!(error.contains("saved with `one`, `other`, but now there are none"), "{error}");
        others.add("one", says(Answer::default()));
        assert!(matches!(others.restore(saved), Err(RestoreError::Others { .. })));
        let none = SavedControllers::default();
        let error = others.restore(none).unwrap_err().to_string();
        assert!(error.contains("saved with no controllers, but now there are `one`"), "{error}");
    }

    #[test]
    fn a_state_that_is_none_is_named() {
        let mut controllers = Controllers::default();
        controllers.add("one", says(Answer::default()));
        for (state, part) in [(Value::from("x"), "invalid type"), (Value::from(8), "allowed: 7")] {
            let states = BTreeMap::from([("one".to_string(), state)]);
            let saved = SavedControllers { loss_scale: None, states };
            let error = controllers.restore(saved).unwrap_err().to_string();
            assert!(error.contains("`one`") && error.contains(part), "{error}");
        }
    }

    /// The cap lowers a scale that the scaler has already set, and a checkpoint includes that.
    #[test]
    fn a_scale_that_was_lowered_is_the_one_that_is_saved() {
        let make = || {
            let mut controllers = Controllers::default();
            controllers.add("loss scale", LossScaling::new().scale(1_024.0).build().unwrap());
            controllers.add("cap", OverflowCap::given(1.0).limit(1_024.0).build().unwrap());
            controllers.add("cooldown", Cooldown::after_non_finite_loss(3).unwrap());
            controllers
        };
        let mut whole = make();
        let seen = Observation {
            largest_gradient: Some(1.0),
            movement: Some(4.0),
            loss: Some(1.0),
            ..Observation::default()
        };
        let decision = whole.update(Due::at(0, 1.0), &seen).unwrap();
        assert_eq!(decision.answer.limit, Some(0.25));
        whole.outcome(Due::at(0, 1.0), &seen, &decision, None).unwrap();
        // 1,024 / 128 − 1 is above 4.
        assert_eq!(whole.loss_scale(), Some(128.0));
        let text = serde_json::to_string(&whole.save()).unwrap();
        let mut resumed = make();
        resumed.restore(serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(resumed.loss_scale(), Some(128.0));
        assert_eq!(resumed.save(), whole.save());
    }
}
