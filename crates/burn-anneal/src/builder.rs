//! From a model, an optimizer, a schedule and the length of the run to Burn's `Learner`, or to a loop of one's
//! own.

use crate::annealed::Annealed;
use crate::build_error::BuildError;
use crate::checkpoint::{CheckpointError, SavedEpoch};
use crate::decay::DecayError;
use crate::groups::{Groups, GroupsConfig, Selection};
use crate::optimizers::Optimizers;
use crate::precision::{HalfPrecision, LossScaling, RateCap};
use crate::scheduler::OnMismatch;
use crate::training_loop::TrainingLoop;
use crate::update::{
    CopyItem, GlobalNormClip, Identity, Index, LossOf, OnSkip, Plan, Reports, Rescale, Slot, State,
    Updater, copy_of, half_parameters, is_known_output, known_loss, learner_scheduler, restore,
};
use anneal_control::{Controller, Controllers, FiniteGuard};
use anneal_schedule::{Build, RateDrop, RunLength, ScheduleConfig, WeightDecay};
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::{Module, ParamId};
use burn::optim::{ModuleOptimizer, Optimizer};
use burn::train::{Interrupter, Learner, LearnerModel, TrainStep};
use std::any::TypeId;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Builds what trains under a schedule: Burn's `Learner`, or a [`TrainingLoop`] of one's own.
///
/// What is required is an argument, what is optional a call; everything is checked in [`build`](Self::build).
///
/// ```no_run
/// # use burn::train::{LearnerModel, SupervisedTraining};
/// use burn::optim::AdamWConfig;
/// use burn_anneal::prelude::*;
///
/// # fn train<M: LearnerModel + 'static>(
/// #     training: SupervisedTraining<Annealed<M>>, model: M, items: usize,
/// # ) -> Result<(), BuildError> where M: burn::train::InferenceStep {
/// let run = RunLength::from_items(items, 64).epochs(20);
/// let optimizer = AdamWConfig::new().with_weight_decay(0.02).build();
/// let learner = LearnerBuilder::new(model, optimizer, cosine(4e-3).warmup(Span::percent(10.0)), run)
///     .clip_global_norm(1.0)
///     .build(training.interrupter())?;
/// // training.num_epochs(20).launch(learner)
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct LearnerBuilder<M> {
    model: M,
    optimizers: Optimizers,
    schedule: ScheduleConfig,
    run: RunLength,
    groups: Option<GroupsConfig>,
    /// What is said of the whole model, in groups or not.
    whole: GroupsConfig,
    max_norm: Option<f64>,
    reduction: GradientReduction,
    half: Option<HalfPrecision>,
    loss_scaling: Option<LossScaling>,
    rate_cap: Option<RateCap>,
    controllers: Controllers,
    on_skip: Option<OnSkip>,
    not_finite: NotFinite,
    gradients_within: Option<u64>,
    delayed: bool,
    loss_of: LossOf,
    knows_loss: bool,
    copy_item: Option<CopyItem>,
    on_mismatch: OnMismatch,
    resume_from: Option<SavedEpoch>,
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
    /// per-tensor gradient clipping is no part of it; see [`clip_global_norm`](Self::clip_global_norm)); the
    /// description of the schedule; and the length of the run, of which the epochs go to
    /// `SupervisedTraining::num_epochs` and the gradient accumulation to `grads_accumulation` too.
    pub fn new(
        model: M,
        optimizer: impl Optimizer,
        schedule: impl Into<ScheduleConfig>,
        run: RunLength,
    ) -> Self {
        Self {
            model,
            optimizers: Optimizers::new(optimizer),
            schedule: schedule.into(),
            run,
            groups: None,
            whole: GroupsConfig::new(),
            max_norm: None,
            reduction: GradientReduction::Sum,
            half: None,
            loss_scaling: None,
            rate_cap: None,
            controllers: Controllers::default(),
            on_skip: None,
            not_finite: NotFinite::Report,
            gradients_within: Some(GRADIENTS_WITHIN),
            delayed: false,
            loss_of: Arc::new(known_loss),
            knows_loss: false,
            copy_item: None,
            on_mismatch: OnMismatch::Exact,
            resume_from: None,
        }
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
    /// let training = LearnerBuilder::new(model, AdamWConfig::new().build(), cosine(1e-3), run)
    ///     .optimizer_for(Selection::path("blocks.*weight$"), MuonConfig::new().build())
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

    /// A controller, under a name, which hears of each update and answers: see [`Controller`]. Any number, which
    /// hear in this order, after loss scaling and before [`cap_rate`](Self::cap_rate).
    ///
    /// ```no_run
    /// # use burn::module::Module;
    /// use burn::optim::SgdConfig;
    /// use burn_anneal::control::Cooldown;
    /// use burn_anneal::prelude::*;
    ///
    /// # fn build<M: Module>(model: M, run: RunLength) -> Result<(), Box<dyn std::error::Error>> {
    /// let training = LearnerBuilder::new(model, SgdConfig::new().build(), cosine(0.1), run)
    ///     .controller("cooldown", Cooldown::after_non_finite_loss(100)?)
    ///     .build_loop()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn controller(mut self, name: impl Into<String>, controller: impl Controller) -> Self {
        self.controllers.add(name, controller);
        self
    }

    /// Caps the rate of all groups so that the next scaled gradient does not overflow: see [`RateCap`]. It hears
    /// last, under the name `rate cap`.
    ///
    /// Each update is made once, to see how far it moves the weights, and again, with one more read, where that
    /// is too far: that takes a second copy of the weights and of the optimizer's state while it runs. A
    /// smoothness that is measured takes a copy of the batch, for which a learner needs
    /// [`repeat_batches`](Self::repeat_batches), and a forward and a backward pass more every k updates; dropout and
    /// other randomness in the model then counts as curvature.
    pub fn cap_rate(mut self, cap: RateCap) -> Self {
        self.rate_cap = Some(cap);
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

    /// Names the checkpoint that training will resume from. A learner's is checked in [`build`](Self::build) and
    /// loaded by Burn: give its epoch to `SupervisedTraining::checkpoint` too. A loop's is loaded.
    pub fn resume_from(mut self, saved: &SavedEpoch) -> Self {
        self.resume_from = Some(saved.clone());
        self
    }

    /// What to do when the checkpoint was saved under another schedule.
    pub fn on_mismatch(mut self, on_mismatch: OnMismatch) -> Self {
        self.on_mismatch = on_mismatch;
        self
    }

    /// Checks all parts and builds a loop of one's own, resumed where that is asked for.
    ///
    /// # Errors
    /// [`BuildError`] says which part, which field of it, and what is allowed.
    pub fn build_loop(self) -> Result<TrainingLoop<M>, BuildError> {
        let saved = self.resume_from.clone();
        let Parts { mut model, updater, mut optimizer, scheduler } = self.parts(None)?;
        if let Some(saved) = saved {
            let loaded = model.try_load_record(saved.model()?);
            model = loaded.map_err(|error| saved.damaged("model", error))?;
            optimizer = optimizer.load_record(saved.optimizer()?);
        }
        Ok(TrainingLoop::new(model, updater, optimizer, scheduler))
    }
}

impl<M: LearnerModel> LearnerBuilder<M> {
    /// Checks all parts and builds the learner. `interrupter` is that of the training, `training.interrupter()`:
    /// with it a run that cannot go on is stopped, and the result's `error` says why.
    ///
    /// # Errors
    /// [`BuildError`] says which part, which field of it, and what is allowed.
    pub fn build(self, interrupter: Interrupter) -> Result<Learner<Annealed<M>>, BuildError> {
        self.check_of_learner()?;
        let Parts { model, updater, optimizer, scheduler } = self.parts(Some(interrupter))?;
        Ok(Learner::new(Annealed::new(model, updater), optimizer, scheduler))
    }

    /// What controllers need of a pass of Burn's.
    fn check_of_learner(&self) -> Result<(), BuildError> {
        let known = self.knows_loss || is_known_output(TypeId::of::<<M as TrainStep>::Output>());
        let scales = self.loss_scaling.is_some()
            || self.half.as_ref().is_some_and(|half| half.loss_scaling.is_some());
        let mut names = self.controllers.names();
        let of = |name: &str| self.controllers.needs_of(name).unwrap_or_default();
        if let Some(controller) = names.find(|name| of(name).loss && !known && !scales) {
            return Err(BuildError::LossUnknown { controller: controller.to_string() });
        }
        let cap_measures = self.rate_cap.is_some_and(|cap| cap.measures());
        let mut names = self.controllers.names();
        let again = names.find(|name| of(name).batch_again.is_some());
        let again = again.or(cap_measures.then_some(RATE_CAP));
        match again.filter(|_| self.copy_item.is_none()) {
            Some(controller) => {
                Err(BuildError::NoBatchAgain { controller: controller.to_string() })
            }
            None => Ok(()),
        }
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
    /// [`RateCap::measured_every`] does.
    pub fn repeat_batches(mut self) -> Self
    where
        M::Input: Clone,
    {
        self.copy_item = Some(copy_of::<M::Input>);
        self
    }
}

/// The name of loss scaling among the controllers.
const LOSS_SCALE: &str = "loss scale";
/// That of what skips updates that are not finite.
const FINITE_GUARD: &str = "finite guard";
/// That of the cap on the rate.
const RATE_CAP: &str = "rate cap";

/// What trains, checked.
struct Parts<M> {
    model: M,
    updater: Updater,
    optimizer: ModuleOptimizer,
    scheduler: ModuleLrScheduler,
}

/// Tells the learners of a program apart.
static LEARNERS: AtomicU64 = AtomicU64::new(0);

impl<M: Module> LearnerBuilder<M> {
    fn parts(mut self, interrupter: Option<Interrupter>) -> Result<Parts<M>, BuildError> {
        let controllers = self.all_controllers()?;
        let schedule = self.schedule.clone().resolve(self.run)?;
        let clip = self.max_norm.map(GlobalNormClip::new).transpose()?;
        if !self.model.devices().iter().all(|device| device.is_autodiff()) {
            return Err(BuildError::NotAutodiff);
        }
        let original = self.model.clone();
        let masters = self.cast_model(controllers.loss_scale().is_some())?;
        let groups = GroupsConfig::with_whole(self.groups.take(), self.whole.clone())
            .map_err(|part| BuildError::GivenTwice { part })?;
        let asked_for_groups = groups.is_some();
        let groups = groups.unwrap_or_default();
        let has_masters = self.half.is_some();
        let groups = groups.resolve_for(&self.model, has_masters, &schedule, self.run)?;
        self.check_optimizers(&groups)?;
        let identity = Identity {
            groups: asked_for_groups.then(|| groups.fingerprint()),
            optimizer: self.optimizers.identity(&self.model),
        };
        let mut optimizer = self.optimizers.build(&self.model, has_masters)?;
        let learner = LEARNERS.fetch_add(1, Ordering::Relaxed);
        let index = Index::new(learner, self.gradients_within.is_some());
        let mut state = State::new(identity, controllers, index);
        if let Some(saved) = &self.resume_from {
            check_saved(saved, &self.model, &optimizer, &state, &schedule, self.on_mismatch)?;
            restore(&mut state, &saved.base_record()?, &schedule, self.on_mismatch)
                .map_err(|reason| saved.damaged("scheduler", reason))?;
        }
        state.prepared = state.clock.next_step();
        let model = groups.prepare(self.model, state.prepared);
        if !masters.is_empty() {
            state.index.meet(&groups, &model, &mut optimizer, true).map_err(BuildError::Update)?;
            state.index.introduce_masters(&masters, &original, &mut optimizer);
        }
        let factor = match self.reduction {
            GradientReduction::Sum => 1.0,
            GradientReduction::Mean => 1.0 / self.run.batches_per_update() as f64,
        };
        let plan = Plan {
            groups,
            rescale: Rescale { factor, clip },
            is_half: has_masters,
            on_skip: self.on_skip.unwrap_or_default(),
            delayed: self.delayed,
            gradients_within: self.gradients_within,
            loss_of: self.loss_of,
            copy_item: self.copy_item,
            interrupter,
            reports: Reports::default(),
        };
        let slot = Slot::new(state);
        let scheduler = learner_scheduler(Arc::new(schedule), slot.clone(), self.on_mismatch);
        let updater = Updater::new(Arc::new(plan), slot);
        Ok(Parts { model, updater, optimizer, scheduler })
    }

    /// All controllers in the order in which they hear, checked.
    fn all_controllers(&mut self) -> Result<Controllers, BuildError> {
        let control = |part| move |source| BuildError::Control { part, source };
        let of_half = self.half.as_ref().and_then(|half| half.loss_scaling);
        if self.loss_scaling.is_some() && self.half.is_some() {
            return Err(BuildError::ScalingTwice);
        }
        let mut all = Controllers::default();
        let scaling = self.loss_scaling.or(of_half);
        if let Some(rule) = scaling {
            all.add(LOSS_SCALE, rule.build().map_err(control("loss_scaling"))?);
        }
        let guard = match self.not_finite {
            NotFinite::Report => None,
            NotFinite::Skip { most } => {
                Some(FiniteGuard::skip(most).map_err(control("not_finite"))?)
            }
            NotFinite::Stop => Some(FiniteGuard::stop()),
        };
        match guard {
            Some(_) if scaling.is_some() => return Err(BuildError::GuardedTwice),
            Some(guard) => all.add(FINITE_GUARD, guard),
            None => {}
        }
        all.append(std::mem::take(&mut self.controllers));
        if let Some(cap) = self.rate_cap {
            let cap = cap.build().map_err(control("cap_rate"))?;
            if all.loss_scale().is_none() {
                return Err(BuildError::Needs { part: "cap_rate", needs: "loss_scaling" });
            }
            all.add(RATE_CAP, cap);
        }
        let mut names = HashSet::new();
        for name in all.names() {
            crate::groups::check_name(name)
                .map_err(|_| BuildError::ControllerName { name: name.to_string() })?;
            if !names.insert(name.replace(' ', "_").to_lowercase()) {
                return Err(BuildError::SameController { name: name.to_string() });
            }
        }
        // What cannot be saved and read again would be lost on a resume.
        all.clone().restore(all.save()).map_err(BuildError::ControllerState)?;
        if self.on_skip.is_some() && all.is_empty() {
            return Err(BuildError::Needs { part: "on_skip", needs: "controller" });
        }
        let needs_now =
            |name: &&str| all.needs_of(name).is_some_and(|needs| needs.now || needs.tries());
        if let Some(controller) = all.names().find(needs_now).filter(|_| self.delayed) {
            return Err(BuildError::NeedsNow { controller: controller.to_string() });
        }
        if self.gradients_within == Some(0) {
            let allowed = "at least 1, or None for never";
            let source =
                anneal_control::ControlError { field: "updates", value: "0".into(), allowed };
            return Err(BuildError::Control { part: "expect_gradients_within", source });
        }
        Ok(all)
    }

    /// Casts the model to half precision where that is asked for, and gives the parameters that are cast.
    fn cast_model(&mut self, scales: bool) -> Result<HashSet<ParamId>, BuildError> {
        let Some(half) = &self.half else {
            return match scales && !half_parameters(&self.model).is_empty() {
                true => Err(BuildError::NoMasterWeights),
                false => Ok(HashSet::new()),
            };
        };
        let (model, masters) = half.cast(&self.model)?;
        self.model = model;
        Ok(masters)
    }

    /// Whether each optimizer does what the groups ask of it, and nothing that they do too.
    fn check_optimizers(&self, groups: &Groups) -> Result<(), BuildError> {
        let Some(device) = self.model.devices().into_iter().next() else { return Ok(()) };
        let table = &groups.table;
        let follows = table.groups.iter().any(|group| group.momentum.is_some());
        for (name, asked, decays) in self.optimizers.probed(&device, table.said_of_decay.is_some())
        {
            if let (true, Some(said)) = (decays, &table.said_of_decay) {
                return Err(DecayError::Doubled { weight_decay: said.clone() }.into());
            }
            if asked.masters {
                return Err(BuildError::MasterWeights);
            }
            if !asked.momentum && follows {
                return Err(BuildError::MomentumIgnored { optimizer: name });
            }
            if !asked.drop && table.rate_drop.changes_something() {
                return Err(BuildError::RateDropIgnored { optimizer: name });
            }
        }
        Ok(())
    }
}

/// Whether a checkpoint is one of this run.
fn check_saved<M: Module>(
    saved: &SavedEpoch,
    model: &M,
    optimizer: &ModuleOptimizer,
    state: &State,
    schedule: &anneal_schedule::Schedule,
    on_mismatch: OnMismatch,
) -> Result<(), BuildError> {
    saved.check_model(model)?;
    saved.check_schedule(schedule, on_mismatch)?;
    if let Some(found) = saved.saved_state()? {
        saved.check_identity(&found.identity, &state.identity, on_mismatch)?;
        let restored = state.controllers.clone().restore(found.controllers);
        let epoch = saved.epoch();
        restored.map_err(|source| CheckpointError::DifferentControllers { epoch, source })?;
    }
    // Burn drops the state that does not fit the optimizer, and would silently start it fresh.
    let record = saved.optimizer()?;
    let tensors = record.len();
    if optimizer.clone().load_record(record).to_record().len() == tensors {
        Ok(())
    } else {
        Err(saved.damaged("optim", "it is the state of another optimizer").into())
    }
}
