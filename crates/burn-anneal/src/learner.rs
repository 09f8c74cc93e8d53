//! From a model, an optimizer, a schedule and the length of the run to Burn's `Learner`.

use crate::clip::Rescale;
use crate::groups::{
    GroupError, Grouped, Groups, GroupsConfig, Selection, check_optimizer, resumed_step, with_step,
};
use crate::momentum::MomentumError;
use crate::{
    Annealed, CheckpointError, ClipError, GlobalNormClip, OnMismatch, SavedEpoch, Scheduler,
};
use anneal_schedule::{Build, RateDrop, RunLength, ScheduleConfig, ScheduleError, WeightDecay};
use burn::module::Module;
use burn::optim::{ModuleOptimizer, Optimizer};
use burn::train::{Learner, LearnerModel};
use thiserror::Error;

/// Builds a Burn `Learner` that trains under a schedule.
///
/// Optimizer, schedule and run are required; everything is checked in [`build`](Self::build).
///
/// ```no_run
/// # use burn::train::LearnerModel;
/// use burn::optim::AdamWConfig;
/// use burn_anneal::prelude::*;
///
/// # fn train<M: LearnerModel>(model: M, items: usize) -> Result<(), BuildError> {
/// let learner = LearnerBuilder::new(model)
///     .optimizer(AdamWConfig::new().with_weight_decay(0.02).build())
///     .schedule(cosine(4e-3).warmup(Span::percent(10.0)))
///     .run(RunLength::from_items(items, 64).epochs(20))
///     .clip_global_norm(1.0)
///     .build()?;
/// // SupervisedTraining::new(directory, train, valid).num_epochs(20).launch(learner)
/// # Ok(())
/// # }
/// ```
pub struct LearnerBuilder<M> {
    model: M,
    optimizer: Option<BareOptimizer>,
    schedule: Option<ScheduleConfig>,
    run: Option<RunLength>,
    groups: Option<GroupsConfig>,
    /// What is said of the whole model, in groups or not.
    whole: GroupsConfig,
    max_norm: Option<f64>,
    reduction: GradientReduction,
    on_mismatch: OnMismatch,
    resume_from: Option<SavedEpoch>,
}

/// An optimizer as it is, and as groups use it.
struct BareOptimizer {
    plain: ModuleOptimizer,
    grouped: ModuleOptimizer,
}

/// How the gradients of the batches of one update become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GradientReduction {
    /// Their sum, as Burn leaves it: gradient accumulation over k batches makes an update about
    /// k times as large for SGD, and a clipping norm k times as tight.
    #[default]
    Sum,
    /// Their sum divided by gradient accumulation × devices, as torch users do by dividing the
    /// loss. The last, shorter accumulation of an epoch is divided by the same number.
    Mean,
}

