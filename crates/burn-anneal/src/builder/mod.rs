//! From a model, an optimizer and a schedule to what trains: Burn's loop and ours, or a loop of one's own.

mod parts;
mod private;

pub(crate) use parts::{Driver, FINITE_GUARD, For, Parts, Passes};

use crate::annealed::Annealed;
use crate::average::{Average, Recompute, Weights, recompute_over};
use crate::build_error::BuildError;
use crate::checkpoint::{Checkpoint, Checkpoints, Records};
use crate::groups::{GroupsConfig, Selection};
use crate::optimizers::Optimizers;
use crate::precision::{HalfPrecision, LossScaling, OverflowCap, OwnCast, own_cast};
use crate::resume::OnMismatch;
use crate::snapshots::Snapshots;
use crate::training_loop::TrainingLoop;
use crate::update::{
    CopyItem, LogUpdates, LossOf, OnSkip, RunMetrics, Watch, copy_of, is_known_output, known_loss,
};
use anneal_control::Describe;
use anneal_schedule::{RateDrop, RunLength, ScheduleConfig, WeightDecay};
use burn::data::dataloader::DataLoader;
use burn::module::Module;
use burn::optim::Optimizer;
use burn::tensor::FloatDType;
use burn::train::{
    ExecutionStrategy, InferenceStep, Interrupter, Learner, LearnerModel, TrainStep,
};
use private::OfPrivacy;
use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Builds what trains under a schedule: [`launch`](Self::launch) trains with Burn's `SupervisedTraining`,
/// [`build`](Self::build) makes a `Learner` for Burn's own loop, [`build_loop`](Self::build_loop) a [`TrainingLoop`] of
/// one's own, and [`build_private_loop`](Self::build_private_loop) one whose training is differentially private.
///
/// What is required is an argument, what is optional a call; everything is checked before training. A clone begins a run
/// of its own, with the same model, optimizer and all the rest.
///
/// ```no_run
/// # use burn::train::{LearnerModel, SupervisedTraining};
/// use burn::optim::AdamWConfig;
/// use burn_anneal::prelude::*;
///
/// # fn train<M: LearnerModel>(training: SupervisedTraining<M>, model: M) -> Result<M, BuildError> {
/// let optimizer = AdamWConfig::new().with_weight_decay(0.02).build();
/// let result = LearnerBuilder::new(model, optimizer, cosine(4e-3).warmup(Span::percent(10.0)))
///     .clip_global_norm(1.0)
///     .launch(training.num_epochs(20))?;
/// # Ok(result.model)
/// # }
/// ```
#[must_use]
#[derive(Clone)]
pub struct LearnerBuilder<M> {
    pub(crate) model: M,
    optimizers: Optimizers,
    schedule: ScheduleConfig,
    pub(crate) run: Option<RunLength>,
    groups: Option<GroupsConfig>,
    /// What is said of the whole model, in groups or not.
    whole: GroupsConfig,
    max_norm: Option<f64>,
    reduction: GradientReduction,
    half: Option<HalfPrecision>,
    loss_scaling: Option<LossScaling>,
    overflow_cap: Option<OverflowCap>,
    controllers: Vec<NamedController>,
    of_privacy: Option<OfPrivacy>,
    rate_floor: Option<f64>,
    on_skip: Option<OnSkip>,
    not_finite: NotFinite,
    gradients_within: Option<u64>,
    delayed: bool,
    loss_of: LossOf,
    knows_loss: bool,
    copy_item: Option<CopyItem>,
    casts: HashMap<TypeId, OwnCast>,
    on_mismatch: OnMismatch,
    resume_from: Option<Checkpoint>,
    resume: Resume,
    pub(crate) checkpoints: Option<Checkpoints>,
    snapshots: Option<Snapshots>,
    averages: Vec<Average>,
    evaluate_with: Option<Weights>,
    averages_statistics: bool,
    /// Over how many batches running statistics are made, and how.
    statistics: Option<(usize, Recompute<M>)>,
    pub(crate) execution: Option<Arc<ExecutionStrategy>>,
    metrics: Vec<RunMetrics>,
    log: Option<LogUpdates>,
    watch: OwnWatch,
}

