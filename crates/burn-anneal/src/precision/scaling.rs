//! Loss scaling in a learner.

use super::batches::{Again, Batch, Batches, CopyItem};
use super::gradients::{copied, copied_any, in_f32_gradients, largest, read};
use super::keeper::{Kept, keep, kept};
use super::metric::ScalingMetric;
use super::pass::Pass;
use super::reports::{Report, Reports};
use super::{ScalingFailure, ScalingSummary};
use crate::annealed::optimize;
use crate::clip::Rescale;
use crate::groups::{At, Groups, Members};
use anneal_control::{
    CappedUpdate, ControlError, LossScaler, Observation, RateLimiter, ScaledUpdate, ScalingError,
};
use burn::module::Module;
use burn::optim::{GradAdaptor, ModuleOptimizer};
use burn::tensor::Tensor;
use burn::train::{Interrupter, TrainOutput, TrainStep};

/// What a skipped update does to the schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnSkip {
    /// The schedule goes on: the update counts as one of the run, which was planned in updates. So the rate
    /// reaches its end with the last epoch, as it does where torch users call `scheduler.step()` after each
    /// batch. A run begins with a few skipped updates, so a warm-up loses its first few.
    #[default]
    Advance,
    /// The schedule waits: no rate of it is left out, and its last ones are not reached. Burn's
    /// `LearningRateMetric` goes on all the same; [`Annealed::rate_metrics`](crate::Annealed::rate_metrics) show
    /// what is used.
    Hold,
}

/// Loss scaling, and a cap on the rate, of a model that is trained.
///
/// All that training depends on is held by value, as Burn clones learners.
#[derive(Clone)]
pub(crate) struct Scaling {
    scaler: LossScaler,
    limiter: Option<RateLimiter>,
    on_skip: OnSkip,
    /// How many updates the schedule is behind those that Burn counts.
    held: u64,
    interrupter: Interrupter,
    /// To copy a batch, for a cap that measures.
    copy: Option<CopyItem>,
    /// Whether the optimizer may have kept a state that this does not know of.
    expects_record: bool,
    batches: Batches,
    seen: Observation,
    factor: f64,
    reports: Reports,
    failure: Option<ScalingFailure>,
}

/// A model and what trains it.
pub(crate) struct Trained<'a, M> {
    pub model: M,
    pub groups: &'a Groups,
    pub members: &'a mut Members,
    pub optimizer: &'a mut ModuleOptimizer,
}

impl Scaling {
    pub fn new(
        scaler: LossScaler,
        limiter: Option<RateLimiter>,
        on_skip: OnSkip,
        interrupter: Interrupter,
        copy: Option<CopyItem>,
    ) -> Self {
        Self {
            scaler,
            limiter,
            on_skip,
            held: 0,
            interrupter,
            copy,
            expects_record: true,
            batches: Batches::default(),
            seen: Observation::default(),
            factor: 1.0,
            reports: Reports::default(),
            failure: None,
        }
    }

    /// Goes on from a checkpoint, whose schedule goes on too unless it `restarts`.
    pub fn resumed(mut self, kept: Kept, restarts: bool) -> Result<Self, ControlError> {
        self.take_over(kept)?;
        self.expects_record = false;
        if restarts {
            self.held = 0;
        }
        Ok(self)
    }

    /// How many updates the schedule is behind those that Burn counts.
    pub fn held(&self) -> u64 {
        self.held
    }

    pub fn seen(&self) -> &Observation {
        &self.seen
    }

    pub fn failure(&self) -> Option<&ScalingFailure> {
        self.failure.as_ref()
    }

    pub fn reports(&self) -> &Reports {
        &self.reports
    }

    pub fn metrics(&self) -> Vec<ScalingMetric> {
        let mut metrics =
            vec![ScalingMetric::scale(&self.reports), ScalingMetric::skipped(&self.reports)];
        metrics.extend(self.limiter.as_ref().map(|_| ScalingMetric::cap(&self.reports)));
        metrics
    }

