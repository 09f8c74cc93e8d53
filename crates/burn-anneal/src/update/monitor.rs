//! What can be asked of a run while it trains.

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

/// What became of an update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Updated {
    /// Its number, from 0; skipped ones count.
    pub number: u64,
    /// The step of the schedule that it was made at.
    pub step: u64,
    /// The rate of the schedule, times the factors of controllers; 0 where it was skipped.
    pub rate: f64,
    /// Why it was skipped.
    pub skipped: Option<&'static str>,
    /// What its losses were multiplied by; `None` without loss scaling.
    pub loss_scale: Option<f64>,
}

/// All that is fixed when a run begins.
pub(crate) struct Plan {
    pub groups: Groups,
    pub clip: Option<GlobalNormClip>,
    /// The run that is trained.
    pub run: RunLength,
    /// Whether gradients are averaged over the batches of an update, or summed.
    pub is_mean: bool,
    /// What Burn's own loop must show; `None` where the loop is ours, or a user's.
    pub expects: Option<RunLength>,
    /// Whether a user's own loop ends epochs.
    pub is_own_loop: bool,
    /// Where the run went on from.
    pub resumed: Option<String>,
    /// What is allowed and will hardly be meant.
    pub warnings: Vec<String>,
    /// Casts inputs to the precision of the model.
    pub cast_inputs: Option<Casts>,
    /// Whether gradients are those of half precision, which are summed in f32.
    pub is_half: bool,
    pub on_skip: OnSkip,
    /// Whether controllers hear of the update before the one that they answer to.
    pub delayed: bool,
    /// Updates within which each parameter must get a gradient.
    pub gradients_within: Option<u64>,
    /// The loss in the output of a pass.
    pub loss_of: LossOf,
    /// To copy a batch that is looked at again.
    pub copy_item: Option<CopyItem>,
    /// Where a run of Burn's is stopped.
    pub interrupter: Option<Interrupter>,
    pub reports: Reports,
    pub log: Option<Log>,
    pub snapshots: Option<Writer>,
    pub averaging: Averaging,
    /// The state that the last update changed: clones of a model that Burn made before it look at another.
    pub live: Mutex<Option<Slot>>,
}

impl Plan {
    /// What controllers need of an update, and what the log does.
    pub(super) fn all_needs(&self, of_controllers: Needs) -> Needs {
        self.log.as_ref().map_or(of_controllers, |log| of_controllers.and(log.needs()))
    }

