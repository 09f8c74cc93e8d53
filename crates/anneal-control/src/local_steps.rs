//! A rate for local steps between synchronizations.

use crate::describe::updates;
use crate::{
    Answer, AnyController, Controller, Describe, Event, OutOfRange, Run, Seen, Span, Stop,
};
use serde::{Deserialize, Serialize};

/// Controls the rate of a client that makes H local steps between synchronizations: the description.
///
/// With η the rate of the schedule, round r = ⌊step / H⌋, and η_r the rate at its first step:
///
/// ```text
/// factor = η_r / η · γ^⌊r / k⌋        cap = b / H
/// ```
///
/// Each part applies only if it is set; with only the budget, the rate is min(η, b / H). The budget b bounds
/// the drift of a client in a round, the rate times H, whatever other controllers answer. If the scheduled
/// rate is 0, no factor helps, and the rate is 0.
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `steps` H | required | a span of at least 1 update |
/// | `budget` b | none | finite, above 0; learning rate times updates |
/// | `constant_rounds` | false: η_r is η | |
/// | `step_decay`: γ | none | above 0, at most 1 |
/// | `step_decay`: k | none | at least 1 round |
///
/// If groups have their own schedules, `constant_rounds` needs a separate controller on each group, because
/// it sees only one rate. The rate of the server is [`ServerRate`](crate::ServerRate).
///
/// Source: drift that grows with η H is Karimireddy et al. 2020, "SCAFFOLD: stochastic controlled averaging for
/// federated learning"; rates that fall by rounds are Li et al. 2020, "On the convergence of FedAvg on non-IID data".
///
/// ```
/// use anneal_control::{Controllers, Describe, Due, LocalSteps, Observation, RunLength};
///
/// let run = RunLength::updates(100).resolve()?;
/// let mut controllers = Controllers::default();
/// controllers.add("local steps", LocalSteps::new(10).constant_rounds().budget(4.0).build(&run)?);
/// // A schedule that falls by 1/32 per step: each round has the rate of its first step, and at most 0.4.
/// let rates = [0, 9, 20, 29].map(|number| {
///     let rate = 1.0 - number as f64 / 32.0;
///     controllers.update(Due::at(number, rate), &Observation::default()).unwrap().answer.rate(rate)
/// });
/// assert_eq!(rates, [0.4, 0.4, 0.375, 0.375]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LocalSteps {
    steps: Span,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    budget: Option<f64>,
    #[serde(default)]
    constant_rounds: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    step_decay: Option<StepDecay>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct StepDecay {
    gamma: f64,
    rounds: u64,
}

impl LocalSteps {
    /// Makes `steps` local steps between synchronizations.
    #[must_use]
    pub fn new(steps: impl Into<Span>) -> Self {
        Self { steps: steps.into(), budget: None, constant_rounds: false, step_decay: None }
    }

    /// Keeps the rate times the steps of a round at or below `budget`.
    #[must_use]
    pub fn budget(self, budget: f64) -> Self {
        Self { budget: Some(budget), ..self }
    }

    /// Holds the rate of the first step during each round.
    #[must_use]
    pub fn constant_rounds(self) -> Self {
        Self { constant_rounds: true, ..self }
    }

    /// Lowers the rate by the factor `gamma` every `rounds` rounds.
    #[must_use]
    pub fn step_decay(self, gamma: f64, rounds: u64) -> Self {
        Self { step_decay: Some(StepDecay { gamma, rounds }), ..self }
    }

    /// The number of rounds in a run, including a shorter last one; `None` for a run without an end.
    ///
    /// # Errors
    /// [`OutOfRange`] for steps that this run cannot resolve.
    pub fn rounds(&self, run: &Run) -> Result<Option<u64>, OutOfRange> {
        let steps = self.resolved(run)?;
        Ok(run.updates().map(|updates| updates.div_ceil(steps)))
    }

    fn resolved(&self, run: &Run) -> Result<u64, OutOfRange> {
        let steps = updates("steps", self.steps, run)?;
        OutOfRange::require("steps", steps, steps >= 1, "at least 1 update")?;
        Ok(steps)
    }
}

