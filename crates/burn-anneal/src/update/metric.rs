//! The metrics of updates, for Burn's dashboard and logs.

use super::reports::Report;
use super::schedule::Tag;
use super::signals::numbers;
use super::watch::Watch;
use crate::groups::{Groups, Kept, ResolvedGroup, Table};
use burn::tensor::TensorReadError;
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};
use std::fmt;
use std::sync::Arc;

/// A metric of each update: the rate, decay, momentum, movement or weight norm of a group, or the loss scale, skip or
/// rate factor from controllers.
///
/// The methods of [`Monitored`](super::Monitored) make it for `SupervisedTraining::metric_train_numeric`; a custom loop
/// reads the value of its last update with [`last`](Self::last).
#[derive(Clone)]
pub struct UpdateMetric {
    name: MetricName,
    quantity: Quantity,
    group: usize,
    watch: Watch,
    /// The last update counted; with gradient accumulation, several batches have the same update.
    counted: Option<u64>,
    state: NumericMetricState,
    is_known: bool,
    is_known_of_epoch: bool,
}

impl fmt::Debug for UpdateMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpdateMetric").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Metrics of each update, for Burn's dashboard and logs. An unknown value, for example before the first update, is
/// absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RunMetrics {
    /// The rate of each group, `Rate NAME`; see [`Monitored::rate_metrics`](super::Monitored::rate_metrics).
    Rates,
    /// `Decay NAME` and `Kept NAME` of each group that decays; see
    /// [`Monitored::decay_metrics`](super::Monitored::decay_metrics).
    Decay,
    /// The momentum of each group with a momentum schedule, `Momentum NAME`; see
    /// [`Monitored::momentum_metrics`](super::Monitored::momentum_metrics).
    Momentum,
    /// How far each group moves, `Step NAME`; see [`Monitored::step_metrics`](super::Monitored::step_metrics).
    Steps,
    /// The norm of each group's weights, `Norm NAME`; see [`Monitored::norm_metrics`](super::Monitored::norm_metrics).
    Norms,
    /// `Loss Scale`, `Skipped` and `Factor NAME` of controllers, including limits; see
    /// [`Monitored::control_metrics`](super::Monitored::control_metrics).
    Control,
    /// `Noise Scale`, the gradient noise scale, if a controller measures it; see
    /// [`Monitored::noise_scale_metrics`](super::Monitored::noise_scale_metrics).
    NoiseScale,
    /// `Floor NAME`, `Cap NAME` and `Gradients NAME` of controllers; see
    /// [`Monitored::answer_metrics`](super::Monitored::answer_metrics).
    Answers,
}

impl RunMetrics {
    /// The metrics of a run with these groups and controllers.
    pub(crate) fn of(
        self,
        groups: &Groups,
        controllers: &[String],
        scales: bool,
        watch: &Watch,
    ) -> Vec<UpdateMetric> {
        let of_groups = |what: &str, wanted: fn(&ResolvedGroup) -> bool, quantity: &Quantity| {
            let all = groups.table.groups.iter().enumerate();
            let wanted = all.filter(|(_, group)| wanted(group));
            let metric = |(index, group): (usize, &ResolvedGroup)| {
                let name = format!("{what} {}", group.name);
                UpdateMetric::new(name, quantity.clone(), index, watch.clone())
            };
            wanted.map(metric).collect::<Vec<_>>()
        };
        let of_run = |name: String, quantity| UpdateMetric::new(name, quantity, 0, watch.clone());
        let decays: fn(&ResolvedGroup) -> bool = |group| !group.shrinkage.is_none();
        let names = || controllers.iter().enumerate();
        match self {
            Self::Rates => of_groups("Rate", |_| true, &Quantity::Rate),
            Self::Decay => {
                let mut metrics = of_groups("Decay", decays, &Quantity::Decay);
                metrics.extend(of_groups("Kept", decays, &Quantity::Kept(Kept::default())));
                metrics
            }
            Self::Momentum => {
                of_groups("Momentum", |group| group.momentum.is_some(), &Quantity::Momentum)
            }
            Self::Steps => of_groups("Step", |_| true, &Quantity::Step),
            Self::Norms => of_groups("Norm", |_| true, &Quantity::Norm),
            Self::Control if controllers.is_empty() => vec![],
            Self::Control => {
                let scale = scales.then(|| of_run("Loss Scale".into(), Quantity::LossScale));
                let skipped = of_run("Skipped".into(), Quantity::Skipped);
                let factor = |(i, name)| of_run(format!("Factor {name}"), Quantity::Factor(i));
                scale.into_iter().chain([skipped]).chain(names().map(factor)).collect()
            }
            Self::NoiseScale => vec![of_run("Noise Scale".into(), Quantity::NoiseScale)],
            Self::Answers => {
                let all = |(i, name): (usize, &String)| {
                    let floor = of_run(format!("Floor {name}"), Quantity::Floor(i));
                    let cap = of_run(format!("Cap {name}"), Quantity::Cap(i));
                    [floor, cap, of_run(format!("Gradients {name}"), Quantity::Gradients(i))]
                };
                names().flat_map(all).collect()
            }
        }
    }
}

