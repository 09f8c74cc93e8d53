//! The common part of Burn's learner and custom loops: passes, updates and their failures.

use super::Tag;
use super::averaging::{Points, Taken};
use super::batches::{Again, Batch};
use super::error::UpdateError;
use super::monitor::{Monitor, Plan};
use super::one_update::Update;
use super::pass::{Asked, Pass, Shown, value};
use super::state::{Slot, State};
use super::tensors::{ByParameter, in_f32_gradients};
use crate::average::{Recompute, Weights};
use crate::precision::with_master_weights;
use crate::pruning::PruningMask;
use crate::scheduler::{past_end, tell};
use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::Module;
use burn::optim::{GradAdaptor, GradientsParams, ModuleOptimizer};
use burn::train::{Interrupter, TrainOutput};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes the updates of a model: the common part of [`Annealed`](crate::Annealed) and
/// [`TrainingLoop`](crate::TrainingLoop).
pub(crate) struct Updater {
    pub monitor: Monitor,
    /// The number of its clone of the model: Burn clones a model for each worker, in the order of the devices.
    lane: u64,
    clones: AtomicU64,
    /// Whether the parameter ids of the model may have changed since the last update.
    pub expects_ids: bool,
    /// The pruned weights.
    pub mask: PruningMask,
}

impl Clone for Updater {
    fn clone(&self) -> Self {
        Self {
            monitor: self.monitor.linked_anew(),
            lane: self.clones.fetch_add(1, Ordering::Relaxed),
            clones: AtomicU64::new(0),
            expects_ids: self.expects_ids,
            mask: self.mask.clone(),
        }
    }
}

/// How to update and pass a model, from callers that know its type.
pub(crate) struct How<'a, M> {
    /// Runs the optimizer.
    pub optimize: &'a Optimize<'a, M>,
    /// Repeats the pass of a batch.
    pub again: Option<&'a PassAgain<'a, M>>,
    /// Whether the caller holds the model anyway, so that keeping it costs nothing.
    pub is_shared: bool,
    /// Whether `optimize` may change weights after the optimizer.
    pub changes_weights: bool,
}

pub(crate) type Optimize<'a, M> =
    dyn Fn(M, &mut ModuleOptimizer, ModuleLearningRate, GradAdaptor) -> M + 'a;
pub(crate) type PassAgain<'a, M> =
    dyn Fn(&M, Option<Box<dyn Any + Send>>) -> Option<GradientsParams> + 'a;

/// A model that was not updated, and the error.
pub(crate) struct Failed<M> {
    pub model: M,
    pub error: Arc<UpdateError>,
}

impl Updater {
    pub fn new(plan: Arc<Plan>, slot: Slot) -> Self {
        Self {
            monitor: Monitor::new(plan, slot),
            lane: 0,
            clones: AtomicU64::new(0),
            expects_ids: true,
            mask: PruningMask::default(),
        }
    }

    /// The updater of an independent copy of the model, without shared state, log or reports.
    pub fn detached(&self) -> Self {
        let slot = self.monitor.slot().detached();
        let monitor = Monitor::new(Arc::new(self.plan().detached()), slot);
        Self {
            monitor,
            lane: 0,
            clones: AtomicU64::new(0),
            expects_ids: self.expects_ids,
            mask: self.mask.clone(),
        }
    }

    fn plan(&self) -> &Plan {
        &self.monitor.plan
    }

    /// Runs a forward and a backward pass at the scale of the next update. The gradients stay scaled; half-precision
    /// gradients are cast to f32 for summing.
    pub fn pass<M: Module, I: 'static, O: 'static>(
        &self,
        model: &M,
        item: I,
        run: impl FnOnce(I) -> TrainOutput<O>,
    ) -> TrainOutput<O> {
        let slot = self.monitor.slot();
        let (loss_scale, needs, is_first) = {
            let state = slot.lock();
            (
                state.controllers.loss_scale(),
                state.controllers.needs(),
                state.batches.is_first(self.lane),
            )
        };
        let is_looked_at_again = needs.batch_again.is_some() && is_first;
        let copy = self.plan().copy_item.filter(|_| is_looked_at_again);
        let copy = copy.and_then(|copy| copy(&item));
        let pass = Pass::begin(Asked {
            scale: loss_scale,
            keeps_f32: self.plan().is_half,
            task_cosine: self.plan().all_needs(needs).task_cosine,
        });
        let TrainOutput { grads, item: output } = self.run(item, run);
        let Shown { scaled, scaled_loss, tasks } = pass.end();
        let learns = !grads.is_empty();
        let grads = if self.plan().is_half { in_f32_gradients(model, grads) } else { grads };
        let copied = |grads: &GradientsParams| ByParameter::copy(model, grads);
        let norm = needs.batch_gradient_norm.then(|| copied(&grads).norm()).flatten();
        let largest = needs.largest_gradient.then(|| copied(&grads).largest()).flatten();
        let again = is_looked_at_again.then(|| Again {
            item: copy,
            gradients: copied(&grads),
            devices: model.devices(),
        });
        let (task_loss, task_cosine, task_error) = match tasks {
            Some(tasks) => (Some(tasks.loss), tasks.cosine, tasks.error),
            None => (None, None, None),
        };
        let of_output = || (self.plan().loss_of)(&output).map(|loss| value(&loss));
        slot.lock().batches.push(Batch {
            lane: self.lane,
            loss_scale,
            scaled,
            learns,
            loss: task_loss.or_else(of_output).or(scaled_loss),
            task_cosine,
            task_error,
            norm,
            largest,
            again,
        });
        TrainOutput { grads, item: output }
    }