    /// For a copy of the model that goes its own way.
    pub(super) fn detached(&self) -> Self {
        Self {
            groups: self.groups.clone(),
            cast_inputs: self.cast_inputs.clone(),
            loss_of: self.loss_of.clone(),
            resumed: None,
            warnings: vec![],
            expects: None,
            is_own_loop: false,
            // Its controllers are others, and hear at once.
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

/// Finds the loss in an output of which only its owner knows the type.
pub(crate) type LossOf = Arc<dyn Fn(&dyn Any) -> Option<Tensor<1>> + Send + Sync>;

macro_rules! outputs {
    ($($output:ty),*) => {
        /// The loss of Burn's own outputs, and of an output that is the loss.
        pub(crate) fn known_loss(output: &dyn Any) -> Option<Tensor<1>> {
            $(if let Some(output) = output.downcast_ref::<$output>() {
                return Some(output.loss.clone());
            })*
            output.downcast_ref::<Tensor<1>>().cloned()
        }

        /// Whether that finds the loss in outputs of this type.
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

/// What a run has come to: see [`Monitored`].
#[derive(Clone)]
pub struct Monitor {
    pub(crate) plan: Arc<Plan>,
    link: Link,
}

/// Where the state of a model is: a clone of a learner is given one of its own, after its model was cloned.
pub(super) type Link = Arc<Mutex<Slot>>;

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Monitor").field(&*self.slot().lock()).finish()
    }
}

/// What can be asked of a model in training, [`Annealed`](crate::Annealed), and of a
/// [`TrainingLoop`](crate::TrainingLoop): what each group does, what controllers answered, and metrics of both for
/// Burn's dashboard and logs.
///
/// Metrics are for `SupervisedTraining::metric_train_numeric`. A value that is not known, such as one before the
/// first update, is absent from them.
pub trait Monitored {
    /// Where the answers below come from; it can be kept after the run.
    fn monitor(&self) -> &Monitor;

    /// The groups of the parameters: one of all, unless others were asked for.
    fn groups(&self) -> &Groups {
        &self.monitor().plan.groups
    }

    /// What each group is and does in the next update, and what controllers have come to: a table, or JSON.
    fn explain(&self) -> Explanation {
        self.monitor().explanation()
    }

    /// Tells controllers that something happens, such as a phase that begins; they hear of it before the next update.
    /// Not from within the model's own `TrainStep::optimize`.
    ///
    /// # Errors
    /// [`AnnounceError`] where no controller hears of this name, or one ends the run over it.
    fn announce(&self, name: &str) -> Result<(), AnnounceError> {
        self.monitor().say(Announcement { name, value: None })
    }

    /// Tells controllers a number, such as the temperature of a loss.
    ///
    /// # Errors
    /// As [`announce`](Self::announce).
    fn announce_value(&self, name: &str, value: f64) -> Result<(), AnnounceError> {
        self.monitor().say(Announcement { name, value: Some(value) })
    }

    /// What the last update showed to controllers; all of it is unknown without any.
    fn observation(&self) -> Observation {
        self.monitor().slot().lock().seen
    }

    /// How noisy gradients are, and the noise scale, where a [`NoiseScale`](anneal_control::NoiseScale) is among the
    /// controllers; `None` without one, and before it has measured an update.
    fn gradient_noise(&self) -> Option<GradientNoise> {
        self.monitor().slot().lock().controllers.gradient_noise()
    }

    /// What the model of this run achieves with these weights, whichever it has, on the items of a loader: see
    /// [`evaluate`](crate::evaluate()). Batches are cast as those of the run are.
    ///
    /// # Errors
    /// [`EvaluateError`] where the loader is empty or fails, or the loss is not known.
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

    /// The model of this run in its `valid()` form, with these weights, whichever it has: of a run that has ended the
    /// model of the result, for instance. Averages have the running statistics that the model has, unless they are averaged
    /// too.
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

    /// Why training was stopped, where it was: Burn's `LearningResult::error` has the same in words.
    fn failure(&self) -> Option<Arc<UpdateError>> {
        self.monitor().slot().lock().failure.clone()
    }

    /// A metric of each group's rate: 0 where the group is frozen or the update skipped.
    fn rate_metrics(&self) -> Vec<UpdateMetric> {
        self.monitor().metrics(RunMetrics::Rates)
    }

    /// Metrics of each group that decays: the share that the decay takes of each weight, and what it has left.
    /// A metric that begins in mid-run takes the updates before it as the schedule has them.
    fn decay_metrics(&self) -> Vec<UpdateMetric> {
        self.monitor().metrics(RunMetrics::Decay)
    }

    /// A metric of each group's momentum, where it has a schedule of it.
    fn momentum_metrics(&self) -> Vec<UpdateMetric> {
        self.monitor().metrics(RunMetrics::Momentum)
    }

    /// A metric of how far each group really moves: the root of the mean square of what an update adds to
    /// its weights, its decay not counted, which is Adam's effective step
    /// ([`AdamStep`](crate::schedule::analysis::AdamStep) predicts it). From then on updates are measured: a sum over
    /// all weights on the device, and one read for each metric and update, by the thread of the metrics.
    fn step_metrics(&self) -> Vec<UpdateMetric> {
        self.monitor().metrics(RunMetrics::Steps)
    }

    /// A metric of the Euclidean norm of each group's weights after each update, frozen ones too, which shows
    /// what a weight decay really does. It costs what [`step_metrics`](Self::step_metrics) costs.
    fn norm_metrics(&self) -> Vec<UpdateMetric> {
        self.monitor().metrics(RunMetrics::Norms)
    }

    /// Metrics of the controllers: `Loss Scale`, that of each update, where losses are scaled; `Skipped`, 1 or 0;
    /// and `Factor NAME`, what each controller multiplied the rates by. None without controllers.
    fn control_metrics(&self) -> Vec<UpdateMetric> {
        self.monitor().metrics(RunMetrics::Control)
    }

    /// The metric `Noise Scale`, the best estimate of a [`NoiseScale`](anneal_control::NoiseScale); absent where it is
    /// not known.
    fn noise_scale_metrics(&self) -> Vec<UpdateMetric> {
        self.monitor().metrics(RunMetrics::NoiseScale)
    }

    /// Metrics of the rest that controllers answer: `Floor NAME`, what factors may not take rates below, `Cap NAME`,
    /// what no rate may exceed, and `Gradients NAME`, what each multiplied the gradients by; absent where one says nothing
    /// of it.
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

    /// That of a clone of the model, which may become one of another learner.
    pub(super) fn linked_anew(&self) -> Self {
        let link = Arc::new(Mutex::new(self.slot()));
        cloned(&link);
        Self { plan: self.plan.clone(), link }
    }

    pub(crate) fn slot(&self) -> Slot {
        self.link.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// That of the learner that made the last update.
    pub(crate) fn live(&self) -> Self {
        let live = self.plan.live.lock().unwrap_or_else(PoisonError::into_inner).clone();
        live.map_or_else(|| self.clone(), |slot| Self::new(self.plan.clone(), slot))
    }

    /// The names of what metrics a run can show of itself.
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

    /// What became of the last update.
    pub(crate) fn last_update(&self) -> Option<Updated> {
        let Report { number, step, decision, loss_scale, .. } = self.plan.reports.last()?;
        let answer = decision.answer;
        let rate = answer.rate(self.plan.groups.schedule().rate(step));
        let rate = if answer.skip.is_some() { 0.0 } else { rate };
        Some(Updated { number, step, rate, skipped: answer.skip, loss_scale })
    }

    /// Begins an update that no scheduler of Burn's begins.
    pub(crate) fn issue(&self) -> Tag {
        let slot = self.slot();
        let (number, _) = slot.lock().clock.issue();
        Tag { slot: slot.number, number }
    }

    /// Freezes what the next update does not train.
    pub(crate) fn prepare<M: Module>(&self, model: M) -> M {
        self.plan.groups.prepare(model, self.slot().lock().prepared)
    }

    /// Requires gradients again where the run froze parameters.
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
