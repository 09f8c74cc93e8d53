//! Builds a training from a model, an optimizer and a schedule: for `launch`, Burn's own loop, or a custom loop.

mod parts;
mod private;

pub(crate) use parts::{Driver, FINITE_GUARD, For, Parts, Passes};

use crate::annealed::Annealed;
use crate::average::{Average, Recompute, Weights, recompute_over};
use crate::build_error::BuildError;
use crate::checkpoint::{Checkpoint, Checkpoints, Records};
use crate::groups::{Explanation, GroupsConfig, Selection};
use crate::optimizers::Optimizers;
use crate::precision::{HalfPrecision, LossScaling, OverflowCap, OwnCast, own_cast};
use crate::resume::OnMismatch;
use crate::snapshots::Snapshots;
use crate::training_loop::TrainingLoop;
use crate::update::{
    CopyItem, LogUpdates, LossOf, OnSkip, RunMetrics, Watch, copy_of, is_known_output, known_loss,
};
use anneal_config::{GradientReduction, NotFinite, TrainingConfig};
use anneal_control::Describe;
use anneal_schedule::{RateDrop, RunLength, ScheduleConfig, ScheduleExt, WeightDecay};
use burn::data::dataloader::DataLoader;
use burn::module::Module;
use burn::optim::Optimizer;
use burn::tensor::FloatDType;
use burn::train::{
    ExecutionStrategy, InferenceStep, Interrupter, Learner, LearnerModel, TrainStep,
};
use private::OfPrivacy;
use serde::{Deserialize, Serialize};
use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Builds a training with a schedule: [`launch`](Self::launch) trains with Burn's `SupervisedTraining`,
/// [`build`](Self::build) makes a `Learner` for Burn's own loop, [`build_loop`](Self::build_loop) a [`TrainingLoop`]
/// for a custom loop, and [`build_private_loop`](Self::build_private_loop) one for differentially private training.
///
/// Required parts are arguments, optional parts are calls; everything is checked before training. A clone starts its
/// own run, with the same model, optimizer and settings.
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
    config: TrainingConfig,
    /// Controllers added to those of the description.
    controllers: Vec<NamedController>,
    pub(crate) run: Option<RunLength>,
    of_privacy: Option<OfPrivacy>,
    loss_of: LossOf,
    knows_loss: bool,
    copy_item: Option<CopyItem>,
    casts: HashMap<TypeId, OwnCast>,
    on_mismatch: OnMismatch,
    resume_from: Option<Checkpoint>,
    resume: Resume,
    pub(crate) checkpoints: Option<Checkpoints>,
    snapshots: Option<Snapshots>,
    /// The number of batches for running statistics, and how to recompute these.
    statistics: Option<(usize, Recompute<M>)>,
    pub(crate) execution: Option<Arc<ExecutionStrategy>>,
    metrics: Vec<RunMetrics>,
    log: Option<LogUpdates>,
    watch: OwnWatch,
}

impl<M> fmt::Debug for LearnerBuilder<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LearnerBuilder")
            .field("config", &self.config)
            .field("run", &self.run)
            .finish_non_exhaustive()
    }
}

/// The description of a controller, and its name.
pub(crate) type NamedController = (String, Arc<dyn Describe>);

/// A watch that a clone of the builder does not share, because it starts its own run.
#[derive(Default)]
struct OwnWatch(Watch);

impl Clone for OwnWatch {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Whether a run resumes from a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resume {
    /// Starts anew.
    #[default]
    Never,
    /// Resumes from the newest complete checkpoint; starts anew if there is none yet.
    Newest,
}

impl<M: Module> LearnerBuilder<M> {
    /// A builder for a model on an autodiff device, a bare optimizer like `AdamWConfig::new().build()` (without
    /// Burn's per-tensor gradient clipping; see [`clip_global_norm`](Self::clip_global_norm)), and a schedule or a
    /// whole [`TrainingConfig`], for example from a file:
    ///
    /// ```no_run
    /// # use burn::train::{LearnerModel, SupervisedTraining};
    /// use burn::optim::AdamWConfig;
    /// use burn_anneal::prelude::*;
    ///
    /// # fn train<M: LearnerModel>(training: SupervisedTraining<M>, model: M) -> Result<M, Box<dyn std::error::Error>> {
    /// let config = TrainingConfig::load("train.toml")?;
    /// let optimizer = AdamWConfig::new().with_weight_decay(0.0).build();
    /// let result = LearnerBuilder::new(model, optimizer, config).launch(training)?;
    /// # Ok(result.model)
    /// # }
    /// ```
    pub fn new(model: M, optimizer: impl Optimizer, training: impl Into<TrainingConfig>) -> Self {
        Self {
            model,
            optimizers: Optimizers::new(optimizer),
            config: training.into(),
            controllers: vec![],
            run: None,
            of_privacy: None,
            loss_of: Arc::new(known_loss),
            knows_loss: false,
            copy_item: None,
            casts: HashMap::new(),
            on_mismatch: OnMismatch::Refuse,
            resume_from: None,
            resume: Resume::Never,
            checkpoints: None,
            snapshots: None,
            statistics: None,
            execution: None,
            metrics: vec![],
            log: None,
            watch: OwnWatch::default(),
        }
    }

