//! The training loop: epochs, rounds of batches, updates and checkpoints.

use super::feed::Feed;
use super::metrics::epoch_metrics;
use super::workers::{Passed, Workers};
use crate::annealed::Annealed;
use crate::average::Recompute;
use crate::builder::Parts;
use crate::checkpoint::{CheckpointError, Checkpoints, Named, Store};
use crate::loader::{EpochStart, open};
use crate::update::{Monitored, UpdateError, sum};
use anneal_schedule::RunLength;
use burn::data::dataloader::{DataLoader, Progress};
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::module::Module;
use burn::optim::{GradientsParams, LearningRate, ModuleOptimizer};
use burn::tensor::Device;
use burn::train::checkpoint::CheckpointerError;
use burn::train::{
    EventProcessorTraining, InferenceStep, Learner, LearnerEvent, LearnerModel, TrainStep,
    TrainingComponents, TrainingError, TrainingItem, ValidLoader,
};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The training loaders, one for each device.
type Loaders<M> = [Arc<dyn DataLoader<<M as TrainStep>::Input>>];

/// A run in training.
pub(super) struct Run<'a, M: LearnerModel> {
    model: Annealed<M>,
    optimizer: ModuleOptimizer,
    scheduler: ModuleLrScheduler,
    /// The rates of the last update.
    rates: ModuleLearningRate,
    run: RunLength,
    devices: Vec<Device>,
    /// `Some` if there are several devices.
    workers: Option<Workers<M>>,
    in_epoch: Option<InEpoch>,
    components: &'a mut TrainingComponents<M>,
}

impl<'a, M: LearnerModel> Run<'a, M> {
    pub fn new(
        parts: Parts<M>,
        statistics: Option<Recompute<M>>,
        run: RunLength,
        devices: Vec<Device>,
        in_epoch: Option<InEpoch>,
        components: &'a mut TrainingComponents<M>,
    ) -> Self {
        let Parts { model, updater, optimizer, scheduler } = parts;
        let model = Annealed::new(model, updater, statistics).fork(&devices[0]);
        let workers = (devices.len() > 1).then(|| Workers::new(&devices));
        let rates = 0.0.into();
        Self { model, optimizer, scheduler, rates, run, devices, workers, in_epoch, components }
    }

