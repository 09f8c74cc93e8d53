//! A rate that jumps after pruning and decays back.

use crate::describe::updates;
use crate::since::Since;
use crate::{Answer, AnyController, Controller, Describe, Event, OutOfRange, Run, Span, Stop};
use serde::{Deserialize, Serialize};

/// Raises the rate after pruning, and lets it decay back to the schedule's: the description.
///
/// ```text
/// factor(t) = 1 + (f − 1) · 2^(−(t − t₀) / h)        from the first update t₀ after the announcement on
/// ```
///
/// The excess of the factor over 1 halves every h updates: it is f at t₀, (f + 1)/2 at t₀ + h. Another
/// announcement restarts it at f; before the first one the factor is 1. An f below 1 works too: the rate
/// falls and recovers.
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `factor` f | required | finite, above 0 |
/// | `half_life` h | required | a span of at least 1 update |
/// | `announced_as` | `pruned` | not empty |
///
/// Source: Renda, Frankle and Carbin 2020, "Comparing rewinding and fine-tuning in neural network pruning",
/// where the rate goes back up after pruning and its schedule runs again; here the schedule continues.
///
/// ```
/// use anneal_control::{Announcement, Controllers, Describe, Due, Observation, PruningRestart, RunLength};
///
/// let run = RunLength::updates(1_000).resolve()?;
/// let mut controllers = Controllers::default();
/// controllers.add("pruning", PruningRestart::new(5.0, 10).build(&run)?);
/// controllers.announce(Announcement { name: "pruned", value: None })?;
/// let seen = Observation::default();
/// let factors = [300, 310, 320].map(|number| {
///     controllers.update(Due::at(number, 0.1), &seen).unwrap().answer.factor
/// });
/// assert_eq!(factors, [Some(5.0), Some(3.0), Some(2.0)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PruningRestart {
    factor: f64,
    half_life: Span,
    #[serde(default = "pruned")]
    announced_as: String,
}

fn pruned() -> String {
    "pruned".into()
}

impl PruningRestart {
    /// Multiplies the scheduled rate by `factor`; the excess over the schedule halves every `half_life`.
    #[must_use]
    pub fn new(factor: f64, half_life: impl Into<Span>) -> Self {
        Self { factor, half_life: half_life.into(), announced_as: pruned() }
    }

    /// Sets the name under which the loop announces pruning.
    #[must_use]
    pub fn announced_as(self, name: impl Into<String>) -> Self {
        Self { announced_as: name.into(), ..self }
    }
}

impl Describe for PruningRestart {
    fn build(&self, run: &Run) -> Result<AnyController, OutOfRange> {
        let Self { factor, half_life, announced_as } = self;
        let ok = factor.is_finite() && *factor > 0.0;
        OutOfRange::require("factor", factor, ok, "finite, above 0")?;
        let half_life = updates("half_life", *half_life, run)?;
        OutOfRange::require("half_life", half_life, half_life >= 1, "at least 1 update")?;
        let named = !announced_as.is_empty();
        OutOfRange::require("announced_as", announced_as, named, "not empty")?;
        let (excess, name) = (factor - 1.0, announced_as.clone());
        Ok(Restart { excess, half_life: half_life as f64, name, state: Since::default() }.into())
    }
}

/// The description and its state.
#[derive(Clone, Debug)]
struct Restart {
    /// f − 1.
    excess: f64,
    half_life: f64,
    name: String,
    state: Since,
}

impl Controller for Restart {
    type State = Since;

    fn announcements(&self) -> Vec<String> {
        vec![self.name.clone()]
    }

    fn role(&self) -> Option<&'static str> {
        Some("a restart after pruning")
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        let steps = match event {
            Event::Announced(said) if said.name == self.name => {
                self.state.announce();
                None
            }
            Event::Update(seen) => self.state.steps(seen.step),
            _ => None,
        };
        let factor = |steps: u64| 1.0 + self.excess * (-(steps as f64) / self.half_life).exp2();
        Ok(steps.map_or(Answer::default(), |steps| Answer::factor(factor(steps))))
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