    /// Casts the inputs if configured, and runs the pass. If it fails because of their types, the error names the input
    /// type.
    pub fn run<I: 'static, O>(&self, item: I, run: impl FnOnce(I) -> O) -> O {
        let Some(casts) = &self.plan().cast_inputs else { return run(item) };
        let item = casts.cast(item);
        catch_unwind(AssertUnwindSafe(|| run(item))).unwrap_or_else(|panic| {
            let reason = panic_message(&*panic);
            if !reason.to_lowercase().contains("dtype") {
                resume_unwind(panic);
            }
            let input = std::any::type_name::<I>();
            let error = UpdateError::InputsNotCast { input, reason };
            let error = fail(self.plan(), &mut self.monitor.slot().lock(), error);
            panic!("{error}")
        })
    }

    /// The model to validate, in its `valid()` form, with the averages unless the raw weights are selected.
    pub fn valid<M: Module>(&self, model: &M, statistics: Option<&Recompute<M>>) -> M {
        match self.plan().averaging.weights {
            Weights::Average => self.averaged(model, statistics),
            Weights::Raw => model.valid(),
        }
    }

    /// The model with the averages, pruned like the model, in its `valid()` form.
    pub fn averaged<M: Module>(&self, model: &M, statistics: Option<&Recompute<M>>) -> M {
        // Only the `valid()` form has the running statistics of all passes.
        let model = model.valid();
        let evaluated = {
            let slot = self.monitor.slot();
            let mut state = slot.lock();
            if state.raw.is_empty() && !state.evaluated.is_empty() {
                state.raw = Points::of_model(&model);
            }
            state.evaluated.clone()
        };
        let averaged = self.mask.apply(evaluated.put(model));
        let Some(recompute) = statistics.filter(|_| !evaluated.is_empty()) else { return averaged };
        recompute(averaged.clone(), self).unwrap_or_else(|reason| {
            self.monitor.stop(UpdateError::Statistics { reason });
            averaged
        })
    }

    /// Ends an epoch of Burn's own loop, when its validation starts.
    pub fn validates(&self) {
        let Some(run) = self.plan().expects else { return };
        let slot = self.monitor.slot();
        let mut state = slot.lock();
        let is_over = self.plan().interrupter.as_ref().is_some_and(Interrupter::should_stop);
        let found = state.place.updates;
        if found == 0 || is_over {
            return;
        }
        state.end_epoch();
        let epoch = state.place.epochs;
        let expected = run.resolve().ok().and_then(|run| run.updates_per_epoch());
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            fail(self.plan(), &mut state, UpdateError::OtherEpoch { epoch, found, expected });
        }
        drop(state);
        // Burn saves a checkpoint next.
        self.monitor.flush();
    }

    /// The error if this update must not be made: a failed log, or a Burn loop that does not match the run.
    fn contradiction(&self, state: &State, number: u64, batches: u64) -> Option<UpdateError> {
        if let Some(log) = &self.plan().log
            && let Some(reason) = log.error()
        {
            return Some(UpdateError::Log { path: log.path().to_path_buf(), reason });
        }
        if let Some(epoch) = self.unheard_epoch(state, number)
            && let Some((_, controller)) = state.controllers.metrics().into_iter().next()
        {
            return Some(UpdateError::EpochUnheard { controller, epoch });
        }
        let run = self.plan().expects?;
        if let Some(expected) = state.expects_record {
            return Some(UpdateError::NotLoaded { epoch: expected.epoch });
        }
        // Without batches, the gradients were made without a pass.
        let expected = run.expects(state.place.updates, batches).err().filter(|_| batches > 0)?;
        Some(UpdateError::OtherBatches { update: number, found: batches, expected })
    }

    /// A finished epoch that controllers did not hear of. A custom loop may report epochs less often, but if it has
    /// saved an epoch or made half of its run without any report, it has forgotten to.
    fn unheard_epoch(&self, state: &State, number: u64) -> Option<u64> {
        let epochs = state.place.epochs;
        if self.plan().expects.is_some() {
            return Some(epochs).filter(|epochs| *epochs > state.epochs_heard);
        }
        if !self.plan().is_own_loop {
            return None;
        }
        let end = self.plan().groups.schedule().length();
        let is_late = epochs > 0 || end.is_some_and(|end| number >= end.div_ceil(2));
        (state.epochs_heard == 0 && is_late).then_some(epochs.max(1))
    }

    /// Makes an update, and prepares the model for the next.
    pub fn update<M: Module>(
        &mut self,
        model: M,
        tag: Option<Tag>,
        gradients: GradAdaptor,
        optimizer: &mut ModuleOptimizer,
        how: How<'_, M>,
    ) -> Result<M, Failed<M>> {
        self.lane = 0;
        self.clones = AtomicU64::new(0);
        let slot = tag.and_then(|tag| Some((Slot::of(tag.slot)?, tag.number)));
        let Some((slot, number)) = slot else {
            let slot = self.monitor.slot();
            let error = fail(self.plan(), &mut slot.lock(), UpdateError::Foreign);
            return Err(Failed { model, error });
        };
        // The slot that got the batches; to load a record, Burn clones only the scheduler.
        let batches = self.monitor.slot().lock().batches.take();
        self.monitor.follow(slot.clone());
        let mut state = slot.lock();
        if state.failure.is_none()
            && let Some(error) = self.contradiction(&state, number, batches.len() as u64)
        {
            let error = fail(self.plan(), &mut state, error);
            return Err(Failed { model, error });
        }
        if let Some(error) = state.failure.clone() {
            if let Some(interrupter) = &self.plan().interrupter
                && interrupter.error().is_none()
            {
                interrupter.fail(in_words(&error));
            }
            return Err(Failed { model, error });
        }
        let looks_up = std::mem::take(&mut self.expects_ids);
        let plan = &*self.monitor.plan;
        let step = state.clock.step_of(number);
        let schedule = plan.groups.schedule();
        if schedule.length().is_some_and(|end| step >= end) && !state.is_past_end {
            state.is_past_end = true;
            tell(&past_end(schedule, schedule.rate(step)));
        }
        state.raw = Points::default();
        let keeps = how.is_shared || !state.controllers.is_empty();
        let before = keeps.then(|| model.clone());
        let may_average = plan.averaging.is_due(Taken { number, is_made: true, are_new: looks_up });
        if may_average {
            // With no other owner, the optimizer can change averages and weights in place.
            state.evaluated = Points::default();
        }
        let mut update = Update { plan, state: &mut state, number, step, optimizer, how };
        let updated = update.run(model, gradients, batches, looks_up).and_then(|model| {
            let is_made = state.decision.answer.skip.is_none();
            let taken = Taken { number, is_made, are_new: looks_up };
            if may_average {
                let points = std::mem::take(&mut state.evaluated);
                state.evaluated = plan.averaging.take(taken, points, &model, optimizer);
            }
            match snapshot(plan, &state, (number, step), &model, optimizer) {
                Ok(()) => Ok(model),
                Err(error) => Err((model, error)),
            }
        });
        updated.map_err(|(model, error)| {
            let (model, error) = (before.unwrap_or(model), fail(plan, &mut state, error));
            if may_average {
                state.evaluated = plan.averaging.look(number, &model, optimizer);
            }
            Failed { model, error }
        })
    }
}