impl<M> fmt::Debug for LearnerBuilder<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LearnerBuilder")
            .field("schedule", &self.schedule)
            .field("run", &self.run)
            .field("groups", &self.groups)
            .finish_non_exhaustive()
    }
}

/// The description of a controller, and its name.
pub(crate) type NamedController = (String, Arc<dyn Describe>);

/// A watch that a copy of the builder does not share, because it begins a run of its own.
#[derive(Default)]
struct OwnWatch(Watch);

impl Clone for OwnWatch {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Whether a run goes on from a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resume {
    /// It begins anew.
    #[default]
    Never,
    /// It goes on from the newest checkpoint that is whole; where there is none yet, it begins anew.
    Newest,
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

/// What becomes of an update whose gradients are infinite or NaN, without loss scaling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NotFinite {
    /// It is made, and reported: in the log, and in [`explain`](crate::Monitored::explain). What is reported is
    /// what is known anyway, the norm where gradients are clipped, or else the loss where it is
    /// [known](LearnerBuilder::loss), some updates later, so that the device does not wait.
    #[default]
    Report,
    /// It is skipped; the run stops where so many in a row were. It costs a sum over the gradients, and a read
    /// from the device for each update.
    Skip {
        /// The updates in a row at the last of which the run stops; at least 1.
        most: u64,
    },
    /// The run stops. It costs the same.
    Stop,
}

/// What [`LearnerBuilder::expect_gradients_within`] is unless said otherwise.
const GRADIENTS_WITHIN: u64 = 100;

impl<M: Module> LearnerBuilder<M> {
    /// With a model, made on an autodiff device; a bare optimizer, as `AdamWConfig::new().build()` (Burn's
    /// per-tensor gradient clipping is no part of it; see [`clip_global_norm`](Self::clip_global_norm)); and the
    /// description of the schedule.
    pub fn new(model: M, optimizer: impl Optimizer, schedule: impl Into<ScheduleConfig>) -> Self {
        Self {
            model,
            optimizers: Optimizers::new(optimizer),
            schedule: schedule.into(),
            run: None,
            groups: None,
            whole: GroupsConfig::new(),
            max_norm: None,
            reduction: GradientReduction::Sum,
            half: None,
            loss_scaling: None,
            overflow_cap: None,
            controllers: vec![],
            of_privacy: None,
            rate_floor: None,
            on_skip: None,
            not_finite: NotFinite::Report,
            gradients_within: Some(GRADIENTS_WITHIN),
            delayed: false,
            loss_of: Arc::new(known_loss),
            knows_loss: false,
            copy_item: None,
            casts: HashMap::new(),
            on_mismatch: OnMismatch::Refuse,
            resume_from: None,
            resume: Resume::Never,
            checkpoints: None,
            snapshots: None,
            averages: vec![],
            evaluate_with: None,
            averages_statistics: false,
            statistics: None,
            execution: None,
            metrics: vec![],
            log: None,
            watch: OwnWatch::default(),
        }
    }

    /// The length of the run. [`launch`](Self::launch) learns it from the training, and compares what is said here
    /// with it; [`build`](Self::build) and [`build_loop`](Self::build_loop) need it.
    pub fn run(mut self, run: RunLength) -> Self {
        self.run = Some(run);
        self
    }

