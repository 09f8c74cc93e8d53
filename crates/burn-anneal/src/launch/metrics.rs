//! The metrics of an epoch, for controllers.

use anneal_control::{EpochMetrics, MetricOf, Split};
use burn::train::metric::store::{Aggregate, EventStoreClient, Split as BurnSplit};

/// The names of Burn's metrics. Its store can look up a name, but not list them; custom metrics are not found this way.
fn usual_names() -> Vec<String> {
    const NAMES: [&str; 13] = [
        "Loss",
        "Accuracy",
        "Learning Rate",
        "Perplexity",
        "CER",
        "WER",
        "AUROC [Micro]",
        "AUROC [Macro]",
        "AUC-PR [Micro]",
        "AUC-PR [Macro]",
        "ROUGE-L",
        "2D Dice Metric",
        "3D Dice Metric",
    ];
    let top = (1..=20).map(|k| format!("Top-K Accuracy @ TopK({k})"));
    let bleu = (1..=4).map(|n| format!("BLEU-{n}"));
    NAMES.into_iter().map(String::from).chain(top).chain(bleu).collect()
}

/// The epoch means of the needed metrics; if one is missing, also of metrics with a usual name, so that a message can
/// list them.
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
    let names: Vec<String> = usual_names().into_iter().chain(others.iter().cloned()).collect();
    let names = || names.iter().map(String::as_str);
    let usual = names().map(MetricOf::train).chain(names().map(MetricOf::valid));
    let usual = usual.filter(|metric| !needed.contains(metric)).filter_map(find);
    found.iter().cloned().chain(usual).collect()
}