    /// Trains to the end, or until it is stopped.
    pub fn train<'b>(
        mut self,
        loaders: &'b Loaders<M>,
        first: Feed<'b, <M as TrainStep>::Input>,
        valid: ValidLoader<M>,
    ) -> M {
        let start = self.model.monitor().place();
        let mut first = Some(first);
        for epoch in start.epochs as usize + 1..=self.components.num_epochs {
            let skip = if epoch as u64 == start.epochs + 1 { start.rounds as usize } else { 0 };
            // A loader that does not know its epochs continues its first feed, which has started.
            let feed = match first.take().filter(|feed| !feed.is_known()) {
                Some(feed) => feed,
                None => Feed::open(loaders, epoch as u64, skip),
            };
            if !self.epoch(epoch, feed, skip, &valid) {
                break;
            }
        }
        // An interrupted run is saved where it is, also at the end of its data or during validation.
        if self.components.interrupter.interruption().is_some() {
            self.save_in_epoch(true);
        }
        self.model.monitor().close();
        if let Some(in_epoch) = self.in_epoch.take()
            && let Err(error) = in_epoch.finish()
        {
            self.components.interrupter.fail(checkpoint_error(error));
        }
        self.model.into_result()
    }

    /// Trains and validates an epoch, and returns whether another may follow.
    fn epoch(
        &mut self,
        epoch: usize,
        feed: Feed<'_, <M as TrainStep>::Input>,
        skip: usize,
        valid: &ValidLoader<M>,
    ) -> bool {
        let items = feed.items();
        self.tell_train(LearnerEvent::StartSplit { epoch_number: epoch, total_items: items });
        self.train_epoch(feed, skip);
        self.tell_train(LearnerEvent::EndSplit(epoch));
        if self.is_stopped() {
            if let Some(interruption) = self.components.interrupter.interruption() {
                let reason = interruption.reason.unwrap_or("reason unknown".into());
                log::info!("Training interrupted: {reason}");
            }
            return false;
        }
        let total_items = valid.num_items();
        self.tell_valid(LearnerEvent::StartSplit { epoch_number: epoch, total_items });
        self.validate(valid, epoch);
        self.tell_valid(LearnerEvent::EndSplit(epoch));
        self.tell_train(LearnerEvent::EndEpoch(epoch));
        let monitor = self.model.monitor().clone();
        let needed = monitor.needed_metrics();
        let components = &mut *self.components;
        if components.checkpointer.is_some()
            || components.early_stopping.is_some()
            || !needed.is_empty()
        {
            components.interrupter.fail_on_error(components.event_processor.flush());
        }
        if !components.interrupter.should_stop() {
            let store = &components.event_store;
            let metrics = epoch_metrics(store, epoch, &needed, &monitor.metric_names());
            monitor.end_epoch(&metrics);
        }
        if self.is_stopped() {
            return false;
        }
        self.save_epoch(epoch);
        let store = self.components.event_store.clone();
        let stopping = self.components.early_stopping.as_mut();
        !stopping.is_some_and(|stopping| stopping.should_stop(epoch, &store))
    }

    fn train_epoch(&mut self, mut feed: Feed<'_, <M as TrainStep>::Input>, skip: usize) {
        let monitor = self.model.monitor().clone();
        // Skipped items are already counted.
        let items_before =
            monitor.place().items.map(|items| items.saturating_sub(feed.done() as u64));
        let mut iteration = skip * self.devices.len();
        let (mut sum, mut summed, mut rounds) = (None, 0, skip);
        loop {
            let items = match feed.round() {
                Ok(items) => items,
                Err(error) => return self.components.interrupter.fail(error),
            };
            if items.is_empty() {
                // The loader ended before its progress did.
                sum.take().into_iter().for_each(|gradients| self.update(gradients));
                break;
            }
            let Some(passed) = self.pass(items) else { return };
            let mut outputs = vec![];
            for Passed::<M> { grads, item } in passed {
                sum = Some(self.add(sum.take(), grads));
                outputs.push(item);
            }
            (rounds, summed) = (rounds + 1, summed + 1);
            monitor.passed(rounds as u64, items_before.map(|before| before + feed.done() as u64));
            let progress = feed.progress();
            let is_last = progress.is_completed();
            let updates = is_last || summed >= self.run.accumulation_of(monitor.next_update());
            if updates && let Some(gradients) = sum.take() {
                self.update(gradients);
                summed = 0;
            }
            for output in outputs {
                iteration += 1;
                self.show(output, progress.clone(), iteration);
            }
            if summed == 0 && !is_last {
                self.save_in_epoch(false);
            }
            // An interrupted update is completed, so that it can be saved.
            let is_whole = summed == 0 || !self.in_epoch.as_ref().is_some_and(InEpoch::saves);
            if self.is_stopped() && (is_whole || self.components.interrupter.error().is_some()) {
                return;
            }
        }
        if !self.is_stopped() {
            self.check_epoch();
        }
    }

    /// Adds the gradients of a batch from any device.
    fn add(&self, before: Option<GradientsParams>, gradients: GradientsParams) -> GradientsParams {
        let gradients = match self.workers {
            Some(_) => gradients.to_device(&self.devices[0], &self.model),
            None => gradients,
        };
        match before {
            Some(before) => sum(&self.model, before, gradients),
            None => gradients,
        }
    }

    /// Runs the passes of a round; `None` if one failed.
    fn pass(&self, mut items: Vec<(usize, <M as TrainStep>::Input)>) -> Option<Vec<Passed<M>>> {
        if let Some(workers) = &self.workers {
            return match workers.round(&self.model, items) {
                Ok(passed) => Some(passed),
                // The engine's own error is more specific than a panicked worker.
                Err(_) if self.is_stopped() => None,
                Err(failures) => {
                    self.components.interrupter.fail(TrainingError::Workers(failures));
                    None
                }
            };
        }
        let (_, item) = items.pop()?;
        Some(vec![self.guarded(|| TrainStep::step(&self.model, item))?])
    }

    /// Runs a pass; `None` if it panicked and the engine knows why.
    fn guarded<T>(&self, pass: impl FnOnce() -> T) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(pass)) {
            Ok(passed) => Some(passed),
            Err(_) if self.model.failure().is_some() => None,
            Err(panic) => resume_unwind(panic),
        }
    }

    fn update(&mut self, gradients: GradientsParams) {
        self.rates = self.scheduler.step();
        let model = self.model.clone();
        self.model = TrainStep::optimize(model, &mut self.optimizer, self.rates.clone(), gradients);
    }

    /// Checks that the epoch had as many updates as its loader implied.
    fn check_epoch(&self) {
        let expected = self.run.resolve().ok().and_then(|run| run.updates_per_epoch());
        let place = self.model.monitor().place();
        let (epoch, found) = (place.epochs + 1, place.updates);
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            self.model.monitor().stop(UpdateError::UnevenBatches { epoch, found, expected });
        }
    }

    fn validate(&mut self, valid: &ValidLoader<M>, epoch: usize) {
        let model = self.model.valid();
        let (mut batches, _) = open(valid.as_ref(), EpochStart { epoch: epoch as u64, batches: 0 });
        let mut iteration = 0;
        while let Some(item) = batches.next() {
            let item = match item {
                Ok(item) => item,
                Err(error) => return self.components.interrupter.fail(error),
            };
            iteration += 1;
            let Some(output) = self.guarded(|| InferenceStep::step(&model, item)) else { return };
            let item = TrainingItem::new(output, batches.progress(), Some(iteration), None);
            self.tell_valid(LearnerEvent::ProcessedItem(item));
            if self.is_stopped() {
                return;
            }
        }
    }

    fn show(&mut self, output: <M as TrainStep>::Output, progress: Progress, iteration: usize) {
        let rates = Some(self.rates.clone());
        let item = TrainingItem::new(output, progress, Some(iteration), rates);
        self.tell_train(LearnerEvent::ProcessedItem(item));
    }

    fn tell_train(&mut self, event: LearnerEvent<<M as TrainStep>::Output>) {
        let told = self.components.event_processor.process_train(event);
        self.components.interrupter.fail_on_error(told);
    }

    fn tell_valid(&mut self, event: LearnerEvent<<M as InferenceStep>::Output>) {
        let told = self.components.event_processor.process_valid(event);
        self.components.interrupter.fail_on_error(told);
    }

    fn is_stopped(&self) -> bool {
        self.components.interrupter.should_stop()
    }

    /// Lets the training's checkpointing strategy save or delete.
    fn save_epoch(&mut self, epoch: usize) {
        let Some(checkpointer) = &mut self.components.checkpointer else { return };
        let scheduler = Recorded(self.scheduler.to_record().record("0"));
        let model = self.model.inner().clone();
        let learner = Learner::new(model, self.optimizer.clone(), scheduler);
        checkpointer.checkpoint(&learner, epoch, &self.components.event_store);
        self.in_epoch.iter_mut().for_each(InEpoch::begin);
    }

    /// Saves in mid-epoch, if this is configured and due.
    fn save_in_epoch(&mut self, is_time: bool) {
        let place = self.model.monitor().place();
        let number = self.model.monitor().next_update();
        let has_failed = self.components.interrupter.error().is_some();
        let Some(in_epoch) = self.in_epoch.as_mut().filter(|in_epoch| in_epoch.saves()) else {
            return;
        };
        if has_failed || place.updates == 0 || !(is_time || in_epoch.is_due(number)) {
            return;
        }
        let named = Named { epoch: place.epochs as usize, batches: place.rounds as usize };
        self.model.monitor().flush();
        // Only the `valid()` form has the running statistics of all passes.
        let (model, optimizer) = (self.model.inner().valid(), self.optimizer.to_record());
        let scheduler = self.scheduler.to_record();
        let store = in_epoch.store.clone();
        let write = move || store.save(named, model.into_record(), optimizer, scheduler);
        let saved = in_epoch.write(write);
        if let Err(error) = saved {
            self.components.interrupter.fail(checkpoint_error(error));
        }
    }
}