    /// h-th root of ½ applied h times, one update after another.
    fn decayed(factor: f64, half_life: f64, updates: usize) -> Vec<f64> {
        let ratio = 0.5f64.powf(1.0 / half_life);
        let excess = std::iter::successors(Some(factor - 1.0), |excess| Some(excess * ratio));
        excess.map(|excess| 1.0 + excess).take(updates).collect()
    }

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!((found / expected - 1.0).abs() < 1e-13, "{i}: {found}, not {expected}");
        }
    }

    #[test]
    fn it_jumps_at_each_announcement_and_decays() {
        for factor in [4.0, 0.25] {
            let mut driver = Driver::new(PruningRestart::new(factor, 7));
            assert_eq!(driver.rates(5), [1.0; 5]);
            driver.announce("pruned", None);
            close(&driver.rates(40), &decayed(factor, 7.0, 40));
            driver.announce("pruned", Some(f64::NAN));
            close(&driver.rates(40), &decayed(factor, 7.0, 40));
        }
    }

    #[test]
    fn its_half_life_is_a_span_and_its_name_the_users() {
        // 10 epochs of 100 updates: 2 % are 20.
        let rule = PruningRestart::new(3.0, Span::percent(2.0)).announced_as("masked");
        let mut driver = Driver::new(rule);
        driver.announce("masked", None);
        let rates = driver.rates(41);
        assert_eq!([rates[0], rates[20], rates[40]], [3.0, 2.0, 1.5]);
    }

    #[test]
    fn what_another_one_hears_it_does_not() {
        let run = RunLength::updates(100).resolve().unwrap();
        let mut two = Controllers::default();
        for (name, factor) in [("heads", 3.0), ("neurons", 5.0)] {
            let rule = PruningRestart::new(factor, 9).announced_as(name);
            two.add(name, rule.build(&run).unwrap());
        }
        two.announce(Announcement { name: "neurons", value: None }).unwrap();
        let decision = two.update(Due::at(0, 1.0), &Observation::default()).unwrap();
        assert_eq!(decision.answer.factor, Some(5.0));
    }

    #[test]
    fn long_after_it_the_rate_is_the_schedules() {
        let mut driver = Driver::new(PruningRestart::new(100.0, 1));
        driver.announce("pruned", None);
        assert_eq!(driver.rates(1_200)[1_199], 1.0);
    }

    #[test]
    fn it_resumes_exactly() {
        for before in [0, 1, 9] {
            let rule = || PruningRestart::new(4.0, 7);
            let mut whole = Driver::new(rule());
            whole.rates(3);
            whole.announce("pruned", None);
            whole.rates(before);
            let mut resumed = Driver::new(rule()).resume(&whole);
            assert_eq!(resumed.rates(9), whole.rates(9));
        }
    }

    #[test]
    fn it_refuses_each_field_and_is_read_back() {
        let run = RunLength::updates(100).resolve().unwrap();
        let field = |rule: PruningRestart| rule.build(&run).unwrap_err().field;
        for factor in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(field(PruningRestart::new(factor, 5)), "factor");
        }
        for half_life in [Span::steps(0), Span::epochs(1), Span::Rest] {
            assert_eq!(field(PruningRestart::new(2.0, half_life)), "half_life");
        }
        assert_eq!(field(PruningRestart::new(2.0, 5).announced_as("")), "announced_as");

        let rule = PruningRestart::new(2.0, Span::epochs(1)).announced_as("cut");
        let json = serde_json::to_string(&rule).unwrap();
        assert_eq!(serde_json::from_str::<PruningRestart>(&json).unwrap(), rule);
        let short: PruningRestart = serde_json::from_str(r#"{"factor":2,"half_life":5}"#).unwrap();
        assert_eq!(short, PruningRestart::new(2.0, 5));
    }
}