/// Why no learner could be built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A required part was not given.
    #[error("{part}: missing; call LearnerBuilder::{part}(…) before build()")]
    Missing {
        /// The part.
        part: &'static str,
    },
    /// A part was given to the builder and in its groups.
    #[error("{part}: given to LearnerBuilder::{part}(…) and in its groups; give it in one place")]
    GivenTwice {
        /// The part.
        part: &'static str,
    },
    /// The schedule does not fit the run, or has a field out of its range.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The norm to clip to is out of its range.
    #[error(transparent)]
    Clip(#[from] ClipError),
    /// The groups do not fit the model or the run.
    #[error(transparent)]
    Groups(#[from] GroupError),
    /// The model lives on a device that records no gradients.
    #[error("model: its device records no gradients; create it on `device.autodiff()`")]
    NotAutodiff,
    /// A value of an optimizer of ours is out of its range.
    #[error(transparent)]
    Momentum(#[from] MomentumError),
    /// The checkpoint to resume from cannot be used, or belongs to another schedule.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl<M: LearnerModel> LearnerBuilder<M> {
    /// Starts with a model, made on an autodiff device.
    pub fn new(model: M) -> Self {
        Self {
            model,
            optimizer: None,
            schedule: None,
            run: None,
            groups: None,
            whole: GroupsConfig::new(),
            max_norm: None,
            reduction: GradientReduction::Sum,
            on_mismatch: OnMismatch::Exact,
            resume_from: None,
        }
    }

    /// The optimizer, bare: `AdamWConfig::new().build()`. Burn's per-tensor gradient clipping is no
    /// part of a bare optimizer; see [`clip_global_norm`](Self::clip_global_norm).
    pub fn optimizer(mut self, optimizer: impl Optimizer) -> Self {
        let grouped = Grouped::new(optimizer.clone()).into();
        self.optimizer = Some(BareOptimizer { plain: optimizer.into(), grouped });
        self
    }

    /// The description of the schedule.
    pub fn schedule(mut self, schedule: impl Into<ScheduleConfig>) -> Self {
        self.schedule = Some(schedule.into());
        self
    }

    /// The length of the run. Give its epochs to `SupervisedTraining::num_epochs` and its gradient
    /// accumulation to `grads_accumulation` too.
    pub fn run(mut self, run: RunLength) -> Self {
        self.run = Some(run);
        self
    }

    /// Rates, weight decay and freezing for groups of parameters: see [`GroupsConfig`].
    pub fn groups(mut self, groups: GroupsConfig) -> Self {
        self.groups = Some(groups);
        self
    }

    /// Decoupled weight decay for all parameters, in place of the optimizer's own: a number as torch's
    /// AdamW has it, or what is meant to stay constant, see [`WeightDecay`]. Groups may have their own.
    pub fn weight_decay(mut self, weight_decay: impl Into<WeightDecay>) -> Self {
        self.whole = self.whole.weight_decay(weight_decay);
        self
    }

    /// Parameters that do not decay, such as [`Selection::biases_and_norms`].
    pub fn no_weight_decay(mut self, selection: Selection) -> Self {
        self.whole = self.whole.no_weight_decay(selection);
        self
    }

    /// The momentum, or β₁, of each update; below 1. The optimizer must follow it: a
    /// [`ScheduledAdam`](crate::momentum::ScheduledAdam),
    /// a [`ScheduledMomentum`](crate::momentum::ScheduledMomentum), or a
    /// [`RateInsideSgd`](crate::momentum::RateInsideSgd).
    pub fn momentum(mut self, momentum: impl Into<ScheduleConfig>) -> Self {
        self.whole = self.whole.momentum(momentum);
        self
    }

    /// What becomes of momentum where the schedule drops the rate, for a
    /// [`RateInsideSgd`](crate::momentum::RateInsideSgd).
    pub fn rate_drop(mut self, rate_drop: RateDrop) -> Self {
        self.whole = self.whole.rate_drop(rate_drop);
        self
    }

    /// Clips by the norm of all gradients together: see [`GlobalNormClip`]. After
    /// [`gradient_reduction`](Self::gradient_reduction).
    pub fn clip_global_norm(mut self, max_norm: f64) -> Self {
        self.max_norm = Some(max_norm);
        self
    }

    /// Whether an update uses the sum (the default, Burn's) or the mean of the gradients of its
    /// accumulated batches and devices.
    pub fn gradient_reduction(mut self, reduction: GradientReduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// Names the checkpoint that training will resume from, so that [`build`](Self::build) can
    /// check it. Give its epoch to `SupervisedTraining::checkpoint`, which loads it.
    pub fn resume_from(mut self, saved: &SavedEpoch) -> Self {
        self.resume_from = Some(saved.clone());
        self
    }

    /// What to do when the checkpoint was saved under another schedule.
    pub fn on_mismatch(mut self, on_mismatch: OnMismatch) -> Self {
        self.on_mismatch = on_mismatch;
        self
    }

    /// Checks all parts and builds the learner.
    ///
    /// # Errors
    /// [`BuildError`] says which part, which field of it, and what is allowed.
    pub fn build(self) -> Result<Learner<Annealed<M>>, BuildError> {
        let optimizer = self.optimizer.ok_or(BuildError::Missing { part: "optimizer" })?;
        let config = self.schedule.ok_or(BuildError::Missing { part: "schedule" })?;
        let run = self.run.ok_or(BuildError::Missing { part: "run" })?;
        let schedule = config.resolve(run)?;
        let clip = self.max_norm.map(GlobalNormClip::new).transpose()?;
        if !self.model.devices().iter().all(|device| device.is_autodiff()) {
            return Err(BuildError::NotAutodiff);
        }
        let groups = GroupsConfig::with_whole(self.groups, self.whole)
            .map_err(|part| BuildError::GivenTwice { part })?;
        let groups = match &groups {
            Some(groups) => Some(groups.resolve(&self.model, &schedule, run)?),
            None => None,
        };
        let optimizer = match &groups {
            Some(groups) => {
                check_optimizer(groups, &optimizer.plain)?;
                optimizer.grouped
            }
            None => optimizer.plain,
        };
        let mut saved_step = None;
        if let Some(saved) = &self.resume_from {
            check_model(saved, &self.model)?;
            check_optimizer_record(saved, &optimizer)?;
            saved.check_schedule(&schedule, self.on_mismatch)?;
            saved.check_groups(groups.as_ref().map(Groups::fingerprint), self.on_mismatch)?;
            saved_step = saved.saved_step()?;
        }
        let factor = match self.reduction {
            GradientReduction::Sum => 1.0,
            GradientReduction::Mean => 1.0 / run.batches_per_update() as f64,
        };
        let model = Annealed::new(self.model, Rescale { factor, clip });
        let scheduler = Scheduler::new(schedule).on_mismatch(self.on_mismatch);
        Ok(match groups {
            Some(groups) => {
                let next_step = resumed_step(saved_step, &scheduler);
                let scheduler = with_step(scheduler, groups.fingerprint(), next_step);
                Learner::new(model.grouped(groups, next_step), optimizer, scheduler)
            }
            None => Learner::new(model, optimizer, scheduler),
        })
    }
}

/// Burn would panic on a record that does not fit the model.
fn check_model<M: Module>(saved: &SavedEpoch, model: &M) -> Result<(), CheckpointError> {
    match model.clone().try_load_record(saved.model()?) {
        Ok(_) => Ok(()),
        Err(error) => Err(saved.damaged("model", error)),
    }
}

/// Burn drops the state that does not fit the optimizer, and would silently start it fresh.
fn check_optimizer_record(
    saved: &SavedEpoch,
    optimizer: &ModuleOptimizer,
) -> Result<(), CheckpointError> {
    let record = saved.optimizer()?;
    let tensors = record.len();
    if optimizer.clone().load_record(record).to_record().len() == tensors {
        Ok(())
    } else {
        Err(saved.damaged("optim", "it is the state of another optimizer"))
    }
}