fn checkpoint_error(error: CheckpointError) -> TrainingError {
    CheckpointerError::Unknown(error.to_string()).into()
}

/// A scheduler's record, for a learner that is saved and not trained.
#[derive(Clone)]
struct Recorded(LrSchedulerRecord);

impl LrScheduler for Recorded {
    fn step(&mut self) -> LearningRate {
        0.0
    }

    fn to_record(&self) -> LrSchedulerRecord {
        self.0.clone()
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        self.0 = record;
    }
}

/// Checkpoints in mid-epoch, which a thread writes during training.
pub(super) struct InEpoch {
    store: Store,
    updates: Option<u64>,
    interval: Option<Duration>,
    last: Instant,
    writing: Option<JoinHandle<Result<(), CheckpointError>>>,
}

impl InEpoch {
    pub fn new(checkpoints: &Checkpoints, store: Store) -> Self {
        let (updates, interval) = checkpoints.intervals();
        Self { store, updates, interval, last: Instant::now(), writing: None }
    }

    /// Whether it ever saves.
    pub fn saves(&self) -> bool {
        self.updates.is_some() || self.interval.is_some()
    }

    /// Restarts the interval.
    fn begin(&mut self) {
        self.last = Instant::now();
    }

    /// Removes what a killed process has left behind.
    pub fn prepare(&self) -> Result<(), CheckpointError> {
        self.store.prepare()
    }

    /// Whether a checkpoint is due after this many updates of the run.
    fn is_due(&self, updates: u64) -> bool {
        self.updates.is_some_and(|every| updates.is_multiple_of(every))
            || self.interval.is_some_and(|interval| self.last.elapsed() >= interval)
    }

    /// Writes a checkpoint once the last one is written.
    fn write(
        &mut self,
        write: impl FnOnce() -> Result<(), CheckpointError> + Send + 'static,
    ) -> Result<(), CheckpointError> {
        self.wait()?;
        self.writing = Some(std::thread::spawn(write));
        self.begin();
        Ok(())
    }

    fn wait(&mut self) -> Result<(), CheckpointError> {
        match self.writing.take() {
            Some(writing) => writing.join().unwrap_or_else(|panic| resume_unwind(panic)),
            None => Ok(()),
        }
    }

    /// Waits for the last checkpoint.
    fn finish(mut self) -> Result<(), CheckpointError> {
        self.wait()
    }
}
