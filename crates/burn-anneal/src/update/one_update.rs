//! Makes one update, from the gradients of its batches to the weights.

use super::batches::{Again, Batch};
use super::context::{Heard, Momentum, Scope, Setting, Settings, Shrink, misses};
use super::error::UpdateError;
use super::log::{Unwritten, line};
use super::measure::{Step, Sum};
use super::monitor::Plan;
use super::pass::{Asked, Pass};
use super::reduce::{Factor, Gradients, Norms, Rescale};
use super::reports::Report;
use super::signals::{Reading, Signals, numbers};
use super::state::{State, Unread};
use super::tensors::{ByParameter, in_f32_gradients};
use super::updater::{How, step_optimizer};
use crate::groups::{ResolvedGroup, Table};
use anneal_control::{BatchChange, Decision, Due, Needs, Observation};
use burn::module::Module;
use burn::optim::{GradAdaptor, ModuleOptimizer};
use burn::tensor::Tensor;

/// One update.
pub(super) struct Update<'a, M> {
    pub plan: &'a Plan,
    pub state: &'a mut State,
    pub number: u64,
    pub step: u64,
    pub optimizer: &'a mut ModuleOptimizer,
    pub how: How<'a, M>,
}

/// The state before a trial update.
struct Start<M> {
    model: M,
    optimizer: ModuleOptimizer,
    gradients: Gradients,
}

/// The result of an update, or the model before it and the error.
pub(super) type Attempt<M, T> = Result<T, (M, UpdateError)>;