    /// Another optimizer for the parameters of a selection: Muon for matrices, AdamW for the rest. A parameter that
    /// several select has the last. Rates and decays are those of the groups all the same.
    ///
    /// ```no_run
    /// # use burn::module::Module;
    /// use burn::optim::{AdamWConfig, MuonConfig};
    /// use burn_anneal::groups::Selection;
    /// use burn_anneal::prelude::*;
    ///
    /// # fn build<M: Module>(model: M, run: RunLength) -> Result<(), BuildError> {
    /// let training = LearnerBuilder::new(model, AdamWConfig::new().build(), cosine(1e-3))
    ///     .run(run)
    ///     .optimizer_for(Selection::regex("blocks.*weight$"), MuonConfig::new().build())
    ///     .groups(GroupsConfig::new().group(Group::new("muon", "blocks.*weight$").multiple(20.0)).group(Group::rest("rest")))
    ///     .build_loop()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn optimizer_for(
        mut self,
        selection: impl Into<Selection>,
        optimizer: impl Optimizer,
    ) -> Self {
        self.optimizers.add(selection.into(), optimizer);
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

    /// Clips by the norm of all gradients together: see [`GlobalNormClip`](crate::GlobalNormClip). After
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

    /// Trains in f16 or bf16, with master weights in f32 for any optimizer: see [`HalfPrecision`]. The masters begin
    /// with the model's own weights, before they are rounded.
    pub fn half_precision(mut self, half: HalfPrecision) -> Self {
        self.half = Some(half);
        self
    }

    /// Scales the loss before the backward pass in a model that is in f32, and skips updates whose gradients
    /// overflow: see [`LossScaling`]. In half precision it is [`HalfPrecision::loss_scaling`].
    ///
    /// One scale serves all batches of an update. It costs a sum over the gradients, which
    /// [`clip_global_norm`](Self::clip_global_norm) shares, and one read from the device for each update.
    pub fn loss_scaling(mut self, scaling: LossScaling) -> Self {
        self.loss_scaling = Some(scaling);
        self
    }

    /// A controller, under a name, which hears of each update and answers: a description of
    /// [`control`](crate::control), or one of your own, see [`Controller`](crate::control::Controller). Any number, which
    /// hear in this order, after loss scaling and before [`overflow_cap`](Self::overflow_cap).
    ///
    /// ```no_run
    /// # use burn::module::Module;
    /// use burn::optim::SgdConfig;
    /// use burn_anneal::control::{MetricOf, Plateau};
    /// use burn_anneal::prelude::*;
    ///
    /// # fn build<M: Module>(model: M, run: RunLength) -> Result<(), BuildError> {
    /// let plateau = Plateau::min(MetricOf::valid("Loss")).factor(0.5).patience(3);
    /// let training = LearnerBuilder::new(model, SgdConfig::new().build(), constant(0.1).warmup(Span::epochs(2)))
    ///     .run(run)
    ///     .controller("plateau", plateau.on_group("head").after(Span::epochs(2)))
    ///     .build_loop()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn controller(mut self, name: impl Into<String>, controller: impl Describe) -> Self {
        self.controllers.push((name.into(), Arc::new(controller)));
        self
    }

    /// What the factors of controllers may not take any rate below; a rate that its schedule has below it stays
    /// there. [`overflow_cap`](Self::overflow_cap) and the caps of groups may.
    pub fn rate_floor(mut self, rate: f64) -> Self {
        self.rate_floor = Some(rate);
        self
    }

    /// Caps the rate of all groups so that the next scaled gradient does not overflow: see [`OverflowCap`]. It hears
    /// last, under the name `overflow cap`.
    ///
    /// Each update is made once, to see how far it moves the weights, and again, with one more read, where that
    /// is too far: that takes a second copy of the weights and of the optimizer's state while it runs. A
    /// smoothness that is measured takes a copy of the batch, for which a learner needs
    /// [`repeat_batches`](Self::repeat_batches), and a forward and a backward pass more every k updates; dropout and
    /// other randomness in the model then counts as curvature.
    pub fn overflow_cap(mut self, cap: OverflowCap) -> Self {
        self.overflow_cap = Some(cap);
        self
    }

    /// What a skipped update does to the schedule: see [`OnSkip`].
    pub fn on_skip(mut self, on_skip: OnSkip) -> Self {
        self.on_skip = Some(on_skip);
        self
    }

    /// What becomes of an update whose gradients are infinite or NaN, without loss scaling: see [`NotFinite`].
    pub fn not_finite(mut self, not_finite: NotFinite) -> Self {
        self.not_finite = not_finite;
        self
    }

    /// Stops the run where a parameter that its group trains got no gradient in any of the first so many updates;
    /// 100 unless said otherwise, and `None` for never, as where experts are seldom chosen.
    pub fn expect_gradients_within(mut self, updates: impl Into<Option<u64>>) -> Self {
        self.gradients_within = updates.into();
        self
    }

