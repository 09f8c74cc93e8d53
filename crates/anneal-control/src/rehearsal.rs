//! A rate that decays between rehearsals of a task.

use crate::describe::updates;
use crate::since::Since;
use crate::{Answer, AnyController, Controller, Describe, Event, OutOfRange, Run, Span, Stop};
use serde::{Deserialize, Serialize};

/// Lets the rate decay between rehearsals of a task, and restarts it with each: the description.
///
/// ```text
/// factor(t) = 2^(−(t − t_last) / h)        t_last the update of the last rehearsal
/// ```
///
/// With a rehearsal every R updates and h = R, it falls from 1 to a half and jumps back. The updates 0, R,
/// 2R, … after its start are rehearsals; or, if the loop [announces](Self::announced_as) them, the first one
/// and each one after an announcement. Without a rehearsal it keeps falling.
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `every` R | required | a span of at least 1 update |
/// | `half_life` h | R | a span of at least 1 update |
/// | `announced_as` | counted, not announced | not empty |
///
/// Source: the forgetting curve of spaced repetition, Settles and Meeder 2016, "A trainable spaced repetition
/// model for language learning": recall 2^(−Δ/h) with half-life h.
///
/// ```
/// use anneal_control::{Controllers, Describe, Due, Observation, Rehearsal, RunLength};
///
/// let run = RunLength::updates(1_000).resolve()?;
/// let mut controllers = Controllers::default();
/// controllers.add("rehearsal", Rehearsal::every(4).build(&run)?);
/// let factors = [0, 2, 3, 4].map(|number| {
///     controllers.update(Due::at(number, 0.1), &Observation::default()).unwrap().answer.factor
/// });
/// assert_eq!(factors, [0.0f64, -0.5, -0.75, 0.0].map(|log2| Some(log2.exp2())));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Rehearsal {
    every: Span,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    half_life: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    announced_as: Option<String>,
}

impl Rehearsal {
    /// A rehearsal every `updates` steps of the schedule.
    #[must_use]
    pub fn every(updates: impl Into<Span>) -> Self {
        Self { every: updates.into(), half_life: None, announced_as: None }
    }

    /// Sets the half-life of the rate. A half-life shorter than the interval preserves more of the rehearsed
    /// task, and learns new tasks more slowly.
    #[must_use]
    pub fn half_life(self, updates: impl Into<Span>) -> Self {
        Self { half_life: Some(updates.into()), ..self }
    }

    /// Lets the loop announce each rehearsal under this name; `every` is then only the default half-life.
    #[must_use]
    pub fn announced_as(self, name: impl Into<String>) -> Self {
        Self { announced_as: Some(name.into()), ..self }
    }
}

impl Describe for Rehearsal {
    fn build(&self, run: &Run) -> Result<AnyController, OutOfRange> {
        let length = |field, span| {
            let length = updates(field, span, run)?;
            OutOfRange::require(field, length, length >= 1, "at least 1 update").map(|()| length)
        };
        let every = length("every", self.every)?;
        let half_life = self.half_life.map_or(Ok(every), |span| length("half_life", span))?;
        let name = self.announced_as.clone();
        let named = name.as_ref().is_none_or(|name| !name.is_empty());
        OutOfRange::require("announced_as", &name, named, "not empty")?;
        Ok(Rehearsals { every, half_life, name, state: Since::announced() }.into())
    }
}

/// The description and its state.
#[derive(Clone, Debug)]
struct Rehearsals {
    every: u64,
    half_life: u64,
    /// The name of the announcement; `None` if rehearsals are counted.
    name: Option<String>,
    state: Since,
}

impl Rehearsals {
    fn factor(&mut self, step: u64) -> f64 {
        let steps = self.state.steps(step).unwrap_or(0);
        let since = if self.name.is_some() { steps } else { steps % self.every };
        (-(since as f64) / self.half_life as f64).exp2()
    }
}

impl Controller for Rehearsals {
    type State = Since;

    fn announcements(&self) -> Vec<String> {
        self.name.iter().cloned().collect()
    }

