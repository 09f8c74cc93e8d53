//! What a group does in each update, in Burn's dashboard and logs.

use super::explain::Kept;
use super::resolved::{ResolvedGroup, Table};
use super::step::step_of;
use super::{Groups, Measured};
use crate::precision::Reports;
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
        Self { groups, group, quantity, reports: None, name, state: NumericMetricState::new() }
    }

    /// Says what was done, where updates may be skipped or their rate cut.
    pub(crate) fn with_reports(self, reports: &Reports) -> Self {
        Self { reports: Some(reports.clone()), ..self }
    }

    /// Its value in the update that Burn gives this number.
    fn value_of(&mut self, number: u64) -> f64 {
        match self.reports.as_ref().and_then(|reports| reports.of(number)) {
            Some(report) if report.skipped => self.value_at(report.step, 0.0),
            Some(report) => self.value_at(report.step, report.factor),
            None => self.value_at(number, 1.0),
        }
    }

    /// Its value in update `step`, where rates are multiplied by `factor`.
    fn value_at(&mut self, step: u64, factor: f64) -> f64 {
        let Table { base, groups, .. } = &*self.groups.table;
        let group: &ResolvedGroup = &groups[self.group];
        let frozen = group.is_frozen(step);
        match &mut self.quantity {
            Quantity::Rate | Quantity::Decay if frozen => 0.0,
            Quantity::Rate => group.rate(base.rate(step), step) * factor,
            Quantity::Decay if factor == 0.0 => 0.0,
            Quantity::Decay => group.shrinkage.at(step, group.rate(base.rate(step), step) * factor),
            Quantity::Kept(kept) => {
                kept.go_on(base, group, step.saturating_add(1));
                kept.share()
            }
            // Zero too for a group that is frozen, or in which nothing has a gradient.
            Quantity::Step(measured) => measured.step(step, self.group).unwrap_or(0.0),
            Quantity::Norm(measured) => measured.norm(step, self.group).unwrap_or(0.0),
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
