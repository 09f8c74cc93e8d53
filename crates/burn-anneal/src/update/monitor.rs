//! Access to a run during training.

use super::averaging::Averaging;
use super::error::UpdateError;
use super::log::Log;
use super::metric::{RunMetrics, UpdateMetric};
use super::reduce::GlobalNormClip;
use super::reports::{Report, Reports};
use super::schedule::{Tag, cloned};
use super::signals::numbers;
use super::state::{Slot, State};
use super::updater::fail;
use super::watch::Watch;
use super::{CopyItem, OnSkip};
use crate::average::{EvaluateError, Evaluation, Weights, evaluate_by};
use crate::groups::{ControlSummary, ExplainedController, Explanation, Groups};
use crate::precision::Casts;
use crate::snapshots::Writer;
use crate::tasks::TaskLoss;
use anneal_control::{AnnounceError, Announcement, Answer, GradientNoise, Needs, Observation};
use anneal_schedule::RunLength;
use burn::data::dataloader::DataLoader;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::train::{
    ClassificationOutput, InferenceStep, Interrupter, MultiLabelClassificationOutput,
    RegressionOutput, SequenceOutput,
};
use std::any::{Any, TypeId};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The result of an update.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Updated {
    /// Its number, from 0, including skipped updates.
    pub number: u64,
    /// The step of the schedule that it was made at.
    pub step: u64,
    /// The rate of the schedule times the factors of controllers; 0 if it was skipped.
    pub rate: f64,
    /// Why it was skipped.
    pub skipped: Option<&'static str>,
    /// The scale of its losses; `None` without loss scaling.
    pub loss_scale: Option<f64>,
}

/// Everything that is fixed when a run starts.
pub(crate) struct Plan {
    pub groups: Groups,
    pub clip: Option<GlobalNormClip>,
    /// The length of the run.
    pub run: RunLength,
    /// Whether gradients are averaged over the batches of an update, or summed.
    pub is_mean: bool,
    /// The run length that Burn's own loop must match; `None` in this crate's or a user's loop.
    pub expects: Option<RunLength>,
    /// Whether a user's own loop ends epochs.
    pub is_own_loop: bool,
    /// How the run resumed.
    pub resumed: Option<String>,
    /// Warnings about settings that are allowed but hardly intended.
    pub warnings: Vec<String>,
    /// Casts inputs to the precision of the model.
    pub cast_inputs: Option<Casts>,
    /// Whether gradients are in half precision, and so summed in f32.
    pub is_half: bool,
    pub on_skip: OnSkip,
    /// Whether controllers get the signals of the previous update.
    pub delayed: bool,
    /// The number of updates within which each parameter must get a gradient.
    pub gradients_within: Option<u64>,
    /// Finds the loss in the output of a pass.
    pub loss_of: LossOf,
    /// Copies a batch that is repeated.
    pub copy_item: Option<CopyItem>,
    /// Stops a run of Burn's loop.
    pub interrupter: Option<Interrupter>,
    pub reports: Reports,
    pub log: Option<Log>,
    pub snapshots: Option<Writer>,
    pub averaging: Averaging,
    /// The state that the last update changed; earlier clones of the model have another one.
    pub live: Mutex<Option<Slot>>,
}

impl Plan {
    /// The needs of controllers and of the log.
    pub(super) fn all_needs(&self, of_controllers: Needs) -> Needs {
        self.log.as_ref().map_or(of_controllers, |log| of_controllers.and(log.needs()))
    }

    /// The plan for an independent copy of the model.
    pub(super) fn detached(&self) -> Self {
        Self {
            groups: self.groups.clone(),
            cast_inputs: self.cast_inputs.clone(),
            loss_of: self.loss_of.clone(),
            resumed: None,
            warnings: vec![],
            expects: None,
            is_own_loop: false,
            // Its controllers are others, and get signals at once.
            delayed: false,
            gradients_within: None,
            interrupter: None,
            reports: Reports::default(),
            log: None,
            snapshots: None,
            averaging: Averaging::default(),
            live: Mutex::default(),
            ..*self
        }
    }
}

/// Finds the loss in an output whose type only the user knows.
pub(crate) type LossOf = Arc<dyn Fn(&dyn Any) -> Option<Tensor<1>> + Send + Sync>;

