//! Rates for the phases of a curriculum.

use crate::describe::{beyond_the_run, updates};
use crate::{Answer, AnyController, Controller, Describe, Event, OutOfRange, Run, Span, Stop};
use serde::{Deserialize, Serialize};

/// Applies a factor on the rate to each phase of a curriculum, for example a drop when it gets harder: the
/// description.
///
/// ```text
/// factor(t) = the factor of the phase that started last
/// ```
///
/// The first phase starts with the run. Any other starts at its position, or with the first update after the
/// loop announces its name, in any order and any number of times; the first one can be announced too, to
/// return to it. Announcing the current phase has no effect. If two phases start with the same update, the
/// announced one counts.
///
/// A [spike](Self::spike) is a separate phase with factor h for the k updates before the last phase of the
/// list. If that phase has a start, the spike ends there. If it is announced, the spike starts with the
/// announcement, and the phase itself k updates later.
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `phases`: names | required | not empty, each once |
/// | `phases`: factors | required | finite, above 0 |
/// | `phases`: starts | announced | spans; each after the one before it |
/// | `spike`: height h | none | finite, above 0; a factor on the schedule's rate |
/// | `spike`: length k | none | at least 1 update; no longer than the part with a start before it |
///
/// If the difficulty is a number, use [`Follow::difficulty`](crate::Follow::difficulty); if a task is
/// rehearsed, use [`Rehearsal`](crate::Rehearsal).
///
/// Source: phases from easy to hard are Bengio et al. 2009, "Curriculum learning"; factors on the rate and the
/// spike are this crate's.
///
/// ```
/// use anneal_control::{Announcement, Controllers, Curriculum, Describe, Due, Observation, RunLength, Span};
///
/// let run = RunLength::updates(100).resolve()?;
/// let curriculum = Curriculum::new("easy", 1.0)
///     .phase("mixed", 0.5, Span::percent(30))
///     .announced_phase("hard", 0.25)
///     .spike(2.0, 5);
/// let mut controllers = Controllers::default();
/// controllers.add("curriculum", curriculum.build(&run)?);
/// let factor = |controllers: &mut Controllers, number| {
///     controllers.update(Due::at(number, 0.1), &Observation::default()).unwrap().answer.factor
/// };
/// assert_eq!([0, 29, 30].map(|t| factor(&mut controllers, t)), [1.0, 1.0, 0.5].map(Some));
/// controllers.announce(Announcement { name: "hard", value: None })?;
/// assert_eq!([60, 64, 65].map(|t| factor(&mut controllers, t)), [2.0, 2.0, 0.25].map(Some));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Curriculum {
    phases: Vec<Phase>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spike: Option<Spike>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Phase {
    name: String,
    factor: f64,
    /// The position in the run; `None` if announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start: Option<Span>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Spike {
    height: f64,
    length: Span,
}

impl Curriculum {
    /// A curriculum with its first phase, which starts with the run.
    #[must_use]
    pub fn new(name: impl Into<String>, factor: f64) -> Self {
        Self { phases: vec![], spike: None }.announced_phase(name, factor)
    }

    /// Adds a phase that starts at this position in the run.
    #[must_use]
    pub fn phase(mut self, name: impl Into<String>, factor: f64, start: impl Into<Span>) -> Self {
        self.phases.push(Phase { name: name.into(), factor, start: Some(start.into()) });
        self
    }

    /// Adds a phase that starts when the loop announces its name.
    #[must_use]
    pub fn announced_phase(mut self, name: impl Into<String>, factor: f64) -> Self {
        self.phases.push(Phase { name: name.into(), factor, start: None });
        self
    }

    /// Applies `height` times the schedule's rate for `length` before the last phase.
    #[must_use]
    pub fn spike(mut self, height: f64, length: impl Into<Span>) -> Self {
        self.spike = Some(Spike { height, length: length.into() });
        self
    }

