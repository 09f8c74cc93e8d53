//! The loss scale and the cap on the rate, in Burn's dashboard and logs.

use super::Reports;
use super::reports::Report;
use crate::groups::step_of;
use burn::tensor::TensorReadError;
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};
use std::sync::Arc;

/// A number of each update that is trained with loss scaling.
///
/// Made by [`Annealed::scaling_metrics`](crate::Annealed::scaling_metrics), for
/// `SupervisedTraining::metric_train_numeric`.
#[derive(Clone)]
pub struct ScalingMetric {
    reports: Reports,
    value: fn(&Report) -> f64,
    name: MetricName,
    state: NumericMetricState,
}

impl ScalingMetric {
    pub(super) fn scale(reports: &Reports) -> Self {
        Self::new(reports, "Loss Scale", |report| report.scale)
    }

    pub(super) fn skipped(reports: &Reports) -> Self {
        Self::new(reports, "Skipped", |report| f64::from(u8::from(report.skipped)))
    }

    pub(super) fn cap(reports: &Reports) -> Self {
        Self::new(reports, "Rate Cap", |report| report.factor)
    }

    fn new(reports: &Reports, name: &str, value: fn(&Report) -> f64) -> Self {
        let name = Arc::new(name.to_string());
        Self { reports: reports.clone(), value, name, state: NumericMetricState::new() }
    }
}

impl Metric for ScalingMetric {
    type Input = ();

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn update(
        &mut self,
        _item: &(),
        metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        let number = metadata.lr.as_ref().and_then(step_of);
        let report = number.and_then(|number| self.reports.of(number));
        self.state.update(report.map_or(0.0, |report| (self.value)(&report)), 1);
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

impl Numeric for ScalingMetric {
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