macro_rules! outputs {
    ($($output:ty),*) => {
        /// The loss in Burn's own outputs, and in an output that is the loss.
        pub(crate) fn known_loss(output: &dyn Any) -> Option<Tensor<1>> {
            $(if let Some(output) = output.downcast_ref::<$output>() {
                return Some(output.loss.clone());
            })*
            output.downcast_ref::<Tensor<1>>().cloned()
        }

        /// Whether the loss in outputs of this type is known.
        pub(crate) fn is_known_output(output: TypeId) -> bool {
            [$(TypeId::of::<$output>(),)* TypeId::of::<Tensor<1>>()].contains(&output)
        }

        $(impl TaskLoss for $output {
            fn task_loss(&self) -> Tensor<1> {
                self.loss.clone()
            }
        })*
    };
}

outputs!(ClassificationOutput, MultiLabelClassificationOutput, RegressionOutput, SequenceOutput);

/// The state of a run; see [`Monitored`].
#[derive(Clone)]
pub struct Monitor {
    pub(crate) plan: Arc<Plan>,
    link: Link,
}

/// The state of a model. A clone of a learner gets its own state, after its model was cloned.
pub(super) type Link = Arc<Mutex<Slot>>;

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Monitor").field(&*self.slot().lock()).finish()
    }
}

/// Gives access to a model in training, [`Annealed`](crate::Annealed) or [`TrainingLoop`](crate::TrainingLoop): the
/// state of each group, the answers of controllers, and metrics of both for Burn's dashboard and logs.
///
/// Pass the metrics to `SupervisedTraining::metric_train_numeric`. Unknown values, for example before the first update,
/// are absent.
pub trait Monitored {
    /// The monitor that the methods below read; it can be kept after the run.
    fn monitor(&self) -> &Monitor;

    /// The groups of the parameters; by default one group of all.
    fn groups(&self) -> &Groups {
        &self.monitor().plan.groups
    }

    /// Explains each group at the next update and the state of controllers, as a table or as JSON.
    fn explain(&self) -> Explanation {
        self.monitor().explanation()
    }

    /// Announces an event to controllers, for example the start of a phase, before the next update. Do not call it
    /// inside the model's own `TrainStep::optimize`.
    ///
    /// # Errors
    /// [`AnnounceError`] if no controller listens to this name, or one stops the run.
    fn announce(&self, name: &str) -> Result<(), AnnounceError> {
        self.monitor().say(Announcement { name, value: None })
    }

    /// Announces a number to controllers, for example the temperature of a loss.
    ///
    /// # Errors
    /// The same as [`announce`](Self::announce).
    fn announce_value(&self, name: &str, value: f64) -> Result<(), AnnounceError> {
        self.monitor().say(Announcement { name, value: Some(value) })
    }

    /// The signals of the last update for controllers; unknown without controllers.
    fn observation(&self) -> Observation {
        self.monitor().slot().lock().seen
    }

    /// The gradient noise and noise scale, if a [`NoiseScale`](anneal_control::NoiseScale) is among the controllers;
    /// `None` without one, and before its first measurement.
    fn gradient_noise(&self) -> Option<GradientNoise> {
        self.monitor().slot().lock().controllers.gradient_noise()
    }

    /// Evaluates the model of this run with these weights on the items of a loader; see
    /// [`evaluate`](crate::evaluate()). Batches are cast as in the run.
    ///
    /// # Errors
    /// [`EvaluateError`] if the loader is empty or fails, or the loss is not known.
    fn evaluate<M: InferenceStep + Module>(
        &self,
        model: &M,
        weights: Weights,
        loader: &dyn DataLoader<M::Input>,
    ) -> Result<Evaluation, EvaluateError>
    where
        Self: Sized,
        M::Input: 'static,
        M::Output: 'static,
    {
        let casts = self.monitor().plan.cast_inputs.as_ref();
        let model = self.with_weights(model, weights);
        evaluate_by(&model, loader, |model, batch| match casts {
            Some(casts) => model.step(casts.cast(batch)),
            None => model.step(batch),
        })
    }

    /// The model of this run in its `valid()` form with these weights, whichever weights `model` has; after a run, give
    /// the model of the result. Averages get the running statistics of `model`, unless these are averaged too.
    fn with_weights<M: Module>(&self, model: &M, weights: Weights) -> M
    where
        Self: Sized,
    {
        let slot = self.monitor().live().slot();
        let state = slot.lock();
        match weights {
            Weights::Average => state.evaluated.put(model.valid()),
            Weights::Raw => state.raw.put(model.valid()),
        }
    }

