//! How a run gets on through its data, as the loop that drives it tells.

use super::error::UpdateError;
use super::log::Log;
use super::monitor::Monitor;
use super::state::Place;
use super::updater::fail;
use crate::snapshots::Writer;
use anneal_control::{EpochMetrics, MetricOf};

impl Monitor {
    /// Where the run is in its data.
    pub(crate) fn place(&self) -> Place {
        self.slot().lock().place
    }

    /// Each device has had so many batches of the epoch, and all of them so many items of the run.
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

    /// Ends an epoch, and tells controllers of it.
    pub(crate) fn end_epoch(&self, metrics: &EpochMetrics) {
        let epoch = {
            let slot = self.slot();
            let mut state = slot.lock();
            // The owner of a loop may have saved it before.
            let is_counted = state.place.epochs > state.epochs_heard && state.place.updates == 0;
            if !is_counted {
                state.end_epoch();
            }
            state.place.epochs
        };
        self.tell_epoch(epoch, metrics);
        self.flush();
    }

    /// Tells controllers of an epoch that is over.
    pub(crate) fn tell_epoch(&self, epoch: u64, metrics: &EpochMetrics) {
        let slot = self.slot();
        let mut state = slot.lock();
        state.epochs_heard = state.place.epochs;
        if let Err(stopped) = state.controllers.epoch(epoch, metrics) {
            fail(&self.plan, &mut state, stopped.into());
        }
    }

    /// So many epochs are over, as the owner of a loop counts them.
    pub(crate) fn at_epoch(&self, epochs: u64) {
        self.flush();
        let slot = self.slot();
        let mut state = slot.lock();
        state.place = Place { epochs, updates: 0, rounds: 0, ..state.place };
    }

    /// Waits until the log has all updates, and snapshots are written.
    pub(crate) fn flush(&self) {
        self.plan.log.iter().for_each(Log::flush);
        if let Some(Err(error)) = self.plan.snapshots.as_ref().map(Writer::wait) {
            self.stop(error);
        }
    }

    /// The run is over: its log has all of it.
    pub(crate) fn close(&self) {
        self.flush();
        self.plan.log.iter().for_each(Log::close);
    }

    /// Stops the run.
    pub(crate) fn stop(&self, error: UpdateError) {
        fail(&self.plan, &mut self.slot().lock(), error);
    }
}
