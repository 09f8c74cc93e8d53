//! A copy of a run with rates of its own.

use super::FindError;
use crate::builder::FINITE_GUARD;
use crate::training_loop::TrainingLoop;
use crate::update::Monitored;
use anneal_control::{Answer, Controller, Event, Needs, OutOfRange, Stop};
use anneal_schedule::{Schedule, Span};
use burn::module::Module;

/// The name of the controller that sets the rates.
const NAME: &str = "rate finder";

/// The number of steps checked to find the largest rate of a schedule.
const LOOKED_AT: u64 = 100_000;

impl<M: Module> TrainingLoop<M> {
    /// An independent copy of this run. Its schedule is held at `step`, and each update multiplies all rates so that
    /// the schedule's own is the next of `rates`; the last one stays. Loss scaling and the guard against non-finite
    /// gradients are kept, other controllers are removed.
    pub(super) fn steered(&self, step: u64, rates: Vec<f64>) -> Self {
        let copy = self.detached();
        {
            let slot = copy.monitor().slot();
            let mut state = slot.lock();
            state.controllers.retain(|name, scales| scales || name == FINITE_GUARD);
            state.controllers.add(NAME, Steer { rates, begun: 0 });
            state.clock.pinned = Some(step);
            state.prepared = step;
        }
        copy.prepared()
    }
}

/// The step at which a schedule is held: at its largest rate from update `from` on, or a span into the run.
pub(super) fn held_at(schedule: &Schedule, from: u64, at: Option<Span>) -> Result<u64, FindError> {
    let step = match at {
        Some(span) => {
            let step = span.update_in(&schedule.run());
            let within = |step: &u64| schedule.length().is_none_or(|end| *step < end);
            step.filter(within).ok_or(FindError::At { at: span })?
        }
        None => largest(schedule, from),
    };
    match schedule.rate(step) > 0.0 {
        true => Ok(step),
        false => Err(FindError::NoRate { step }),
    }
}

/// The first step with the largest rate from `from` on; a long run is checked at evenly spaced steps.
fn largest(schedule: &Schedule, from: u64) -> u64 {
    let end = schedule.length().unwrap_or(from.saturating_add(LOOKED_AT)).max(from + 1);
    let every = (end - from).div_ceil(LOOKED_AT).max(1);
    let steps = (from..end).step_by(usize::try_from(every).unwrap_or(usize::MAX));
    let better = |best: (u64, f64), step| match schedule.rate(step) {
        rate if rate > best.1 => (step, rate),
        _ => best,
    };
    steps.fold((from, f64::NEG_INFINITY), better).0
}

/// Multiplies the rates so that the schedule's own has the given values.
#[derive(Clone, Debug)]
struct Steer {
    rates: Vec<f64>,
    /// The updates so far.
    begun: usize,
}

impl Controller for Steer {
    type State = ();

    fn needs(&self) -> Needs {
        Needs { loss: true, now: true, ..Needs::default() }
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        let Event::Update(seen) = event else { return Ok(Answer::default()) };
        let rate = self.rates.get(self.begun).or(self.rates.last());
        self.begun += 1;
        Ok(Answer::factor(rate.map_or(1.0, |rate| rate / seen.rate)))
    }

    fn state(&self) {}

    fn restore(&mut self, (): ()) -> Result<(), OutOfRange> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anneal_schedule::prelude::*;

    #[test]
    fn a_schedule_is_held_where_its_rate_is_largest() {
        let run = RunLength::updates(1_000);
        let schedule = cosine(0.1).warmup(Span::percent(10.0)).resolve(run).unwrap();

        assert_eq!(held_at(&schedule, 0, None).unwrap(), 100);
        assert_eq!(held_at(&schedule, 400, None).unwrap(), 400);
        assert_eq!(held_at(&schedule, 0, Some(Span::percent(50.0))).unwrap(), 500);
        assert!(matches!(held_at(&schedule, 999, None), Ok(999)));
        // A finished run is at rate 0.
        assert!(matches!(held_at(&schedule, 1_000, None), Err(FindError::NoRate { step: 1_000 })));
        let endless = constant(0.1).resolve(RunLength::unbounded()).unwrap();
        assert_eq!(held_at(&endless, 7, None).unwrap(), 7);
        assert!(held_at(&endless, 0, Some(Span::percent(1.0))).is_err());
    }
}
