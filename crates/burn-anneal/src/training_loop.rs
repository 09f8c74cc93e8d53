//! A model in a custom training loop.

use crate::average::Recompute;
use crate::checkpoint::{Checkpoint, CheckpointError, save_epoch};
use crate::deep_copy::{Tie, deep_copy};
use crate::precision::{to_precision, with_master_weights};
use crate::pruning::PruningMask;
use crate::update::{
    ByParameter, Failed, How, Monitor, Monitored, Optimize, PassAgain, Points, UpdateError,
    Updated, Updater, half_parameters, learner_scheduler, step_optimizer, sum,
};
use anneal_control::MetricOf;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::{Module, ParamId};
use burn::optim::{GradientsParams, ModuleOptimizer, OptimizerRecord};
use burn::tensor::{FloatDType, Tensor};
use burn::train::TrainOutput;
use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Trains a model in a custom loop, with everything that a learner supports: groups, decay, half precision,
/// controllers, checkpoints. [`Monitored`] gives access to its state.
///
/// An update consists of one or several calls of [`pass`](Self::pass), whose gradients are summed, and then
/// [`update`](Self::update).
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::optim::SgdConfig;
/// use burn::tensor::{Device, Tensor};
/// use burn::train::TrainOutput;
/// use burn_anneal::groups::layer_decay;
/// use burn_anneal::prelude::*;
///
/// let run = RunLength::updates(100);
/// let device = Device::default().autodiff();
/// let model = vec![LinearConfig::new(4, 8).init(&device), LinearConfig::new(8, 2).init(&device)];
/// let mut training = LearnerBuilder::new(model, SgdConfig::new().build(), cosine(0.1))
///     .run(run)
///     .groups(layer_decay(0.5).unfreeze_every(Span::percent(20.0)))
///     .build_loop()?;
/// for _ in 0..3 {
///     let loss = training.pass(|model| {
///         let input = Tensor::<2>::ones([1, 4], &device);
///         let loss = model.iter().fold(input, |x, layer| layer.forward(x).tanh()).sum();
///         TrainOutput::new(model, loss.clone().scaled_backward(), loss)
///     });
///     training.update()?;
/// }
/// assert!(training.explain().groups[0].frozen);
/// let model = training.into_model();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TrainingLoop<M> {
    /// `None` only during an update.
    model: Option<M>,
    pub(crate) updater: Updater,
    optimizer: ModuleOptimizer,
    /// Makes the record; it shares the state of the run with the updater.
    scheduler: ModuleLrScheduler,
    /// Recomputes the running statistics of averages.
    statistics: Option<Recompute<M>>,
    /// The gradients of the passes since the last update.
    pub(crate) gradients: Option<GradientsParams>,
}

impl<M> fmt::Debug for TrainingLoop<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrainingLoop")
            .field("next_update", &self.updater.monitor)
            .finish_non_exhaustive()
    }
}

impl<M> Monitored for TrainingLoop<M> {
    fn monitor(&self) -> &Monitor {
        &self.updater.monitor
    }
}

impl<M: Module> TrainingLoop<M> {
    pub(crate) fn new(
        model: M,
        updater: Updater,
        optimizer: ModuleOptimizer,
        scheduler: ModuleLrScheduler,
        statistics: Option<Recompute<M>>,
    ) -> Self {
        Self { model: Some(model), updater, optimizer, scheduler, statistics, gradients: None }
    }

    /// An independent copy, including running statistics.
    pub(crate) fn detached(&self) -> Self {
        let updater = self.updater.detached();
        let slot = updater.monitor.slot();
        let schedule = self.groups().schedule().clone();
        let model = deep_copy(self.model());
        let copy = Self::new(
            model,
            updater,
            self.optimizer.clone(),
            learner_scheduler(Arc::new(schedule), slot),
            None,
        );
        copy.prepared()
    }

    /// The batches of the next update, as the run states.
    pub(crate) fn batches_per_update(&self) -> u64 {
        self.updater.monitor.plan.run.batches_per_update(self.next_update())
    }

    /// Prepares the model for the next update.
    pub(crate) fn prepared(mut self) -> Self {
        self.model = self.model.take().map(|model| self.updater.monitor.prepare(model));
        self
    }

    /// The model.
    pub fn model(&self) -> &M {
        self.model.as_ref().expect("an update puts it back")
    }

    /// The model to validate, in its `valid()` form: with the averages of
    /// [`LearnerBuilder::average`](crate::LearnerBuilder::average) or of a schedule-free optimizer, unless
    /// [`evaluate_with`](crate::LearnerBuilder::evaluate_with) selects the raw weights. If
    /// [`recompute_statistics`](crate::LearnerBuilder::recompute_statistics) fails, the next update returns the error;
    /// [`failure`](Monitored::failure) has it at once.
    pub fn valid(&self) -> M {
        self.updater.valid(self.model(), self.statistics.as_ref())
    }