    /// Checks everything except the spans.
    fn check(&self) -> Result<(), OutOfRange> {
        let (phases, least) = (self.phases.len(), if self.spike.is_some() { 2 } else { 1 });
        let allowed = "at least 1, or 2 with a spike";
        OutOfRange::require("phases", phases, phases >= least, allowed)?;
        let first = self.phases[0].start;
        let allowed = "none for the first phase, which starts with the run";
        OutOfRange::require("phases.start", first, first.is_none(), allowed)?;
        for (i, Phase { name, factor, .. }) in self.phases.iter().enumerate() {
            let new = !name.is_empty() && self.phases[..i].iter().all(|other| other.name != *name);
            OutOfRange::require("phases.name", name, new, "not empty, and each name once")?;
            OutOfRange::require("phases.factor", (name, factor), positive(*factor), POSITIVE)?;
        }
        Ok(())
    }

    /// The height and length of the spike.
    fn resolved_spike(&self, run: &Run) -> Result<Option<(f64, u64)>, OutOfRange> {
        let Some(Spike { height, length }) = &self.spike else { return Ok(None) };
        OutOfRange::require("spike.height", height, positive(*height), POSITIVE)?;
        let length = updates("spike.length", *length, run)?;
        OutOfRange::require("spike.length", length, length >= 1, "at least 1 update")?;
        Ok(Some((*height, length)))
    }
}

const POSITIVE: &str = "finite, above 0";

fn positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

impl Describe for Curriculum {
    fn build(&self, run: &Run) -> Result<AnyController, OutOfRange> {
        self.check()?;
        let spike = self.resolved_spike(run)?;
        let (mut starts, mut announced) = (vec![(0, self.phases[0].factor)], vec![]);
        for (i, Phase { name, factor, start }) in self.phases.iter().enumerate() {
            let spike = spike.filter(|_| i + 1 == self.phases.len());
            let Some(start) = start else {
                announced.push(Announced { name: name.clone(), factor: *factor, spike });
                continue;
            };
            let (before, _) = starts[starts.len() - 1];
            let start = updates("phases.start", *start, run)?;
            let allowed = "after the previous start";
            OutOfRange::require("phases.start", (name, start), before < start, allowed)?;
            if let Some((height, length)) = spike {
                let allowed =
                    "at most the updates between the previous start and that of the last phase";
                OutOfRange::require("spike.length", length, length <= start - before, allowed)?;
                starts.push((start - length, height));
            }
            starts.push((start, *factor));
        }
        let late = starts.iter().filter_map(|(start, _)| beyond_the_run(*start, run));
        let warnings = late.map(|warning| format!("in a phase, {warning}")).collect();
        let state = CurriculumState::default();
        Ok(Phases { starts, announced, warnings, state }.into())
    }
}

/// The phases and the current one.
#[derive(Clone, Debug)]
struct Phases {
    /// The start of each phase that has one, and its factor; the spike before a phase counts as a phase.
    starts: Vec<(u64, f64)>,
    announced: Vec<Announced>,
    warnings: Vec<String>,
    state: CurriculumState,
}

#[derive(Clone, Debug)]
struct Announced {
    name: String,
    factor: f64,
    /// Height and length.
    spike: Option<(f64, u64)>,
}

impl Announced {
    fn factor(&self, steps: u64) -> f64 {
        match self.spike {
            Some((height, length)) if steps < length => height,
            _ => self.factor,
        }
    }
}

/// The state that a checkpoint saves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CurriculumState {
    /// The phase that starts with the next update.
    next: Option<String>,
    /// The last announced phase that has started.
    begun: Option<String>,
    /// The number of steps since it started.
    steps: u64,
    /// The step of the last update.
    last: u64,
}

impl Phases {
    fn named(&self, name: &str) -> Option<&Announced> {
        self.announced.iter().find(|phase| phase.name == name)
    }

    /// The announced phase that is active at a step, until another starts.
    fn holding(&self, step: u64) -> Option<&Announced> {
        let since = |start: u64| step.checked_sub(start).filter(|_| start > 0);
        let later = |(start, _): &(u64, f64)| since(*start).is_some_and(|s| s < self.state.steps);
        self.named(self.state.begun.as_ref()?).filter(|_| !self.starts.iter().any(later))
    }

