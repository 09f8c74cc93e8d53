//! A schedule again and again.

use crate::curve::{Describe, Inner, Rate, tail::Tail};
use crate::{Node, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// η(t) = inner(t mod n) with the length n; after `count` repetitions, where one is given, the rate
/// that the last of them has reached.
///
/// What stands inside fills n updates: a cosine without a length of its own ends with each
/// repetition. The length is rounded once, so all repetitions are equally long.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `length` | n, a span | inside the run |
/// | `count` | number of repetitions | at least 1; default: without an end |
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = linear(1.0, 0.0).repeat(Span::steps(4)).count(2)
///     .resolve(RunLength::updates(20))?;
/// assert_eq!([0, 3, 4, 7, 8, 19].map(|t| schedule.rate(t)), [1.0, 0.25, 1.0, 0.25, 0.0, 0.0]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound(deserialize = "L: Deserialize<'de> + Default"))]
pub struct Repeat<L = Span> {
    /// n: how long each repetition is.
    pub length: L,
    /// The number of repetitions after which the rate is held.
    #[serde(default)]
    pub count: Option<u64>,
    /// What is repeated.
    pub schedule: Box<Node<L>>,
}

impl Repeat {
    /// Stops after `count` repetitions and holds the rate.
    pub fn count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }
}

impl Describe for Repeat {
    type Resolved = Repeat<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<Repeat<u64>, ScheduleError> {
        let length = scope.length("length", scope.stated("length", self.length)?)?;
        if self.count == Some(0) {
            return Err(scope.out_of_range("count", "0".into(), "at least 1 repetition"));
        }
        let inside = scope.inside_part("schedule", scope.start(), Some(length))?;
        let schedule = Box::new(self.schedule.resolve_in(&inside)?);
        Ok(Repeat { length, count: self.count, schedule })
    }
}

impl Repeat<u64> {
    fn is_over(&self, repetitions: u64) -> bool {
        self.count.is_some_and(|count| repetitions >= count)
    }
}

impl Rate for Repeat<u64> {
    fn rate(&self, step: u64) -> f64 {
        if self.is_over(step / self.length) {
            self.schedule.end_rate(self.length)
        } else {
            self.schedule.rate(step % self.length)
        }
    }

    fn end_rate(&self, step: u64) -> f64 {
        let (repetitions, rest) = (step / self.length, step % self.length);
        // Where a repetition would begin, the one before has reached its end.
        if self.is_over(repetitions) || (rest == 0 && repetitions > 0) {
            self.schedule.end_rate(self.length)
        } else {
            self.schedule.end_rate(rest)
        }
    }

    fn peak(&self) -> f64 {
        self.schedule.peak()
    }

    fn tail(&self) -> Tail {
        match self.count {
            Some(_) => Tail::settled(self.rate(u64::MAX)),
            None if self.rate(0) > 0.0 => Tail::Recurring,
            None => Tail::Unknown,
        }
    }

    fn cycle_end(&self, from: u64) -> Option<u64> {
        let (repetitions, rest) = (from / self.length, from % self.length);
        if self.is_over(repetitions) {
            return None;
        }
        let last = self.length - 1;
        let inside = self.schedule.cycle_end(rest).filter(|end| *end < self.length);
        let border = (!self.is_over(repetitions.saturating_add(1))).then_some(last);
        let end = inside.into_iter().chain(border).min()?;
        (repetitions * self.length).checked_add(end)
    }

    fn inner(&self) -> Vec<Inner<'_>> {
        vec![Inner { length: self.length, ..Inner::whole(&self.schedule) }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::combine::ScheduleExt;
    use crate::curve::{constant, cosine, linear, refused, resolved, step_decay, warm_restarts};

    #[test]
    fn a_repeated_cosine_is_a_warm_restart() {
        let repeated = resolved(cosine(1.0).end(0.1).repeat(Span::steps(7)), 1_000);
        let restarts = resolved(warm_restarts(1.0, Span::steps(7)).end(0.1), 1_000);
        for step in 0..=1_000 {
            assert!((repeated.rate(step) - restarts.rate(step)).abs() < 1e-15, "{step}");
        }
    }

    #[test]
    fn repeats_a_sequence_and_far_out() {
        let saw = constant(1.0).then(Span::steps(2), linear(0.5, 0.0)).repeat(Span::steps(4));
        let schedule = resolved(saw, 1 << 62);
        let once = [1.0, 1.0, 0.5, 0.25];
        for start in [0, 4, 400, 1_000_000_000_000, (1 << 62) - 4] {
            assert_eq!([0, 1, 2, 3].map(|i| schedule.rate(start + i)), once, "{start}");
        }
    }

    #[test]
    fn holds_what_it_has_reached() {
        let steps = || step_decay(1.0, Span::steps(2), 0.5).repeat(Span::steps(4));
        // The run ends with a repetition: neither the drop nor the restart comes.
        assert_eq!(resolved(steps(), 8).rate(8), 0.5);
        assert_eq!(resolved(steps(), 9).rate(9), 1.0);
        let counted = resolved(steps().count(2), 20);
        assert_eq!([3, 4, 7, 8, 19, 20].map(|t| counted.rate(t)), [0.5, 1.0, 0.5, 0.5, 0.5, 0.5]);
    }

    #[test]
    fn refuses_each_field() {
        for length in [Span::steps(0), Span::steps(101), Span::percent(f64::NAN), Span::Rest] {
            assert_eq!(refused(constant(1.0).repeat(length)), "repeat.length");
        }
        assert_eq!(refused(constant(1.0).repeat(Span::steps(5)).count(0)), "repeat.count");
        // What stands inside has no more updates than a repetition.
        let long = linear(1.0, 0.0).length(Span::steps(6)).repeat(Span::steps(5));
        assert_eq!(refused(long), "repeat.schedule.polynomial.length");
    }
}
