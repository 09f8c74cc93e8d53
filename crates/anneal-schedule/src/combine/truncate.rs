//! The beginning of a longer schedule.

use crate::curve::pieces::{Piece, Shape, cut};
use crate::curve::{Describe, Inner, Rate, tail::Tail};
use crate::run::{MAX_UPDATES, Run};
use crate::{Length, ScheduleConfig, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// The beginning of the schedule of a longer run: for a short trial of a real recipe.
///
/// ```text
/// truncate()         a run as long as the inner lengths need; if they fit, the run itself
/// truncate(100ep)    a run of 100 epochs
/// ```
///
/// Every update has the rate it has in the long run: percentages, epochs and the rest of the run refer to the
/// long one. If the run is longer than that, the last rate is held.
/// [`Schedule::truncated_from`](crate::Schedule::truncated_from) returns the length of the long run.
///
/// A recipe whose lengths are all in percent fits into every run, so `truncate()` changes nothing: give the
/// length.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `length` | updates of the long run, a span | at least 1 update; default: what the schedule needs |
///
/// ```
/// use anneal_schedule::prelude::*;
/// let recipe = || step_decay(0.1, Span::epochs(30), 0.1).warmup(Span::epochs(5));
/// let run = RunLength::updates_per_epoch(100);
/// assert!(recipe().resolve(run.epochs(1)).is_err());
///
/// let short = recipe().truncate().resolve(run.epochs(1))?;
/// let long = recipe().resolve(run.epochs(90))?;
/// assert!((0..100).all(|step| short.rate(step) == long.rate(step)));
/// assert_eq!(short.truncated_from(), Some(3_500));
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
#[must_use]
pub struct Truncate<L: Length = Span> {
    /// The length of the long run; by default, what the schedule needs.
    #[serde(default)]
    pub length: L,
    /// The schedule to cut off.
    pub schedule: Box<ScheduleConfig<L>>,
}

impl Truncate {
    /// Sets the length of the long run.
    pub fn length(mut self, length: Span) -> Self {
        self.length = length;
        self
    }

    /// The schedule in a run of `updates` updates.
    fn in_run(&self, updates: u64, scope: &Scope<'_>) -> Result<Truncate<u64>, ScheduleError> {
        let run = scope.run().lasting(updates);
        let schedule = self.schedule.resolve_in(&scope.inside_run("schedule", &run)?)?;
        Ok(Truncate { length: updates, schedule: Box::new(schedule) })
    }

    /// Resolves the schedule in a run longer than this one by the updates that do not fit.
    fn in_longer_run(
        &self,
        scope: &Scope<'_>,
        error: ScheduleError,
    ) -> Result<Truncate<u64>, ScheduleError> {
        let Some(mut updates) = scope.left() else { return Err(error) };
        let mut short = shortage(&error, scope.run());
        let mut more = short;
        for _ in 0..MAX_TRIES {
            updates = updates.saturating_add(more);
            if updates > MAX_UPDATES {
                break;
            }
            match self.in_run(updates, scope) {
                Err(again @ ScheduleError::TooLong { .. }) => {
                    let still = shortage(&again, scope.run());
                    // If as much is missing as before, a longer run helps little or not at all.
                    more = if still == short { more.saturating_mul(2) } else { still };
                    short = still;
                }
                resolved => return resolved,
            }
        }
        Err(error)
    }
}

/// The maximum number of runs tried; each is longer than the previous one.
const MAX_TRIES: usize = 100;

/// Marks a schedule that fits into its run.
const NO_END: u64 = u64::MAX;

/// The number of updates that a run is too short by.
fn shortage(error: &ScheduleError, run: &Run) -> u64 {
    match error {
        ScheduleError::TooLong { updates, left, unit: "samples", .. } => {
            run.updates_of(updates - left)
        }
        ScheduleError::TooLong { updates, left, .. } => updates - left,
        _ => 0,
    }
}

impl Describe for Truncate {
    type Resolved = Truncate<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<Truncate<u64>, ScheduleError> {
        if self.length != Span::Rest {
            let length = scope.time_constant("length", self.length)?;
            if length > MAX_UPDATES {
                let allowed = "at most 2^63 updates";
                return Err(scope.out_of_range("length", self.length.to_string(), allowed));
            }
            return self.in_run(length, scope);
        }
        match self.schedule.resolve_in(&scope.inside("schedule")?) {
            // An outer one finds a run for both.
            Err(error @ ScheduleError::TooLong { .. }) if !scope.is_truncated() => {
                self.in_longer_run(scope, error)
            }
            resolved => Ok(Truncate { length: NO_END, schedule: Box::new(resolved?) }),
        }
    }
}

impl Rate for Truncate<u64> {
    fn rate(&self, step: u64) -> f64 {
        if step < self.length {
            self.schedule.rate(step)
        } else {
            self.schedule.end_rate(self.length)
        }
    }

    fn end_rate(&self, step: u64) -> f64 {
        self.schedule.end_rate(step.min(self.length))
    }

    fn peak(&self) -> f64 {
        self.schedule.peak()
    }

    fn mean(&self, step: u64, window: u64) -> Option<f64> {
        (step < self.length).then(|| self.schedule.mean(step, window))?
    }

    fn tail(&self) -> Tail {
        match self.length {
            NO_END => self.schedule.tail(),
            length => Tail::settled(self.schedule.end_rate(length)),
        }
    }

    fn pieces(&self, steps: u64) -> Option<Vec<Piece>> {
        let within = steps.min(self.length);
        let mut pieces = self.schedule.pieces(within)?;
        let after = steps - within;
        pieces.extend(cut([(after, Shape::Constant(self.rate(within)))], after));
        Some(pieces)
    }

    fn inner(&self) -> Vec<Inner<'_>> {
        vec![Inner { length: self.length, ..Inner::whole(&self.schedule) }]
    }
}

