//! Checks a builder, and makes the parts of its training.

use super::{LearnerBuilder, NamedController};
use crate::annealed::is_annealed;
use crate::average::{AverageError, averaging};
use crate::build_error::BuildError;
use crate::checkpoint::{Checkpoint, CheckpointError, Records, SavedRun};
use crate::decay::DecayError;
use crate::deep_copy::deep_copy;
use crate::groups::{Groups, GroupsConfig, ResolveGroups, parameters, resolve_for};
use crate::precision::{Casts, LossScaling, cast_to_half, float_dtype};
use crate::resume::{Course, OnMismatch};
use crate::schedule_free::{Fall, first_fall};
use crate::snapshots::{Snapshots, Writer};
use crate::update::{
    Averaging, Expected, GlobalNormClip, Identity, Index, Log, LogUpdates, OVERFLOW_CAP, Plan,
    Reports, RunMetrics, SAYS_NOTHING, Slot, State, UpdateMetric, Updater, half_parameters,
    learner_scheduler,
};
use anneal_config::{ConfigError, GradientReduction, NotFinite, check_names};
use anneal_control::{Controllers, FiniteGuard, LogStart, OutOfRange};
use anneal_schedule::{Run, RunLength, Schedule, ScheduleExt, constant};
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::{Module, ParamId};
use burn::optim::ModuleOptimizer;
use burn::train::Interrupter;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// The name of loss scaling among the controllers.
const LOSS_SCALE: &str = "loss scale";
/// The name of the guard against infinite and NaN gradients.
pub(crate) const FINITE_GUARD: &str = "finite guard";

/// The warning about summed gradients if accumulation changes.
const SUMS_OF_MORE: &str = "the number of batches in an update changes, and the sum of their gradients grows with \
                            it; for a rate that is tuned for their mean, call \
                            gradient_reduction(GradientReduction::Mean)";

/// The warnings about snapshots without cycles.
const ONE_SNAPSHOT: &str =
    "snapshots: the schedule has no cycles, so there is one snapshot, at the end of the run";
const NO_SNAPSHOT: &str =
    "snapshots: the schedule has no cycles and the run has no end, so there is no snapshot";

/// The checked parts of a training.
pub(crate) struct Parts<M> {
    pub model: M,
    pub updater: Updater,
    pub optimizer: ModuleOptimizer,
    pub scheduler: ModuleLrScheduler,
}

/// What the parts are for.
pub(crate) struct For {
    pub run: RunLength,
    /// The checkpoint to resume from.
    pub saved: Option<(Checkpoint, Records)>,
    pub driver: Driver,
    /// What the model's own passes provide; `None` for other passes.
    pub passes: Option<Passes>,
    pub interrupter: Option<Interrupter>,
}

/// What passes provide for controllers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passes {
    pub knows_loss: bool,
    pub copies_batches: bool,
}

/// The loop that drives the training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// `launch`, which counts items.
    Launch,
    /// Burn's own loop, which loads checkpoints by itself.
    BurnsLoop,
    /// A custom loop.
    OwnLoop,
}

/// Tells the learners of a program apart.
static LEARNERS: AtomicU64 = AtomicU64::new(0);

