//! Shows the progress of a training: a bar on a terminal, and a line for each epoch.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::{MetricDefinition, MetricId, NumericEntry};
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining,
};
use burn_anneal::FinderProgress;
use indicatif::{ProgressBar, ProgressStyle};

use crate::error::ExampleError;
use crate::history::{EpochRecord, History};

/// A renderer for Burn's training that also writes `history.json` after each epoch.
///
/// Without it, Burn shows its own dashboard or its own lines. Copies share what they record: give one to the training, as
/// `training.renderer(Box::new(progress.clone()))`, and ask the other for the [`history`](Self::history).
#[derive(Clone)]
pub struct Progress(Arc<Mutex<State>>);

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").finish_non_exhaustive()
    }
}

struct State {
    folder: PathBuf,
    label: String,
    bar: ProgressBar,
    /// The text until the first update.
    waiting: &'static str,
    names: HashMap<MetricId, Arc<String>>,
    epoch: usize,
    epochs: usize,
    trains: bool,
    split_started: Instant,
    losses: Mean,
    accuracies: Mean,
    /// The epoch in progress; its losses are means so far.
    current: EpochRecord,
    /// Share of the epoch's images so far that were classified correctly.
    accuracy: f64,
    history: History,
    /// The first error of writing the history to disk.
    error: Option<ExampleError>,
}

/// A running mean, weighted by counts.
#[derive(Default)]
struct Mean {
    sum: f64,
    count: f64,
}

impl Mean {
    /// Adds a metric's value and returns the mean so far; a final value replaces it.
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

impl Progress {
    /// Makes the renderer of a run with its files in `folder`, which completed the epochs of `history` and `updates` of
    /// the next before it was interrupted. A non-empty label starts every line.
    pub fn new(folder: &Path, label: &str, history: History, updates: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            folder: folder.to_owned(),
            label: label.to_owned(),
            bar: bar("images"),
            waiting: "",
            names: HashMap::new(),
            epoch: 1,
            epochs: 1,
            trains: true,
            split_started: Instant::now(),
            losses: Mean::default(),
            accuracies: Mean::default(),
            current: EpochRecord { updates, ..EpochRecord::default() },
            accuracy: 0.0,
            history,
            error: None,
        })))
    }

    /// Reports that the first update compiles kernels, as on a GPU.
    #[must_use]
    pub fn compiles_kernels(self) -> Self {
        self.lock().waiting = "compiling kernels, a minute or so the first time";
        self
    }

    /// The epochs of the run.
    ///
    /// # Errors
    /// If it could not be written to disk.
    pub fn history(&self) -> Result<History, ExampleError> {
        let mut state = self.lock();
        match state.error.take() {
            Some(error) => Err(error),
            None => Ok(state.history.clone()),
        }
    }

    /// Locks the state; training waits for it. The values are plain numbers, usable even if another thread panicked.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn record(&mut self, trains: bool, state: &MetricState) {
        let MetricState::Numeric(metric, Some(entry)) = state else { return };
        let Some(name) = self.names.get(&metric.metric_id) else { return };
        let is_final = matches!(entry, NumericEntry::Final(_));
        match (trains, name.as_str()) {
            (true, "Loss") => {
                self.current.train_loss = self.losses.add(entry);
                self.current.updates += u64::from(!is_final);
                self.waiting = "";
            }
            (true, "Accuracy") => self.accuracy = self.accuracies.add(entry) / 100.0,
            // The final value is the epoch's mean rate; the last update's is more useful.
            (true, "Learning Rate") if !is_final => self.current.rate = entry.current(),
            (false, "Loss") => self.current.valid_loss = entry.current(),
            (false, "Accuracy") => self.current.valid_accuracy = entry.current() / 100.0,
            _ => {}
        }
    }

    /// The text of the bar about the epoch so far.
    fn status(&self) -> String {
        if !self.waiting.is_empty() {
            return self.waiting.to_owned();
        }
        let EpochRecord { train_loss, rate, updates, seconds, .. } = self.current;
        let accuracy = 100.0 * self.accuracy;
        let milliseconds = 1e3 * seconds / updates.max(1) as f64;
        format!(
            "loss {train_loss:.3}   accuracy {accuracy:.1} %   rate {rate:.2e}   {milliseconds:.0} ms/update"
        )
    }

    fn complete(&mut self, epoch: usize) {
        let record = EpochRecord { epoch, ..std::mem::take(&mut self.current) };
        let line = format!("{}   {record}", epoch_of_epochs(&self.label, epoch, self.epochs));
        (self.losses, self.accuracies) = (Mean::default(), Mean::default());
        self.epoch = epoch + 1;
        self.history.epochs.push(record);
        if let Err(error) = self.history.save(&self.folder) {
            self.error.get_or_insert(error);
        }
        // A closed standard output does not stop the training.
        self.bar.suspend(|| writeln!(io::stdout(), "{line}").ok());
    }
}

