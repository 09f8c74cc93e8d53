//! The steps since an announcement.

use serde::{Deserialize, Serialize};

/// Steps since the first update after the last announcement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Since {
    /// Announced, with no update since.
    due: bool,
    /// Steps since the first update after it; `None` before any.
    steps: Option<u64>,
    /// The step of the last update.
    last: u64,
}

impl Since {
    /// A count that starts with the next update.
    pub fn announced() -> Self {
        Self { due: true, ..Self::default() }
    }

    /// Restarts the count with the next update.
    pub fn announce(&mut self) {
        self.due = true;
    }

    /// Counts an update: 0 for the first one after an announcement, `None` before any. A schedule that
    /// restarts in mid-run resets the step, but not the elapsed steps.
    pub fn steps(&mut self, step: u64) -> Option<u64> {
        let passed = step.saturating_sub(std::mem::replace(&mut self.last, step));
        self.steps = match std::mem::take(&mut self.due) {
            true => Some(0),
            false => self.steps.map(|steps| steps.saturating_add(passed)),
        };
        self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::Since;

    #[test]
    fn it_counts_from_the_first_update_after_the_last_announcement() {
        let mut since = Since::default();
        assert_eq!(since.steps(3), None);
        since.announce();
        since.announce();
        assert_eq!([4, 4, 5, 9].map(|step| since.steps(step)), [0, 0, 1, 5].map(Some));
        since.announce();
        assert_eq!([10, 11].map(|step| since.steps(step)), [0, 1].map(Some));
        assert_eq!([7, 8].map(|step| Since::announced().steps(step)), [0, 0].map(Some));
        // The schedule restarts.
        assert_eq!([0, 1, 4].map(|step| since.steps(step)), [1, 2, 5].map(Some));
    }
}