impl<M: Module> Update<'_, M> {
    pub fn run(
        &mut self,
        model: M,
        gradients: GradAdaptor,
        mut batches: Vec<Batch>,
        looks_up: bool,
    ) -> Attempt<M, M> {
        let needs = self.state.controllers.needs();
        let all_needs = self.plan.all_needs(needs);
        let loss_scale = scale_of(&batches, self.state.controllers.loss_scale());
        let met =
            loss_scale.and_then(|scale| self.meet(&model, &gradients, looks_up).map(|()| scale));
        let loss_scale = match met {
            Ok(loss_scale) => loss_scale,
            Err(error) => return Err((model, error)),
        };
        let mut signals = signals_of(&mut batches, loss_scale);
        let is_whole = signals.batch_norms.len() == batches.len();
        if !is_whole || !self.plan.run.has_even_batches(self.state.place.updates) {
            signals.batch_norms.clear();
        }
        if let Some(error) = batches.iter_mut().find_map(|batch| batch.task_error.take()) {
            return Err((model, error.into()));
        }
        let learns = batches.iter().any(|batch| batch.learns);
        if needs.task_cosine && signals.task_cosines.is_empty() && learns {
            return Err((model, UpdateError::NoTasks));
        }
        if needs.loss && signals.losses.is_empty() && learns {
            return Err((model, UpdateError::LossUnknown));
        }
        if needs.batch_again.is_some() && self.how.again.is_none() {
            return Err((model, UpdateError::NoBatchAgain));
        }
        let last_movement = std::mem::take(&mut self.state.last_movement);
        signals.last_movement = last_movement.filter(|_| needs.last_movement);
        signals.divided_by = match self.plan.is_mean {
            true => self.plan.run.batches_per_update(self.number) as f64,
            false => 1.0,
        };
        let factor = 1.0 / signals.divided_by / loss_scale.unwrap_or(1.0);
        let rescale = Rescale { factor, clip: self.plan.clip };
        let often = needs.tries() || needs.gradient_dot;
        let (gradients, norms) = rescale.reduce(&model, gradients, &all_needs, often);
        Norms { norm: signals.norm, l1: signals.l1 } = norms;
        if needs.gradient_dot {
            signals.dot = self.compare(&model, &gradients);
        }
        let logged = self.plan.log.is_some().then(|| signals.clone());
        // Signals without a listener are checked later, if the update is made.
        let mut unheard = None;
        if !needs.gradient_norm {
            unheard =
                signals.norm.take().or_else(|| sum_of(&signals.losses)).filter(|_| !needs.loss);
        }
        if !needs.gradient_l1 {
            signals.l1 = None;
        }
        if !needs.task_cosine {
            signals.task_cosines.clear();
        }
        if !needs.measures() {
            signals.losses.clear();
        }
        let (model, decision, heard) = if self.state.controllers.is_empty() {
            let (model, heard) = self.make(model, gradients, &Decision::default(), false)?;
            (model, Decision::default(), Some(heard))
        } else {
            let again = batches.into_iter().find_map(|batch| batch.again);
            self.controlled(model, gradients, signals, again, &needs)?
        };
        if let Some(unheard) = unheard.filter(|_| decision.answer.skip.is_none()) {
            self.state.ledger.note(self.number, unheard);
        }
        Ok(self.finish(model, decision, heard, logged, loss_scale))
    }

    /// The product of these gradients and those of the previous update; `None` at the first.
    fn compare(&mut self, model: &M, gradients: &Gradients) -> Option<Tensor<1>> {
        let gradients = gradients.copy()?;
        let scope = Scope::comparison(gradients.factor.clone());
        let gradients = gradients.into_adaptor(model);
        step_optimizer(model.clone(), self.optimizer, 0.0.into(), gradients);
        scope.product()
    }

    /// An update with controllers: try it if needed, ask them, apply the answers, report the result.
    fn controlled(
        &mut self,
        mut model: M,
        gradients: Gradients,
        mut signals: Signals,
        again: Option<Again>,
        needs: &Needs,
    ) -> Attempt<M, (M, Decision, Option<Heard>)> {
        let loss_scale = signals.loss_scale;
        let copy = gradients.copy().filter(|_| needs.tries());
        let mut start = copy.map(|gradients| Start {
            model: model.clone(),
            optimizer: self.optimizer.clone(),
            gradients,
        });
        let before = start.as_ref().map(|start| start.model.clone());
        let (mut heard, mut gradients) = (None, Some(gradients));
        if let Some(tried) = gradients.take_if(|_| start.is_some()) {
            let measured = match self.make(model, tried, &Decision::default(), true) {
                Ok((tried, measured)) => {
                    model = tried;
                    measured
                }
                Err((model, error)) => return Err((self.take_back(model, start).0, error)),
            };
            signals.movement = measured.movement.clone();
            heard = Some(measured);
        }
        let decision = match self.ask(signals) {
            Ok(decision) => decision,
            Err(error) => return Err((self.take_back(model, start).0, error)),
        };
        let skips = decision.answer.skip.is_some();
        if skips || heard.is_none() || self.changes(&decision) {
            let kept;
            (model, kept) = self.take_back(model, start.take());
            (heard, gradients) = (None, gradients.or(kept));
        }
        if let Some(gradients) = gradients.filter(|_| !skips) {
            let (made, measured) = self.make(model, gradients, &decision, before.is_some())?;
            model = made;
            if let (Some(_), Some(movement)) = (&before, measured.movement.clone()) {
                self.state.seen.movement = numbers(vec![movement]).first().copied();
            }
            heard = Some(measured);
        }
        let told = match (again.filter(|_| heard.is_some()), &before) {
            (Some(again), Some(before)) => self.change(again, [before, &model], needs, loss_scale),
            _ => Ok(None),
        };
        match told.and_then(|change| self.tell(&decision, change)) {
            Ok(()) => Ok((model, decision, heard)),
            Err(error) => Err((model, error)),
        }
    }

    /// Undoes a trial update: the model before it, with its optimizer, and the gradients.
    fn take_back(&mut self, model: M, start: Option<Start<M>>) -> (M, Option<Gradients>) {
        let Some(Start { model, optimizer, gradients }) = start else { return (model, None) };
        *self.optimizer = optimizer;
        (model, Some(gradients))
    }

    /// Looks up parameters that may have changed, and shows the optimizer the new ones.
    fn meet(
        &mut self,
        model: &M,
        gradients: &GradAdaptor,
        looks_up: bool,
    ) -> Result<(), UpdateError> {
        let State { index, prepared, .. } = self.state;
        let groups = &self.plan.groups;
        let from_elsewhere = *prepared != self.step;
        if from_elsewhere && groups.freezes_differ(*prepared, self.step) {
            let (step, expected) = (self.step, *prepared);
            return Err(UpdateError::OtherStep { step, expected });
        }
        // The model's own `TrainStep::optimize` may change the model.
        let is_new = index.is_new(self.how.is_shared.then_some(model), count(gradients));
        if looks_up || is_new || from_elsewhere {
            index.meet((groups, &self.plan.averaging), model, self.optimizer, looks_up)?;
        }
        let Some(within) = self.plan.gradients_within else { return Ok(()) };
        let trains = |group: u32| !groups.table.groups[group as usize].is_frozen(self.step);
        index.watch(model, gradients, trains, within)
    }

    /// Asks the controllers, with the signals of this update or of the previous one.
    fn ask(&mut self, signals: Signals) -> Result<Decision, UpdateError> {
        let measures = self.state.controllers.needs().measures();
        self.state.seen = match self.plan.delayed && measures {
            false => signals.read(),
            true => match self.state.unread.replace(Unread::Signals(Box::new(signals))) {
                Some(unread) => unread.read(),
                None => return Ok(Decision::default()),
            },
        };
        let rates = self.rates();
        let State { controllers, seen, ledger, .. } = self.state;
        let decision = controllers.update(due(self.plan, self.number, self.step, &rates), seen)?;
        let skip = decision.answer.skip;
        if !seen.is_finite() && skip.is_none() {
            let norm = seen.gradient_norm.filter(|norm| !norm.is_finite());
            let number = self.number.saturating_sub(u64::from(self.plan.delayed));
            ledger.report(number, norm.or(seen.loss).unwrap_or(f64::NAN));
        }
        if let Some(reason) = skip {
            log::info!("update {} skipped: {reason}", self.number);
        }
        Ok(decision)
    }

    /// The scheduled rates of the groups.
    fn rates(&self) -> Vec<f64> {
        self.plan.groups.rates(self.step).collect()
    }

    fn tell(
        &mut self,
        decision: &Decision,
        change: Option<BatchChange>,
    ) -> Result<(), UpdateError> {
        if self.plan.delayed && self.state.seen == Observation::default() {
            return Ok(());
        }
        let rates = self.rates();
        let due = due(self.plan, self.number, self.step, &rates);
        Ok(self.state.controllers.outcome(due, &self.state.seen, decision, change)?)
    }

    /// Whether an update that was made at the scheduled rates must be made differently.
    fn changes(&self, decision: &Decision) -> bool {
        let Table { base, groups, .. } = &*self.plan.groups.table;
        let (base, step) = (base.rate(self.step), self.step);
        let differs = |(index, group): (usize, &ResolvedGroup)| {
            group.decided(&decision.of(index), base, step) != group.rate(base, step)
        };
        decision.answer.gradient_factor.is_some_and(|factor| factor != 1.0)
            || groups.iter().enumerate().any(differs)
    }

    /// Runs the optimizer according to the decision.
    fn make(
        &mut self,
        model: M,
        gradients: Gradients,
        decision: &Decision,
        measures_movement: bool,
    ) -> Attempt<M, (M, Heard)> {
        let factor = decision.answer.gradient_factor.unwrap_or(1.0);
        let factor = gradients.factor.clone().and(factor);
        let gradients = gradients.into_adaptor(&model);
        let expected = count(&gradients);
        let settings = self.settings(decision, factor, measures_movement);
        let base = settings.base;
        let learner = self.state.index.learner();
        let missed = misses(learner);
        let scope = Scope::update(settings);
        let model = (self.how.optimize)(model, self.optimizer, base.into(), gradients);
        let heard = scope.heard();
        let missed = misses(learner) > missed;
        let error = match heard {
            Heard { rate_for_zero: Some(rate), .. } => Some(UpdateError::RateForZero { rate }),
            Heard { unknown, .. } if unknown > 0 => {
                Some(UpdateError::UnknownParameters { count: unknown })
            }
            Heard { reached, .. } if missed && reached < expected => {
                Some(UpdateError::NoContext { reached, gradients: expected })
            }
            Heard { reached: 0, .. } if expected > 0 => {
                Some(UpdateError::NothingReached { gradients: expected })
            }
            _ => None,
        };
        match error {
            Some(error) => Err((model, error)),
            None => Ok((model, heard)),
        }
    }

    fn settings(&self, decision: &Decision, factor: Factor, measures_movement: bool) -> Settings {
        let table = &self.plan.groups.table;
        let (step, skipped_steps) = (self.step, self.state.clock.skipped_steps);
        let base = table.base.rate(step);
        let setting = |(index, group): (usize, &ResolvedGroup)| {
            let answer = decision.of(index);
            let cap = answer.cap.unwrap_or(f64::INFINITY).min(group.cap.unwrap_or(f64::INFINITY));
            let rate = group.decided(&answer, base, step);
            let share = group.shrinkage.at(step, rate);
            // A drop at a skipped step applies to the next update.
            let drop = |of: u64| {
                let of = if of < step { of.saturating_sub(skipped_steps) } else { of };
                group.rate(table.base.rate(of), of)
            };
            Setting {
                rate,
                cap,
                shrink: Shrink { share, cautious: group.shrinkage.is_cautious() },
                frozen: group.is_frozen(step),
                momentum: Momentum {
                    momentum: group.momentum.as_ref().map(|momentum| momentum.rate(step)),
                    drop: table.rate_drop.effect(step, drop),
                },
            }
        };
        let groups: Vec<Setting> = table.groups.iter().enumerate().map(setting).collect();
        let needs = self.state.controllers.needs();
        let measures_movement = measures_movement || needs.last_movement || self.plan.log.is_some();
        Settings {
            learner: self.state.index.learner(),
            known: self.state.index.known(),
            factor,
            steps: self.plan.reports.wants_steps().then(|| vec![Step::default(); groups.len()]),
            movement: measures_movement.then(Sum::default),
            keeps_gradients: needs.gradient_dot,
            keeps_averages: self.plan.averaging.is_any(),
            averages_due: match self.how.changes_weights {
                true => vec![],
                false => self.plan.averaging.due(self.number),
            },
            base: decision.answer.rate(base).max(f64::MIN_POSITIVE),
            step,
            resolved: self.plan.groups.clone(),
            groups,
        }
    }

    /// How the update changed the gradient of a batch. Waits for the device.
    fn change(
        &self,
        again: Again,
        [before, after]: [&M; 2],
        needs: &Needs,
        loss_scale: Option<f64>,
    ) -> Result<Option<BatchChange>, UpdateError> {
        let Some(pass_again) = self.how.again else { return Ok(None) };
        let scale = loss_scale.unwrap_or(1.0);
        let largest = self.state.seen.largest_gradient;
        let largest = match largest {
            Some(largest) => largest,
            None => numbers(again.gradients.largest().into_iter().collect())
                .first()
                .map_or(0.0, |l| l / scale),
        };
        let looked_at = needs.batch_again.map_or(scale, |again| again.loss_scale(scale, largest));
        let weights = |model: &M| ByParameter::weights(model, |_, trains| trains);
        let Some(moved) = weights(before).distance(weights(after)) else { return Ok(None) };
        // With several devices, the model is updated on one, and the batch may be on another.
        let model = match again.devices.first() {
            Some(device) if again.devices != after.devices() => after.clone().fork(device),
            _ => after.clone(),
        };
        let scale_again = loss_scale.map(|_| looked_at);
        let keeps_f32 = self.plan.is_half;
        let pass = Pass::begin(Asked { scale: scale_again, keeps_f32, ..Asked::default() });
        let gradients = pass_again(&model, again.item);
        drop(pass);
        let gradients = gradients.ok_or(UpdateError::NoBatchAgain)?;
        let gradients =
            if self.plan.is_half { in_f32_gradients(&model, gradients) } else { gradients };
        let now = loss_scale.map_or(1.0, |_| looked_at);
        let gradients = ByParameter::gradients(&model, gradients.into()).times(scale / now);
        let Some(changed) = again.gradients.difference(gradients) else { return Ok(None) };
        Ok(match numbers(vec![changed, moved])[..] {
            [gradient, weights] => Some(BatchChange { gradient: gradient / scale, weights }),
            _ => None,
        })
    }

    /// Counts and reports the update, and prepares the model for the next.
    fn finish(
        &mut self,
        model: M,
        decision: Decision,
        heard: Option<Heard>,
        logged: Option<Signals>,
        loss_scale: Option<f64>,
    ) -> M {
        let groups = &self.plan.groups;
        let mut steps = vec![];
        let moved = heard.as_ref().and_then(|heard| heard.movement.clone());
        if let (Some(log), Some(signals)) = (&self.plan.log, logged) {
            let (plan, state) = (self.plan, &*self.state);
            let line = line(plan, state, (self.number, self.step), &decision, loss_scale);
            log.write(Unwritten { line, signals, moved });
        }
        match heard {
            Some(heard) => {
                self.state.clock.made();
                self.state.evaluated.extend(heard.evaluated);
                self.state.last_movement = heard.movement.map(Box::new).map(Reading::OnDevice);
                steps = heard.steps.into_iter().flatten().map(Step::root_mean_square).collect();
            }
            None => {
                self.state.clock.skip(self.plan.on_skip);
                self.state.last_movement = Some(Reading::Read(0.0));
            }
        }
        let next_step = self.state.clock.step_of(self.number + 1);
        let norms = if self.plan.reports.wants_norms() { self.norms(&model) } else { vec![] };
        self.state.decision = decision.clone();
        let (number, step) = (self.number, self.step);
        let answers = self.state.controllers.answers().map(|(_, answer)| answer).collect();
        let noise_scale = self.state.controllers.gradient_noise().and_then(|noise| noise.scale);
        let noise_scale = noise_scale.map(|scale| scale.value);
        let report = Report {
            number,
            step,
            next_step,
            loss_scale,
            decision,
            answers,
            noise_scale,
            steps,
            norms,
        };
        self.plan.reports.push(report);
        self.state.place.updates += 1;
        if groups.freezes_differ(step, next_step) {
            self.state.thawed.extend(groups.late_until(next_step));
            self.state.thawed.sort();
            self.state.thawed.dedup();
        }
        let prepared = std::mem::replace(&mut self.state.prepared, next_step);
        // Also if the step differs from the one that the model was prepared for.
        match prepared != step || groups.freezes_differ(step, next_step) {
            true => groups.prepare(model, next_step),
            false => model,
        }
    }

    /// ‖w‖₂ of the weights of each group.
    fn norms(&self, model: &M) -> Vec<Option<Tensor<1>>> {
        let known = self.state.index.known();
        let group = |id: &burn::module::ParamId| known.groups[*known.ids.get(id)? as usize];
        let mut sums = vec![Sum::default(); self.plan.groups.table.groups.len()];
        let weights = ByParameter::weights(model, |id, _| group(&id).is_some());
        for (id, weight) in weights.iter() {
            if let Some(group) = group(id) {
                sums[group as usize].add(super::in_f32(weight.clone()));
            }
        }
        sums.into_iter().map(Sum::root).collect()
    }
}

