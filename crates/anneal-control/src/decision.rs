//! The combined decision of controllers about an update.

use crate::Answer;
use crate::controller::Due;
use serde::Serialize;

/// The combined answers of controllers to an update.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Decision {
    /// The decision for the whole update, and for the rates of all groups.
    pub answer: Answer,
    /// Additional decisions for the rates of single groups, by index.
    pub groups: Vec<(usize, Answer)>,
}

impl Decision {
    /// Adds the answer of a controller of these groups, or of all.
    pub(crate) fn add(&mut self, groups: Option<&[usize]>, answer: Answer) {
        let Some(groups) = groups else {
            self.answer = self.answer.then(answer);
            return;
        };
        self.answer = self.answer.then(answer.of_update());
        let of_rates = answer.of_rates();
        for group in groups {
            match self.groups.iter_mut().find(|(index, _)| index == group) {
                Some((_, before)) => *before = before.then(of_rates),
                None if of_rates.is_none() => {}
                None => self.groups.push((*group, of_rates)),
            }
        }
    }

    /// The decision for a group, by index.
    pub fn of(&self, group: usize) -> Answer {
        let own = self.groups.iter().find(|(index, _)| *index == group);
        own.map_or(self.answer, |(_, own)| self.answer.then(*own))
    }

    /// The largest ratio of a decided rate to its scheduled rate.
    pub(crate) fn largest_factor(&self, due: Due<'_>) -> f64 {
        let quotient = |answer: Answer, rate: f64| match rate > 0.0 {
            true => answer.rate(rate) / rate,
            false => answer.total_factor(),
        };
        let of_group = |(index, rate): (usize, &f64)| quotient(self.of(index), *rate);
        let of_groups = due.group_rates.iter().enumerate().map(of_group);
        of_groups.reduce(f64::max).unwrap_or_else(|| quotient(self.answer, due.rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_what_is_decided_of_it_and_of_all() {
        let mut decision = Decision::default();
        decision.add(None, Answer::factor(0.5));
        decision.add(Some(&[1]), Answer { floor: Some(0.3), ..Answer::factor(0.5) });
        decision.add(Some(&[1]), Answer { skip: Some("enough"), ..Answer::default() });
        assert_eq!(decision.of(0).rate(1.0), 0.5);
        assert_eq!(decision.of(1).rate(1.0), 0.3);
        assert_eq!(decision.answer.skip, Some("enough"));
        assert_eq!(decision.of(1).rate(0.1), 0.1, "a floor does not raise the schedule");
    }

    #[test]
    fn a_limit_and_a_cap_win_over_a_floor() {
        let mut decision = Decision::default();
        decision.add(None, Answer { floor: Some(0.5), ..Answer::factor(0.1) });
        decision.add(None, Answer { limit: Some(0.5), ..Answer::default() });
        assert_eq!(decision.answer.rate(1.0), 0.25);
        decision.add(None, Answer { cap: Some(0.01), ..Answer::default() });
        assert_eq!(decision.answer.rate(1.0), 0.01);
    }

    #[test]
    fn the_largest_factor_is_of_the_group_that_moves_most() {
        let mut decision = Decision::default();
        decision.add(None, Answer::factor(0.5));
        decision.add(Some(&[1]), Answer::factor(4.0));
        let due = Due { group_rates: &[1.0, 0.1, 0.0], ..Due::at(0, 1.0) };
        assert_eq!(decision.largest_factor(due), 2.0);
        assert_eq!(decision.largest_factor(Due::at(0, 1.0)), 0.5);
    }
}
