//! What a group does in each update, in Burn's dashboard and logs.

use super::explain::Kept;
use super::resolved::{ResolvedGroup, Table};
use super::step::step_of;
use super::{Groups, Measured};
use crate::precision::{Report, Reports};
use burn::tensor::TensorReadError;
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};
use std::sync::Arc;

/// A number of each update of one group: its rate, its decay, its momentum, how far it moves, or how
/// long its weights are.
///
/// Made by [`Groups::rate_metrics`], [`Groups::decay_metrics`], [`Groups::momentum_metrics`],
/// [`Annealed::step_metrics`](crate::Annealed::step_metrics) and
/// [`Annealed::norm_metrics`](crate::Annealed::norm_metrics); for `SupervisedTraining::metric_train_numeric` with a learner of
/// [`LearnerBuilder`](crate::LearnerBuilder).
#[derive(Clone)]
pub struct GroupMetric {
    groups: Groups,
    group: usize,
    quantity: Quantity,
    /// Where updates may be skipped, or their rate cut.
    reports: Option<Reports>,
    /// The last update that was looked at: with gradient accumulation it is that of several batches.
    counted: Option<u64>,
    name: MetricName,
    state: NumericMetricState,
}

#[derive(Clone)]
enum Quantity {
    /// The rate; 0 while the group is frozen.
    Rate,
    /// The share that the decay takes; 0 while the group is frozen.
    Decay,
    /// The share that the decay has left after the update.
    Kept(Kept),
    Momentum,
    /// The root of the mean square of what the update added to the weights.
    Step(Measured),
    /// The norm of the weights after the update.
    Norm(Measured),
}

impl GroupMetric {
    pub(crate) fn rate(groups: Groups, group: usize) -> Self {
        Self::new(groups, group, "Rate", Quantity::Rate)
    }

    pub(crate) fn decay(groups: Groups, group: usize) -> Self {
        Self::new(groups, group, "Decay", Quantity::Decay)
    }

    pub(crate) fn kept(groups: Groups, group: usize) -> Self {
        Self::new(groups, group, "Kept", Quantity::Kept(Kept::default()))
    }

    pub(crate) fn momentum(groups: Groups, group: usize) -> Self {
        Self::new(groups, group, "Momentum", Quantity::Momentum)
    }

    pub(crate) fn step(groups: Groups, group: usize, measured: Measured) -> Self {
        Self::new(groups, group, "Step", Quantity::Step(measured))
    }

    pub(crate) fn norm(groups: Groups, group: usize, measured: Measured) -> Self {
        Self::new(groups, group, "Norm", Quantity::Norm(measured))
    }

    fn new(groups: Groups, group: usize, what: &str, quantity: Quantity) -> Self {
        // Burn writes a log file of this name.
        let name = groups.table.groups[group].name.replace(['/', '\\'], "_");
        let name = Arc::new(format!("{what} {name}"));
        let state = NumericMetricState::new();
        Self { groups, group, quantity, reports: None, counted: None, name, state }
    }

    /// Says what was done, where updates may be skipped or their rate cut.
    pub(crate) fn with_reports(self, reports: &Reports) -> Self {
        Self { reports: Some(reports.clone()), ..self }
    }

    /// Its value in the update that Burn gives this number.
    fn value_of(&mut self, number: u64) -> f64 {
        let report = self.reports.as_ref().and_then(|reports| reports.of(number));
        let (step, next_step, factor) = match report {
            Some(Report { step, next_step, skipped: true, .. }) => (step, next_step, 0.0),
            Some(Report { step, next_step, factor, .. }) => (step, next_step, factor),
            None => (number, number.saturating_add(1), 1.0),
        };
        let Table { base, groups, .. } = &*self.groups.table;
        let group: &ResolvedGroup = &groups[self.group];
        let idle = group.is_frozen(step) || factor == 0.0;
        let rate = if idle { 0.0 } else { group.rate(base.rate(step), step) * factor };
        let share = || if idle { 0.0 } else { group.shrinkage.at(step, rate) };
        match &mut self.quantity {
            Quantity::Rate => rate,
            Quantity::Decay => share(),
            Quantity::Kept(kept) => {
                if self.counted.replace(number) != Some(number) {
                    kept.go_on(base, group, step);
                    kept.count(share(), next_step);
                }
                kept.share()
            }
            // Zero too for a group that is frozen, or in which nothing has a gradient.
            Quantity::Step(measured) => measured.step(number, self.group).unwrap_or(0.0),
            Quantity::Norm(measured) => measured.norm(number, self.group).unwrap_or(0.0),
            Quantity::Momentum => group.momentum.as_ref().map_or(0.0, |m| m.rate(step)),
        }
    }
}

impl Metric for GroupMetric {
    type Input = ();

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn update(
        &mut self,
        _item: &(),
        metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        let step = metadata.lr.as_ref().and_then(step_of);
        let value = step.map_or(0.0, |step| self.value_of(step));
        self.state.update(value, 1);
        Ok(self.state.compute_update(FormatOptions::new(self.name()).precision(6)))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.state.compute_final(FormatOptions::new(self.name()).precision(6)))
    }

    fn clear(&mut self) {
        self.state.reset();
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: None, higher_is_better: false }.into()
    }
}

impl Numeric for GroupMetric {
    fn value(&self) -> Option<NumericEntry> {
        Some(self.state.current_value())
    }

    fn running_value(&self) -> Option<NumericEntry> {
        Some(self.state.running_value())
    }

    fn final_value(&self) -> NumericEntry {
        self.state.final_value()
    }
}