#[derive(Clone)]
pub(super) enum Quantity {
    /// The rate; 0 if the group is frozen or the update is skipped.
    Rate,
    /// The share that the decay removes.
    Decay,
    /// The share that the decay has left after the update.
    Kept(Kept),
    Momentum,
    /// The root mean square of the step.
    Step,
    /// The norm of the weights after the update.
    Norm,
    LossScale,
    Skipped,
    NoiseScale,
    /// The factor of the controller with this index.
    Factor(usize),
    Floor(usize),
    Cap(usize),
    Gradients(usize),
}

impl UpdateMetric {
    pub(super) fn new(name: String, quantity: Quantity, group: usize, watch: Watch) -> Self {
        Self {
            name: Arc::new(name),
            quantity,
            group,
            watch,
            counted: None,
            state: NumericMetricState::new(),
            is_known: false,
            is_known_of_epoch: false,
        }
    }

    /// Its value at the last update; `None` if it is not known.
    pub fn last(&mut self) -> Option<f64> {
        let report = self.watch.monitor_of()?.plan.reports.last()?;
        self.value_of(report.number)
    }

    /// Its value at the update of this number.
    fn value_of(&mut self, number: u64) -> Option<f64> {
        let monitor = self.watch.monitor_of()?;
        let plan = &monitor.plan;
        let report = plan.reports.of(number).or_else(|| {
            // Without controllers, an update that is no longer stored followed the schedule.
            let slot = monitor.slot();
            let state = slot.lock();
            let step = state.clock.step_of(number);
            let report = Report { number, step, next_step: step + 1, ..Report::default() };
            state.controllers.is_empty().then_some(report)
        })?;
        let Report { step, next_step, decision, .. } = report;
        let Table { base, groups, .. } = &*plan.groups.table;
        let group: &ResolvedGroup = &groups[self.group];
        let idle = group.is_frozen(step) || decision.answer.skip.is_some();
        let rate = || match idle {
            true => 0.0,
            false => group.decided(&decision.of(self.group), base.rate(step), step),
        };
        let share = || if idle { 0.0 } else { group.shrinkage.at(step, rate()) };
        let read = |of: Vec<Option<burn::tensor::Tensor<1>>>| {
            let value = of.into_iter().nth(self.group)??;
            numbers(vec![value]).first().copied()
        };
        match &mut self.quantity {
            Quantity::Rate => Some(rate()),
            Quantity::Decay => Some(share()),
            Quantity::Kept(kept) => {
                if self.counted.replace(number) != Some(number) {
                    kept.go_on(base, group, step);
                    kept.count(share(), next_step);
                }
                Some(kept.share())
            }
            Quantity::Momentum => group.momentum.as_ref().map(|momentum| momentum.rate(step)),
            // A frozen group, or a skipped update, does not move.
            Quantity::Step if idle => Some(0.0),
            Quantity::Step => read(report.steps),
            Quantity::Norm => read(report.norms),
            Quantity::LossScale => report.loss_scale,
            Quantity::Skipped => Some(f64::from(u8::from(decision.answer.skip.is_some()))),
            Quantity::NoiseScale => report.noise_scale,
            Quantity::Factor(index) => Some(report.answers.get(*index)?.total_factor()),
            Quantity::Floor(index) => report.answers.get(*index)?.floor,
            Quantity::Cap(index) => report.answers.get(*index)?.cap,
            Quantity::Gradients(index) => report.answers.get(*index)?.gradient_factor,
        }
    }

    fn format(&self) -> FormatOptions {
        FormatOptions::new(self.name()).precision(6)
    }
}

impl Metric for UpdateMetric {
    type Input = ();

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn update(
        &mut self,
        _item: &(),
        metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        let tag = metadata.lr.as_ref().and_then(Tag::of);
        let value = tag.and_then(|tag| self.value_of(tag.number));
        self.is_known = value.is_some();
        Ok(match value {
            Some(value) => {
                self.is_known_of_epoch = true;
                self.state.update(value, 1);
                self.state.compute_update(self.format())
            }
            None => SerializedEntry::not_available(None),
        })
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(match self.is_known_of_epoch {
            true => self.state.compute_final(self.format()),
            false => SerializedEntry::not_available(None),
        })
    }

    fn clear(&mut self) {
        self.state.reset();
        self.is_known_of_epoch = false;
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: None, higher_is_better: false }.into()
    }
}

impl Numeric for UpdateMetric {
    fn value(&self) -> Option<NumericEntry> {
        self.is_known.then(|| self.state.current_value())
    }

    fn running_value(&self) -> Option<NumericEntry> {
        self.is_known_of_epoch.then(|| self.state.running_value())
    }

    fn final_value(&self) -> NumericEntry {
        self.state.final_value()
    }
}