    /// The error that stopped training, if any; Burn's `LearningResult::error` has it as text.
    fn failure(&self) -> Option<Arc<UpdateError>> {
        self.monitor().slot().lock().failure.clone()
    }

    /// A metric of each group's rate: 0 if the group is frozen or the update is skipped.
    fn rate_metrics(&self) -> Vec<UpdateMetric> {
        self.monitor().metrics(RunMetrics::Rates)
    }

    /// Metrics of each group that decays: the share of each weight that the decay removes, and the share that it has
    /// left. A metric added in mid-run assumes that earlier updates followed the schedule.
    fn decay_metrics(&self) -> Vec<UpdateMetric> {
        self.monitor().metrics(RunMetrics::Decay)
    }

    /// A metric of the momentum of each group with a momentum schedule.
    fn momentum_metrics(&self) -> Vec<UpdateMetric> {
        self.monitor().metrics(RunMetrics::Momentum)
    }

    /// A metric of how far each group actually moves: the root mean square of an update's change of its weights,
    /// without decay. For Adam, this is the effective step that
    /// [`AdamStep`](crate::schedule::analysis::AdamStep) predicts. From this call on, updates are measured: a sum over
    /// all weights on the device, and one read per metric and update, by the metrics thread.
    fn step_metrics(&self) -> Vec<UpdateMetric> {
        self.monitor().metrics(RunMetrics::Steps)
    }

    /// A metric of the Euclidean norm of each group's weights after each update, including frozen groups, which shows
    /// the actual effect of weight decay. It costs the same as [`step_metrics`](Self::step_metrics).
    fn norm_metrics(&self) -> Vec<UpdateMetric> {
        self.monitor().metrics(RunMetrics::Norms)
    }

    /// Metrics of the controllers: `Loss Scale` of each update, with loss scaling; `Skipped`, 1 or 0; and `Factor
    /// NAME`, each controller's factor on the rates. Empty without controllers.
    fn control_metrics(&self) -> Vec<UpdateMetric> {
        self.monitor().metrics(RunMetrics::Control)
    }

    /// The metric `Noise Scale`, the best estimate of a [`NoiseScale`](anneal_control::NoiseScale); absent if it is not
    /// known.
    fn noise_scale_metrics(&self) -> Vec<UpdateMetric> {
        self.monitor().metrics(RunMetrics::NoiseScale)
    }

    /// Metrics of the controllers' other answers: `Floor NAME`, the least rate after factors; `Cap NAME`, the largest
    /// rate allowed; and `Gradients NAME`, the factor on the gradients. Absent if a controller does not answer them.
    fn answer_metrics(&self) -> Vec<UpdateMetric> {
        self.monitor().metrics(RunMetrics::Answers)
    }
}

impl Monitored for Monitor {
    fn monitor(&self) -> &Monitor {
        self
    }
}

impl Monitor {
    pub(super) fn new(plan: Arc<Plan>, slot: Slot) -> Self {
        Self { plan, link: Arc::new(Mutex::new(slot)) }
    }

    /// The monitor of a clone of the model, which may move to another learner.
    pub(super) fn linked_anew(&self) -> Self {
        let link = Arc::new(Mutex::new(self.slot()));
        cloned(&link);
        Self { plan: self.plan.clone(), link }
    }

