//! One schedule after another.

use super::IntoList;
use crate::curve::pieces::{Piece, Shape, cut};
use crate::curve::{Describe, Inner, Rate, cycle::end_in_parts, tail::Tail};
use crate::{Length, ScheduleConfig, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// Consecutive schedules; each starts at its own step 0 where its part starts.
///
/// Part i starts at the sum of the lengths before it, rounded once. A part of length 0 is skipped. If the
/// last part ends before the run, its last rate is held.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `parts` | | at least one |
/// | `parts[i].length` | span | 0 … what is left of the run; only the last part may take the rest |
///
/// Source: torch `SequentialLR`, optax `join_schedules`.
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = constant(1.0).then(Span::steps(2), linear(0.5, 0.0))
///     .resolve(RunLength::updates(6))?;
/// let rates: Vec<f64> = (0..6).map(|step| schedule.rate(step)).collect();
/// assert_eq!(rates, [1.0, 1.0, 0.5, 0.375, 0.25, 0.125]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
#[must_use]
pub struct Sequence<L: Length = Span> {
    /// The schedules, in order.
    pub parts: Vec<Part<L>>,
    /// The updates at which the parts start, set on resolution.
    #[serde(skip)]
    starts: Vec<u64>,
}

/// A part of a [`Sequence`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
pub struct Part<L: Length = Span> {
    /// The length of the part.
    #[serde(default)]
    pub length: L,
    /// The schedule of this part.
    pub schedule: ScheduleConfig<L>,
}

impl<S: Into<ScheduleConfig>> From<(Span, S)> for Part {
    fn from((length, schedule): (Span, S)) -> Self {
        Self { length, schedule: schedule.into() }
    }
}

/// A [`Sequence`] of schedules and their lengths; give the last one [`Span::Rest`].
///
/// ```
/// use anneal_schedule::prelude::*;
/// use anneal_schedule::sequence;
/// let parts = ((Span::epochs(5), constant(0.1)), (Span::Rest, cosine(0.1)));
/// assert_eq!(sequence(parts), constant(0.1).then(Span::epochs(5), cosine(0.1)));
/// ```
pub fn sequence(parts: impl IntoList<Part>) -> Sequence {
    Sequence { parts: parts.into_list(), starts: vec![] }
}

impl Sequence {
    /// A sequence of one part that takes the rest.
    pub(crate) fn start(schedule: ScheduleConfig) -> Self {
        Self { parts: vec![Part { length: Span::Rest, schedule }], starts: vec![] }
    }

    /// Ends the last part after `length` and continues with `next`.
    pub fn then(mut self, length: Span, next: impl Into<ScheduleConfig>) -> Self {
        if let Some(last) = self.parts.last_mut() {
            last.length = length;
        }
        self.parts.push(Part { length: Span::Rest, schedule: next.into() });
        self
    }
}

impl Describe for Sequence {
    type Resolved = Sequence<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<Sequence<u64>, ScheduleError> {
        let Some(last) = self.parts.len().checked_sub(1) else {
            return Err(scope.out_of_range("parts", "[]".into(), "at least one part"));
        };
        let (mut start, mut begin) = (scope.start(), 0);
        let mut resolved = Sequence { parts: vec![], starts: vec![] };
        for (i, part) in self.parts.iter().enumerate() {
            let field = format!("parts[{i}].length");
            let length = if part.length == Span::Rest {
                if i < last {
                    let allowed = "updates, epochs, samples, tokens or a percentage for all but the last part";
                    return Err(scope.out_of_range(&field, part.length.to_string(), allowed));
                }
                // The part ends with the run; schedules inside it fill the run, not the part.
                None
            } else if part.length.is_zero() {
                Some(0)
            } else {
                Some(scope.length_at(&field, part.length, start)?)
            };
            // A skipped part is checked too, as if it had all that is left.
            let stretch = length.filter(|&updates| updates > 0);
            let inside = scope.inside_part(&format!("parts[{i}].schedule"), start, stretch)?;
            let schedule = part.schedule.resolve_in(&inside)?;
            if length != Some(0) {
                resolved.starts.push(begin);
                resolved.parts.push(Part { length: length.unwrap_or(NO_END), schedule });
            }
            begin += length.unwrap_or(0);
            start = start.after(part.length, scope.run());
        }
        if resolved.parts.is_empty() {
            return Err(scope.out_of_range("parts", "0 updates".into(), "at least one update"));
        }
        Ok(resolved)
    }
}

/// The length of a last part that takes the rest.
const NO_END: u64 = u64::MAX;

impl Rate for Sequence<u64> {
    fn rate(&self, step: u64) -> f64 {
        // The first part starts at 0, so at least one has started.
        let i = self.starts.partition_point(|&start| start <= step).saturating_sub(1);
        let (part, step) = (&self.parts[i], step - self.starts[i]);
        if step < part.length {
            part.schedule.rate(step)
        } else {
            part.schedule.end_rate(part.length)
        }
    }

    fn end_rate(&self, step: u64) -> f64 {
        // A part that would start at `step` has not started.
        let i = self.starts.partition_point(|&start| start < step).saturating_sub(1);
        let part = &self.parts[i];
        part.schedule.end_rate((step - self.starts[i]).min(part.length))
    }

    fn peak(&self) -> f64 {
        self.parts.iter().map(|part| part.schedule.peak()).fold(0.0, f64::max)
    }

    fn tail(&self) -> Tail {
        match self.parts.last() {
            Some(last) if last.length == NO_END => last.schedule.tail(),
            _ => Tail::settled(self.rate(u64::MAX)),
        }
    }

    fn pieces(&self, steps: u64) -> Option<Vec<Piece>> {
        let (mut pieces, mut left) = (vec![], steps);
        for part in &self.parts {
            let length = part.length.min(left);
            if length == 0 {
                break;
            }
            pieces.extend(part.schedule.pieces(length)?);
            left -= length;
        }
        pieces.extend(cut([(left, Shape::Constant(self.rate(u64::MAX)))], left));
        Some(pieces)
    }

    fn cycle_end(&self, from: u64) -> Option<u64> {
        end_in_parts(&self.parts, &self.starts, from)
    }

    fn inner(&self) -> Vec<Inner<'_>> {
        let parts = self.starts.iter().zip(&self.parts);
        parts
            .map(|(&start, part)| Inner { node: &part.schedule, start, length: part.length })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::combine::ScheduleExt;
    use crate::curve::{constant, linear, refused, resolved, step_decay};

    #[test]
    fn parts_of_percent_add_up_to_the_run() {
        let third = Span::percent(100.0 / 3.0);
        let config = constant(1.0).then(third, constant(2.0)).then(third, linear(3.0, 0.0));
        let schedule = resolved(config, 100);
        assert_eq!([32, 33, 66, 67].map(|t| schedule.rate(t)), [1.0, 2.0, 2.0, 3.0]);
        assert_eq!(schedule.rate(100), 0.0, "the last part ends with the run");
    }

    #[test]
    fn a_part_ends_where_the_next_begins() {
        let config = linear(1.0, 0.0).then(Span::steps(4), step_decay(8.0, Span::steps(2), 0.5));
        let schedule = resolved(config, 8);
        let rates: Vec<f64> = (0..8).map(|step| schedule.rate(step)).collect();
        assert_eq!(rates, [1.0, 0.75, 0.5, 0.25, 8.0, 8.0, 4.0, 4.0]);
    }

    #[test]
    fn a_part_of_length_zero_is_skipped() {
        let schedule = resolved(constant(1.0).then(Span::steps(0), constant(2.0)), 10);
        assert_eq!(schedule.rate(0), 2.0);
    }

    #[test]
    fn a_last_part_that_ends_early_holds_its_last_rate() {
        let early = sequence((
            (Span::steps(6), constant(1.0)),
            (Span::steps(4), step_decay(1.0, Span::steps(2), 0.5)),
        ));
        let schedule = resolved(early, 20);
        assert_eq!(
            [5, 7, 8, 9, 10, 15, 20].map(|t| schedule.rate(t)),
            [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5]
        );
        let line = resolved(sequence([(Span::steps(4), linear(1.0, 0.0))]), 10);
        assert_eq!([3, 4, 9].map(|t| line.rate(t)), [0.25, 0.0, 0.0]);
    }

    #[test]
    fn nested_sequences_share_the_rounding() {
        // 15 updates: 50 % of the run is 7.5 → 8; the inner 25 % ends at 11.25 → 11.
        let inner = constant(2.0).then(Span::percent(25), constant(3.0));
        let schedule = resolved(constant(1.0).then(Span::percent(50), inner), 15);
        assert_eq!([7, 8, 10, 11].map(|t| schedule.rate(t)), [1.0, 2.0, 2.0, 3.0]);
    }

    #[test]
    fn refuses_each_field() {
        assert_eq!(refused(sequence(Vec::<Part>::new())), "sequence.parts");
        let rest = sequence([(Span::Rest, constant(1.0)), (Span::Rest, constant(1.0))]);
        assert_eq!(refused(rest), "sequence.parts[0].length");
        let long =
            constant(1.0).then(Span::steps(60), constant(1.0)).then(Span::steps(60), constant(1.0));
        assert_eq!(refused(long), "sequence.parts[1].length");
        let bad = constant(1.0).then(Span::steps(60), constant(f64::NAN));
        assert_eq!(refused(bad), "sequence.parts[1].schedule.constant.rate");
        assert_eq!(refused(sequence([(Span::steps(0), constant(1.0))])), "sequence.parts");
        let skipped = constant(f64::NAN).then(Span::steps(0), constant(1.0));
        assert_eq!(refused(skipped), "sequence.parts[0].schedule.constant.rate");
    }
}