    fn role(&self) -> Option<&'static str> {
        Some("a decay between rehearsals")
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        Ok(match event {
            Event::Announced(said) if self.name.as_deref() == Some(said.name) => {
                self.state.announce();
                Answer::default()
            }
            Event::Update(seen) => Answer::factor(self.factor(seen.step)),
            _ => Answer::default(),
        })
    }

    fn state(&self) -> Since {
        self.state
    }

    fn restore(&mut self, state: Since) -> Result<(), OutOfRange> {
        self.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Driver;
    use crate::{Announcement, Controllers, Due, Observation, RunLength};
    use anneal_schedule::prelude::{Decay, ScheduleExt, exponential};

    /// A repeated exponential with half-life R and period R is the open-loop equivalent.
    #[test]
    fn counted_it_is_a_repeated_exponential() {
        let every = Span::steps(7);
        let repeated = exponential(1.0, Decay::HalfLife(every)).repeat_every(every);
        let schedule = repeated.resolve(RunLength::updates(1_000)).unwrap();
        for (step, rate) in Driver::new(Rehearsal::every(7)).rates(100).iter().enumerate() {
            assert!((rate / schedule.rate(step as u64) - 1.0).abs() < 1e-14, "{step}");
        }
    }

    #[test]
    fn its_half_life_may_be_another_than_the_interval() {
        let rates = Driver::new(Rehearsal::every(4).half_life(2)).rates(6);
        let half = 0.5f64;
        assert_eq!(rates, [1.0, half.sqrt(), half, half.powf(1.5), 1.0, half.sqrt()]);

        let announced = Rehearsal::every(4).half_life(Span::percent(0.2)).announced_as("replay");
        assert_eq!(Driver::new(announced).rates(5)[4], 0.25);
    }

    #[test]
    fn announced_it_goes_on_falling_until_then() {
        let mut driver = Driver::new(Rehearsal::every(2).announced_as("replay"));
        assert_eq!(driver.rates(7)[6], 0.125);
        driver.announce("replay", None);
        assert_eq!(driver.rates(3), [1.0, 0.5f64.sqrt(), 0.5]);
        // A factor that underflows is 0.
        assert_eq!(driver.rates(3_000)[2_999], 0.0);
        driver.announce("replay", Some(1.0));
        assert_eq!(driver.rates(1), [1.0]);
    }

    #[test]
    fn what_another_one_hears_it_does_not() {
        let run = RunLength::updates(100).resolve().unwrap();
        let mut two = Controllers::default();
        for (name, every) in [("old", 1), ("older", 2)] {
            two.add(name, Rehearsal::every(every).announced_as(name).build(&run).unwrap());
        }
        let mut factor = |number| {
            two.announce(Announcement { name: "older", value: None }).unwrap();
            two.update(Due::at(number, 1.0), &Observation::default()).unwrap().answer.factor
        };
        assert_eq!([0, 2].map(&mut factor), [Some(1.0), Some(0.25)]);
    }

    #[test]
    fn in_a_part_of_the_run_its_first_update_is_a_rehearsal() {
        let mut driver = Driver::new(Rehearsal::every(4).after(2));
        let half = 0.5f64;
        assert_eq!(driver.rates(7)[..5], [1.0, 1.0, 1.0, half.powf(0.25), half.powf(0.5)]);
    }

    #[test]
    fn it_resumes_exactly() {
        for rule in [
            Rehearsal::every(7),
            Rehearsal::every(7).half_life(3),
            Rehearsal::every(7).announced_as("replay"),
        ] {
            let mut whole = Driver::new(rule.clone());
            whole.rates(11);
            if rule.announced_as.is_some() {
                whole.announce("replay", None);
            }
            let mut resumed = Driver::new(rule).resume(&whole);
            assert_eq!(resumed.rates(20), whole.rates(20));
        }
    }

    #[test]
    fn it_refuses_each_field_and_is_read_back() {
        let run = RunLength::updates(100).resolve().unwrap();
        let field = |rule: Rehearsal| rule.build(&run).unwrap_err().field;
        for every in [Span::steps(0), Span::epochs(1), Span::percent(-1)] {
            assert_eq!(field(Rehearsal::every(every)), "every");
            assert_eq!(field(Rehearsal::every(5).half_life(every)), "half_life");
        }
        assert_eq!(field(Rehearsal::every(5).announced_as("")), "announced_as");
        for rule in [
            Rehearsal::every(Span::epochs(2)),
            Rehearsal::every(5).half_life(3).announced_as("old task"),
        ] {
            let json = serde_json::to_string(&rule).unwrap();
            assert_eq!(serde_json::from_str::<Rehearsal>(&json).unwrap(), rule);
        }
    }
}