    /// Lets controllers hear of the update before the one that they answer to, so that the device never waits for
    /// the host: what was measured is read one update later. A loss that jumps at update t changes the rate of
    /// update t + 1, not that of t. Refused where a controller decides about the very update that it hears of, as
    /// loss scaling does.
    pub fn delay_signals(mut self) -> Self {
        self.delayed = true;
        self
    }

    /// Goes on from the newest checkpoint in the folder of [`checkpoints`](Self::checkpoints), for
    /// [`launch`](Self::launch): see [`Resume`].
    pub fn resume(mut self, resume: Resume) -> Self {
        self.resume = resume;
        self
    }

    /// Goes on from this checkpoint, which is checked before anything is loaded. A learner of [`build`](Self::build)
    /// is loaded by Burn: give its epoch to `SupervisedTraining::checkpoint` too, or the first update fails.
    pub fn resume_from(mut self, saved: &Checkpoint) -> Self {
        self.resume_from = Some(saved.clone());
        self
    }

    /// What to do where the run that is resumed is not quite the one that was saved: see [`OnMismatch`].
    pub fn on_mismatch(mut self, on_mismatch: OnMismatch) -> Self {
        self.on_mismatch = on_mismatch;
        self
    }

    /// Where [`launch`](Self::launch) saves checkpoints, and whether in mid-epoch too: see [`Checkpoints`]. In the
    /// place of the training's own checkpointers.
    pub fn checkpoints(mut self, checkpoints: Checkpoints) -> Self {
        self.checkpoints = Some(checkpoints);
        self
    }

    /// Leaves the model at the end of each cycle of the schedule, or every so often, in a file of its own: see [`Snapshots`].
    pub fn snapshots(mut self, snapshots: Snapshots) -> Self {
        self.snapshots = Some(snapshots);
        self
    }

    /// Averages the weights of the run: see [`Average`]. Several, of which the last that selects a parameter counts.
    ///
    /// Validation, the choice of the best checkpoint, snapshots and the model of the result then have the averages
    /// unless [`evaluate_with`](Self::evaluate_with) says otherwise; training goes on with the weights. Checkpoints hold
    /// both. Running statistics of batch norms are those of the weights that train; see
    /// [`average_statistics`](Self::average_statistics) and [`recompute_statistics`](Self::recompute_statistics).
    ///
    /// ```no_run
    /// # use burn::train::{LearnerModel, SupervisedTraining};
    /// use burn_anneal::prelude::*;
    ///
    /// # fn train<M: LearnerModel>(builder: LearnerBuilder<M>, training: SupervisedTraining<M>) -> Result<M, BuildError> {
    /// builder.average(Average::half_life(Span::epochs(2))).launch(training)?.finished()
    /// # }
    /// ```
    pub fn average(mut self, average: Average) -> Self {
        self.averages.push(average);
        self
    }

    /// Which weights are evaluated where there are averages, or a schedule-free optimizer: the averages, unless said
    /// otherwise. [`evaluate`](crate::evaluate) of [`with_weights`](crate::Monitored::with_weights) gives what the
    /// others achieve.
    pub fn evaluate_with(mut self, weights: Weights) -> Self {
        self.evaluate_with = Some(weights);
        self
    }

    /// Averages running statistics as the weights are, as timm's `ModelEmaV3` does, and whatever else the model does
    /// not train, a frozen base too: by the last average of the whole model, or the first where there is none.
    pub fn average_statistics(mut self) -> Self {
        self.averages_statistics = true;
        self
    }

    /// Where [`launch`](Self::launch) trains: on the device of the model unless said otherwise. Of several devices
    /// the first updates the model with the sum of all gradients, in the order of the devices.
    ///
    /// In the place of the training's `with_training_strategy`, which `launch` takes for itself.
    ///
    /// ```no_run
    /// # use burn::tensor::Device;
    /// # use burn::train::{ExecutionStrategy, LearnerModel, MultiDeviceOptim};
    /// # use burn_anneal::prelude::*;
    /// # fn on_two<M: LearnerModel>(builder: LearnerBuilder<M>, devices: Vec<Device>) -> LearnerBuilder<M> {
    /// builder.execution(ExecutionStrategy::multi(devices, MultiDeviceOptim::OptimMainDevice))
    /// # }
    /// ```
    pub fn execution(mut self, execution: ExecutionStrategy) -> Self {
        self.execution = Some(Arc::new(execution));
        self
    }