    /// The length of the run. [`launch`](Self::launch) takes it from the training, and checks that this one agrees;
    /// [`build`](Self::build) and [`build_loop`](Self::build_loop) need it.
    pub fn run(mut self, run: RunLength) -> Self {
        self.run = Some(run);
        self
    }

    /// Makes updates in one pass on the `flex` backend, for the optimizers of [`Fused`](crate::Fused), or in Burn's tensor
    /// operations; by default in one pass. The numbers are the same.
    pub fn fused(mut self, fused: bool) -> Self {
        self.optimizers.is_fused = fused;
        self
    }

    /// Another optimizer for the selected parameters, for example Muon for matrices and AdamW for the rest. If several
    /// select a parameter, the last one counts. Rates and weight decay still come from the groups.
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
        self.config.groups = Some(groups);
        self
    }

    /// Decoupled weight decay for all parameters, in place of the optimizer's own: a number, as in torch's AdamW,
    /// or another policy, see [`WeightDecay`]. Groups may have their own.
    pub fn weight_decay(mut self, weight_decay: impl Into<WeightDecay>) -> Self {
        self.config.weight_decay = Some(weight_decay.into());
        self
    }

    /// Parameters without weight decay, for example [`Selection::biases_and_norms`].
    pub fn no_weight_decay(mut self, selection: Selection) -> Self {
        self.config.no_weight_decay = selection;
        self
    }

    /// The momentum, or β₁, of each update; below 1. The optimizer must follow it: a
    /// [`ScheduledAdam`](crate::momentum::ScheduledAdam),
    /// a [`ScheduledMomentum`](crate::momentum::ScheduledMomentum), or a
    /// [`RateInsideSgd`](crate::momentum::RateInsideSgd).
    pub fn momentum(mut self, momentum: impl Into<ScheduleConfig>) -> Self {
        self.config.momentum = Some(momentum.into());
        self
    }

    /// What happens to the momentum when the rate drops, for a
    /// [`RateInsideSgd`](crate::momentum::RateInsideSgd).
    pub fn rate_drop(mut self, rate_drop: RateDrop) -> Self {
        self.config.rate_drop = Some(rate_drop);
        self
    }

    /// Clips gradients by their global norm, after [`gradient_reduction`](Self::gradient_reduction): see
    /// [`GlobalNormClip`](crate::GlobalNormClip).
    pub fn clip_global_norm(mut self, max_norm: f64) -> Self {
        self.config.clip_global_norm = Some(max_norm);
        self
    }

    /// Whether an update uses the sum (the default, Burn's) or the mean of the gradients of its
    /// accumulated batches and devices.
    pub fn gradient_reduction(mut self, reduction: GradientReduction) -> Self {
        self.config.gradient_reduction = reduction;
        self
    }

    /// Trains in f16 or bf16, with master weights in f32 for any optimizer: see [`HalfPrecision`]. The master
    /// weights start from the model's weights before rounding.
    pub fn half_precision(mut self, half: HalfPrecision) -> Self {
        self.config.half_precision = Some(half);
        self
    }

    /// Scales the loss of a model in f32 before the backward pass, and skips updates whose gradients overflow: see
    /// [`LossScaling`]. In half precision, use [`HalfPrecision::loss_scaling`].
    ///
    /// All batches of an update share one scale. It costs a sum over the gradients, shared with
    /// [`clip_global_norm`](Self::clip_global_norm), and one read from the device per update.
    pub fn loss_scaling(mut self, scaling: LossScaling) -> Self {
        self.config.loss_scaling = Some(scaling);
        self
    }

    /// Adds a named controller, which reacts to each update: one from [`control`](crate::control), or your own, see
    /// [`Controller`](crate::control::Controller). Several are called in this order, after loss scaling and before
    /// [`overflow_cap`](Self::overflow_cap).
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

