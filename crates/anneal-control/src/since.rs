//! How long ago something was announced.

use serde::{Deserialize, Serialize};

/// Steps since the first update after the last announcement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Since {
    /// Announced, and no update since.
    due: bool,
    /// The step of the first update after it.
    at: Option<u64>,
}

impl Since {
    /// The count begins with the next update.
    pub fn announced() -> Self {
        Self { due: true, at: None }
    }

    /// The count begins anew with the next update.
    pub fn announce(&mut self) {
        self.due = true;
    }

    /// Hears of an update, and counts: from 0 with the first one after an announcement, `None` before any.
    pub fn steps(&mut self, step: u64) -> Option<u64> {
        if std::mem::take(&mut self.due) {
            self.at = Some(step);
        }
        self.at.map(|at| step.saturating_sub(at))
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
    }
}
