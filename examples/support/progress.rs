//! How training shows itself: one moving bar per epoch on a terminal, one line per finished epoch
//! everywhere.

use std::io::{self, IsTerminal, Write};

use burn::train::Interrupter;
use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::MetricDefinition;
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining, default_renderer,
};
use burn_anneal::FinderProgress;
use indicatif::{ProgressBar, ProgressStyle};

use crate::history::{EpochRecord, SharedHistory};

/// What shows the training: Burn's full-screen display in a build with `--features tui` on a
/// terminal, a [`ProgressRenderer`] otherwise.
pub fn renderer(
    history: SharedHistory,
    label: &str,
    interrupter: Interrupter,
    resumed_from: Option<usize>,
) -> Box<dyn MetricsRenderer> {
    if cfg!(feature = "tui") && io::stdout().is_terminal() {
        default_renderer(interrupter, resumed_from)
    } else {
        Box::new(ProgressRenderer::new(history, label))
    }
}

/// A bar that counts images on standard error; hidden where that is no terminal.
pub(crate) fn bar() -> ProgressBar {
    bar_of("images")
}

fn bar_of(counted: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    let template = format!("{{prefix}} {{bar:30}} {{pos:>5}}/{{len}} {counted}   {{msg}}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style.progress_chars("━╸ "));
    }
    bar
}

/// What shows how far a rate finder is.
pub fn of_finder() -> impl Fn(&FinderProgress) + Send + Sync {
    let bar = bar_of("updates");
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

/// The words that start what is said about an epoch; no label is an empty one.
pub(crate) fn epoch_of_epochs(label: &str, epoch: usize, epochs: usize) -> String {
    let width = epochs.to_string().len();
    let space = if label.is_empty() { "" } else { "   " };
    format!("{label}{space}epoch {epoch:width$}/{epochs}")
}

/// Shows a [`SharedHistory`] while it grows: a bar on standard error if that is a terminal, and a
/// line on standard output for each epoch.
pub struct ProgressRenderer {
    history: SharedHistory,
    label: String,
    bar: ProgressBar,
    epoch: usize,
    epochs: usize,
}

impl ProgressRenderer {
    /// Shows `history`; a label that is not empty starts every line.
    pub fn new(history: SharedHistory, label: &str) -> Self {
        Self { history, label: label.to_owned(), bar: bar(), epoch: 1, epochs: 1 }
    }

    fn epoch_of_epochs(&self, epoch: usize) -> String {
        epoch_of_epochs(&self.label, epoch, self.epochs)
    }

    /// What the bar says about the epoch so far.
    fn status(&self) -> String {
        let progress = self.history.lock();
        let EpochRecord { train_loss, rate, updates, seconds, .. } = progress.current;
        let accuracy = 100.0 * progress.train_accuracy;
        let milliseconds = 1e3 * seconds / updates.max(1) as f64;
        format!(
            "loss {train_loss:.3}   accuracy {accuracy:.1} %   rate {rate:.2e}   {milliseconds:.0} ms/update"
        )
    }

    fn print_last_epoch(&self) {
        let line = match self.history.lock().history.epochs.last() {
            Some(record) => format!("{}   {record}", self.epoch_of_epochs(record.epoch)),
            None => return,
        };
        // A closed standard output is no reason to stop a training.
        self.bar.suspend(|| writeln!(io::stdout(), "{line}").ok());
    }
}

impl TrainingProgressLogger for ProgressRenderer {
    fn start(
        &mut self,
        total_epochs: usize,
        starting_epoch: usize,
        _total_items: Option<usize>,
        _label: Option<&str>,
    ) {
        self.epochs = total_epochs;
        self.epoch = starting_epoch;
    }

    fn start_split(&mut self, split: &str, total_items: usize) {
        let prefix = match split {
            "train" => self.epoch_of_epochs(self.epoch),
            _ => format!("{}   testing", self.epoch_of_epochs(self.epoch)),
        };
        self.bar.set_prefix(prefix);
        self.bar.set_message("");
        self.bar.set_position(0);
        self.bar.set_length(total_items as u64);
    }

    fn update_split(&mut self, items_processed: usize) {
        self.bar.set_position(items_processed as u64);
        if !self.bar.is_hidden() {
            self.bar.set_message(self.status());
        }
    }

    fn update_epoch(&mut self, epoch: usize) {
        self.epoch = epoch + 1;
        self.print_last_epoch();
    }

    fn end_split(&mut self) {}

    fn end(&mut self) {
        self.bar.finish_and_clear();
    }

    fn log_event_training(&mut self, _event: String) {}
}

impl MetricsRendererTraining for ProgressRenderer {
    fn update_train(&mut self, _state: MetricState) {}

    fn update_valid(&mut self, _state: MetricState) {}
}

impl MetricsRendererEvaluation for ProgressRenderer {
    fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}
}

impl EvaluationProgressLogger for ProgressRenderer {
    fn start_global_progress(&mut self, _total_tests: usize) {}

    fn start_test(&mut self, _name: &str, _total_items: usize) {}

    fn update_test_progress(&mut self, _items_processed: usize) {}

    fn end_test(&mut self) {}

    fn end_global_progress(&mut self) {}

    fn log_event_evaluation(&mut self, _event: String) {}
}

impl MetricsRenderer for ProgressRenderer {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, _definition: MetricDefinition) {}
}