impl<M: Module> LearnerBuilder<M> {
    pub(crate) fn parts(mut self, how: For) -> Result<Parts<M>, BuildError> {
        self.check_file(how.run)?;
        let clip = self.config.clip_global_norm.map(GlobalNormClip::new).transpose()?;
        self.check_model()?;
        // Clones of a model share running statistics; this copy gets its own.
        self.model = deep_copy(&self.model);
        let course = self.course(&how)?;
        let mut controllers = self.all_controllers(&course.run.resolve()?)?;
        if let Some(passes) = how.passes {
            self.check_passes(&controllers, passes)?;
        }
        let original = self.model.clone();
        let masters = self.cast_model(controllers.loss_scale().is_some())?;
        let (mut groups, asked_for_groups) = self.resolve_groups(&course.schedule, course.run)?;
        self.check_optimizers(&groups)?;
        controllers.set_up(groups.all_names()).map_err(BuildError::Controllers)?;
        let mut warnings = controllers.warnings();
        warnings.extend(self.of_privacy.iter().filter_map(|privacy| privacy.warning.clone()));
        if course.run.has_ramp() && self.config.gradient_reduction == GradientReduction::Sum {
            warnings.push(SUMS_OF_MORE.into());
        }
        if let Some(ramp) = course.run.unreached_ramp() {
            warnings.push(format!("{ramp}: the run ends before the ramp does"));
        }
        if let (Some(updates), Some(whole)) =
            (course.schedule.length(), course.schedule.truncated_from())
        {
            warnings.push(format!(
                "schedule: the run ends after {updates} of the {whole} updates of the schedule"
            ));
        }
        if self.snapshots.as_ref().is_some_and(Snapshots::follow_cycles)
            && course.schedule.cycle_ends().nth(1).is_none()
        {
            warnings.push(match course.schedule.length() {
                Some(_) => ONE_SNAPSHOT.into(),
                None => NO_SNAPSHOT.into(),
            });
        }
        let identity = Identity {
            groups: asked_for_groups.then(|| groups.fingerprint()),
            optimizer: self.optimizers.identity(&self.model),
        };
        let averaging = self.averaging(&groups, how.run)?;
        let learner = LEARNERS.fetch_add(1, Ordering::Relaxed);
        let index = Index::new(learner, self.config.expect_gradients_within.is_some());
        let mut state = State::new(identity, controllers, index);
        state.averages = averaging.in_words();
        if let Some((saved, records)) = &how.saved {
            let said = self.go_on(&mut state, saved, &records.run, &course)?;
            warnings.extend(said);
        }
        course.apply(&mut state);
        let thawed = groups.keep_thawed(&state.thawed, state.prepared);
        let skipped = how.saved.as_ref().and_then(|(_, records)| records.skipped.as_deref());
        let resumed = course.in_words(&thawed, skipped);
        let mut optimizer =
            self.optimizers.build(&self.model, self.config.half_precision.is_some())?;
        let mut model = groups.prepare(self.model.clone(), state.prepared);
        if !masters.is_empty() {
            let of = (&groups, &averaging);
            state.index.meet(of, &model, &mut optimizer, true).map_err(BuildError::Update)?;
            state.index.register_masters(&masters, &original, &mut optimizer);
        }
        let For { run, saved, driver, interrupter, .. } = how;
        if let Some((saved, records)) = saved {
            let loaded = saved.load_model(records.model, &model)?;
            let mut fed = saved.load_optimizer(records.optimizer, &optimizer)?;
            if averaging.is_any() {
                state.evaluated = averaging.look(state.clock.number, &loaded, &mut fed);
            }
            if driver != Driver::BurnsLoop {
                (model, optimizer) = (loaded, fed);
            } else {
                let step = records.run.step.map(|step| step.step);
                state.expects_record = Some(Expected { epoch: saved.epoch(), step });
            }
        }
        warnings.iter().for_each(|warning| log::warn!("{warning}"));
        let open = |log: &LogUpdates| open_log(log, &groups, &state, resumed.is_some());
        let log = self.log.as_ref().map(open).transpose()?;
        let whole = run.resolve()?;
        let open =
            |snapshots| Writer::open(snapshots, whole, state.clock.number, resumed.is_some());
        let snapshots = self.snapshots.as_ref().map(open).transpose()?;
        let plan = Plan {
            groups,
            clip,
            run,
            is_mean: self.config.gradient_reduction == GradientReduction::Mean,
            expects: (driver == Driver::BurnsLoop).then_some(run),
            is_own_loop: driver == Driver::OwnLoop,
            is_half: self.config.half_precision.is_some(),
            on_skip: self.config.on_skip.unwrap_or_default(),
            delayed: self.config.delay_signals,
            gradients_within: self.config.expect_gradients_within,
            loss_of: self.loss_of,
            copy_item: self.copy_item,
            cast_inputs: self
                .config
                .half_precision
                .map(|half| Casts::new(float_dtype(&half), self.casts)),
            resumed,
            warnings,
            interrupter,
            reports: Reports::wanting(&self.metrics),
            log,
            snapshots,
            averaging,
            live: Mutex::default(),
        };
        let slot = Slot::new(state);
        let scheduler = learner_scheduler(Arc::new(course.schedule), slot.clone());
        let updater = Updater::new(Arc::new(plan), slot);
        self.watch.0.begin(&updater.monitor);
        Ok(Parts { model, updater, optimizer, scheduler })
    }