impl Describe for LocalSteps {
    fn build(&self, run: &Run) -> Result<AnyController, OutOfRange> {
        let steps = self.resolved(run)?;
        if let Some(budget) = self.budget {
            let ok = budget.is_finite() && budget > 0.0;
            OutOfRange::require("budget", budget, ok, "finite, above 0")?;
        }
        if let Some(StepDecay { gamma, rounds }) = self.step_decay {
            let ok = gamma > 0.0 && gamma <= 1.0;
            OutOfRange::require("step_decay.gamma", gamma, ok, "above 0, at most 1")?;
            OutOfRange::require("step_decay.rounds", rounds, rounds >= 1, "at least 1 round")?;
        }
        Ok(Rounds { rule: self.clone(), steps, state: LocalStepsState::default() }.into())
    }
}

/// The description and its state.
#[derive(Clone, Debug)]
struct Rounds {
    rule: LocalSteps,
    steps: u64,
    state: LocalStepsState,
}

/// The state that a checkpoint saves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LocalStepsState {
    /// The round, and the scheduled rate at its first step; only with constant rounds.
    round: Option<(u64, f64)>,
}

impl Rounds {
    fn factor(&mut self, seen: &Seen<'_>) -> f64 {
        let round = seen.step / self.steps;
        let held = match self.rule.constant_rounds {
            true => self.first_rate(round, seen.rate),
            false => seen.rate,
        };
        let decay = self
            .rule
            .step_decay
            .map_or(1.0, |StepDecay { gamma, rounds }| gamma.powf((round / rounds) as f64));
        (held / seen.rate * decay).min(f64::MAX)
    }

    /// The rate at the first step of a round, once known.
    fn first_rate(&mut self, round: u64, rate: f64) -> f64 {
        match self.state.round {
            Some((of, first)) if of == round => first,
            _ => {
                self.state.round = Some((round, rate));
                rate
            }
        }
    }
}

impl Controller for Rounds {
    type State = LocalStepsState;

