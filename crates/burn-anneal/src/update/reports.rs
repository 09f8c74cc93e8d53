//! The reports of the last updates, for metrics.

use super::metric::RunMetrics;
use anneal_control::{Answer, Decision};
use burn::tensor::Tensor;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The number of reports kept for metrics, which Burn computes in another thread, some updates later.
const KEPT: usize = 256;

/// The reports and measurements of the last updates.
///
/// Clones share them, because metrics made before Burn cloned the learner read them. Training does not
/// depend on them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reports {
    updates: Arc<Mutex<VecDeque<Report>>>,
    steps: Arc<AtomicBool>,
    norms: Arc<AtomicBool>,
}

/// The report of one update.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// Its number, including skipped updates.
    pub number: u64,
    /// The step of the schedule that it was made at.
    pub step: u64,
    /// The step of the schedule of the next update.
    pub next_step: u64,
    /// The scale of its losses.
    pub loss_scale: Option<f64>,
    /// The decision about it.
    pub decision: Decision,
    /// The answer of each controller, in order.
    pub answers: Vec<Answer>,
    /// The gradient noise scale known after it.
    pub noise_scale: Option<f64>,
    /// The root mean square of its step in each group, on the device.
    pub steps: Vec<Option<Tensor<1>>>,
    /// ‖w‖₂ of the weights of each group after it.
    pub norms: Vec<Option<Tensor<1>>>,
}

impl Reports {
    /// Makes reports that measure what these metrics need.
    pub fn wanting(metrics: &[RunMetrics]) -> Self {
        let reports = Self::default();
        metrics.iter().for_each(|metrics| reports.want(*metrics));
        reports
    }

    /// Starts measuring what these metrics need.
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

    /// The report of the update of this number.
    pub fn of(&self, number: u64) -> Option<Report> {
        let updates = self.updates.lock().unwrap_or_else(PoisonError::into_inner);
        updates.iter().rev().find(|report| report.number == number).cloned()
    }

    /// The report of the last update.
    pub fn last(&self) -> Option<Report> {
        self.updates.lock().unwrap_or_else(PoisonError::into_inner).back().cloned()
    }
}
