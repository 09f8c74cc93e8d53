//! Consecutive schedules that may be cut short.

use crate::curve::{Describe, Rate, cycle::end_in_parts};
use crate::{Length, Part, ScheduleConfig, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// Consecutive schedules as joined by optax: each starts at its own step 0 where its part starts, and is cut
/// short if it is longer than its part.
///
/// Only a translation gives it, if a schedule is longer than its part; this crate's own
/// [`Sequence`](crate::Sequence) refuses that.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `parts` | | at least one |
/// | `parts[i].length` | span | at least 1 update, inside what is left of the run; the last part takes the rest |
///
/// Source: optax `join_schedules`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
pub struct OptaxJoin<L: Length = Span> {
    /// The schedules, in order.
    pub parts: Vec<Part<L>>,
    /// The updates at which the parts start, set on resolution.
    #[serde(skip)]
    starts: Vec<u64>,
}

impl OptaxJoin {
    /// Schedules and the lengths of their parts; the last one is [`Span::Rest`].
    pub fn new(parts: impl IntoIterator<Item = (Span, ScheduleConfig)>) -> Self {
        let part = |(length, schedule)| Part { length, schedule };
        Self { parts: parts.into_iter().map(part).collect(), starts: vec![] }
    }
}

impl Describe for OptaxJoin {
    type Resolved = OptaxJoin<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<OptaxJoin<u64>, ScheduleError> {
        let Some(last) = self.parts.len().checked_sub(1) else {
            return Err(scope.out_of_range("parts", "[]".into(), "at least one part"));
        };
        let (mut start, mut begin) = (scope.start(), 0);
        let mut resolved = OptaxJoin { parts: vec![], starts: vec![] };
        for (i, part) in self.parts.iter().enumerate() {
            let field = format!("parts[{i}].length");
            let length = match part.length {
                Span::Rest if i == last => u64::MAX,
                length if i == last || length == Span::Rest => {
                    let allowed = "the rest for the last part only";
                    return Err(scope.out_of_range(&field, length.to_string(), allowed));
                }
                length => scope.length_at(&field, length, start)?,
            };
            // To the end of the run, not of the part.
            let inside = scope.inside_from(&format!("parts[{i}].schedule"), start)?;
            resolved.parts.push(Part { length, schedule: part.schedule.resolve_in(&inside)? });
            resolved.starts.push(begin);
            if i < last {
                begin += length;
                start = start.after(part.length, scope.run());
            }
        }
        Ok(resolved)
    }
}

impl Rate for OptaxJoin<u64> {
    fn rate(&self, step: u64) -> f64 {
        // The first part starts at 0, so at least one has started.
        let i = self.starts.partition_point(|&start| start <= step).saturating_sub(1);
        self.parts[i].schedule.rate(step - self.starts[i])
    }

    fn end_rate(&self, step: u64) -> f64 {
        // A part that would start at `step` has not started.
        let i = self.starts.partition_point(|&start| start < step).saturating_sub(1);
        self.parts[i].schedule.end_rate(step - self.starts[i])
    }

    fn cycle_end(&self, from: u64) -> Option<u64> {
        end_in_parts(&self.parts, &self.starts, from)
    }

    fn peak(&self) -> f64 {
        self.parts.iter().map(|part| part.schedule.peak()).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{constant, linear, refused, resolved};

    fn join(parts: Vec<(Span, ScheduleConfig)>) -> ScheduleConfig {
        OptaxJoin::new(parts).into()
    }

    #[test]
    fn a_part_that_is_too_long_is_cut_short() {
        let long = linear(1.0, 0.0).length(Span::steps(8));
        let then = linear(0.5, 0.0).length(Span::steps(4));
        let config = join(vec![(Span::steps(2), long.into()), (Span::Rest, then.into())]);
        let schedule = resolved(config, 10);
        let rates: Vec<f64> = (0..7).map(|step| schedule.rate(step)).collect();
        assert_eq!(rates, [1.0, 0.875, 0.5, 0.375, 0.25, 0.125, 0.0]);
    }

    #[test]
    fn refuses_each_field() {
        let one = || ScheduleConfig::from(constant(1.0));
        assert_eq!(refused(join(vec![])), "optax_join.parts");
        assert_eq!(refused(join(vec![(Span::steps(5), one())])), "optax_join.parts[0].length");
        for length in [Span::Rest, Span::steps(0), Span::steps(101)] {
            let two = join(vec![(length, one()), (Span::Rest, one())]);
            assert_eq!(refused(two), "optax_join.parts[0].length");
        }
        let bad = join(vec![(Span::Rest, constant(-1.0).into())]);
        assert_eq!(refused(bad), "optax_join.parts[0].schedule.constant.rate");
    }
}