    /// The lowest rate that controllers may set. A lower rate of a schedule stays as it is, and
    /// [`overflow_cap`](Self::overflow_cap) and the caps of groups may still go lower.
    pub fn rate_floor(mut self, rate: f64) -> Self {
        self.config.rate_floor = Some(rate);
        self
    }

    /// Caps the rate of all groups so that the next scaled gradient does not overflow: see [`OverflowCap`]. It is
    /// called last, under the name `overflow cap`.
    ///
    /// Each update is tried once to see how far it moves the weights, and repeated, with one more read, if that is
    /// too far. This needs a second copy of the weights and of the optimizer's state during the update. A measured
    /// smoothness needs a copy of the batch, for which a learner needs [`repeat_batches`](Self::repeat_batches), and
    /// one more forward and backward pass every k updates; dropout and other randomness in the model then count as
    /// curvature.
    pub fn overflow_cap(mut self, cap: OverflowCap) -> Self {
        self.config.overflow_cap = Some(cap);
        self
    }

    /// How a skipped update affects the schedule: see [`OnSkip`].
    pub fn on_skip(mut self, on_skip: OnSkip) -> Self {
        self.config.on_skip = Some(on_skip);
        self
    }

    /// What happens to an update whose gradients are infinite or NaN, without loss scaling: see [`NotFinite`].
    pub fn not_finite(mut self, not_finite: NotFinite) -> Self {
        self.config.not_finite = not_finite;
        self
    }

    /// Stops the run if a trained parameter gets no gradient in the first `updates` updates; 100 by default, `None` for
    /// never, for example if experts are rarely chosen.
    pub fn expect_gradients_within(mut self, updates: impl Into<Option<u64>>) -> Self {
        self.config.expect_gradients_within = updates.into();
        self
    }

    /// Delays the signals of controllers by one update, so that the device never waits for the host. A loss that
    /// jumps at update t changes the rate of update t + 1, not of t. Not allowed with a controller that decides
    /// about the current update, for example loss scaling.
    pub fn delay_signals(mut self) -> Self {
        self.config.delay_signals = true;
        self
    }

    /// Resumes from the newest checkpoint in the folder of [`checkpoints`](Self::checkpoints), for
    /// [`launch`](Self::launch): see [`Resume`].
    pub fn resume(mut self, resume: Resume) -> Self {
        self.resume = resume;
        self
    }

    /// Resumes from this checkpoint, which is checked before anything is loaded. Burn loads a learner of
    /// [`build`](Self::build): pass the epoch to `SupervisedTraining::checkpoint` too, or the first update fails.
    pub fn resume_from(mut self, saved: &Checkpoint) -> Self {
        self.resume_from = Some(saved.clone());
        self
    }

    /// What to do if the resumed run differs from the saved one: see [`OnMismatch`].
    pub fn on_mismatch(mut self, on_mismatch: OnMismatch) -> Self {
        self.on_mismatch = on_mismatch;
        self
    }

    /// Where [`launch`](Self::launch) saves checkpoints, and whether in mid-epoch too: see [`Checkpoints`].
    /// Replaces the training's own checkpointers.
    pub fn checkpoints(mut self, checkpoints: Checkpoints) -> Self {
        self.checkpoints = Some(checkpoints);
        self
    }

    /// Saves the model at the end of each cycle of the schedule, or at an interval, in its own file: see [`Snapshots`].
    pub fn snapshots(mut self, snapshots: Snapshots) -> Self {
        self.snapshots = Some(snapshots);
        self
    }