    /// Checks a description that was read from a file, so that errors name their place there.
    pub(super) fn check_file(&self, run: RunLength) -> Result<(), BuildError> {
        let Err(error) = self.config.check(run) else { return Ok(()) };
        match self.config.locate(&error.field()) {
            Some(place) => Err(BuildError::InFile { place, error: error.into() }),
            // Without a file, the error is found where the value is used.
            None => Ok(()),
        }
    }

    fn check_model(&self) -> Result<(), BuildError> {
        if is_annealed(&self.model) {
            return Err(BuildError::Annealed);
        }
        match self.model.devices().iter().all(|device| device.is_autodiff()) {
            true => Ok(()),
            false => Err(BuildError::NotAutodiff),
        }
    }

    /// Checks that a checkpoint belongs to this run, and restores controllers and measurements from it. Returns a
    /// warning if its averages differ.
    fn go_on(
        &self,
        state: &mut State,
        checkpoint: &Checkpoint,
        saved: &SavedRun,
        course: &Course,
    ) -> Result<Option<String>, BuildError> {
        let may_differ = self.on_mismatch != OnMismatch::Refuse;
        checkpoint.check_identity(saved, &state.identity, may_differ)?;
        checkpoint.check_controllers(saved, &state.controllers)?;
        match &saved.state {
            Some(saved) => {
                let restored = state.restore(saved.clone());
                restored.map_err(|reason| checkpoint.damaged("scheduler", reason))?;
            }
            None if course.restarts || state.keeps_nothing() => {}
            None => return Err(checkpoint.damaged("scheduler", SAYS_NOTHING).into()),
        }
        if course.restarts {
            state.forget_measured();
        }
        let saved = saved.state.as_ref().map_or(&[][..], |saved| &saved.averages);
        Ok(state.averages_differ(saved))
    }

    /// Where the run starts or resumes.
    fn course(&self, how: &For) -> Result<Course, BuildError> {
        let Some((saved, records)) = &how.saved else {
            return Course::begin(&self.config.schedule, how.run, how.driver == Driver::Launch);
        };
        let course =
            Course::resume(saved, &records.run, &self.config.schedule, how.run, self.on_mismatch)?;
        match how.driver == Driver::BurnsLoop && saved.batches() > 0 {
            true => Err(CheckpointError::MidEpoch { checkpoint: saved.clone() }.into()),
            false => Ok(course),
        }
    }

    /// The groups, and whether any were requested.
    pub(super) fn resolve_groups(
        &self,
        schedule: &Schedule,
        run: RunLength,
    ) -> Result<(Groups, bool), BuildError> {
        let (groups, asked) = self.described_groups()?;
        let masters = self.config.half_precision.is_some();
        let groups = resolve_for(&groups, &self.model, masters, schedule, run);
        let groups = groups.map_err(|error| match self.config.locate(&error.field()) {
            Some(place) => BuildError::InFile { place, error: ConfigError::Groups(error).into() },
            None => error.into(),
        })?;
        Ok((groups, asked))
    }

    /// What is averaged and what is evaluated.
    fn averaging(&self, groups: &Groups, run: RunLength) -> Result<Averaging, BuildError> {
        let run = run.resolve()?;
        let all = parameters(&self.model);
        let averages =
            averaging(&self.config.averages, self.config.average_statistics, &all, groups, &run)?;
        let by_itself = match self.model.devices().first() {
            Some(device) => self.optimizers.evaluating(&self.model, device)?,
            None => vec![],
        };
        let is_averaged = |path: &String| matches!(averages.of_path.get(path), Some(Some(_)));
        let both = by_itself.iter().find(|(_, paths)| paths.iter().any(is_averaged));
        if let Some((optimizer, _)) = both {
            return Err(AverageError::Twice { optimizer: optimizer.to_string() }.into());
        }
        if self.config.average_statistics && self.statistics.is_some() {
            return Err(AverageError::StatisticsTwice.into());
        }
        if let Some((0, _)) = self.statistics {
            let error = OutOfRange::new("recompute_statistics", "0 batches", "at least 1");
            return Err(AverageError::OutOfRange(error).into());
        }
        let (by_optimizer, none) = (!by_itself.is_empty(), averages.averages.is_empty());
        let part = match self {
            _ if !none => None,
            _ if self.config.average_statistics => Some("average_statistics"),
            _ if by_optimizer => None,
            Self { statistics: Some(_), .. } => Some("recompute_statistics"),
            _ if self.config.evaluate_with.is_some() => Some("evaluate_with"),
            _ => None,
        };
        if let Some(part) = part {
            return Err(AverageError::Needed { part }.into());
        }
        let weights = self.config.evaluate_with.unwrap_or_default();
        Ok(Averaging { by_optimizer, weights, ..averages })
    }

