//! The number of the update, and its step of the schedule.

use super::OnSkip;
use serde::{Deserialize, Serialize};

/// The number of the next update, and its step of the schedule. Nothing else counts updates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Clock {
    /// The number of the next update, including skipped ones.
    pub number: u64,
    /// The number of steps that the schedule is behind the updates.
    pub behind: u64,
    /// The number of steps just before the next one that were lost to skipped updates.
    #[serde(alias = "left_out")]
    pub skipped_steps: u64,
    /// Updates skipped so far.
    pub skipped: u64,
    /// The step that the schedule is pinned to.
    #[serde(skip)]
    pub pinned: Option<u64>,
}

impl Clock {
    /// The step of the schedule for the update of this number.
    pub fn step_of(&self, number: u64) -> u64 {
        self.pinned.unwrap_or(number.saturating_sub(self.behind))
    }

    /// The step of the next update.
    pub fn next_step(&self) -> u64 {
        self.step_of(self.number)
    }

    /// Starts an update, and returns its number and step.
    pub fn issue(&mut self) -> (u64, u64) {
        let number = self.number;
        self.number = number.saturating_add(1);
        (number, self.step_of(number))
    }

    /// Marks the last started update as made.
    pub fn made(&mut self) {
        self.skipped_steps = 0;
    }

    /// Marks it as skipped.
    pub fn skip(&mut self, on_skip: OnSkip) {
        self.skipped += 1;
        match on_skip {
            OnSkip::Advance => self.skipped_steps += 1,
            OnSkip::Hold => self.behind += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skipped_update_takes_a_step_or_leaves_it() {
        let mut clock = Clock::default();
        assert_eq!(clock.issue(), (0, 0));
        clock.made();
        assert_eq!(clock.issue(), (1, 1));
        clock.skip(OnSkip::Advance);
        assert_eq!((clock.number, clock.next_step(), clock.skipped_steps), (2, 2, 1));
        assert_eq!(clock.issue(), (2, 2));
        clock.skip(OnSkip::Hold);
        assert_eq!((clock.number, clock.next_step(), clock.skipped_steps), (3, 2, 1));
        assert_eq!(clock.issue(), (3, 2));
        clock.made();
        assert_eq!((clock.next_step(), clock.skipped_steps, clock.skipped), (3, 0, 2));
    }
}
