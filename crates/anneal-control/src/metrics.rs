//! The metrics of an epoch.

use std::fmt;

/// The part of the data that a metric refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Split {
    /// The training data.
    Train,
    /// The validation data.
    Valid,
}

/// A metric by its split and name: `valid Loss`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetricOf {
    /// The split.
    pub split: Split,
    /// Its name in the training, for example `Loss` or `Accuracy`.
    pub name: String,
}

impl MetricOf {
    /// A training metric.
    pub fn train(name: impl Into<String>) -> Self {
        Self { split: Split::Train, name: name.into() }
    }

    /// A validation metric.
    pub fn valid(name: impl Into<String>) -> Self {
        Self { split: Split::Valid, name: name.into() }
    }
}

impl fmt::Display for MetricOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let split = match self.split {
            Split::Train => "train",
            Split::Valid => "valid",
        };
        write!(f, "{split} {}", self.name)
    }
}

/// The values of metrics at the end of an epoch, as means over the epoch. A value may be infinite or NaN.
///
/// ```
/// use anneal_control::{EpochMetrics, MetricOf};
/// let metrics = EpochMetrics::from_iter([(MetricOf::valid("Loss"), 0.7)]);
/// assert_eq!(metrics.get(&MetricOf::valid("Loss")), Some(0.7));
/// assert_eq!(metrics.get(&MetricOf::train("Loss")), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EpochMetrics(Vec<(MetricOf, f64)>);

impl EpochMetrics {
    /// The value of a metric; `None` if it is unknown.
    pub fn get(&self, metric: &MetricOf) -> Option<f64> {
        self.0.iter().find(|(name, _)| name == metric).map(|(_, value)| *value)
    }

    /// All metrics and their values.
    pub fn iter(&self) -> impl Iterator<Item = (&MetricOf, f64)> {
        self.0.iter().map(|(name, value)| (name, *value))
    }
}

impl FromIterator<(MetricOf, f64)> for EpochMetrics {
    fn from_iter<T: IntoIterator<Item = (MetricOf, f64)>>(metrics: T) -> Self {
        Self(metrics.into_iter().collect())
    }
}
