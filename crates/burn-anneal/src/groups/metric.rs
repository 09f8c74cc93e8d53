//! The rate of a group in Burn's dashboard and logs.

use super::Groups;
use super::step::step_of;
use burn::tensor::TensorReadError;
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};
use std::sync::Arc;

/// The rate that each update uses for one group; 0 while the group is frozen.
///
/// Made by [`Groups::rate_metrics`]; for `SupervisedTraining::metric_train_numeric` with a learner
/// of [`LearnerBuilder`](crate::LearnerBuilder).
#[derive(Clone)]
pub struct GroupRate {
    groups: Groups,
    group: usize,
    name: MetricName,
    state: NumericMetricState,
}

impl GroupRate {
    pub(crate) fn new(groups: Groups, group: usize) -> Self {
        // Burn writes a log file of this name.
        let name = groups.table.groups[group].name.replace(['/', '\\'], "_");
        let name = Arc::new(format!("Rate {name}"));
        Self { groups, group, name, state: NumericMetricState::new() }
    }

    fn rate(&self, metadata: &MetricMetadata) -> f64 {
        let Some(step) = metadata.lr.as_ref().and_then(step_of) else { return 0.0 };
        let group = &self.groups.table.groups[self.group];
        if group.is_frozen(step) {
            return 0.0;
        }
        group.rate(self.groups.table.base.rate(step), step)
    }
}

impl Metric for GroupRate {
    type Input = ();

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn update(
        &mut self,
        _item: &(),
        metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        self.state.update(self.rate(metadata), 1);
        Ok(self.state.compute_update(FormatOptions::new(self.name()).precision(2)))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.state.compute_final(FormatOptions::new(self.name()).precision(2)))
    }

    fn clear(&mut self) {
        self.state.reset();
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: None, higher_is_better: false }.into()
    }
}

impl Numeric for GroupRate {
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
