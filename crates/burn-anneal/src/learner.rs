//! From a model, an optimizer, a schedule and the length of the run to Burn's `Learner`.

use crate::clip::Rescale;
use crate::groups::{
    GroupError, Grouped, Groups, GroupsConfig, Selection, check_optimizer, resumed_step, with_step,
};
use crate::momentum::MomentumError;
use crate::precision::{
    ControlError, CopyItem, Kept, LossScaling, MasterWeights, OnSkip, RateCap, Scaling, copy_of,
    has_half_parameters, keeping, kept, to_precision_except,
};
use crate::{
    Annealed, CheckpointError, ClipError, GlobalNormClip, OnMismatch, SavedEpoch, Scheduler,
};
use anneal_schedule::{Build, RateDrop, RunLength, ScheduleConfig, ScheduleError, WeightDecay};
use burn::optim::{ModuleOptimizer, Optimizer};
use burn::tensor::{DType, Device, FloatDType};
use burn::train::{Interrupter, Learner, LearnerModel, TrainStep};
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
    precision: Option<FloatDType>,
    precision_except: Option<Selection>,
    loss_scaling: Option<LossScaling>,
    rate_cap: Option<(RateCap, CopyItem)>,
    on_skip: Option<OnSkip>,
    interrupter: Option<Interrupter>,
    on_mismatch: OnMismatch,
    resume_from: Option<SavedEpoch>,
}