    pub fn summary(&self) -> ScalingSummary {
        ScalingSummary {
            loss_scale: self.scaler.scale(),
            skipped: self.scaler.state().skipped,
            held: self.held,
            smoothness: self.limiter.as_ref().and_then(|limiter| limiter.state().smoothness),
            cuts: self.limiter.as_ref().map(|limiter| limiter.state().cuts),
            factor: self.factor,
        }
    }

    fn take_over(&mut self, kept: Kept) -> Result<(), ControlError> {
        self.scaler = self.scaler.clone().restored(kept.scaler)?;
        self.limiter = self.limiter.take().map(|limiter| limiter.restored(kept.limiter));
        self.held = kept.held;
        Ok(())
    }

    /// A forward and a backward pass of a batch with the scale of the next update. Gradients come in f32, to
    /// be summed, and scaled still.
    pub fn pass<M: TrainStep + Module>(&self, model: &M, item: M::Input) -> TrainOutput<M::Output> {
        let item_again = match (&self.limiter, self.copy) {
            (Some(limiter), Some(copy)) if limiter.measures_next() && self.batches.is_empty() => {
                copy(&item)
            }
            _ => None,
        };
        let pass = Pass::begin(self.scaler.scale());
        let output = model.step(item);
        let losses = pass.losses();
        let grads = in_f32_gradients(model, output.grads);
        let largest = self.limiter.as_ref().and_then(|_| largest(model, &grads));
        let again = item_again.map(|item| Again {
            item,
            gradients: copied(model, &grads),
            devices: model.devices(),
        });
        self.batches.push(Batch { losses, largest, again });
        TrainOutput { grads, item: output.item }
    }

    /// Makes the update that Burn gives `number`, of which the scaled gradients are known; or leaves the
    /// model as it is.
    pub fn update<M: TrainStep + Module>(
        &mut self,
        mut trained: Trained<'_, M>,
        number: Option<u64>,
        rescale: Rescale,
        gradients: GradAdaptor,
    ) -> M {
        // That of the batches, whatever a record says now.
        let scale = self.scaler.scale();
        if std::mem::take(&mut self.expects_record)
            && let Some(kept) = kept(trained.optimizer)
        {
            trained.members.expect_left_out(kept.left_out);
            if let Err(error) = self.take_over(kept) {
                log::error!(
                    "the optimizer's record has a state of loss scaling that is none: {error}"
                );
            }
        }
        let number = number.unwrap_or(trained.members.next_step() + self.held);
        let step = number.saturating_sub(self.held);
        let at = At { number, ..At::step(step) };
        let mut batches = self.batches.take();
        if batches.iter().any(|batch| batch.losses.is_empty()) {
            self.stop(ScalingFailure::NotScaled);
            return trained.model;
        }
        let rescale = Rescale { factor: rescale.factor / scale, ..rescale };
        let (gradients, norm) = rescale.rescale(&trained.model, gradients);
        let losses = batches.iter_mut().flat_map(|b| std::mem::take(&mut b.losses)).collect();
        let largest: Vec<_> = batches.iter_mut().filter_map(|b| b.largest.take()).collect();

        let answer = match self.limiter.take() {
            None => self.without_cap(&mut trained, at, gradients, norm, losses),
            Some(limiter) => {
                let reduced = Reduced { norm, losses, largest, scale };
                let again = batches.into_iter().find_map(|batch| batch.again);
                self.with_cap(limiter, &mut trained, at, gradients, reduced, again)
            }
        };
        let (skipped, factor) = match answer {
            Ok(CappedUpdate { update: ScaledUpdate::Done, factor }) => (false, factor),
            Ok(CappedUpdate { update, .. }) => {
                log::info!(
                    "update {number} is skipped: {update:?} at loss scale {scale}, now {}",
                    self.scaler.scale()
                );
                (true, 1.0)
            }
            Err(error) => {
                self.stop(error.into());
                (true, 1.0)
            }
        };
        if skipped {
            trained.members.measured().skip(number);
            match self.on_skip {
                OnSkip::Advance => trained.skip(step),
                OnSkip::Hold => self.held += 1,
            }
        }
        self.factor = factor;
        let next_step = trained.members.next_step();
        self.reports.push(Report { number, step, next_step, scale, factor, skipped });
        let limiter = self.limiter.as_ref().map(RateLimiter::state).unwrap_or_default();
        let left_out = trained.members.left_out();
        let (scaler, held) = (self.scaler.state(), self.held);
        keep(trained.optimizer, Kept { scaler, limiter, held, left_out });
        trained.model
    }