    fn described_groups(&self) -> Result<(GroupsConfig, bool), BuildError> {
        let groups = self.config.all_groups()?;
        let asked = groups.is_some();
        Ok((groups.unwrap_or_default(), asked))
    }

    /// The requested metrics before the run starts: its groups and controllers are known, its length is not.
    pub(crate) fn asked_metrics(&self) -> Result<Vec<UpdateMetric>, BuildError> {
        if self.metrics.is_empty() {
            return Ok(vec![]);
        }
        let long = RunLength::updates_per_epoch(1 << 30).epochs(1 << 20);
        let schedule = constant(1.0).resolve(long)?;
        let groups = self.described_groups()?.0;
        let groups = groups.resolve_parameters(&parameters(&self.model), &schedule, long)?;
        let (names, scales) = self.controller_names(&long.resolve()?);
        let of = |metrics: &RunMetrics| metrics.of(&groups, &names, scales, &self.watch.0);
        Ok(self.metrics.iter().flat_map(of).collect())
    }

    /// The names of all controllers in the order in which they are called, and whether one scales losses.
    fn controller_names(&self, run: &Run) -> (Vec<String>, bool) {
        let scales = self.scaling().is_some();
        let guards = self.config.not_finite != NotFinite::Report;
        let own = self.own_controllers();
        let own_names = own.iter().map(|(name, _)| name.as_str());
        let names = scales.then_some(LOSS_SCALE).into_iter();
        let names = names.chain(guards.then_some(FINITE_GUARD)).chain(own_names);
        let names = names.chain(self.config.overflow_cap.map(|_| OVERFLOW_CAP));
        let mut all = Controllers::default();
        for (name, rule) in &own {
            // Its errors are reported when the length of the run is known.
            rule.build(run).into_iter().for_each(|controller| all.add(name, controller));
        }
        (names.map(String::from).collect(), scales || all.loss_scale().is_some())
    }

    /// Checks that passes provide what controllers need.
    fn check_passes(&self, controllers: &Controllers, passes: Passes) -> Result<(), BuildError> {
        let of = |name: &str| controllers.needs_of(name).unwrap_or_default();
        // A scaled loss is known from its scaling.
        let knows_loss = passes.knows_loss || controllers.loss_scale().is_some();
        if let Some(controller) = controllers.names().find(|name| of(name).loss && !knows_loss) {
            return Err(BuildError::LossUnknown { controller: controller.to_string() });
        }
        let mut names = controllers.names();
        match names.find(|name| of(name).batch_again.is_some() && !passes.copies_batches) {
            Some(controller) => {
                Err(BuildError::NoBatchAgain { controller: controller.to_string() })
            }
            None => Ok(()),
        }
    }

    /// The controllers of the description, and the added ones.
    fn own_controllers(&self) -> Vec<NamedController> {
        let of_config = self.config.controllers.iter().map(|controller| -> NamedController {
            (controller.name.clone(), Arc::new(controller.scoped()))
        });
        of_config.chain(self.controllers.iter().cloned()).collect()
    }

    /// How losses are scaled.
    fn scaling(&self) -> Option<LossScaling> {
        self.config.loss_scaling.or(self
            .config
            .half_precision
            .as_ref()
            .and_then(|half| half.loss_scaling))
    }

