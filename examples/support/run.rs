//! A run: its folder, its device, and the state that an interrupted run left there.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::Device;
use burn_anneal::prelude::{
    BuildError, Checkpoint, CheckpointError, Checkpoints, LearnerBuilder, OnMismatch, RunLength,
    Schedule, ScheduleConfig, ScheduleExt,
};

use crate::arguments::{Arguments, Mismatch};
use crate::backend::SelectedDevice;
use crate::data::{self, Dataset, Splits};
use crate::error::ExampleError;
use crate::history::{History, logged};
use crate::progress::Progress;
use crate::report::Report;
use crate::settings::Settings;
use crate::summary::Summary;
use crate::{files, folder, plot};

/// A run that is ready to train: its folder is chosen, the seed is set, but nothing is written yet.
#[derive(Debug, Clone)]
#[must_use]
pub struct Run {
    label: String,
    dataset: Dataset,
    arguments: Arguments,
    settings: Settings,
    device: SelectedDevice,
    folder: PathBuf,
    saved: Option<Checkpoint>,
}

impl Run {
    /// Prepares a run of an example, or continues one with `--resume`.
    ///
    /// # Errors
    /// If the backend cannot be used, the folder of a new run is not empty, or there is nothing to resume.
    pub fn open(
        example: &str,
        dataset: Dataset,
        arguments: &Arguments,
    ) -> Result<Self, ExampleError> {
        let mut run = Self::open_group(example, dataset, arguments)?;
        if arguments.resume {
            run.saved = Checkpoint::newest(&run.folder)?;
        }
        match &run.saved {
            // A run that was killed after its last epoch must still write its model and summary.
            Some(saved)
                if saved.epoch() > run.epochs()
                    || saved.epoch() == run.epochs() && run.file(Summary::FILE).exists() =>
            {
                Err(run.already_finished(saved.epoch()))
            }
            _ => Ok(run),
        }
    }

    /// Prepares a folder for several runs, which [`member`](Self::member) opens one by one.
    ///
    /// # Errors
    /// The same as [`open`](Self::open).
    pub fn open_group(
        example: &str,
        dataset: Dataset,
        arguments: &Arguments,
    ) -> Result<Self, ExampleError> {
        let mut arguments = arguments.clone().shortened();
        let device = SelectedDevice::select(arguments.backend)?;
        let out = arguments.out.as_deref();
        let folder = match arguments.resume {
            true => folder::old_run(example, out)?,
            false => folder::new_run(example, out)?,
        };
        // A run that was killed before it wrote anything starts anew.
        let goes_on = arguments.resume && Settings::exist_in(&folder);
        if goes_on && arguments.limit.is_none() {
            arguments.limit = Settings::limit_in(&folder)?;
        }
        let settings = Settings::new(example, dataset, &arguments);
        if goes_on {
            settings.check_against(&folder, arguments.on_mismatch != Mismatch::Refuse)?;
        }
        let label = String::new();
        Ok(Self { label, dataset, arguments, settings, device, folder, saved: None }.seeded())
    }

    /// Records the values of flags that only this example has, so that `--resume` requires the same.
    ///
    /// # Errors
    /// If the run to resume was started with others.
    pub fn with_flags<'a>(
        mut self,
        flags: impl IntoIterator<Item = (&'a str, String)>,
    ) -> Result<Self, ExampleError> {
        self.settings = flags
            .into_iter()
            .fold(self.settings, |settings, (flag, value)| settings.with_flag(flag, value));
        if self.arguments.resume && Settings::exist_in(&self.folder) {
            self.settings.check_flags_against(&self.folder)?;
        }
        Ok(self)
    }

    /// Opens one run of a group, with its own name, seed and folder, and continues an interrupted run there.
    ///
    /// # Errors
    /// If the checkpoints of an interrupted run are damaged.
    pub fn member(&self, name: &str, seed: u64) -> Result<Self, ExampleError> {
        let folder = self.folder.join(name).join(format!("seed-{seed}"));
        Ok(Self {
            label: format!("{name}, seed {seed}"),
            saved: Checkpoint::newest(&folder)?,
            settings: self.settings.clone().with_seed(seed),
            arguments: Arguments { seed, ..self.arguments.clone() },
            folder,
            ..self.clone()
        }
        .seeded())
    }