    /// The model with the averages, in its `valid()` form; without averages, or before they start, with its weights.
    pub fn averaged(&self) -> M {
        self.updater.averaged(self.model(), self.statistics.as_ref())
    }

    /// Like [`averaged`](Self::averaged), but in f32; in half precision, running statistics are not recomputed.
    pub fn averaged_in_f32(&self) -> M {
        if self.statistics.is_some() && !self.updater.monitor.plan.is_half {
            return self.averaged();
        }
        let model = self.model_in_f32().valid();
        let slot = self.updater.monitor.slot();
        let state = slot.lock();
        self.updater.mask.apply(state.evaluated.put(model))
    }

    /// Returns the model with the trained weights, which require gradients as before the run. For the averages, see
    /// [`averaged`](Self::averaged).
    pub fn into_model(self) -> M {
        self.updater.monitor.close();
        self.updater.monitor.release(self.model.expect("an update puts it back"))
    }

    /// The model in f32, in half precision with the [master weights](crate::precision::MasterWeights).
    pub fn model_in_f32(&self) -> M {
        self.updater
            .mask
            .apply(with_master_weights(self.model().clone(), self.optimizer.to_record()))
    }

    /// Changes the model, for example by loading weights. Averages stay unchanged.
    pub fn map_model(&mut self, change: impl FnOnce(M) -> M) {
        self.updater.expects_ids = true;
        self.replace_model(change);
    }

    fn replace_model(&mut self, change: impl FnOnce(M) -> M) {
        self.updater.monitor.slot().lock().raw = Points::default();
        let prepare = |model| self.updater.monitor.prepare(self.updater.mask.apply(model));
        self.model = self.model.take().map(change).map(prepare);
    }

    /// Sets the weights in a mask to zero and keeps them there: their gradients count in no norm, and neither momentum
    /// nor decay moves them. The mask replaces an earlier one; weights that are no longer pruned train again, from
    /// zero.
    ///
    /// The evaluated model is pruned too, including averages; snapshots of averages are not. A checkpoint holds the
    /// zeros, but no mask: after resuming, call `training.prune(PruningMask::of_zeros(training.model()))`.
    pub fn prune(&mut self, mask: PruningMask) {
        self.updater.mask = mask;
        self.map_model(|model| model);
    }

    /// The weights (master weights in half precision) and running statistics, in the same order for all models with the
    /// same parameters.
    pub(crate) fn weights(&self) -> Vec<(ParamId, Tensor<1>)> {
        // Only the `valid()` form has the running statistics of all passes.
        let model = match self.updater.monitor.plan.is_half {
            true => self.model_in_f32().valid(),
            false => self.model().valid(),
        };
        ByParameter::weights(&model, |_, _| true).iter().cloned().collect()
    }

    /// Replaces its weights, including master weights, by weights in that order.
    pub(crate) fn set_weights(&mut self, weights: &[Tensor<1>]) {
        let own = ByParameter::weights(self.model(), |_, _| true);
        let points = Points::of(own.iter().map(|(id, _)| *id).zip(weights.iter().cloned()));
        self.replace_model(|model| points.put(deep_copy(&model)).map(&mut Tie::default()));
        if self.updater.monitor.plan.is_half {
            let masters = half_parameters(self.model());
            let exact = points.put(to_precision(self.model().clone(), FloatDType::F32));
            let slot = self.updater.monitor.slot();
            slot.lock().index.register_masters(&masters, &exact, &mut self.optimizer);
        }
    }

    /// Sets the gradients of the next update from tensors in that order, for the trained parameters.
    pub(crate) fn set_gradients(&mut self, gradients: Vec<Tensor<1>>, is_trained: &[bool]) {
        let own = ByParameter::weights(self.model(), |_, _| true);
        let each = own.iter().map(|(id, _)| *id).zip(gradients).zip(is_trained);
        let of_trained = each.filter(|(_, is_trained)| **is_trained).map(|(gradient, _)| gradient);
        let grads = ByParameter::from_iter(of_trained).into_single(self.model());
        self.pass(|_| TrainOutput { grads, item: () });
    }

    /// Resets the state of the optimizer, including averages.
    pub(crate) fn forget_optimizer(&mut self) {
        self.updater.expects_ids = true;
        self.optimizer = self.optimizer.clone().load_record(OptimizerRecord::default());
    }

