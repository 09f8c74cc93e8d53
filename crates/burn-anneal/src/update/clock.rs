//! Which update it is.

use serde::{Deserialize, Serialize};

/// What a skipped update does to the schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnSkip {
    /// The schedule goes on: the update counts as one of the run, which was planned in updates. So the rate
    /// reaches its end with the last epoch, as it does where torch users call `scheduler.step()` after each
    /// batch. A run in f16 begins with a few skipped updates, so a warm-up loses its first few.
    #[default]
    Advance,
    /// The schedule waits: no rate of it is left out, and its last ones are not reached.
    Hold,
}

/// The number of the next update, and the step of the schedule that goes with it. Nothing else counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Clock {
    /// That of the next update, skipped ones included.
    pub number: u64,
    /// How many steps the schedule is behind the updates.
    pub behind: u64,
    /// Steps of the schedule just before the next one that were left out, by updates that were skipped.
    #[serde(alias = "left_out")]
    pub skipped_steps: u64,
    /// Updates skipped so far.
    pub skipped: u64,
    /// The step that the schedule is pinned to, whatever the updates are.
    #[serde(skip)]
    pub pinned: Option<u64>,
}

impl Clock {
    /// The step of the schedule that the update of this number is made at.
    pub fn step_of(&self, number: u64) -> u64 {
        self.pinned.unwrap_or(number.saturating_sub(self.behind))
    }

    /// The step of the next update.
    pub fn next_step(&self) -> u64 {
        self.step_of(self.number)
    }

    /// Begins an update: its number, and its step.
    pub fn issue(&mut self) -> (u64, u64) {
        let number = self.number;
        self.number = number.saturating_add(1);
        (number, self.step_of(number))
    }

    /// The update that began last is made.
    pub fn made(&mut self) {
        self.skipped_steps = 0;
    }

    /// It is skipped.
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