    /// Shows metrics of the updates in the dashboard and logs of [`launch`](Self::launch).
    pub fn metrics(mut self, metrics: impl IntoIterator<Item = RunMetrics>) -> Self {
        self.metrics.extend(metrics);
        self
    }

    /// Writes a line for each update into `updates.jsonl` in the folder of the run: see [`LogUpdates`].
    pub fn log_updates(mut self, log: impl Into<LogUpdates>) -> Self {
        self.log = Some(log.into());
        self
    }

    /// To look at the run that [`launch`](Self::launch) trains, while it trains and after it.
    pub fn watch(&self) -> Watch {
        self.watch.0.clone()
    }

    /// Checks all parts and builds a loop of one's own, resumed where that is asked for.
    ///
    /// # Errors
    /// [`BuildError`] says which part, which field of it, and what is allowed.
    pub fn build_loop(self) -> Result<TrainingLoop<M>, BuildError> {
        self.refuse_parts_of_launch()?;
        if !self.casts.is_empty() {
            return Err(BuildError::OnlyLaunch { part: "cast_inputs" });
        }
        let (run, saved) = (self.run_of_loop()?, self.named_records()?);
        let how = For { run, saved, driver: Driver::OwnLoop, passes: None, interrupter: None };
        let statistics = self.recompute();
        let Parts { model, updater, optimizer, scheduler } = self.parts(how)?;
        Ok(TrainingLoop::new(model, updater, optimizer, scheduler, statistics))
    }

    /// How averages get their running statistics.
    pub(crate) fn recompute(&self) -> Option<Recompute<M>> {
        self.statistics.as_ref().map(|(_, recompute)| recompute.clone())
    }

    /// As it is for copies, which leave nothing behind.
    pub(crate) fn traceless(self) -> Self {
        let (metrics, averages) = (vec![], vec![]);
        let bare = Self { averages, averages_statistics: false, statistics: None, ..self };
        Self { log: None, metrics, snapshots: None, evaluate_with: None, ..bare }
    }

    fn run_of_loop(&self) -> Result<RunLength, BuildError> {
        self.run.ok_or(BuildError::NoRun)
    }

    /// What the checkpoint that was named holds.
    fn named_records(&self) -> Result<Option<(Checkpoint, Records)>, BuildError> {
        let Some(saved) = &self.resume_from else { return Ok(None) };
        Ok(Some((saved.clone(), saved.read()?)))
    }

    /// What the checkpoint to go on from holds, where the newest is asked for too.
    pub(crate) fn records(&self) -> Result<Option<(Checkpoint, Records)>, BuildError> {
        match (self.resume, &self.resume_from, &self.checkpoints) {
            (Resume::Never, _, _) => self.named_records(),
            (Resume::Newest, Some(_), _) => Err(BuildError::ResumedTwice),
            (Resume::Newest, None, None) => {
                Err(BuildError::Needs { part: "resume", needs: "checkpoints" })
            }
            (Resume::Newest, None, Some(checkpoints)) => {
                Ok(Checkpoint::newest_records(checkpoints.directory())?)
            }
        }
    }

    fn refuse_parts_of_launch(&self) -> Result<(), BuildError> {
        let part = match self {
            Self { resume: Resume::Newest, .. } => "resume",
            Self { checkpoints: Some(_), .. } => "checkpoints",
            Self { execution: Some(_), .. } => "execution",
            Self { metrics, .. } if !metrics.is_empty() => "metrics",
            _ => return Ok(()),
        };
        Err(BuildError::OnlyLaunch { part })
    }
}