    fn factor(&mut self, step: u64) -> f64 {
        // A schedule that restarts in mid-run resets the step, but not the elapsed steps.
        let passed = step.saturating_sub(std::mem::replace(&mut self.state.last, step));
        self.state.steps = self.state.steps.saturating_add(passed);
        if let Some(next) = self.state.next.take()
            && self.holding(step).is_none_or(|phase| phase.name != next)
        {
            (self.state.begun, self.state.steps) = (Some(next), 0);
        }
        let by_start = || self.starts.iter().rev().find(|(start, _)| *start <= step);
        match self.holding(step) {
            Some(phase) => phase.factor(self.state.steps),
            None => by_start().map_or(1.0, |(_, factor)| *factor),
        }
    }
}

impl Controller for Phases {
    type State = CurriculumState;

    fn announcements(&self) -> Vec<String> {
        self.announced.iter().map(|phase| phase.name.clone()).collect()
    }

    fn role(&self) -> Option<&'static str> {
        Some("a curriculum")
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        Ok(match event {
            Event::Announced(said) if self.named(said.name).is_some() => {
                self.state.next = Some(said.name.into());
                Answer::default()
            }
            Event::Update(seen) => Answer::factor(self.factor(seen.step)),
            _ => Answer::default(),
        })
    }

    fn state(&self) -> CurriculumState {
        self.state.clone()
    }

    fn restore(&mut self, state: CurriculumState) -> Result<(), OutOfRange> {
        for name in state.next.iter().chain(&state.begun) {
            let known = self.named(name).is_some();
            OutOfRange::require("phase", name, known, "an announced phase")?;
        }
        self.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RunLength;
    use crate::driver::Driver;
    use anneal_schedule::prelude::{ScheduleExt, constant};

    fn announced() -> Curriculum {
        Curriculum::new("easy", 1.0).announced_phase("mixed", 0.5).announced_phase("hard", 0.25)
    }

    /// Phases with starts are a sequence of constants, and the spike is one of them.
    #[test]
    fn with_starts_it_is_a_sequence() {
        let rule = Curriculum::new("easy", 1.0)
            .phase("mixed", 0.5, Span::epochs(1))
            .phase("hard", 0.25, Span::percent(50))
            .spike(3.0, 40);
        let sequence = constant(1.0)
            .then(Span::steps(100), constant(0.5))
            .then(Span::steps(360), constant(3.0))
            .then(Span::steps(40), constant(0.25));
        let schedule = sequence.resolve(RunLength::updates(1_000)).unwrap();
        let expected: Vec<f64> = (0..1_000).map(|step| schedule.rate(step)).collect();
        assert_eq!(Driver::new(rule).rates(1_000), expected);
    }

    #[test]
    fn the_phase_that_is_announced_last_holds() {
        let mut driver = Driver::new(announced());
        assert_eq!(driver.rates(2), [1.0, 1.0]);
        for (name, factor) in [("hard", 0.25), ("mixed", 0.5), ("easy", 1.0), ("hard", 0.25)] {
            driver.announce(name, None);
            assert_eq!(driver.rates(3), [factor; 3]);
        }
        driver.announce("easy", None);
        driver.announce("mixed", None);
        assert_eq!(driver.rates(1), [0.5]);
    }

    #[test]
    fn a_start_ends_what_was_announced_before_it() {
        let rule =
            || Curriculum::new("easy", 1.0).announced_phase("hard", 0.25).phase("end", 0.1, 4);
        let mut driver = Driver::new(rule());
        driver.rates(2);
        driver.announce("hard", None);
        assert_eq!(driver.rates(3), [0.25, 0.25, 0.1]);
        driver.announce("hard", None);
        assert_eq!(driver.rates(2), [0.25, 0.25]);
        // At the same update, the announcement takes precedence.
        let mut driver = Driver::new(rule());
        driver.rates(4);
        driver.announce("hard", None);
        assert_eq!(driver.rates(2), [0.25, 0.25]);
    }

    #[test]
    fn an_announced_last_phase_has_its_spike_first() {
        let mut driver = Driver::new(announced().spike(4.0, 3));
        driver.announce("hard", None);
        assert_eq!(driver.rates(2), [4.0, 4.0]);
        // Announced again, it continues; another phase ends the spike.
        driver.announce("hard", None);
        assert_eq!(driver.rates(3), [4.0, 0.25, 0.25]);
        driver.announce("mixed", None);
        assert_eq!(driver.rates(1), [0.5]);
        driver.announce("hard", None);
        assert_eq!(driver.rates(1), [4.0]);
        driver.announce("easy", None);
        assert_eq!(driver.rates(5), [1.0; 5]);
    }

    #[test]
    fn it_resumes_exactly() {
        let rule = || announced().phase("end", 0.1, 20).announced_phase("last", 0.7).spike(4.0, 3);
        for before in [0, 2, 5, 12] {
            let mut whole = Driver::new(rule());
            whole.rates(5);
            whole.announce("last", None);
            whole.rates(before);
            let mut resumed = Driver::new(rule()).resume(&whole);
            assert_eq!(resumed.rates(30), whole.rates(30));
        }
        let run = RunLength::updates(100).resolve().unwrap();
        let mut without = Curriculum::new("easy", 1.0).build(&run).unwrap();
        let saved = serde_json::json!({ "begun": "hard" });
        let error = without.controller.restore(saved).unwrap_err();
        assert!(error.starts_with("phase: \"hard\""), "{error}");
    }

    /// As when a run is resumed over the remaining training.
    #[test]
    fn what_has_passed_stays_so_where_the_schedule_starts_anew() {
        let rule = || announced().phase("end", 0.1, 4).announced_phase("last", 0.7).spike(4.0, 3);
        let mut driver = Driver::new(rule());
        driver.rates(6);
        driver.announce("last", None);
        assert_eq!(driver.rates(4), [4.0, 4.0, 4.0, 0.7]);
        let mut anew = Driver::new(rule()).resume(&driver);
        anew.start_anew();
        assert_eq!(anew.rates(6), [0.7, 0.7, 0.7, 0.7, 0.1, 0.1]);
    }

    #[test]
    fn it_refuses_each_field_and_is_read_back() {
        let run = RunLength::updates(100).resolve().unwrap();
        let field = |rule: Curriculum| rule.build(&run).unwrap_err().field;
        for factor in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(field(Curriculum::new("easy", factor)), "phases.factor");
            assert_eq!(field(announced().phase("end", factor, 5)), "phases.factor");
            assert_eq!(field(announced().spike(factor, 5)), "spike.height");
        }
        assert_eq!(field(announced().announced_phase("easy", 1.0)), "phases.name");
        assert_eq!(field(Curriculum::new("", 1.0)), "phases.name");
        let after = |start: u64| announced().phase("a", 1.0, 10).phase("b", 1.0, start);
        for start in [0, 9, 10] {
            assert_eq!(field(after(start)), "phases.start");
        }
        assert_eq!(field(announced().phase("a", 1.0, Span::epochs(1))), "phases.start");
        assert_eq!(field(after(30).spike(2.0, 21)), "spike.length");
        assert!(after(30).spike(2.0, 20).build(&run).is_ok());
        assert_eq!(field(announced().spike(2.0, 0)), "spike.length");
        assert_eq!(field(Curriculum::new("easy", 1.0).spike(2.0, 5)), "phases");

        let rule = announced().phase("end", 0.1, Span::percent(80)).spike(2.0, 5);
        let json = serde_json::to_string(&rule).unwrap();
        assert_eq!(serde_json::from_str::<Curriculum>(&json).unwrap(), rule);
        let read = |json: &str| serde_json::from_str::<Curriculum>(json).unwrap();
        assert_eq!(field(read(r#"{"phases":[]}"#)), "phases");
        let first = r#"{"phases":[{"name":"easy","factor":1,"start":5}]}"#;
        assert_eq!(field(read(first)), "phases.start");
    }
}
