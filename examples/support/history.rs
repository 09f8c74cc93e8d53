//! What training reported, epoch by epoch.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use burn::train::LearnerSummary;
use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::{MetricDefinition, MetricId, NumericEntry};
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining,
};
use serde::{Deserialize, Serialize};

use crate::error::ExampleError;
use crate::files;

/// One epoch of training.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Number of the epoch, from 1.
    pub epoch: usize,
    /// Mean training loss over the epoch's batches, while the parameters moved.
    #[serde(deserialize_with = "files::number_or_null")]
    pub train_loss: f64,
    /// Loss on the test images after the epoch, without label smoothing.
    #[serde(deserialize_with = "files::number_or_null")]
    pub valid_loss: f64,
    /// Share of the test images that the network classified right after the epoch, from 0 to 1.
    pub valid_accuracy: f64,
    /// Learning rate of the epoch's last update.
    pub rate: f64,
    /// Number of updates.
    pub updates: u64,
    /// Time that the updates took, without testing and saving.
    pub seconds: f64,
}

impl fmt::Display for EpochRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "train loss {:.4}   valid loss {:.4}   valid accuracy {:5.2} %   rate {:.3e}   {:.1} ms/update",
            self.train_loss,
            self.valid_loss,
            100.0 * self.valid_accuracy,
            self.rate,
            1e3 * self.seconds / self.updates.max(1) as f64,
        )
    }
}

/// All epochs of a run so far.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct History {
    /// The epochs, in order.
    pub epochs: Vec<EpochRecord>,
}

impl History {
    /// The history that a run left in its folder, up to and with epoch `last`.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or lacks an epoch.
    pub fn load(folder: &Path, last: usize) -> Result<Self, ExampleError> {
        let mut history: Self = files::read_json(&Self::path(folder))?;
        history.epochs.retain(|record| record.epoch <= last);
        match (1..=last).find(|&epoch| history.epochs.iter().all(|record| record.epoch != epoch)) {
            None => Ok(history),
            Some(epoch) => Err(ExampleError::MissingEpoch { path: Self::path(folder), epoch }),
        }
    }

    /// Writes the history into the run's folder.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), ExampleError> {
        files::write_json(&Self::path(folder), self)
    }

    /// The best accuracy of any epoch.
    pub fn best_accuracy(&self) -> f64 {
        self.epochs.iter().map(|record| record.valid_accuracy).fold(0.0, f64::max)
    }

    /// Time of all updates, in seconds.
    pub fn seconds(&self) -> f64 {
        self.epochs.iter().map(|record| record.seconds).sum()
    }

    /// Number of all updates.
    pub fn updates(&self) -> u64 {
        self.epochs.iter().map(|record| record.updates).sum()
    }

    fn path(folder: &Path) -> PathBuf {
        folder.join("history.json")
    }
}

/// A [`History`] that grows in one thread and is read in another, and the epoch in progress.
#[derive(Debug, Clone, Default)]
pub struct SharedHistory(Arc<Mutex<Progress>>);

/// What [`SharedHistory`] holds.
#[derive(Debug, Default)]
pub struct Progress {
    /// The epochs that are complete.
    pub history: History,
    /// The epoch in progress; its losses are means so far.
    pub current: EpochRecord,
    /// Training accuracy of the epoch so far, from 0 to 1.
    pub train_accuracy: f64,
    /// The first error of writing the history to disk.
    pub error: Option<ExampleError>,
}

impl SharedHistory {
    /// Starts with the epochs that an interrupted run had completed, and so many updates of the next, whose losses are
    /// then means over the rest of it.
    pub fn new(history: History, updates: u64) -> Self {
        let current = EpochRecord { updates, ..EpochRecord::default() };
        Self(Arc::new(Mutex::new(Progress { history, current, ..Progress::default() })))
    }

    /// Access to the values. Hold it only for a moment: training waits for it.
    pub fn lock(&self) -> MutexGuard<'_, Progress> {
        // The values are plain numbers: they are usable whatever happened in another thread.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records what Burn reports into a [`SharedHistory`] and a file, and passes it on to the renderer
/// that shows it.
pub struct HistoryRecorder {
    shared: SharedHistory,
    folder: PathBuf,
    shown_by: Box<dyn MetricsRenderer>,
    names: HashMap<MetricId, Arc<String>>,
    split: Split,
    split_started: Instant,
    train_losses: Mean,
    train_accuracies: Mean,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Split {
    Train,
    Valid,
}

/// A running mean, weighted by counts.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sum: f64,
    count: f64,
}

impl Mean {
    /// Adds a metric's value and gives the mean so far; a final value replaces it.
    fn add(&mut self, entry: &NumericEntry) -> f64 {
        let (value, count) = match entry {
            NumericEntry::Final(value) => return *value,
            NumericEntry::Value(value) => (*value, 1),
            NumericEntry::Aggregated { aggregated_value, count } => (*aggregated_value, *count),
        };
        self.sum += value * count as f64;
        self.count += count as f64;
        self.sum / self.count.max(1.0)
    }
}

impl HistoryRecorder {
    /// Records into `shared` and `folder`, and shows everything with `shown_by`.
    pub fn new(shared: SharedHistory, folder: &Path, shown_by: Box<dyn MetricsRenderer>) -> Self {
        Self {
            shared,
            folder: folder.to_owned(),
            shown_by,
            names: HashMap::new(),
            split: Split::Train,
            split_started: Instant::now(),
            train_losses: Mean::default(),
            train_accuracies: Mean::default(),
        }
    }