    /// Sets another number of epochs.
    pub fn with_epochs(mut self, epochs: NonZeroUsize) -> Self {
        self.arguments.epochs = epochs;
        self
    }

    /// Seeds the device, so that parameters drawn from now on depend only on the seed.
    fn seeded(self) -> Self {
        self.device.device.seed(self.arguments.seed);
        self
    }

    /// Loads the images selected by `--data` and `--limit`.
    ///
    /// # Errors
    /// If a file is missing or damaged.
    pub fn images(&self) -> Result<Splits, ExampleError> {
        Ok(data::load(self.dataset, self.arguments.data, self.arguments.limit)?)
    }

    /// The schedule of the run, from the checkpoint on if there is one.
    ///
    /// # Errors
    /// If it does not fit the run, differs from that of the checkpoint and may not change, or nothing is left to train.
    pub fn schedule(
        &self,
        schedule: &ScheduleConfig,
        length: RunLength,
    ) -> Result<Schedule, ExampleError> {
        let Some(saved) = &self.saved else {
            return Ok(schedule.clone().resolve(length)?);
        };
        if saved.epoch() > self.epochs() {
            return Err(self.already_finished(saved.epoch()));
        }
        match saved.schedule_of(schedule, length, self.on_mismatch()) {
            Err(BuildError::Checkpoint(CheckpointError::NothingLeft { .. })) => {
                Err(self.already_finished(saved.epoch()))
            }
            schedule => Ok(schedule?),
        }
    }

    /// Creates the folder, and returns the progress display of the training.
    ///
    /// # Errors
    /// If the folder cannot be written, or the history of an interrupted run cannot be read.
    pub fn start(&self) -> Result<Progress, ExampleError> {
        let history = self.start_history()?;
        let done = self.saved.as_ref().map_or(0, Checkpoint::batches) as u64;
        let progress = Progress::new(&self.folder, &self.label, history, done);
        Ok(if self.device.backend.is_gpu() { progress.compiles_kernels() } else { progress })
    }

    /// Creates the folder, and returns the epochs that an interrupted run completed in it.
    ///
    /// # Errors
    /// The same as [`start`](Self::start).
    pub fn start_history(&self) -> Result<History, ExampleError> {
        self.create()?;
        match self.completed_epochs() {
            0 => Ok(History::default()),
            epochs => History::load(&self.folder, epochs),
        }
    }

