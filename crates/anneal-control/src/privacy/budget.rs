//! A privacy budget for training.

use super::PrivacyAccountant;
use crate::{Answer, AnyController, Controller, Describe, Event, Needs, OutOfRange, Run, Stop};
use serde::{Deserialize, Serialize};

/// Counts each update of DP-SGD, and stops training before an update that would exceed ε at this δ: the
/// description.
///
/// [`PrivacyAccountant`] defines what is counted and what ε covers. The privacy spent is its state, so
/// checkpoints include it, and a resumed run continues from there, even with another noise or sampling rate.
/// A skipped update counts too, because its data decided the skip. A run longer than the budget gives a
/// warning before it starts.
///
/// | field | range |
/// | --- | --- |
/// | `epsilon` ε | finite, above 0 |
/// | `delta` δ | above 0, below 1; well below 1 over the number of items |
/// | `noise_multiplier` σ | finite, above 0 |
/// | `sampling_rate` q | above 0, at most 1: expected batch size over items |
///
/// It trusts its settings: it neither clips nor adds noise nor draws batches, so training that does none of
/// that refuses it. [`PrivacyAccountant`] counts without a limit, and has the same state. It is for whole
/// runs; one that starts [later](Describe::after) does not know what was spent before.
///
/// ```
/// use anneal_control::{Controllers, Describe, Due, Observation, PrivacyBudget, RunLength};
///
/// let rule = PrivacyBudget {
///     epsilon: 2.0,
///     delta: 1e-5,
///     noise_multiplier: 1.1,
///     sampling_rate: 256.0 / 60_000.0,
/// };
/// let mut controllers = Controllers::default();
/// controllers.add("privacy", rule.build(&RunLength::updates(10_000).resolve()?)?);
/// assert_eq!(
///     controllers.warnings(),
///     ["privacy: the run has 10000 updates, but stops after 8642, when an ε of 2 at a δ of 0.00001 is spent"]
/// );
/// for number in 0..8_642 {
///     controllers.update(Due::at(number, 0.1), &Observation::default())?;
/// }
/// assert!(controllers.update(Due::at(8_642, 0.1), &Observation::default()).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivacyBudget {
    /// The ε of the budget.
    pub epsilon: f64,
    /// The δ of the budget.
    pub delta: f64,
    /// The deviation of the noise on a sum of clipped gradients, divided by the clip.
    pub noise_multiplier: f64,
    /// The probability of each item to be in a batch.
    pub sampling_rate: f64,
}

impl Describe for PrivacyBudget {
    fn build(&self, run: &Run) -> Result<AnyController, OutOfRange> {
        let Self { epsilon, delta, noise_multiplier, sampling_rate } = *self;
        let spent = PrivacyAccountant::new(noise_multiplier, sampling_rate)?;
        let left = spent.steps_within(epsilon, delta)?;
        let warning = run.updates().filter(|updates| *updates > left).map(|updates| {
            format!(
                "the run has {updates} updates, but stops after {left}, when an ε of {epsilon} at a δ of {delta} is spent"
            )
        });
        Ok(Keeper { rule: *self, warning, spent, left }.into())
    }
}

#[derive(Clone, Debug)]
struct Keeper {
    rule: PrivacyBudget,
    warning: Option<String>,
    spent: PrivacyAccountant,
    /// The updates that the budget still allows.
    left: u64,
}

impl Keeper {
    fn stop(&self) -> Stop {
        let PrivacyBudget { epsilon, delta, .. } = self.rule;
        let updates = self.spent.counted();
        Stop::new(format!(
            "the privacy budget is spent: after {updates} updates, another one would raise ε above {epsilon} at a δ of \
             {delta}"
        ))
    }
}

impl Controller for Keeper {
    type State = PrivacyAccountant;

    fn needs(&self) -> Needs {
        Needs { private_gradient: true, now: true, ..Needs::default() }
    }

    fn privacy(&self) -> Option<&PrivacyAccountant> {
        Some(&self.spent)
    }

    fn is_of_update(&self) -> bool {
        true
    }

    fn warnings(&self) -> Vec<String> {
        self.warning.iter().cloned().collect()
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        if let Event::Update(_) = event {
            self.left = self.left.checked_sub(1).ok_or_else(|| self.stop())?;
            self.spent.step();
        }
        Ok(Answer::default())
    }

    fn state(&self) -> PrivacyAccountant {
        self.spent.clone()
    }