    /// Averages the weights of the run: see [`Average`]. If several averages select a parameter, the last one counts.
    ///
    /// Validation, the choice of the best checkpoint, snapshots and the model of the result then use the averages,
    /// unless [`evaluate_with`](Self::evaluate_with) says otherwise; training continues with the raw weights.
    /// Checkpoints hold both. Running statistics of batch norms are those of the raw weights; see
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
        self.config.averages.push(average);
        self
    }

    /// Which weights are evaluated with averages or a schedule-free optimizer; the averages by default. To evaluate the
    /// others, pass [`with_weights`](crate::Monitored::with_weights) to [`evaluate`](crate::evaluate).
    pub fn evaluate_with(mut self, weights: Weights) -> Self {
        self.config.evaluate_with = Some(weights);
        self
    }

    /// Averages running statistics like the weights, as timm's `ModelEmaV3` does, and everything else that the model
    /// does not train, including a frozen base: by the last average of the whole model, or the first if there is none.
    pub fn average_statistics(mut self) -> Self {
        self.config.average_statistics = true;
        self
    }

    /// Where [`launch`](Self::launch) trains; on the device of the model by default. Of several devices, the first
    /// updates the model with the sum of all gradients, in the order of the devices.
    ///
    /// Replaces the training's `with_training_strategy`, which `launch` uses itself.
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

    /// Explains what each group trains at in the first update of a run of this length, before anything trains.
    ///
    /// ```no_run
    /// # use burn::module::Module;
    /// # use burn_anneal::prelude::*;
    /// # fn show<M: Module>(builder: &LearnerBuilder<M>) -> Result<(), BuildError> {
    /// println!("{}", builder.explain(RunLength::from_items(50_000, 64).epochs(10))?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`BuildError`] if the schedule or the groups do not fit the run or the model.
    pub fn explain(&self, run: RunLength) -> Result<Explanation, BuildError> {
        self.check_file(run)?;
        let schedule = self.config.schedule.clone().resolve(run)?;
        Ok(self.resolve_groups(&schedule, run)?.0.explain(0))
    }

    /// Watches the run that [`launch`](Self::launch) trains, during and after training.
    pub fn watch(&self) -> Watch {
        self.watch.0.clone()
    }

    /// Checks all parts and builds a custom loop, resumed if requested.
    ///
    /// # Errors
    /// [`BuildError`] names the part, the field, and what is allowed.
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

    /// This builder for copies of a run, which write no files.
    pub(crate) fn traceless(self) -> Self {
        let mut config = self.config;
        config.averages.clear();
        config.average_statistics = false;
        config.evaluate_with = None;
        let bare = Self { config, statistics: None, ..self };
        Self { log: None, metrics: vec![], snapshots: None, ..bare }
    }

    fn run_of_loop(&self) -> Result<RunLength, BuildError> {
        self.run.ok_or(BuildError::NoRun)
    }

    /// The records of the checkpoint of `resume_from`.
    fn named_records(&self) -> Result<Option<(Checkpoint, Records)>, BuildError> {
        let Some(saved) = &self.resume_from else { return Ok(None) };
        Ok(Some((saved.clone(), saved.read()?)))
    }

    /// The records of the checkpoint to resume from, including the newest.
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
    /// Checks all parts and builds a learner for Burn's own loop. `interrupter` is
    /// `training.interrupter()`: it stops a run that cannot continue, and the result's `error` says why.
    ///
    /// The run is checked against Burn's loop: the first update with another number of batches, or the first epoch with
    /// another number of updates, stops it. [`launch`](Self::launch) takes these numbers from the training instead.
    ///
    /// # Errors
    /// [`BuildError`] names the part, the field, and what is allowed.
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

    /// What the model's own passes provide for controllers.
    pub(crate) fn passes(&self) -> Passes {
        let known = self.knows_loss || is_known_output(TypeId::of::<<M as TrainStep>::Output>());
        Passes { knows_loss: known, copies_batches: self.copy_item.is_some() }
    }
}

impl<M: InferenceStep + Module> LearnerBuilder<M> {
    /// Recomputes running statistics for averaged weights each time they are evaluated, by forward passes over the
    /// first `batches` of a loader, at least 1: see [`recompute_statistics`](crate::recompute_statistics()). Usually
    /// the training data, batched as for validation; the loader may be on any device. Snapshots and
    /// [`Checkpoint::load_averaged`](crate::Checkpoint::load_averaged) have the statistics of the raw weights.
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
    /// Finds the loss in the output of `TrainStep::step`, for controllers that need it. Not needed for Burn's own
    /// outputs.
    pub fn loss(
        mut self,
        loss: impl Fn(&M::Output) -> burn::tensor::Tensor<1> + Send + Sync + 'static,
    ) -> Self {
        self.loss_of = Arc::new(move |output| output.downcast_ref::<M::Output>().map(&loss));
        self.knows_loss = true;
        self
    }

    /// Copies batches for controllers that repeat them after the update, for example
    /// [`OverflowCap::measured_every`].
    pub fn repeat_batches(mut self) -> Self
    where
        M::Input: Clone,
    {
        self.copy_item = Some(copy_of::<M::Input>);
        self
    }

    /// How to cast your own batch type to the precision of the model, for [`half_precision`](Self::half_precision) of a
    /// model that does not cast it. A tensor, and the first item of a pair, are cast without this call; if training and
    /// validation have different batch types, call it for each.
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