    /// All controllers, checked, in the order in which they are called.
    fn all_controllers(&self, run: &Run) -> Result<Controllers, BuildError> {
        let control = |part| move |error| BuildError::Control { part, error };
        if self.config.loss_scaling.is_some() && self.config.half_precision.is_some() {
            return Err(ConfigError::ScalingTwice.into());
        }
        let mut all = Controllers::default();
        let scaling = self.scaling();
        if let Some(rule) = scaling {
            all.add(LOSS_SCALE, rule.build().map_err(control("loss_scaling"))?);
        }
        let guard = match self.config.not_finite {
            NotFinite::Report => None,
            NotFinite::Skip { most } => {
                Some(FiniteGuard::skip(most).map_err(control("not_finite"))?)
            }
            NotFinite::Stop => Some(FiniteGuard::stop()),
        };
        match guard {
            Some(_) if scaling.is_some() => return Err(ConfigError::GuardedTwice.into()),
            Some(guard) => all.add(FINITE_GUARD, guard),
            None => {}
        }
        let of_privacy = self.of_privacy.iter().flat_map(|privacy| &privacy.controllers);
        let own = self.own_controllers();
        for (name, rule) in of_privacy.chain(&own) {
            let controller = rule
                .build(run)
                .map_err(|error| BuildError::Controller { controller: name.clone(), error })?;
            all.add(name, controller);
        }
        if let Some(cap) = self.config.overflow_cap {
            let cap = cap.build().map_err(control("overflow_cap"))?;
            if all.loss_scale().is_none() {
                return Err(BuildError::Needs { part: "overflow_cap", needs: "loss_scaling" });
            }
            all.add(OVERFLOW_CAP, cap);
        }
        check_names(all.names()).map_err(ConfigError::from)?;
        for (name, _) in &own {
            self.check_private_controller(&all, name)?;
        }
        self.check_privacy(&all)?;
        // A state that cannot be saved and restored would be lost on a resume.
        all.clone().restore(all.save()).map_err(BuildError::ControllerState)?;
        if let Some(rate) = self.config.rate_floor {
            if all.is_empty() {
                return Err(BuildError::Needs { part: "rate_floor", needs: "controller" });
            }
            all.set_floor(rate).map_err(control("rate_floor"))?;
        }
        if self.config.on_skip.is_some() && all.is_empty() {
            return Err(BuildError::Needs { part: "on_skip", needs: "controller" });
        }
        let needs_now =
            |name: &&str| all.needs_of(name).is_some_and(|needs| needs.now || needs.tries());
        if let Some(controller) = all.names().find(needs_now).filter(|_| self.config.delay_signals)
        {
            return Err(BuildError::NeedsNow { controller: controller.to_string() });
        }
        if self.config.expect_gradients_within == Some(0) {
            let allowed = "at least 1, or None for never";
            let error = OutOfRange::new("updates", 0, allowed);
            return Err(BuildError::Control { part: "expect_gradients_within", error });
        }
        Ok(all)
    }

    /// Casts the model to half precision if requested, and returns the parameters that are cast.
    fn cast_model(&mut self, scales: bool) -> Result<HashSet<ParamId>, BuildError> {
        let Some(half) = &self.config.half_precision else {
            return match scales && !half_parameters(&self.model).is_empty() {
                true => Err(BuildError::NoMasterWeights),
                false => Ok(HashSet::new()),
            };
        };
        let (model, masters) = cast_to_half(half, &self.model)?;
        self.model = model;
        Ok(masters)
    }

    /// Checks that each optimizer supports what the groups need, and does nothing that they do too.
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
        for (name, paths) in self.optimizers.evaluating(&self.model, &device)? {
            if let Some(Fall { group, update, rate, before }) = first_fall(groups, &paths) {
                let optimizer = name.to_string();
                return Err(BuildError::RateFalls { optimizer, group, update, rate, before });
            }
        }
        Ok(())
    }
}

/// Opens the log of a new or a resumed run.
fn open_log(
    log: &LogUpdates,
    groups: &Groups,
    state: &State,
    goes_on: bool,
) -> Result<Log, BuildError> {
    let start = LogStart::new(
        groups.schedule().to_string(),
        groups.names().map(String::from).collect(),
        state.controllers.names().map(String::from).collect(),
        state.clock.number,
    );
    let error =
        |error: std::io::Error| BuildError::Log { path: log.path(), reason: error.to_string() };
    Log::open(log, start, goes_on).map_err(error)
}