    /// The current noise and rate apply to the updates from here on.
    fn restore(&mut self, mut state: PrivacyAccountant) -> Result<(), OutOfRange> {
        state.change(self.rule.noise_multiplier, self.rule.sampling_rate)?;
        self.left = state.steps_within(self.rule.epsilon, self.rule.delta)?;
        self.spent = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Driver;
    use crate::{Controllers, Due, FiniteGuard, Observation, RunLength};

    const RULE: PrivacyBudget =
        PrivacyBudget { epsilon: 3.0, delta: 1e-5, noise_multiplier: 1.0, sampling_rate: 0.05 };

    /// The number of updates until it stops, and the reason.
    fn until_it_stops(controllers: &mut Controllers) -> (u64, String) {
        let seen = Observation { loss: Some(f64::NAN), ..Observation::default() };
        let mut stops = (0..1_000).map(|t| (t, controllers.update(Due::at(t, 0.1), &seen)));
        let (updates, stop) = stops.find(|(_, decided)| decided.is_err()).unwrap();
        (updates, stop.unwrap_err().to_string())
    }

    #[test]
    fn training_stops_before_it_spends_more() {
        let run = RunLength::updates(1_000).resolve().unwrap();
        // Even if another controller skips each update.
        for guard in [None, Some(FiniteGuard::skip(1_000).unwrap())] {
            let mut controllers = Controllers::default();
            if let Some(guard) = guard {
                controllers.add("guard", guard);
            }
            controllers.add("privacy", RULE.build(&run).unwrap());
            let (updates, stop) = until_it_stops(&mut controllers);
            let mut spent = PrivacyAccountant::new(1.0, 0.05).unwrap();
            spent.steps(updates);
            assert!(updates > 0 && spent.epsilon(1e-5).unwrap() <= 3.0, "{updates}");
            spent.step();
            assert!(spent.epsilon(1e-5).unwrap() > 3.0, "{updates}");
            assert!(stop.contains("privacy budget is spent"), "{stop}");
        }
    }

    #[test]
    fn what_was_spent_with_other_noise_stays_spent() {
        let mut first = Driver::new(PrivacyBudget { noise_multiplier: 1.5, ..RULE });
        first.rates(40);
        let mut second = Driver::new(RULE).resume(&first);
        second.rates(20);
        let mut expected = PrivacyAccountant::new(1.5, 0.05).unwrap();
        expected.steps(40);
        expected.change(1.0, 0.05).unwrap();
        expected.steps(20);
        assert_eq!(second.state(), serde_json::to_value(&expected).unwrap());
    }

    #[test]
    fn a_resumed_run_stops_where_the_whole_one_would() {
        let run = RunLength::updates(1_000).resolve().unwrap();
        let of_rule = || {
            let mut controllers = Controllers::default();
            controllers.add("privacy", RULE.build(&run).unwrap());
            controllers
        };
        let (whole, _) = until_it_stops(&mut of_rule());
        let mut first = of_rule();
        for number in 0..30 {
            first.update(Due::at(number, 0.1), &Observation::default()).unwrap();
        }
        let mut second = of_rule();
        second.restore(first.save()).unwrap();
        assert_eq!(until_it_stops(&mut second).0, whole - 30);
    }

    #[test]
    fn only_a_run_that_is_too_long_is_warned_of() {
        let lasts = PrivacyAccountant::new(1.0, 0.05).unwrap().steps_within(3.0, 1e-5).unwrap();
        let warnings = |run: RunLength| {
            let mut controllers = Controllers::default();
            controllers.add("privacy", RULE.build(&run.resolve().unwrap()).unwrap());
            controllers.warnings().len()
        };
        let runs =
            [RunLength::updates(lasts), RunLength::updates(lasts + 1), RunLength::unbounded()];
        assert_eq!(runs.map(warnings), [0, 1, 0]);
    }

    #[test]
    fn it_refuses_each_field_and_is_read_back() {
        let run = RunLength::updates(100).resolve().unwrap();
        let field = |rule: PrivacyBudget| rule.build(&run).unwrap_err().field;
        assert_eq!(field(PrivacyBudget { epsilon: 0.0, ..RULE }), "epsilon");
        assert_eq!(field(PrivacyBudget { delta: 1.0, ..RULE }), "delta");
        assert_eq!(field(PrivacyBudget { noise_multiplier: f64::NAN, ..RULE }), "noise_multiplier");
        assert_eq!(field(PrivacyBudget { sampling_rate: 2.0, ..RULE }), "sampling_rate");
        let json = serde_json::to_string(&RULE).unwrap();
        assert_eq!(serde_json::from_str::<PrivacyBudget>(&json).unwrap(), RULE);
    }
}
