//! What a builder checks, and what comes of it.

use super::{GradientReduction, LearnerBuilder, NotFinite};
use crate::annealed::is_annealed;
use crate::average::{AverageError, averaging};
use crate::build_error::BuildError;
use crate::checkpoint::{Checkpoint, CheckpointError, Records, SavedRun};
use crate::decay::DecayError;
use crate::deep_copy::deep_copy;
use crate::groups::{Groups, GroupsConfig, parameters};
use crate::precision::{Casts, LossScaling};
use crate::resume::{Course, OnMismatch};
use crate::schedule_free::{Fall, first_fall};
use crate::snapshots::{Snapshots, Writer};
use crate::update::{
    Averaging, Expected, GlobalNormClip, Identity, Index, Log, LogUpdates, OVERFLOW_CAP, Plan,
    Reports, RunMetrics, SAYS_NOTHING, Slot, State, UpdateMetric, Updater, half_parameters,
    learner_scheduler,
};
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
/// That of what skips updates that are not finite.
pub(crate) const FINITE_GUARD: &str = "finite guard";

/// What is wrong with sums where accumulation changes.
const SUMS_OF_MORE: &str = "the number of batches in an update changes, and their gradients are summed, so that they \
                            grow with it; a rate that is meant for their mean needs \
                            gradient_reduction(GradientReduction::Mean)";

/// What is said of snapshots without cycles.
const ONE_SNAPSHOT: &str =
    "snapshots: the schedule has no cycles, so there is one snapshot, at the end of the run";
const NO_SNAPSHOT: &str =
    "snapshots: the schedule has no cycles and the run no end, so there is no snapshot";

/// What trains, checked.
pub(crate) struct Parts<M> {
    pub model: M,
    pub updater: Updater,
    pub optimizer: ModuleOptimizer,
    pub scheduler: ModuleLrScheduler,
}

/// What the parts are for.
pub(crate) struct For {
    pub run: RunLength,
    /// Where to go on from.
    pub saved: Option<(Checkpoint, Records)>,
    pub driver: Driver,
    /// What passes show, where they are the model's own.
    pub passes: Option<Passes>,
    pub interrupter: Option<Interrupter>,
}

/// What controllers can have of passes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passes {
    pub knows_loss: bool,
    pub copies_batches: bool,
}

/// Who drives what is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// `launch`, which counts items.
    Launch,
    /// Burn's own loop, which loads checkpoints by itself.
    BurnsLoop,
    /// A loop of the user's own.
    OwnLoop,
}

/// Tells the learners of a program apart.
static LEARNERS: AtomicU64 = AtomicU64::new(0);

