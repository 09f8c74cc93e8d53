//! Passes the metrics of epochs to controllers under Burn's own loop.

use crate::launch::epoch_metrics;
use crate::update::{Monitor, Monitored};
use burn::train::checkpoint::{CheckpointingAction, CheckpointingStrategy};
use burn::train::metric::store::EventStoreClient;
use std::fmt;

/// A checkpointing strategy that passes the metrics of each epoch to controllers, before its checkpoint, and then
/// delegates to another strategy.
///
/// Use it for a learner of [`LearnerBuilder::build`](crate::LearnerBuilder::build) whose controllers need metrics. Burn
/// asks a strategy only if the training has checkpointers. [`launch`](crate::LearnerBuilder::launch) does not need it.
///
/// ```no_run
/// # use burn::train::{Learner, LearnerModel, SupervisedTraining};
/// use burn::train::checkpoint::KeepLastNCheckpoints;
/// use burn_anneal::{Annealed, EpochEvents};
///
/// # fn with_events<M: LearnerModel>(
/// #     training: SupervisedTraining<Annealed<M>>, learner: &Learner<Annealed<M>>,
/// # ) -> SupervisedTraining<Annealed<M>> {
/// training
///     .with_default_checkpointers()
///     .with_checkpointing_strategy(EpochEvents::of(&learner.model(), KeepLastNCheckpoints::new(2)))
/// # }
/// ```
pub struct EpochEvents {
    monitor: Monitor,
    strategy: Box<dyn CheckpointingStrategy>,
}

impl fmt::Debug for EpochEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpochEvents").finish_non_exhaustive()
    }
}

impl EpochEvents {
    /// Wraps a strategy for this model in training.
    pub fn of(model: &impl Monitored, strategy: impl CheckpointingStrategy + 'static) -> Self {
        Self { monitor: model.monitor().clone(), strategy: Box::new(strategy) }
    }
}

impl CheckpointingStrategy for EpochEvents {
    fn checkpointing(
        &mut self,
        epoch: usize,
        store: &EventStoreClient,
    ) -> Vec<CheckpointingAction> {
        let monitor = self.monitor.live();
        let metrics =
            epoch_metrics(store, epoch, &monitor.needed_metrics(), &monitor.metric_names());
        monitor.tell_epoch(epoch as u64, &metrics);
        self.strategy.checkpointing(epoch, store)
    }
}