/// The update as presented to controllers before the decision.
fn due<'a>(plan: &Plan, number: u64, step: u64, group_rates: &'a [f64]) -> Due<'a> {
    Due { number, step, rate: plan.groups.schedule().rate(step), group_rates }
}

/// A number that is finite if all losses are.
fn sum_of(losses: &[Tensor<1>]) -> Option<Tensor<1>> {
    let sum = |sum: Tensor<1>, loss: Tensor<1>| sum.clone() + loss.to_device(&sum.device());
    losses.iter().cloned().reduce(sum)
}

/// The scale of the losses of an update.
fn scale_of(batches: &[Batch], next: Option<f64>) -> Result<Option<f64>, UpdateError> {
    let Some(first) = batches.first() else { return Ok(next) };
    for batch in batches {
        match (first.loss_scale, batch.loss_scale) {
            (Some(first), Some(other)) if first != other => {
                return Err(UpdateError::MixedScales { first, other });
            }
            (_, Some(_)) if batch.scaled == 0 && batch.learns => {
                return Err(UpdateError::NotScaled);
            }
            (_, Some(_)) if batch.scaled > 1 => {
                return Err(UpdateError::ScaledTwice { calls: batch.scaled });
            }
            _ => {}
        }
    }
    Ok(first.loss_scale)
}

/// The signals from the batches of an update.
fn signals_of(batches: &mut [Batch], loss_scale: Option<f64>) -> Signals {
    Signals {
        losses: batches.iter_mut().filter_map(|batch| batch.loss.take()).collect(),
        batch_norms: batches.iter_mut().filter_map(|batch| batch.norm.take()).collect(),
        largest: batches.iter_mut().filter_map(|batch| batch.largest.take()).collect(),
        task_cosines: batches.iter_mut().filter_map(|batch| batch.task_cosine.take()).collect(),
        batches: batches.len() as u64,
        loss_scale,
        ..Signals::default()
    }
}

/// The number of parameters with a gradient; with several devices, the largest number of one device.
fn count(gradients: &GradAdaptor) -> usize {
    match gradients {
        GradAdaptor::Single(gradients) => gradients.len(),
        GradAdaptor::Multi(all) => {
            all.grads.iter().map(|(gradients, _)| gradients.len()).max().unwrap_or(0)
        }
    }
}
