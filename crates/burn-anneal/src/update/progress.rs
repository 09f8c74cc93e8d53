//! The progress of a run through its data, as its loop reports it.

use super::error::UpdateError;
use super::log::Log;
use super::monitor::Monitor;
use super::state::Place;
use super::updater::fail;
use crate::snapshots::Writer;
use anneal_control::{EpochMetrics, MetricOf};

impl Monitor {
    /// The place of the run in its data.
    pub(crate) fn place(&self) -> Place {
        self.slot().lock().place
    }

    /// Records the batches per device of this epoch, and the items of the run.
    pub(crate) fn passed(&self, rounds: u64, items: Option<u64>) {
        let slot = self.slot();
        let mut state = slot.lock();
        state.place.rounds = rounds;
        state.place.items = items;
    }

    /// The metrics of an epoch that controllers need.
    pub(crate) fn needed_metrics(&self) -> Vec<MetricOf> {
        let needed = self.slot().lock().controllers.metrics();
        needed.into_iter().map(|(metric, _)| metric).collect()
    }

    /// Ends an epoch, and passes its metrics to controllers.
    pub(crate) fn end_epoch(&self, metrics: &EpochMetrics) {
        let epoch = {
            let slot = self.slot();
            let mut state = slot.lock();
            // A custom loop may have saved the epoch before.
            let is_counted = state.place.epochs > state.epochs_heard && state.place.updates == 0;
            if !is_counted {
                state.end_epoch();
            }
            state.place.epochs
        };
        self.tell_epoch(epoch, metrics);
        self.flush();
    }

    /// Passes the metrics of a finished epoch to controllers.
    pub(crate) fn tell_epoch(&self, epoch: u64, metrics: &EpochMetrics) {
        let slot = self.slot();
        let mut state = slot.lock();
        state.epochs_heard = state.place.epochs;
        if let Err(stopped) = state.controllers.epoch(epoch, metrics) {
            fail(&self.plan, &mut state, stopped.into());
        }
    }

    /// Records the finished epochs, as a custom loop counts them.
    pub(crate) fn at_epoch(&self, epochs: u64) {
        self.flush();
        let slot = self.slot();
        let mut state = slot.lock();
        state.place = Place { epochs, updates: 0, rounds: 0, ..state.place };
    }

    /// Waits until all log lines and snapshots are written.
    pub(crate) fn flush(&self) {
        self.plan.log.iter().for_each(Log::flush);
        if let Some(Err(error)) = self.plan.snapshots.as_ref().map(Writer::wait) {
            self.stop(error);
        }
    }

    /// Ends the run and completes its log.
    pub(crate) fn close(&self) {
        self.flush();
        self.plan.log.iter().for_each(Log::close);
    }

    /// Stops the run.
    pub(crate) fn stop(&self, error: UpdateError) {
        fail(&self.plan, &mut self.slot().lock(), error);
    }
}
