//! A repeated schedule.

use crate::curve::{Describe, Inner, Rate, tail::Tail};
use crate::{Length, ScheduleConfig, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// η(t) = inner(t mod n): restarts every n updates. After `count` repetitions, if given, the rate reached by
/// the last one is held.
///
/// ```text
/// repeat_every(30ep)             every 30 epochs, to the end of the run
/// repeat_times(3)                3 times, each a third of the run
/// repeat_every(30ep).count(3)    every 30 epochs, 3 times in total
/// ```
///
/// The inner schedule fills n updates: a cosine without a length of its own ends with each repetition. The
/// length is rounded once, so all repetitions are equally long; if `count` does not divide the run, the last
/// updates hold the rate.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `every` | n, a span | inside the run; default: what is left of it, divided by `count` |
/// | `count` | number of repetitions | at least 1; default: unlimited, if `every` is given |
///
/// ```
/// use anneal_schedule::prelude::*;
/// let saw = || linear(1.0, 0.0);
/// let run = RunLength::updates(20);
/// let schedule = saw().repeat_every(Span::steps(4)).count(2).resolve(run)?;
/// assert_eq!([0, 3, 4, 7, 8, 19].map(|t| schedule.rate(t)), [1.0, 0.25, 1.0, 0.25, 0.0, 0.0]);
/// assert_eq!(saw().repeat_times(5).resolve(run)?.cycle_ends().collect::<Vec<_>>(), [3, 7, 11, 15, 19]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
#[must_use]
pub struct Repeat<L: Length = Span> {
    /// n: the length of each repetition.
    #[serde(default)]
    pub every: L,
    /// The number of repetitions after which the rate is held.
    #[serde(default)]
    pub count: Option<u64>,
    /// The repeated schedule.
    pub schedule: Box<ScheduleConfig<L>>,
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
        if self.count == Some(0) {
            return Err(scope.out_of_range("count", "0".into(), "at least 1 repetition"));
        }
        let every = match (self.every, self.count) {
            (Span::Rest, Some(count)) => share(scope, count)?,
            (every, _) => scope.length("every", scope.stated("every", every)?)?,
        };
        let inside = scope.inside_part("schedule", scope.start(), Some(every))?;
        let schedule = Box::new(self.schedule.resolve_in(&inside)?);
        Ok(Repeat { every, count: self.count, schedule })
    }
}

/// The updates of each repetition if `count` of them fill what is left of the run.
fn share(scope: &Scope<'_>, count: u64) -> Result<u64, ScheduleError> {
    let left = scope.length("every", Span::Rest)?;
    match left / count {
        0 => {
            let allowed = format!("at most {left}, one update per repetition");
            Err(scope.out_of_range("count", count.to_string(), allowed))
        }
        every => Ok(every),
    }
}

impl Repeat<u64> {
    fn is_over(&self, repetitions: u64) -> bool {
        self.count.is_some_and(|count| repetitions >= count)
    }
}

impl Rate for Repeat<u64> {
    fn rate(&self, step: u64) -> f64 {
        if self.is_over(step / self.every) {
            self.schedule.end_rate(self.every)
        } else {
            self.schedule.rate(step % self.every)
        }
    }

    fn end_rate(&self, step: u64) -> f64 {
        let (repetitions, rest) = (step / self.every, step % self.every);
        // Where a repetition would start, the previous one has reached its end.
        if self.is_over(repetitions) || (rest == 0 && repetitions > 0) {
            self.schedule.end_rate(self.every)
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
        let (repetitions, rest) = (from / self.every, from % self.every);
        if self.is_over(repetitions) {
            return None;
        }
        let last = self.every - 1;
        let inside = self.schedule.cycle_end(rest).filter(|end| *end < self.every);
        let border = (!self.is_over(repetitions.saturating_add(1))).then_some(last);
        let end = inside.into_iter().chain(border).min()?;
        (repetitions * self.every).checked_add(end)
    }

    fn inner(&self) -> Vec<Inner<'_>> {
        vec![Inner { length: self.every, ..Inner::whole(&self.schedule) }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::combine::ScheduleExt;
    use crate::curve::{constant, cosine, linear, refused, resolved, step_decay, warm_restarts};

    #[test]
    fn a_repeated_cosine_is_a_warm_restart() {
        let repeated = resolved(cosine(1.0).end(0.1).repeat_every(Span::steps(7)), 1_000);
        let restarts = resolved(warm_restarts(1.0, Span::steps(7)).end(0.1), 1_000);
        for step in 0..=1_000 {
            assert!((repeated.rate(step) - restarts.rate(step)).abs() < 1e-15, "{step}");
        }
    }

    #[test]
    fn repeats_a_sequence_and_far_out() {
        let saw = constant(1.0).then(Span::steps(2), linear(0.5, 0.0)).repeat_every(Span::steps(4));
        let schedule = resolved(saw, 1 << 62);
        let once = [1.0, 1.0, 0.5, 0.25];
        for start in [0, 4, 400, 1_000_000_000_000, (1 << 62) - 4] {
            assert_eq!([0, 1, 2, 3].map(|i| schedule.rate(start + i)), once, "{start}");
        }
    }

    #[test]
    fn holds_what_it_has_reached() {
        let steps = || step_decay(1.0, Span::steps(2), 0.5).repeat_every(Span::steps(4));
        // The run ends with a repetition: neither the drop nor the restart comes.
        assert_eq!(resolved(steps(), 8).rate(8), 0.5);
        assert_eq!(resolved(steps(), 9).rate(9), 1.0);
        let counted = resolved(steps().count(2), 20);
        assert_eq!([3, 4, 7, 8, 19, 20].map(|t| counted.rate(t)), [0.5, 1.0, 0.5, 0.5, 0.5, 0.5]);
    }

    #[test]
    fn so_many_times_are_equal_parts_of_what_is_left() {
        // 90 updates are left after the warm-up: 22 for each of four repetitions, and two that hold the end.
        let schedule = resolved(linear(1.0, 0.0).repeat_times(4).warmup(Span::steps(10)), 100);
        let saw = |t: u64| if t < 88 { 1.0 - (t % 22) as f64 / 22.0 } else { 0.0 };
        for t in 0..90 {
            assert!((schedule.rate(10 + t) - saw(t)).abs() < 1e-15, "{t}");
        }
        assert_eq!(resolved(constant(1.0).repeat_times(100), 100).cycle_ends().count(), 100);
    }

    #[test]
    fn refuses_each_field() {
        for length in [Span::steps(0), Span::steps(101), Span::percent(f64::NAN), Span::Rest] {
            assert_eq!(refused(constant(1.0).repeat_every(length)), "repeat.every");
        }
        assert_eq!(refused(constant(1.0).repeat_every(Span::steps(5)).count(0)), "repeat.count");
        assert_eq!(refused(constant(1.0).repeat_times(0)), "repeat.count");
        assert_eq!(refused(constant(1.0).repeat_times(101)), "repeat.count");
        // The inner schedule has no more updates than a repetition.
        let long = linear(1.0, 0.0).length(Span::steps(6)).repeat_every(Span::steps(5));
        assert_eq!(refused(long), "repeat.schedule.linear.length");
    }
}