impl<M: Module> LearnerBuilder<M> {
    pub(crate) fn parts(mut self, how: For) -> Result<Parts<M>, BuildError> {
        let clip = self.max_norm.map(GlobalNormClip::new).transpose()?;
        self.check_model()?;
        // With running statistics of its own: those of clones of a model are one.
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
        controllers.set_up(groups.names()).map_err(BuildError::Controllers)?;
        let mut warnings = controllers.warnings();
        warnings.extend(self.of_privacy.iter().filter_map(|privacy| privacy.warning.clone()));
        if course.run.has_ramp() && self.reduction == GradientReduction::Sum {
            warnings.push(SUMS_OF_MORE.into());
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
        let index = Index::new(learner, self.gradients_within.is_some());
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
        let mut optimizer = self.optimizers.build(&self.model, self.half.is_some())?;
        let mut model = groups.prepare(self.model.clone(), state.prepared);
        if !masters.is_empty() {
            state.index.meet(&groups, &model, &mut optimizer, true).map_err(BuildError::Update)?;
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
            is_mean: self.reduction == GradientReduction::Mean,
            expects: (driver == Driver::BurnsLoop).then_some(run),
            is_own_loop: driver == Driver::OwnLoop,
            is_half: self.half.is_some(),
            on_skip: self.on_skip.unwrap_or_default(),
            delayed: self.delayed,
            gradients_within: self.gradients_within,
            loss_of: self.loss_of,
            copy_item: self.copy_item,
            cast_inputs: self.half.map(|half| Casts::new(half.dtype, self.casts)),
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

    fn check_model(&self) -> Result<(), BuildError> {
        if is_annealed(&self.model) {
            return Err(BuildError::Annealed);
        }
        match self.model.devices().iter().all(|device| device.is_autodiff()) {
            true => Ok(()),
            false => Err(BuildError::NotAutodiff),
        }
    }

    /// Checks that a checkpoint is one of this run, and takes over what it says of controllers and of what was measured.
    /// Gives what is to be said of its averages.
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

    /// Where the run begins, or goes on.
    fn course(&self, how: &For) -> Result<Course, BuildError> {
        let Some((saved, records)) = &how.saved else {
            return Course::begin(&self.schedule, how.run, how.driver == Driver::Launch);
        };
        let course =
            Course::resume(saved, &records.run, &self.schedule, how.run, self.on_mismatch)?;
        match how.driver == Driver::BurnsLoop && saved.batches() > 0 {
            true => Err(CheckpointError::MidEpoch { checkpoint: saved.clone() }.into()),
            false => Ok(course),
        }
    }

    /// The groups, and whether somebody asked for some.
    pub(super) fn resolve_groups(
        &self,
        schedule: &Schedule,
        run: RunLength,
    ) -> Result<(Groups, bool), BuildError> {
        let (groups, asked) = self.described_groups()?;
        Ok((groups.resolve_for(&self.model, self.half.is_some(), schedule, run)?, asked))
    }

    /// What is averaged, and evaluated.
    fn averaging(&self, groups: &Groups, run: RunLength) -> Result<Averaging, BuildError> {
        let run = run.resolve()?;
        let all = parameters(&self.model);
        let averages = averaging(&self.averages, self.averages_statistics, &all, groups, &run)?;
        let by_itself = match self.model.devices().first() {
            Some(device) => self.optimizers.evaluating(&self.model, device)?,
            None => vec![],
        };
        let is_averaged = |path: &String| matches!(averages.of_path.get(path), Some(Some(_)));
        let both = by_itself.iter().find(|(_, paths)| paths.iter().any(is_averaged));
        if let Some((optimizer, _)) = both {
            return Err(AverageError::Twice { optimizer: optimizer.to_string() }.into());
        }
        if self.averages_statistics && self.statistics.is_some() {
            return Err(AverageError::StatisticsTwice.into());
        }
        if let Some((0, _)) = self.statistics {
            let error = OutOfRange::new("recompute_statistics", "0 batches", "at least 1");
            return Err(AverageError::OutOfRange(error).into());
        }
        let (by_optimizer, none) = (!by_itself.is_empty(), averages.averages.is_empty());
        let part = match self {
            _ if !none => None,
            Self { averages_statistics: true, .. } => Some("average_statistics"),
            _ if by_optimizer => None,
            Self { statistics: Some(_), .. } => Some("recompute_statistics"),
            Self { evaluate_with: Some(_), .. } => Some("evaluate_with"),
            _ => None,
        };
        if let Some(part) = part {
            return Err(AverageError::Needed { part }.into());
        }
        let weights = self.evaluate_with.unwrap_or_default();
        Ok(Averaging { by_optimizer, weights, ..averages })
    }

    fn described_groups(&self) -> Result<(GroupsConfig, bool), BuildError> {
        let groups = GroupsConfig::with_whole(self.groups.clone(), self.whole.clone())
            .map_err(|part| BuildError::GivenTwice { part })?;
        let asked = groups.is_some();
        Ok((groups.unwrap_or_default(), asked))
    }

    /// The metrics that were asked for, of a run that has not begun: its groups and controllers are known, its length
    /// is not.
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

    /// The names of all controllers in the order in which they hear, and whether one scales losses.
    fn controller_names(&self, run: &Run) -> (Vec<String>, bool) {
        let scales = self.scaling().is_some();
        let guards = self.not_finite != NotFinite::Report;
        let own = self.controllers.iter().map(|(name, _)| name.as_str());
        let names = scales.then_some(LOSS_SCALE).into_iter();
        let names = names.chain(guards.then_some(FINITE_GUARD)).chain(own);
        let names = names.chain(self.overflow_cap.map(|_| OVERFLOW_CAP));
        let mut all = Controllers::default();
        for (name, rule) in &self.controllers {
            // What is wrong with one is said when the length of the run is known.
            rule.build(run).into_iter().for_each(|controller| all.add(name, controller));
        }
        (names.map(String::from).collect(), scales || all.loss_scale().is_some())
    }

    /// What controllers need of passes, and cannot have.
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

    /// How losses are scaled.
    fn scaling(&self) -> Option<LossScaling> {
        self.loss_scaling.or(self.half.as_ref().and_then(|half| half.loss_scaling))
    }

    /// All controllers in the order in which they hear, checked.
    fn all_controllers(&self, run: &Run) -> Result<Controllers, BuildError> {
        let control = |part| move |error| BuildError::Control { part, error };
        if self.loss_scaling.is_some() && self.half.is_some() {
            return Err(BuildError::ScalingTwice);
        }
        let mut all = Controllers::default();
        let scaling = self.scaling();
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
        let of_privacy = self.of_privacy.iter().flat_map(|privacy| &privacy.controllers);
        for (name, rule) in of_privacy.chain(&self.controllers) {
            let controller = rule
                .build(run)
                .map_err(|error| BuildError::Controller { controller: name.clone(), error })?;
            all.add(name, controller);
        }
        if let Some(cap) = self.overflow_cap {
            let cap = cap.build().map_err(control("overflow_cap"))?;
            if all.loss_scale().is_none() {
                return Err(BuildError::Needs { part: "overflow_cap", needs: "loss_scaling" });
            }
            all.add(OVERFLOW_CAP, cap);
        }
        let mut names = HashSet::new();
        for name in all.names() {
            crate::groups::check_name(name)
                .map_err(|_| BuildError::ControllerName { name: name.to_string() })?;
            if !names.insert(name.replace(' ', "_").to_lowercase()) {
                return Err(BuildError::SameController { name: name.to_string() });
            }
        }
        for (name, _) in &self.controllers {
            self.check_private_controller(&all, name)?;
        }
        self.check_privacy(&all)?;
        // What cannot be saved and read again would be lost on a resume.
        all.clone().restore(all.save()).map_err(BuildError::ControllerState)?;
        if let Some(rate) = self.rate_floor {
            if all.is_empty() {
                return Err(BuildError::Needs { part: "rate_floor", needs: "controller" });
            }
            all.set_floor(rate).map_err(control("rate_floor"))?;
        }
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
            let error = OutOfRange::new("updates", 0, allowed);
            return Err(BuildError::Control { part: "expect_gradients_within", error });
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
        for (name, paths) in self.optimizers.evaluating(&self.model, &device)? {
            if let Some(Fall { group, update, rate, before }) = first_fall(groups, &paths) {
                let optimizer = name.to_string();
                return Err(BuildError::RateFalls { optimizer, group, update, rate, before });
            }
        }
        Ok(())
    }
}

/// The log, which begins here, or goes on.
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
