//! What became of the last updates, for metrics.

use super::metric::RunMetrics;
use anneal_control::{Answer, Decision};
use burn::tensor::Tensor;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// So many updates are kept for metrics, which Burn computes in another thread, some updates later.
const KEPT: usize = 256;

/// What became of the last updates, and what is measured of them.
///
/// Clones share it: it is read by metrics that were made before Burn cloned the learner. Nothing of
/// training depends on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reports {
    updates: Arc<Mutex<VecDeque<Report>>>,
    steps: Arc<AtomicBool>,
    norms: Arc<AtomicBool>,
}

/// What became of one update.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// Its number, skipped ones included.
    pub number: u64,
    /// The step of the schedule that it was made at.
    pub step: u64,
    /// The step of the schedule of the update after it.
    pub next_step: u64,
    /// The scale of its losses.
    pub loss_scale: Option<f64>,
    /// What was decided about it.
    pub decision: Decision,
    /// What each controller answered, in order.
    pub answers: Vec<Answer>,
    /// The gradient noise scale as it was known after it.
    pub noise_scale: Option<f64>,
    /// The root of the mean square of what it added to the weights of each group, on the device.
    pub steps: Vec<Option<Tensor<1>>>,
    /// ‖w‖₂ of the weights of each group after it.
    pub norms: Vec<Option<Tensor<1>>>,
}

impl Reports {
    /// Those that measure what these metrics need.
    pub fn wanting(metrics: &[RunMetrics]) -> Self {
        let reports = Self::default();
        metrics.iter().for_each(|metrics| reports.want(*metrics));
        reports
    }

    /// From now on what these metrics need is measured.
    pub fn want(&self, metrics: RunMetrics) {
        match metrics {
            RunMetrics::Steps => self.steps.store(true, Ordering::Relaxed),
            RunMetrics::Norms => self.norms.store(true, Ordering::Relaxed),
            _ => {}
        }
    }

    pub fn wants_steps(&self) -> bool {
        self.steps.load(Ordering::Relaxed)
    }

    pub fn wants_norms(&self) -> bool {
        self.norms.load(Ordering::Relaxed)
    }

    pub fn push(&self, report: Report) {
        let mut updates = self.updates.lock().unwrap_or_else(PoisonError::into_inner);
        if updates.len() == KEPT {
            updates.pop_front();
        }
        updates.push_back(report);
    }

    /// That of the update of this number.
    pub fn of(&self, number: u64) -> Option<Report> {
        let updates = self.updates.lock().unwrap_or_else(PoisonError::into_inner);
        updates.iter().rev().find(|report| report.number == number).cloned()
    }

    /// That of the last update.
    pub fn last(&self) -> Option<Report> {
        self.updates.lock().unwrap_or_else(PoisonError::into_inner).back().cloned()
    }
}