/// Writes a snapshot if one is due: after the last update of a cycle or at intervals, and after the last of the run.
fn snapshot<M: Module>(
    plan: &Plan,
    state: &State,
    (number, step): (u64, u64),
    model: &M,
    optimizer: &ModuleOptimizer,
) -> Result<(), UpdateError> {
    let Some(writer) = &plan.snapshots else { return Ok(()) };
    let schedule = plan.groups.schedule();
    let is_last = schedule.length().is_some_and(|length| number + 1 == state.origin + length);
    // A schedule that waits for skipped updates ends its cycle with the next update made.
    let ends_cycle = || schedule.ends_cycle(step) && state.clock.next_step() > step;
    if !is_last && !writer.is_due(number).unwrap_or_else(ends_cycle) {
        return Ok(());
    }
    let model = match plan.is_half {
        true => with_master_weights(model.clone(), optimizer.to_record()).valid(),
        // Only the `valid()` form has the running statistics of all passes.
        false => model.valid(),
    };
    let model = match plan.averaging.weights {
        Weights::Average => state.evaluated.put(model),
        Weights::Raw => model,
    };
    writer.write(number, model.into_record())?;
    // A later error might not be reported.
    if is_last { writer.wait() } else { Ok(()) }
}

/// Runs the optimizer.
pub(crate) fn step_optimizer<M: Module>(
    model: M,
    optimizer: &mut ModuleOptimizer,
    rates: ModuleLearningRate,
    gradients: GradAdaptor,
) -> M {
    match gradients {
        GradAdaptor::Single(gradients) => optimizer.step(rates, model, gradients),
        GradAdaptor::Multi(gradients) => optimizer.step_multi(rates, model, gradients),
    }
}

/// The message of a panic.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or("a panic".into())
}

/// Ends the run.
pub(crate) fn fail(plan: &Plan, state: &mut State, error: UpdateError) -> Arc<UpdateError> {
    let error = Arc::new(error);
    if let Some(interrupter) = &plan.interrupter {
        interrupter.fail(in_words(&error));
    }
    state.failure = Some(error.clone());
    error
}

/// Wraps an error of this crate in Burn's error type, as text.
pub(crate) fn in_words(error: &UpdateError) -> burn::train::TrainingError {
    let failure = burn::train::train::WorkerFailure { device_id: 0, message: error.to_string() };
    burn::train::TrainingError::Workers(vec![failure])
}
