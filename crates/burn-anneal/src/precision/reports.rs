//! What became of the last updates.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// So many updates are kept for metrics, which Burn computes in another thread, some updates later.
const KEPT: usize = 256;

/// What became of the last updates.
///
/// Clones share it: it is read by metrics that were made before Burn cloned the learner. Nothing of
/// training depends on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reports(Arc<Mutex<VecDeque<Report>>>);

/// What became of one update.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    /// Its number as Burn counts, skipped ones included.
    pub number: u64,
    /// The step of the schedule that it was made at.
    pub step: u64,
    /// The step of the schedule of the update after it.
    pub next_step: u64,
    /// The scale of its losses.
    pub scale: f64,
    /// What its rates were multiplied by.
    pub factor: f64,
    pub skipped: bool,
}

impl Reports {
    pub fn push(&self, report: Report) {
        let mut reports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if reports.len() == KEPT {
            reports.pop_front();
        }
        reports.push_back(report);
    }

    /// That of the update that Burn gives this number.
    pub fn of(&self, number: u64) -> Option<Report> {
        let reports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reports.iter().rev().find(|report| report.number == number).copied()
    }
}