impl<M: LearnerModel> LearnerBuilder<M> {
    /// Checks all parts and builds a learner for Burn's own loop. `interrupter` is that of the training,
    /// `training.interrupter()`: with it a run that cannot go on is stopped, and the result's `error` says why.
    ///
    /// Burn's loop is asked for what it shows: the first update of other batches than the run says, or the first epoch
    /// of other updates, stops the run. [`launch`](Self::launch) takes such numbers from the training instead.
    ///
    /// # Errors
    /// [`BuildError`] says which part, which field of it, and what is allowed.
    pub fn build(self, interrupter: Interrupter) -> Result<Learner<Annealed<M>>, BuildError> {
        self.refuse_parts_of_launch()?;
        let (run, saved) = (self.run_of_loop()?, self.named_records()?);
        if run.has_ramp() {
            return Err(BuildError::OnlyLaunch {
                part: "gradient_accumulation_ramp or gradient_accumulation_steps",
            });
        }
        let (interrupter, passes) = (Some(interrupter), Some(self.passes()));
        let how = For { run, saved, driver: Driver::BurnsLoop, passes, interrupter };
        let statistics = self.recompute();
        let Parts { model, updater, optimizer, scheduler } = self.parts(how)?;
        Ok(Learner::new(Annealed::new(model, updater, statistics), optimizer, scheduler))
    }

    /// What controllers can have of a pass of the model's own.
    pub(crate) fn passes(&self) -> Passes {
        let known = self.knows_loss || is_known_output(TypeId::of::<<M as TrainStep>::Output>());
        Passes { knows_loss: known, copies_batches: self.copy_item.is_some() }
    }
}

impl<M: InferenceStep + Module> LearnerBuilder<M> {
    /// Gives averaged weights running statistics of their own each time that they are evaluated, by forward passes
    /// over the first `batches` of a loader, at least 1: see [`recompute_statistics`](crate::recompute_statistics()). Usually
    /// the training data, batched as for validation; the loader may be on any device. Snapshots, and what
    /// [`Checkpoint::load_averaged`](crate::Checkpoint::load_averaged) gives, have the statistics of the weights that train.
    pub fn recompute_statistics(
        mut self,
        loader: Arc<dyn DataLoader<<M as InferenceStep>::Input>>,
        batches: usize,
    ) -> Self
    where
        <M as InferenceStep>::Input: Clone + Send + Sync + 'static,
    {
        self.statistics = Some((batches, recompute_over(loader, batches)));
        self
    }
}

impl<M: TrainStep + Module> LearnerBuilder<M> {
    /// Where the loss is in the output of `TrainStep::step`, for controllers that need it; that of Burn's own
    /// outputs is known.
    pub fn loss(
        mut self,
        loss: impl Fn(&M::Output) -> burn::tensor::Tensor<1> + Send + Sync + 'static,
    ) -> Self {
        self.loss_of = Arc::new(move |output| output.downcast_ref::<M::Output>().map(&loss));
        self.knows_loss = true;
        self
    }

    /// Copies a batch where a controller looks at it again after the update, as
    /// [`OverflowCap::measured_every`] does.
    pub fn repeat_batches(mut self) -> Self
    where
        M::Input: Clone,
    {
        self.copy_item = Some(copy_of::<M::Input>);
        self
    }

    /// How to cast a batch of a type of your own to the precision of the model, for
    /// [`half_precision`](Self::half_precision) of a model that casts nothing. A tensor, and the first of a pair, are cast
    /// without; where training and validation have batches of two types, say it of each.
    ///
    /// ```no_run
    /// # use burn::tensor::Tensor;
    /// # use burn::train::LearnerModel;
    /// # use burn_anneal::prelude::*;
    /// struct Batch {
    ///     images: Tensor<4>,
    ///     names: Vec<String>,
    /// }
    ///
    /// # fn halved<M: LearnerModel>(builder: LearnerBuilder<M>) -> LearnerBuilder<M> {
    /// builder
    ///     .half_precision(HalfPrecision::f16())
    ///     .cast_inputs(|batch: Batch, dtype| Batch { images: batch.images.cast(dtype), ..batch })
    /// # }
    /// ```
    pub fn cast_inputs<I: 'static>(
        mut self,
        cast: impl Fn(I, FloatDType) -> I + Send + Sync + 'static,
    ) -> Self {
        self.casts.extend([own_cast(cast)]);
        self
    }
}