    /// Runs a forward and a backward pass of a batch, adds its gradients to the next update, and returns the output.
    /// Call [`scaled_backward`](crate::ScaledBackward::scaled_backward) on the loss.
    ///
    /// Controllers find the loss in one of Burn's outputs, or in an output that is the loss.
    pub fn pass<O: 'static>(&mut self, run: impl FnOnce(&M) -> TrainOutput<O>) -> O {
        self.pass_batch((), |model, ()| run(model))
    }

    /// Like [`pass`](Self::pass), with a batch that is cast to the precision of the model.
    pub(crate) fn pass_batch<I: 'static, O: 'static>(
        &mut self,
        batch: I,
        run: impl FnOnce(&M, I) -> TrainOutput<O>,
    ) -> O {
        let model = self.model.as_ref().expect("an update puts it back");
        let masked = |batch| {
            let TrainOutput { grads, item } = run(model, batch);
            TrainOutput { grads: self.updater.mask.of_gradients(model, grads), item }
        };
        let TrainOutput { grads, item } = self.updater.pass(model, batch, masked);
        self.gradients = Some(match self.gradients.take() {
            Some(before) => sum(model, before, grads),
            None => grads,
        });
        item
    }

    /// Makes the update.
    ///
    /// # Errors
    /// [`UpdateError`] if training cannot continue.
    pub fn update(&mut self) -> Result<Updated, Arc<UpdateError>> {
        self.make(&step_optimizer, None)
    }

    /// Like [`update`](Self::update), for controllers that repeat a batch after it, for example
    /// [`OverflowCap::measured_every`](crate::precision::OverflowCap::measured_every): `again` repeats the first pass
    /// of this update.
    ///
    /// # Errors
    /// The same as [`update`](Self::update).
    pub fn update_with<O>(
        &mut self,
        again: impl FnOnce(&M) -> TrainOutput<O>,
    ) -> Result<Updated, Arc<UpdateError>> {
        let again = Cell::new(Some(again));
        let run = |model: &M, _: Option<Box<dyn Any + Send>>| Some(again.take()?(model).grads);
        self.make(&step_optimizer, Some(&run))
    }

    /// Makes the update with `optimize` as the optimizer step.
    pub(crate) fn make(
        &mut self,
        optimize: &Optimize<'_, M>,
        again: Option<&PassAgain<'_, M>>,
    ) -> Result<Updated, Arc<UpdateError>> {
        let tag = self.updater.monitor.issue();
        let gradients = self.gradients.take().unwrap_or_default().into();
        let model = self.model.take().expect("an update puts it back");
        let mask = self.updater.mask.clone();
        let optimize = |model: M, optimizer: &mut _, rates, gradients| {
            mask.apply(optimize(model, optimizer, rates, gradients))
        };
        let masked = |model: &M, item| {
            again?(model, item).map(|gradients| mask.of_gradients(model, gradients))
        };
        let again = again.map(|_| &masked as &PassAgain<'_, M>);
        let changes_weights = mask.pruned() > 0;
        let how = How { optimize: &optimize, again, is_shared: false, changes_weights };
        let updated = self.updater.update(model, Some(tag), gradients, &mut self.optimizer, how);
        let (model, result) = match updated {
            Ok(model) => (model, Ok(())),
            Err(Failed { model, error }) => (model, Err(error)),
        };
        self.model = Some(model);
        result?;
        Ok(self.last_update().expect("an update is reported"))
    }

    /// The result of the last update; `None` before the first.
    pub fn last_update(&self) -> Option<Updated> {
        self.updater.monitor.last_update()
    }

    /// The number of the next update.
    pub fn next_update(&self) -> u64 {
        self.updater.monitor.next_update()
    }

    /// Ends an epoch and passes its metrics to controllers, for example `(MetricOf::valid("Loss"), 0.7)`. Call it
    /// before [`save`](Self::save), so that the checkpoint has the updated controllers.
    ///
    /// # Errors
    /// [`UpdateError`] if a controller stops the run, or needs a metric that is missing.
    pub fn end_epoch(
        &mut self,
        metrics: impl IntoIterator<Item = (MetricOf, f64)>,
    ) -> Result<(), Arc<UpdateError>> {
        self.updater.monitor.end_epoch(&metrics.into_iter().collect());
        self.failure().map_or(Ok(()), Err)
    }

    /// Saves a checkpoint after an epoch in the run's `directory`, and deletes all but the last two. Call it after
    /// [`end_epoch`](Self::end_epoch). It uses the same files as Burn's training, written completely or not at all:
    /// [`Checkpoint`] finds them, and [`LearnerBuilder::resume_from`](crate::LearnerBuilder::resume_from) resumes.
    ///
    /// # Errors
    /// [`CheckpointError`] if a file cannot be written.
    pub fn save(
        &self,
        directory: impl AsRef<Path>,
        epoch: usize,
    ) -> Result<Checkpoint, CheckpointError> {
        self.updater.monitor.at_epoch(epoch as u64);
        // Only the `valid()` form has the running statistics of all passes.
        let model = self.model().valid().into_record();
        let (optimizer, scheduler) = (self.optimizer.to_record(), self.scheduler.to_record());
        save_epoch(directory.as_ref(), epoch, model, optimizer, scheduler)
    }
}