    fn record(&mut self, split: Split, state: &MetricState) {
        let MetricState::Numeric(metric, Some(entry)) = state else {
            return;
        };
        let Some(name) = self.names.get(&metric.metric_id) else {
            return;
        };
        let mut progress = self.shared.lock();
        match (split, name.as_str()) {
            (Split::Train, "Loss") => {
                progress.current.train_loss = self.train_losses.add(entry);
                if !matches!(entry, NumericEntry::Final(_)) {
                    progress.current.updates += 1;
                }
            }
            (Split::Train, "Accuracy") => {
                progress.train_accuracy = self.train_accuracies.add(entry) / 100.0;
            }
            // The final value is the epoch's mean rate; the last update's says more.
            (Split::Train, "Learning Rate") if !matches!(entry, NumericEntry::Final(_)) => {
                progress.current.rate = entry.current();
            }
            (Split::Valid, "Loss") => progress.current.valid_loss = entry.current(),
            (Split::Valid, "Accuracy") => progress.current.valid_accuracy = entry.current() / 100.0,
            _ => {}
        }
    }

    fn complete(&mut self, epoch: usize) {
        self.train_losses = Mean::default();
        self.train_accuracies = Mean::default();
        let mut progress = self.shared.lock();
        let record = EpochRecord { epoch, ..std::mem::take(&mut progress.current) };
        progress.history.epochs.push(record);
        if let Err(error) = progress.history.save(&self.folder) {
            progress.error.get_or_insert(error);
        }
    }
}

impl MetricsRendererTraining for HistoryRecorder {
    fn update_train(&mut self, state: MetricState) {
        self.record(Split::Train, &state);
        self.shown_by.update_train(state);
    }

    fn update_valid(&mut self, state: MetricState) {
        self.record(Split::Valid, &state);
        self.shown_by.update_valid(state);
    }

    fn on_train_end(
        &mut self,
        summary: Option<LearnerSummary>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        self.shown_by.on_train_end(summary)
    }
}

impl TrainingProgressLogger for HistoryRecorder {
    fn start(
        &mut self,
        total_epochs: usize,
        starting_epoch: usize,
        total_items: Option<usize>,
        label: Option<&str>,
    ) {
        self.shown_by.start(total_epochs, starting_epoch, total_items, label);
    }

    fn start_split(&mut self, split: &str, total_items: usize) {
        self.split = match split {
            "train" => Split::Train,
            _ => Split::Valid,
        };
        self.split_started = Instant::now();
        self.shown_by.start_split(split, total_items);
    }

    fn update_split(&mut self, items_processed: usize) {
        if self.split == Split::Train {
            self.shared.lock().current.seconds = self.split_started.elapsed().as_secs_f64();
        }
        self.shown_by.update_split(items_processed);
    }

    fn end_split(&mut self) {
        self.shown_by.end_split();
    }

    fn update_epoch(&mut self, epoch: usize) {
        self.complete(epoch);
        self.shown_by.update_epoch(epoch);
    }

    fn end(&mut self) {
        self.shown_by.end();
    }

    fn log_event_training(&mut self, event: String) {
        self.shown_by.log_event_training(event);
    }
}

impl MetricsRendererEvaluation for HistoryRecorder {
    fn update_test(&mut self, name: EvaluationName, state: MetricState) {
        self.shown_by.update_test(name, state);
    }
}

impl EvaluationProgressLogger for HistoryRecorder {
    fn start_global_progress(&mut self, total_tests: usize) {
        self.shown_by.start_global_progress(total_tests);
    }

    fn start_test(&mut self, name: &str, total_items: usize) {
        self.shown_by.start_test(name, total_items);
    }

    fn update_test_progress(&mut self, items_processed: usize) {
        self.shown_by.update_test_progress(items_processed);
    }

    fn end_test(&mut self) {
        self.shown_by.end_test();
    }

    fn end_global_progress(&mut self) {
        self.shown_by.end_global_progress();
    }

    fn log_event_evaluation(&mut self, event: String) {
        self.shown_by.log_event_evaluation(event);
    }
}

impl MetricsRenderer for HistoryRecorder {
    fn manual_close(&mut self) {
        self.shown_by.manual_close();
    }

    fn register_metric(&mut self, definition: MetricDefinition) {
        self.names.insert(definition.metric_id.clone(), definition.name.clone());
        self.shown_by.register_metric(definition);
    }
}
