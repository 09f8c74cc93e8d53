//! A schedule that starts later.

use crate::curve::{Describe, Inner, Rate, tail::Tail};
use crate::{Length, ScheduleConfig, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// η(t) = inner(0) for t < n, then inner(t − n): the first rate is held during a delay of n updates.
///
/// At least one update must be left after the delay; if n rounds to 0 updates there is no delay. To leave the
/// weights unchanged at first, freeze their parameter group instead of using a rate of 0.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `length` | n, a span | shorter than what is left of the run |
///
/// Source: the flat phase of fastai's `fit_flat_cos`.
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = linear(1.0, 0.0).delay(Span::steps(2)).resolve(RunLength::updates(6))?;
/// assert_eq!([0, 1, 2, 3, 6].map(|step| schedule.rate(step)), [1.0, 1.0, 1.0, 0.75, 0.0]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
pub struct Delay<L: Length = Span> {
    /// n: the updates before the schedule starts.
    pub length: L,
    /// The delayed schedule.
    pub schedule: Box<ScheduleConfig<L>>,
}

impl Describe for Delay {
    type Resolved = Delay<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<Delay<u64>, ScheduleError> {
        let (length, start) = scope.prefix("length", scope.stated("length", self.length)?)?;
        let inside = scope.inside_from("schedule", start)?;
        Ok(Delay { length, schedule: Box::new(self.schedule.resolve_in(&inside)?) })
    }
}

impl Rate for Delay<u64> {
    fn rate(&self, step: u64) -> f64 {
        self.schedule.rate(step.saturating_sub(self.length))
    }

    fn end_rate(&self, step: u64) -> f64 {
        if step < self.length { self.rate(0) } else { self.schedule.end_rate(step - self.length) }
    }

    fn peak(&self) -> f64 {
        self.schedule.peak()
    }

    fn tail(&self) -> Tail {
        self.schedule.tail()
    }

    fn inner(&self) -> Vec<Inner<'_>> {
        vec![Inner { node: &self.schedule, start: self.length, length: u64::MAX }]
    }
}

#[cfg(test)]
mod tests {
    use crate::combine::{ScheduleExt, sequence};
    use crate::curve::{constant, cosine, refused, resolved, step_decay};
    use crate::{Schedule, Span};

    #[test]
    fn equals_its_first_rate_and_then_the_schedule() {
        let delayed = resolved(cosine(0.3).delay(Span::percent(25)), 80);
        let parts = resolved(constant(0.3).then(Span::percent(25), cosine(0.3)), 80);
        let rates = |schedule: &Schedule| (0..=81).map(|t| schedule.rate(t)).collect::<Vec<_>>();
        assert_eq!(rates(&delayed), rates(&parts));
        assert!((delayed.rate(50) - 0.15).abs() < 1e-16, "half way through the 60 updates left");
    }

    #[test]
    fn holds_what_it_has_reached() {
        let steps = step_decay(1.0, Span::steps(4), 0.5).delay(Span::steps(2));
        let schedule = resolved(steps.clone(), 10);
        assert_eq!([5, 6, 9, 10].map(|t| schedule.rate(t)), [1.0, 0.5, 0.5, 0.5]);
        let cut = resolved(steps.clone().then(Span::steps(6), constant(3.0)), 10);
        assert_eq!([5, 6].map(|t| cut.rate(t)), [1.0, 3.0]);
        let part = sequence([(Span::steps(6), steps)]);
        assert_eq!(resolved(part, 10).rate(6), 1.0, "the drop belongs to the next update");
    }

    #[test]
    fn refuses_each_field() {
        for length in [Span::steps(0), Span::steps(100), Span::epochs(-1), Span::Rest] {
            assert_eq!(refused(constant(1.0).delay(length)), "delay.length", "{length}");
        }
        assert_eq!(refused(constant(0.0).delay(Span::steps(5))), "delay.schedule.constant.rate");
    }
}