    /// Creates the folder, and records the flags that `--resume` requires.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn create(&self) -> Result<(), ExampleError> {
        fs::create_dir_all(&self.folder)
            .map_err(|source| ExampleError::file(&self.folder, source))?;
        // A run that resumes with another batch size updates them.
        self.settings.save(&self.folder)
    }

    /// A learner that resumes from the checkpoint, if there is one, by the rule of `--on-mismatch`.
    pub fn resuming<M: Module>(&self, learner: LearnerBuilder<M>) -> LearnerBuilder<M> {
        let learner = learner.on_mismatch(self.on_mismatch());
        match &self.saved {
            Some(saved) => learner.resume_from(saved),
            None => learner,
        }
    }

    /// Checkpoints in the run's folder, as often as `--save-every` sets.
    pub fn checkpoints(&self) -> Checkpoints {
        let checkpoints = Checkpoints::new(&self.folder);
        match self.arguments.save_every {
            Some(updates) => checkpoints.every_updates(updates.get() as u64),
            None => checkpoints,
        }
    }

    /// Writes `summary.json` and `schedule.svg`: the rates used, from Burn's logs, and the accuracy of the trained
    /// network.
    ///
    /// # Errors
    /// If a log cannot be read, or a file cannot be written.
    pub fn finish(
        &self,
        schedule: &Schedule,
        history: History,
        tested: burn_anneal::Evaluation,
    ) -> Result<Report, ExampleError> {
        let rates = rates_used(&history, logged(&self.folder, &history, "Learning Rate")?);
        self.finish_with(rates, schedule, history, tested)
    }

    /// Like [`finish`](Self::finish), for a loop without logs: takes the number and the rate of each update.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn finish_with(
        &self,
        rates: Vec<(f64, f64)>,
        schedule: &Schedule,
        history: History,
        tested: burn_anneal::Evaluation,
    ) -> Result<Report, ExampleError> {
        let summary = self.summary_of(&history, tested.accuracy.unwrap_or_default(), &rates);
        let picture = plot::schedule(self.example(), &schedule.to_string(), plot::thinned(rates));
        files::write(&self.file("schedule.svg"), &picture)?;
        summary.save(&self.folder)?;
        Ok(self.report(summary, history, tested.items))
    }

    /// The report of a run that has written all its files.
    pub fn report(&self, summary: Summary, history: History, test_images: usize) -> Report {
        Report {
            summary,
            history,
            test_images,
            device: self.device.clone(),
            resumed_from: self.saved.as_ref().map(Checkpoint::epoch),
            folder: self.folder.clone(),
        }
    }

    fn summary_of(&self, history: &History, accuracy: f64, rates: &[(f64, f64)]) -> Summary {
        let updates = history.updates();
        let rate = |used: Option<&(f64, f64)>| used.map_or(0.0, |(_, rate)| *rate);
        Summary {
            example: self.example().to_owned(),
            dataset: format!("{} {}", self.dataset, self.arguments.data),
            backend: self.device.backend.to_string(),
            epochs: self.epochs(),
            updates,
            seconds: history.seconds(),
            ms_per_update: 1e3 * history.seconds() / updates.max(1) as f64,
            test_accuracy: accuracy,
            final_train_loss: history.epochs.last().map_or(0.0, |last| last.train_loss),
            rate_first: rate(rates.first()),
            rate_peak: rates.iter().map(|(_, rate)| *rate).fold(0.0, f64::max),
            rate_last: rate(rates.last()),
            seed: self.arguments.seed,
        }
    }

    /// The error of a run with nothing left to train.
    pub fn already_finished(&self, epochs: usize) -> ExampleError {
        ExampleError::AlreadyFinished { path: self.folder.clone(), epochs }
    }

    /// What to do if the checkpoint was saved under another schedule.
    pub fn on_mismatch(&self) -> OnMismatch {
        self.arguments.on_mismatch.into()
    }

    /// The arguments that it was opened with; a resumed run keeps its own limit.
    pub fn arguments(&self) -> &Arguments {
        &self.arguments
    }

    /// The device for a model, with autodiff and seeded.
    pub fn device(&self) -> Device {
        self.device.device.clone().autodiff()
    }

    /// The length of the run for this number of images.
    pub fn length(&self, images: usize) -> RunLength {
        RunLength::from_items(images, self.arguments.batch_size.get()).epochs(self.epochs())
    }

    /// Epochs of the whole run.
    pub fn epochs(&self) -> usize {
        self.arguments.epochs.get()
    }

    /// Epochs that an interrupted run completed.
    pub fn completed_epochs(&self) -> usize {
        self.saved.as_ref().map_or(0, Checkpoint::epoch)
    }

    /// Name and seed of one of several runs.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Name of the example.
    pub fn example(&self) -> &str {
        self.settings.example()
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file of the run.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Describes the data and the device.
    pub fn describe(&self, train: usize, test: usize) -> String {
        let (dataset, data, device) = (self.dataset, self.arguments.data, &self.device);
        format!(
            "{dataset} {data}: {train} images to train on, {test} to test on; computing on {device}"
        )
    }
}

/// Numbers the rates of each update, from 0. If an epoch has fewer logged rates than updates, the first are missing.
fn rates_used(history: &History, rates: Vec<Vec<f64>>) -> Vec<(f64, f64)> {
    let mut end = 0;
    let mut used = vec![];
    for (record, rates) in history.epochs.iter().zip(rates) {
        end += record.updates;
        let first = end.saturating_sub(rates.len() as u64);
        used.extend((first..).zip(rates).map(|(update, rate)| (update as f64, rate)));
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::EpochRecord;

    #[test]
    fn rates_are_numbered_through_all_epochs_and_an_epoch_may_lack_its_first() {
        let record = |epoch, updates| EpochRecord { epoch, updates, ..EpochRecord::default() };
        let history = History { epochs: vec![record(1, 2), record(2, 3), record(3, 1)] };

        let used = rates_used(&history, vec![vec![0.1, 0.2], vec![0.3], vec![0.4]]);

        assert_eq!(used, [(0.0, 0.1), (1.0, 0.2), (4.0, 0.3), (5.0, 0.4)]);
    }
}