    fn role(&self) -> Option<&'static str> {
        Some("a rule for local steps")
    }

    fn warnings(&self) -> Vec<String> {
        let rule = &self.rule;
        let none = !rule.constant_rounds && rule.budget.is_none() && rule.step_decay.is_none();
        let warning = "it has no effect: give it a budget, constant rounds or a step decay";
        if none { vec![warning.into()] } else { vec![] }
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        let Event::Update(seen) = event else { return Ok(Answer::default()) };
        if !seen.rate.is_finite() {
            return Ok(Answer::default());
        }
        // Even at a rate of 0, because a round may start with it.
        let factor = self.factor(seen);
        let steers = self.rule.constant_rounds || self.rule.step_decay.is_some();
        Ok(Answer {
            factor: Some(factor).filter(|_| steers && seen.rate > 0.0),
            cap: self.rule.budget.map(|budget| budget / self.steps as f64),
            ..Answer::default()
        })
    }

    fn state(&self) -> LocalStepsState {
        self.state
    }

    fn restore(&mut self, state: LocalStepsState) -> Result<(), OutOfRange> {
        let ok = state.round.is_none_or(|(_, rate)| rate.is_finite() && rate >= 0.0);
        OutOfRange::require("round", state.round, ok, "a rate that is finite, at least 0")?;
        self.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Driver;
    use crate::{Controllers, Due, Observation, RunLength};
    use anneal_schedule::Schedule;
    use anneal_schedule::prelude::{ScheduleExt, cosine, linear, step_decay};

    fn resolved(schedule: impl ScheduleExt) -> Schedule {
        schedule.resolve(RunLength::updates(1_000)).unwrap()
    }

    /// The rates of these updates under a schedule.
    fn under(driver: &mut Driver, schedule: &Schedule, steps: std::ops::Range<u64>) -> Vec<f64> {
        let rate = |step| {
            driver.rate = schedule.rate(step);
            driver.update(&Observation::default())
        };
        steps.map(rate).collect()
    }

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= 1e-15 * expected.abs()
    }

    #[test]
    fn what_a_client_can_drift_stays_within_the_budget() {
        let schedule = resolved(cosine(0.1).warmup(Span::steps(50)));
        let rates = under(&mut Driver::new(LocalSteps::new(20).budget(1.2)), &schedule, 0..1_000);
        let mut cuts = 0;
        for (step, rate) in rates.into_iter().enumerate() {
            let own = schedule.rate(step as u64);
            assert!(close(rate, own.min(0.06)) && rate * 20.0 <= 1.2 * (1.0 + 1e-15), "{step}");
            cuts += usize::from(own > 0.06);
        }
        assert!((100..900).contains(&cuts));
    }

    #[test]
    fn a_round_has_the_rate_of_its_first_step() {
        let schedule = resolved(cosine(0.1));
        let mut driver = Driver::new(LocalSteps::new(Span::percent(7)).constant_rounds());
        let rates = under(&mut driver, &schedule, 0..1_000);
        for (step, rate) in (0..).zip(rates) {
            assert!(close(rate, schedule.rate(step / 70 * 70)), "{step}");
        }
    }

    #[test]
    fn steps_every_k_rounds_are_a_step_decay() {
        let constant = resolved(linear(0.5, 0.5));
        let steps = resolved(step_decay(0.5, Span::steps(60), 0.7));
        let mut driver = Driver::new(LocalSteps::new(20).step_decay(0.7, 3));
        for (step, rate) in (0..).zip(under(&mut driver, &constant, 0..1_000)) {
            assert!(close(rate, steps.rate(step)), "{step}");
        }
    }

    #[test]
    fn its_parts_come_together() {
        let schedule = resolved(linear(1.0, 0.5));
        let rule = LocalSteps::new(10).constant_rounds().step_decay(0.5, 2).budget(6.0);
        for (step, rate) in (0..).zip(under(&mut Driver::new(rule), &schedule, 0..1_000)) {
            let round = step / 10;
            let expected = schedule.rate(round * 10) * 0.5f64.powi(round as i32 / 2);
            assert!(close(rate, expected.min(0.6)), "{step}: {rate}");
        }
    }

    #[test]
    fn a_rate_of_0_is_0_and_begins_a_round() {
        let mut driver = Driver::new(LocalSteps::new(3).constant_rounds().budget(1.0));
        let mut decide = |rate| {
            driver.rate = rate;
            driver.decide(&Observation::default()).answer
        };
        let rates = [0.0, 0.1, 0.2, 0.25, 0.5].map(|rate| decide(rate).rate(rate));
        assert_eq!(rates, [0.0, 0.0, 0.0, 0.25, 0.25]);
        assert_eq!(decide(0.0).factor, None);
        // 0.25 / 5e-324 is infinite.
        decide(0.25);
        assert_eq!(decide(f64::from_bits(1)).factor, Some(f64::MAX));
    }

    #[test]
    fn a_rate_that_is_not_finite_is_not_remembered() {
        let run = RunLength::updates(100).resolve().unwrap();
        let mut controllers = Controllers::default();
        controllers.add("it", LocalSteps::new(10).constant_rounds().build(&run).unwrap());
        let seen = Observation::default();
        let factors = [f64::NAN, 0.5, 0.25]
            .map(|rate| controllers.update(Due::at(3, rate), &seen).unwrap().answer.factor);
        assert_eq!(factors, [None, Some(1.0), Some(2.0)]);
    }

    #[test]
    fn it_resumes_exactly() {
        let rule = || LocalSteps::new(7).constant_rounds().step_decay(0.9, 2).budget(5.0);
        let schedule = resolved(cosine(0.1));
        let mut whole = Driver::new(rule());
        under(&mut whole, &schedule, 0..18);
        let mut resumed = Driver::new(rule()).resume(&whole);
        let rest = |driver: &mut Driver| under(driver, &schedule, 18..60);
        assert_eq!(rest(&mut resumed), rest(&mut whole));
    }

    #[test]
    fn it_refuses_each_field_counts_rounds_and_is_read_back() {
        let run = RunLength::updates(100).resolve().unwrap();
        let field = |rule: LocalSteps| rule.build(&run).unwrap_err().field;
        for steps in [Span::steps(0), Span::epochs(1), Span::Rest] {
            assert_eq!(field(LocalSteps::new(steps)), "steps");
            assert!(LocalSteps::new(steps).rounds(&run).is_err());
        }
        for budget in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(field(LocalSteps::new(5).budget(budget)), "budget");
        }
        for gamma in [0.0, -1.0, 1.1, f64::NAN] {
            assert_eq!(field(LocalSteps::new(5).step_decay(gamma, 1)), "step_decay.gamma");
        }
        assert_eq!(field(LocalSteps::new(5).step_decay(0.5, 0)), "step_decay.rounds");
        assert_eq!(LocalSteps::new(30).rounds(&run), Ok(Some(4)));

        let mut controllers = Controllers::default();
        controllers.add("it", LocalSteps::new(5).build(&run).unwrap());
        assert_eq!(controllers.warnings().len(), 1);
        let rule =
            LocalSteps::new(Span::epochs(2)).constant_rounds().step_decay(0.9, 2).budget(0.5);
        let json = serde_json::to_string(&rule).unwrap();
        assert_eq!(serde_json::from_str::<LocalSteps>(&json).unwrap(), rule);
    }
}