/// An optimizer as it is, as groups use it, and as groups use it on master weights.
struct BareOptimizer {
    plain: ModuleOptimizer,
    grouped: ModuleOptimizer,
    mastered: ModuleOptimizer,
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
    /// A value of loss scaling, or of the cap on the rate, is out of its range.
    #[error("{part}: {source}")]
    Control {
        /// The part of the builder.
        part: &'static str,
        /// What is wrong with it.
        source: ControlError,
    },
    /// A part was given that does nothing without another.
    #[error("{part}: does nothing without {needs}; call LearnerBuilder::{needs}(…) too")]
    Needs {
        /// The part.
        part: &'static str,
        /// The part that it needs.
        needs: &'static str,
    },
    /// Loss scaling has no way to stop a run that cannot go on.
    #[error(
        "loss_scaling: needs the interrupter of the training, to stop a run of which every update is \
         skipped; call LearnerBuilder::interrupter(training.interrupter())"
    )]
    NoInterrupter,
    /// The run to resume had a schedule that waited for updates that loss scaling skipped.
    #[error(
        "resume_from: the schedule of that run waited for {updates} updates that loss scaling skipped; call \
         LearnerBuilder::loss_scaling(…) too, without which it would jump ahead"
    )]
    ScheduleWaited {
        /// How many updates it is behind.
        updates: u64,
    },
    /// The precision is not half.
    #[error("half_precision: {dtype:?} is not allowed; allowed: F16, BF16")]
    NotHalf {
        /// The precision.
        dtype: FloatDType,
    },
    /// The device does not compute in this precision.
    #[error(
        "half_precision: {device} does not compute in {dtype:?}; use f32 there, or another device"
    )]
    PrecisionUnsupported {
        /// The device.
        device: String,
        /// The precision.
        dtype: FloatDType,
    },
    /// The model is in half precision already, and nothing is to keep its weights in f32.
    #[error(
        "loss_scaling: the model has parameters in half precision, which need master weights; call \
         LearnerBuilder::half_precision(…) too"
    )]
    NoMasterWeights,
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
            precision: None,
            precision_except: None,
            loss_scaling: None,
            rate_cap: None,
            on_skip: None,
            interrupter: None,
            on_mismatch: OnMismatch::Exact,
            resume_from: None,
        }
    }

    /// The optimizer, bare: `AdamWConfig::new().build()`. Burn's per-tensor gradient clipping is no
    /// part of a bare optimizer; see [`clip_global_norm`](Self::clip_global_norm).
    pub fn optimizer(mut self, optimizer: impl Optimizer) -> Self {
        let grouped = Grouped::new(optimizer.clone());
        self.optimizer = Some(BareOptimizer {
            plain: optimizer.into(),
            grouped: grouped.clone().into(),
            mastered: MasterWeights::new(grouped).into(),
        });
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

    /// Trains the model in f16 or bf16, with [master weights](MasterWeights) in f32 for any optimizer, and in
    /// f16 with [`loss_scaling`](Self::loss_scaling) as torch has it unless another is given.
    ///
    /// The model is cast whole, so it must cast its inputs, and should cast what goes into its loss to f32;
    /// its `TrainStep::step` must scale the loss, see [`ScaleLoss`](crate::precision::ScaleLoss).
    pub fn half_precision(mut self, dtype: FloatDType) -> Self {
        self.precision = Some(dtype);
        self
    }

    /// Parameters that stay in f32 under [`half_precision`](Self::half_precision), such as [`Selection::norms`];
    /// the model casts what goes into them, and what comes out: see
    /// [`to_precision_except`](crate::precision::to_precision_except).
    pub fn half_precision_except(mut self, selection: Selection) -> Self {
        self.precision_except = Some(selection);
        self
    }

    /// Scales the loss before the backward pass, and skips updates whose gradients overflow: see
    /// [`LossScaling`]. The model's `TrainStep::step` must call
    /// [`scale_loss`](crate::precision::ScaleLoss::scale_loss), and [`interrupter`](Self::interrupter) is
    /// needed. One scale serves all batches of an update; it is saved with the optimizer.
    ///
    /// It costs a sum over the gradients, which [`clip_global_norm`](Self::clip_global_norm) shares, and one
    /// read from the device for each update.
    pub fn loss_scaling(mut self, scaling: LossScaling) -> Self {
        self.loss_scaling = Some(scaling);
        self
    }

    /// Caps the rate of all groups so that the next scaled gradient does not overflow: see [`RateCap`].
    ///
    /// Each update is made once, to see how far it moves the weights, and again, with one more read, where that
    /// is too far: that takes a second copy of the weights and of the optimizer's state while it runs. A
    /// smoothness that is measured takes a copy of the batch, and a forward and a backward pass more every k
    /// updates; dropout and other randomness in the model then counts as curvature.
    pub fn cap_rate(mut self, cap: RateCap) -> Self
    where
        <M as TrainStep>::Input: Clone,
    {
        self.rate_cap = Some((cap, copy_of::<<M as TrainStep>::Input>));
        self
    }

    /// What a skipped update does to the schedule: see [`OnSkip`].
    pub fn on_skip(mut self, on_skip: OnSkip) -> Self {
        self.on_skip = Some(on_skip);
        self
    }

    /// With what loss scaling stops a run that cannot go on: `training.interrupter()` of Burn's
    /// `SupervisedTraining`. Why is in the result's `interrupted`, and in
    /// [`Annealed::failure`] of its model.
    pub fn interrupter(mut self, interrupter: Interrupter) -> Self {
        self.interrupter = Some(interrupter);
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
    pub fn build(mut self) -> Result<Learner<Annealed<M>>, BuildError> {
        let scaling = self.scaling()?;
        self.cast_model(scaling.is_some())?;
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
        let asked_for_groups = groups.is_some();
        // What a skipped update does to the schedule is decided where groups have their rates.
        let needs_groups = scaling.is_some() || self.precision.is_some();
        let groups = match groups.or_else(|| needs_groups.then(GroupsConfig::new)) {
            Some(groups) => {
                let masters = self.precision.is_some();
                Some(groups.resolve_for(&self.model, masters, &schedule, run)?)
            }
            None => None,
        };
        let fingerprint = groups.as_ref().filter(|_| asked_for_groups).map(Groups::fingerprint);
        let optimizer = match &groups {
            Some(groups) => {
                check_optimizer(groups, &optimizer.plain)?;
                match self.precision {
                    Some(_) => optimizer.mastered,
                    None => optimizer.grouped,
                }
            }
            None => optimizer.plain,
        };
        let optimizer = if scaling.is_some() { keeping(optimizer) } else { optimizer };
        let mut saved_step = None;
        let mut saved_scaling = None;
        if let Some(saved) = &self.resume_from {
            saved.check_model(&self.model)?;
            check_optimizer_record(saved, &optimizer)?;
            saved.check_schedule(&schedule, self.on_mismatch)?;
            saved.check_groups(fingerprint, self.on_mismatch)?;
            saved_step = saved.saved_step()?;
            let reader =
                if scaling.is_some() { optimizer.clone() } else { keeping(optimizer.clone()) };
            saved_scaling = kept(&mut reader.load_record(saved.optimizer()?));
            let held = saved_scaling.map_or(0, |kept| kept.held);
            if scaling.is_none() && held > 0 {
                return Err(BuildError::ScheduleWaited { updates: held });
            }
        }
        let factor = match self.reduction {
            GradientReduction::Sum => 1.0,
            GradientReduction::Mean => 1.0 / run.batches_per_update() as f64,
        };
        let is_half = self.precision.is_some();
        let model = Annealed::new(self.model, Rescale { factor, clip }, is_half);
        let scheduler = Scheduler::new(schedule).on_mismatch(self.on_mismatch);
        Ok(match groups {
            Some(groups) => {
                let next_step = resumed_step(saved_step, &scheduler);
                let scheduler = with_step(scheduler, fingerprint, next_step);
                let left_out = saved_scaling.map_or(0, |kept| kept.left_out);
                let scaling = match (scaling, saved_scaling) {
                    (Some(scaling), Some(kept)) => Some(resumed(scaling, kept, next_step)?),
                    (scaling, _) => scaling,
                };
                let held = scaling.as_ref().map_or(0, Scaling::held);
                let next_step = next_step.saturating_sub(held);
                let model = model.grouped(groups, next_step, left_out, scaling);
                Learner::new(model, optimizer, scheduler)
            }
            None => Learner::new(model, optimizer, scheduler),
        })
    }
}

impl<M: LearnerModel> LearnerBuilder<M> {
    /// Loss scaling as asked for, or as f16 needs it.
    fn scaling(&self) -> Result<Option<Scaling>, BuildError> {
        let control = |part| move |source| BuildError::Control { part, source };
        let needs = |part| Err(BuildError::Needs { part, needs: "loss_scaling" });
        let by_default = (self.precision == Some(FloatDType::F16)).then(LossScaling::new);
        let Some(rule) = self.loss_scaling.or(by_default) else {
            return match (&self.rate_cap, self.on_skip) {
                (Some(_), _) => needs("cap_rate"),
                (None, Some(_)) => needs("on_skip"),
                (None, None) => Ok(None),
            };
        };
        let scaler = rule.build().map_err(control("loss_scaling"))?;
        let (limiter, copy) = match self.rate_cap {
            Some((cap, copy)) => (Some(cap.build().map_err(control("cap_rate"))?), Some(copy)),
            None => (None, None),
        };
        let interrupter = self.interrupter.clone().ok_or(BuildError::NoInterrupter)?;
        let on_skip = self.on_skip.unwrap_or_default();
        Ok(Some(Scaling::new(scaler, limiter, on_skip, interrupter, copy)))
    }

    /// Casts the model to half precision where that is asked for.
    fn cast_model(&mut self, scales: bool) -> Result<(), BuildError> {
        let Some(dtype) = self.precision else {
            if self.precision_except.is_some() {
                return Err(BuildError::Needs {
                    part: "half_precision_except",
                    needs: "half_precision",
                });
            }
            return match scales && has_half_parameters(&self.model) {
                true => Err(BuildError::NoMasterWeights),
                false => Ok(()),
            };
        };
        if !matches!(dtype, FloatDType::F16 | FloatDType::BF16) {
            return Err(BuildError::NotHalf { dtype });
        }
        let lacks = |device: &&Device| !device.supports_dtype(DType::from(dtype));
        if let Some(device) = self.model.devices().iter().find(lacks) {
            let device = format!("{:?}", device.clone().inner());
            return Err(BuildError::PrecisionUnsupported { device, dtype });
        }
        let kept = self.precision_except.take().unwrap_or_default();
        self.model = to_precision_except(self.model.clone(), dtype, &kept)?;
        Ok(())
    }
}

/// Goes on with what a checkpoint kept, whose schedule may start anew.
fn resumed(scaling: Scaling, kept: Kept, next_step: u64) -> Result<Scaling, BuildError> {
    scaling
        .resumed(kept, next_step == 0)
        .map_err(|source| BuildError::Control { part: "loss_scaling", source })
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