/// The number of updates `node` would have in a run as long as its inner [`Truncate`] needs; `None` if none
/// reaches the end.
pub(crate) fn untruncated(node: &ScheduleConfig<u64>) -> Option<u64> {
    let own = match node {
        ScheduleConfig::Truncate(Truncate { length, .. }) if *length != NO_END => Some(*length),
        _ => None,
    };
    // A schedule that ends before the run is not cut off by it.
    let open = node.inner().into_iter().filter(|inner| inner.length == u64::MAX);
    let inside =
        open.filter_map(|inner| Some(untruncated(inner.node)?.saturating_add(inner.start)));
    own.into_iter().chain(inside).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::combine::ScheduleExt;
    use crate::curve::{
        constant, cosine, linear, multi_step, refused, resolved, stable_decay, step_decay,
    };
    use crate::{RunLength, ScheduleConfig};

    /// Recipes with fixed lengths, and the updates of the run that each is made for.
    fn recipes() -> Vec<(ScheduleConfig, u64)> {
        let (ten, ninety) = (Span::epochs(10), Span::epochs(90));
        vec![
            (cosine(0.3).length(ninety).into(), 900),
            (cosine(0.3).length(ninety).warmup(Span::epochs(5)).into(), 950),
            (step_decay(0.3, Span::epochs(30), 0.1).warmup(Span::steps(7)).into(), 307),
            (multi_step(0.3, [Span::epochs(30), Span::epochs(60)], 0.1).into(), 600),
            (stable_decay(0.3, ten).length(ninety).floor(0.01).into(), 900),
            (linear(0.1, 0.3).then(ten, cosine(0.3).length(ninety)).scale(2.0).into(), 1_000),
            // A tenth of the run, and 90 of its epochs: 1,000 updates.
            (cosine(0.3).length(ninety).warmup(Span::percent(10)).into(), 1_000),
        ]
    }

    #[test]
    fn the_beginning_is_that_of_the_long_run() {
        for (recipe, updates) in recipes() {
            let run = RunLength::updates_per_epoch(10);
            let long = recipe.clone().resolve(run.epochs(updates as usize / 10 + 20));
            // A share of the run refers to the long run.
            let long = if recipe.to_string().contains('%') {
                recipe.clone().resolve(run.epochs(100)).unwrap()
            } else {
                long.unwrap()
            };
            for epochs in [1, 3, 8] {
                assert!(recipe.clone().resolve(run.epochs(epochs)).is_err(), "{recipe}");
                let short = recipe.clone().truncate().resolve(run.epochs(epochs)).unwrap();
                assert_eq!(short.truncated_from(), Some(updates), "{short}");
                for step in 0..10 * epochs as u64 {
                    assert_eq!(short.rate(step), long.rate(step), "{short} at {step}");
                }
            }
        }
    }

    #[test]
    fn a_stated_length_is_that_of_the_long_run() {
        let run = RunLength::updates_per_epoch(10);
        let recipe = || cosine(0.3).warmup(Span::percent(5));
        let long = recipe().resolve(run.epochs(100)).unwrap();
        let short = recipe().truncate().length(Span::epochs(100)).resolve(run.epochs(7)).unwrap();
        assert!((0..70).all(|step| short.rate(step) == long.rate(step)), "{short}");
        assert_eq!(short.truncated_from(), Some(1_000));
        // In a longer run it ends when the recipe does.
        let longer = recipe().truncate().length(Span::epochs(5)).resolve(run.epochs(7)).unwrap();
        let five = recipe().resolve(run.epochs(5)).unwrap();
        assert!((0..70).all(|step| longer.rate(step) == five.rate(step)), "{longer}");
        assert_eq!(longer.truncated_from(), None);
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        for config in [
            ScheduleConfig::from(cosine(0.3).warmup(Span::percent(10))),
            step_decay(0.3, Span::steps(30), 0.5).into(),
            constant(0.3).then(Span::steps(100), cosine(0.3)).repeat_times(2).into(),
        ] {
            let (plain, cut) = (resolved(config.clone(), 300), resolved(config.truncate(), 300));
            assert!((0..=301).all(|step| plain.rate(step) == cut.rate(step)), "{cut}");
            assert_eq!(cut.truncated_from(), None);
            assert!(cut.to_string().contains(".truncate(), 300"), "{cut}");
            assert!(plain.cycle_ends().eq(cut.cycle_ends()));
        }
        let endless = constant(0.3).truncate().resolve(RunLength::unbounded()).unwrap();
        assert_eq!((endless.rate(1 << 40), endless.truncated_from()), (0.3, None));
    }

    #[test]
    fn a_part_may_be_cut_and_one_outside_serves_those_inside() {
        let part = || cosine(0.3).length(Span::steps(500)).truncate();
        let parts = resolved(constant(0.3).then(Span::steps(40), part()), 100);
        let plain = resolved(cosine(0.3), 500);
        assert!((0..60).all(|step| parts.rate(40 + step) == plain.rate(step)));
        assert_eq!(parts.truncated_from(), Some(540));
        // It ends with its part, not with the run.
        let early = resolved(part().then(Span::steps(40), constant(0.3)), 100);
        assert_eq!((early.rate(39), early.truncated_from()), (plain.rate(39), None));
        let both = resolved(part().warmup(Span::steps(200)).truncate(), 100);
        assert_eq!(both.truncated_from(), Some(700), "{both}");
    }

    #[test]
    fn holds_what_it_has_reached() {
        let steps = || step_decay(1.0, Span::steps(4), 0.5).truncate();
        assert_eq!(resolved(steps().length(Span::steps(8)), 20).rate(20), 0.5);
        assert_eq!(resolved(steps().length(Span::steps(12)), 8).rate(8), 0.5);
    }

    #[test]
    fn refuses_each_field() {
        let config = |length| cosine(1.0).truncate().length(length);
        for length in [Span::steps(0), Span::epochs(-1), Span::percent(0), Span::steps(u64::MAX)] {
            assert_eq!(refused(config(length)), "truncate.length", "{length}");
        }
        assert_eq!(refused(cosine(0.0).truncate()), "truncate.schedule.cosine.peak");
        // No run is long enough for these.
        let inside = linear(1.0, 0.0).length(Span::steps(6)).repeat_every(Span::steps(5));
        assert_eq!(refused(inside.truncate()), "truncate.schedule.repeat.schedule.linear.length");
        let all = cosine(1.0).warmup(Span::percent(100)).truncate();
        assert_eq!(refused(all), "truncate.schedule.warmup.length");
    }
}