    pub(crate) fn slot(&self) -> Slot {
        self.link.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The monitor of the learner that made the last update.
    pub(crate) fn live(&self) -> Self {
        let live = self.plan.live.lock().unwrap_or_else(PoisonError::into_inner).clone();
        live.map_or_else(|| self.clone(), |slot| Self::new(self.plan.clone(), slot))
    }

    /// The names of a run's own metrics.
    pub(crate) fn metric_names(&self) -> Vec<String> {
        let all = [
            RunMetrics::Rates,
            RunMetrics::Decay,
            RunMetrics::Momentum,
            RunMetrics::Steps,
            RunMetrics::Norms,
            RunMetrics::Control,
            RunMetrics::NoiseScale,
            RunMetrics::Answers,
        ];
        let slot = self.slot();
        let state = slot.lock();
        let (names, scales) = controllers_of(&state);
        let of =
            |metrics: RunMetrics| metrics.of(&self.plan.groups, &names, scales, &Watch::default());
        let names = all.into_iter().flat_map(of);
        names.map(|metric| burn::train::metric::Metric::name(&metric).to_string()).collect()
    }

    pub(super) fn follow(&self, slot: Slot) {
        *self.plan.live.lock().unwrap_or_else(PoisonError::into_inner) = Some(slot.clone());
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = slot;
    }

    fn metrics(&self, which: RunMetrics) -> Vec<UpdateMetric> {
        self.plan.reports.want(which);
        let slot = self.slot();
        let state = slot.lock();
        let (names, scales) = controllers_of(&state);
        which.of(&self.plan.groups, &names, scales, &Watch::of(self.clone()))
    }

    /// The result of the last update.
    pub(crate) fn last_update(&self) -> Option<Updated> {
        let Report { number, step, decision, loss_scale, .. } = self.plan.reports.last()?;
        let answer = decision.answer;
        let rate = answer.rate(self.plan.groups.schedule().rate(step));
        let rate = if answer.skip.is_some() { 0.0 } else { rate };
        Some(Updated { number, step, rate, skipped: answer.skip, loss_scale })
    }

    /// Starts an update without a Burn scheduler.
    pub(crate) fn issue(&self) -> Tag {
        let slot = self.slot();
        let (number, _) = slot.lock().clock.issue();
        Tag { slot: slot.number, number }
    }

    /// Freezes the parameters that the next update does not train.
    pub(crate) fn prepare<M: Module>(&self, model: M) -> M {
        self.plan.groups.prepare(model, self.slot().lock().prepared)
    }

    /// Requires gradients again for parameters that the run froze.
    pub(crate) fn release<M: Module>(&self, model: M) -> M {
        self.plan.groups.release(model)
    }

    /// The mean loss of the passes since the last update, which are forgotten.
    pub(crate) fn take_loss(&self) -> Option<f64> {
        let batches = self.slot().lock().batches.take();
        let losses: Vec<Tensor<1>> = batches.into_iter().filter_map(|batch| batch.loss).collect();
        let count = losses.len() as f64;
        (count > 0.0).then(|| numbers(losses).into_iter().sum::<f64>() / count)
    }

    pub(crate) fn next_update(&self) -> u64 {
        self.slot().lock().clock.number
    }

    fn say(&self, said: Announcement<'_>) -> Result<(), AnnounceError> {
        let slot = self.live().slot();
        let mut state = slot.lock();
        let told = state.controllers.announce(said);
        if let Err(AnnounceError::Stopped(stopped)) = &told {
            fail(&self.plan, &mut state, stopped.clone().into());
        }
        told
    }

    fn explanation(&self) -> Explanation {
        let slot = self.slot();
        let mut state = slot.lock();
        state.ledger.read();
        let answers: Vec<Answer> = state.controllers.answers().map(|(_, answer)| answer).collect();
        let controllers =
            state.controllers.states().zip(answers).map(|((name, state), answered)| {
                ExplainedController { name: name.to_string(), answered, state }
            });
        let control = ControlSummary {
            loss_scale: state.controllers.loss_scale(),
            skipped: state.clock.skipped,
            behind: state.clock.behind.saturating_sub(state.origin),
            factor: state.decision.answer.total_factor(),
            not_finite: state.ledger.not_finite,
            controllers: controllers.collect(),
        };
        let says_something = !control.controllers.is_empty() || control.not_finite > 0;
        let mut explanation = self.plan.groups.explain(state.clock.next_step());
        explanation.notes.extend(self.plan.averaging.explained());
        explanation.notes.extend(self.plan.warnings.iter().cloned());
        if let Some(report) = self.plan.reports.last().filter(|_| !state.controllers.is_empty()) {
            let rates = self.plan.groups.decided(&report.decision, report.step);
            let groups = explanation.groups.iter_mut().zip(rates);
            groups.for_each(|(group, rate)| group.last_rate = Some(rate));
        }
        Explanation {
            resumed: self.plan.resumed.clone(),
            control: says_something.then_some(control),
            ..explanation
        }
    }
}

/// The names of the controllers of a run, and whether they scale losses.
fn controllers_of(state: &State) -> (Vec<String>, bool) {
    let names = state.controllers.names().map(String::from);
    (names.collect(), state.controllers.loss_scale().is_some())
}