    fn without_cap<M: TrainStep + Module>(
        &mut self,
        trained: &mut Trained<'_, M>,
        at: At,
        gradients: GradAdaptor,
        norm: Option<Tensor<1>>,
        losses: Vec<Tensor<1>>,
    ) -> Result<CappedUpdate, ScalingError> {
        self.seen = read(norm, losses, vec![], None);
        let update = self.scaler.observe(&self.seen)?;
        if !update.is_skipped() {
            trained.update(at, gradients);
        }
        Ok(CappedUpdate { update, factor: 1.0 })
    }

    /// The update is made at the rate of the schedule, to see how far it moves, and made again at less where
    /// that is too far, to see whether it is near enough then.
    fn with_cap<M: TrainStep + Module>(
        &mut self,
        mut limiter: RateLimiter,
        trained: &mut Trained<'_, M>,
        at: At,
        gradients: GradAdaptor,
        reduced: Reduced,
        again: Option<Again>,
    ) -> Result<CappedUpdate, ScalingError> {
        let before = trained.clone_parts();
        let copy = copied_any(&trained.model, &gradients);
        let at = At { measures_movement: true, ..at };
        trained.update(at, gradients);
        let movement = trained.members.take_movement();
        let Reduced { norm, losses, largest, scale } = reduced;
        self.seen = read(norm, losses, largest, movement);
        self.seen.largest_gradient = self.seen.largest_gradient.map(|largest| largest / scale);

        let answer = limiter.observe(&mut self.scaler, &self.seen);
        match answer {
            Ok(CappedUpdate { update: ScaledUpdate::Done, factor }) => {
                let start = again.is_some().then(|| before.0.clone());
                if factor < 1.0 {
                    trained.restore(before);
                    trained.update(At { factor, ..at }, copy);
                    let movement = read(None, vec![], vec![], trained.members.take_movement());
                    let seen = Observation { movement: movement.movement, ..self.seen };
                    limiter.settle(&mut self.scaler, &seen);
                }
                let change = again.zip(start).and_then(|(again, start)| {
                    let measuring = limiter.measuring_scale(scale, &self.seen);
                    again.change([&start, &trained.model], scale, measuring)
                });
                limiter.count(&self.seen, change);
            }
            _ => trained.restore(before),
        }
        self.limiter = Some(limiter);
        answer
    }

    fn stop(&mut self, failure: ScalingFailure) {
        log::error!("training is stopped: {failure}");
        self.interrupter.stop(Some(&failure.to_string()));
        self.failure = Some(failure);
    }
}

/// What is known of an update's gradients on their devices.
struct Reduced {
    norm: Option<Tensor<1>>,
    losses: Vec<Tensor<1>>,
    largest: Vec<Tensor<1>>,
    scale: f64,
}

impl<M: TrainStep + Module> Trained<'_, M> {
    fn update(&mut self, at: At, gradients: GradAdaptor) {
        let rate = (self.groups.schedule().rate(at.step) * at.factor).into();
        let optimize = |model, optimizer: &mut _| optimize(model, optimizer, rate, gradients);
        let Self { groups, members, optimizer, .. } = self;
        // Burn's learner holds the model too, so this copies nothing.
        self.model = members.update(groups, at, self.model.clone(), optimizer, optimize);
    }

    fn skip(&mut self, step: u64) {
        self.model = self.members.skip(self.groups, step, self.model.clone());
    }

    fn clone_parts(&self) -> (M, ModuleOptimizer, Members) {
        (self.model.clone(), self.optimizer.clone(), self.members.clone())
    }

    fn restore(&mut self, (model, optimizer, members): (M, ModuleOptimizer, Members)) {
        self.model = model;
        *self.optimizer = optimizer;
        *self.members = members;
    }
}