impl TrainingProgressLogger for Progress {
    fn start(&mut self, epochs: usize, first: usize, _: Option<usize>, _: Option<&str>) {
        let mut state = self.lock();
        (state.epoch, state.epochs) = (first, epochs);
    }

    fn start_split(&mut self, split: &str, items: usize) {
        let mut state = self.lock();
        state.trains = split == "train";
        state.split_started = Instant::now();
        let epoch = epoch_of_epochs(&state.label, state.epoch, state.epochs);
        let testing = if state.trains { "" } else { "   testing" };
        state.bar.set_prefix(epoch + testing);
        state.bar.set_length(items as u64);
        state.bar.set_position(0);
        state.bar.set_message(state.waiting);
    }

    fn update_split(&mut self, items: usize) {
        let mut state = self.lock();
        if state.trains {
            state.current.seconds = state.split_started.elapsed().as_secs_f64();
        }
        state.bar.set_position(items as u64);
        if !state.bar.is_hidden() {
            state.bar.set_message(state.status());
        }
    }

    fn update_epoch(&mut self, epoch: usize) {
        self.lock().complete(epoch);
    }

    fn end_split(&mut self) {}

    fn end(&mut self) {
        self.lock().bar.finish_and_clear();
    }

    fn log_event_training(&mut self, _event: String) {}
}

impl MetricsRendererTraining for Progress {
    fn update_train(&mut self, state: MetricState) {
        self.lock().record(true, &state);
    }

    fn update_valid(&mut self, state: MetricState) {
        self.lock().record(false, &state);
    }
}

impl MetricsRenderer for Progress {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        self.lock().names.insert(definition.metric_id.clone(), definition.name.clone());
    }
}

// Burn requires these of every renderer; they show nothing.
impl MetricsRendererEvaluation for Progress {
    fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}
}

impl EvaluationProgressLogger for Progress {
    fn start_global_progress(&mut self, _total_tests: usize) {}
    fn start_test(&mut self, _name: &str, _total_items: usize) {}
    fn update_test_progress(&mut self, _items_processed: usize) {}
    fn end_test(&mut self) {}
    fn end_global_progress(&mut self) {}
    fn log_event_evaluation(&mut self, _event: String) {}
}

/// A progress bar on standard error; hidden if that is not a terminal.
pub fn bar(counted: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    let template = format!("{{prefix}} {{bar:30}} {{pos:>5}}/{{len}} {counted}   {{msg}}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style.progress_chars("━╸ "));
    }
    bar
}

/// The start of a line about an epoch; the label may be empty.
pub fn epoch_of_epochs(label: &str, epoch: usize, epochs: usize) -> String {
    let width = epochs.to_string().len();
    let space = if label.is_empty() { "" } else { "   " };
    format!("{label}{space}epoch {epoch:width$}/{epochs}")
}

/// Shows the progress of a rate finder.
pub fn of_finder() -> impl Fn(&FinderProgress) + Send + Sync {
    let bar = bar("updates");
    move |progress| {
        let ((seed, seeds), (update, updates)) = (progress.seed, progress.update);
        if update == 1 {
            bar.reset();
        }
        bar.set_prefix(format!("seed {seed} of {seeds}"));
        bar.set_length(updates);
        bar.set_position(update);
        bar.set_message(format!("rate {:.1e}   loss {:.3}", progress.rate, progress.loss));
        if progress.ended && seed == seeds {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::train::metric::{MetricEntry, SerializedEntry};

    use super::*;

    fn loss(value: f64) -> MetricState {
        let serialized = SerializedEntry::new(String::new(), String::new());
        let id = MetricId::new(Arc::new("Loss".to_owned()));
        MetricState::Numeric(MetricEntry::new(id, serialized), Some(NumericEntry::Value(value)))
    }

    #[test]
    fn kernels_are_compiled_until_the_first_update_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let mut progress =
            Progress::new(folder.path(), "", History::default(), 0).compiles_kernels();
        let id = MetricId::new(Arc::new("Loss".to_owned()));
        progress.lock().names.insert(id, Arc::new("Loss".to_owned()));
        progress.start(2, 1, None, None);
        progress.start_split("train", 64);
        progress.update_split(32);
        assert!(progress.lock().status().starts_with("compiling kernels"));

        progress.update_train(loss(2.0));
        progress.update_train(loss(1.0));
        assert!(progress.lock().status().starts_with("loss 1.500"), "{}", progress.lock().status());

        progress.update_epoch(1);
        let history = progress.history().unwrap();
        assert_eq!((history.epochs[0].updates, history.epochs[0].train_loss), (2, 1.5));
        assert_eq!(History::load(folder.path(), 1).unwrap(), history);
    }
}
