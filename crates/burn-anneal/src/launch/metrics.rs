//! The metrics of an epoch, for controllers.

use anneal_control::{EpochMetrics, MetricOf, Split};
use burn::train::metric::store::{Aggregate, EventStoreClient, Split as BurnSplit};

/// Names of Burn's metrics. Its store answers for a name, and lists none.
const NAMES: [&str; 6] = ["Loss", "Accuracy", "Learning Rate", "Perplexity", "CER", "WER"];

/// The means over an epoch of the metrics that are needed; where one is missing, of those with a usual name too, so
/// that somebody can be told what there is.
pub(crate) fn epoch_metrics(
    store: &EventStoreClient,
    epoch: usize,
    needed: &[MetricOf],
    others: &[String],
) -> EpochMetrics {
    let find = |metric: MetricOf| {
        let split = match metric.split {
            Split::Train => BurnSplit::Train,
            Split::Valid => BurnSplit::Valid,
        };
        let value = store.find_metric(&metric.name, epoch, Aggregate::Mean, &split)?;
        Some((metric, value))
    };
    let found: Vec<(MetricOf, f64)> = needed.iter().cloned().filter_map(find).collect();
    if found.len() == needed.len() {
        return found.into_iter().collect();
    }
    let names = || NAMES.into_iter().chain(others.iter().map(String::as_str));
    let usual = names().map(MetricOf::train).chain(names().map(MetricOf::valid));
    let usual = usual.filter(|metric| !needed.contains(metric)).filter_map(find);
    found.iter().cloned().chain(usual).collect()
}
