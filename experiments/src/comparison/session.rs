//! The runs of a comparison, with the same images, and separate names and seeds.

use std::fmt;
use std::num::NonZeroUsize;
use std::ops::{Deref, Range, RangeInclusive};
use std::path::PathBuf;
use std::sync::Arc;

use anneal_examples::data::{CLASSES, Images, Normalization};
use anneal_examples::history::logged;
use anneal_examples::prelude::*;
use anneal_examples::summary::Summary;
use burn::module::Module;
use burn::train::metric::{AccuracyMetric, LearningRateMetric, LossMetric};
use burn::train::{ApplicationLoggerInstaller, FileApplicationLoggerInstaller, SupervisedTraining};
use burn_anneal::evaluate;
use burn_anneal::prelude::*;

use crate::error::ExperimentError;

/// A group of runs, or one of them: its images are loaded and its folder is chosen, but nothing is written yet.
#[derive(Debug, Clone)]
pub struct Session {
    run: Run,
    augmentation: Augmentation,
    train: Arc<Images>,
    test: Arc<Images>,
    classes: Range<u8>,
    hold_out: bool,
    norms: bool,
    log_file: PathBuf,
}

/// One of this many training images is held out.
const HELD_OUT: usize = 5;

impl Deref for Session {
    type Target = Run;

    fn deref(&self) -> &Run {
        &self.run
    }
}

impl Session {
    /// Prepares a group of runs, which [`member`](Self::member) opens one by one.
    ///
    /// # Errors
    /// If the backend or the data cannot be used, the folder of a new group is not empty, or there is nothing to
    /// resume.
    pub fn open_group(
        name: &str,
        dataset: Dataset,
        augmentation: Augmentation,
        arguments: &Arguments,
    ) -> Result<Self, ExperimentError> {
        let run = Run::open_group(name, dataset, arguments)?;
        let images = run.images()?;
        Ok(Self {
            augmentation,
            train: Arc::new(images.train),
            test: Arc::new(images.test),
            classes: 0..CLASSES as u8,
            hold_out: false,
            norms: false,
            log_file: run.file("experiment.log"),
            run,
        })
    }

    /// The same images as the inputs that another network expects.
    pub fn with_normalization(mut self, normalization: Normalization) -> Self {
        for images in [&mut self.train, &mut self.test] {
            *images = Arc::new(Images::clone(images).with_normalization(normalization));
        }
        self
    }

    /// Replaces the test images by a fifth of the training images, balanced over the classes: to choose rates without
    /// looking at the test images.
    pub fn holding_out(mut self) -> Self {
        let (train, test) = self.train.split(self.train.len() - self.train.len() / HELD_OUT);
        self.train = Arc::new(train);
        self.test = Arc::new(test);
        self.hold_out = true;
        self
    }

    /// Keeps only the images of some classes, renumbered from 0.
    pub fn of_classes(mut self, classes: Range<u8>) -> Self {
        for images in [&mut self.train, &mut self.test] {
            *images = Arc::new(images.of_classes(classes.clone()));
        }
        self.classes = classes;
        self
    }

    /// Logs the norm of each group's weights after every update, as the metric `Norm <group>`.
    pub fn measuring_norms(mut self) -> Self {
        self.norms = true;
        self
    }

    /// Keeps only this many training images of each class; with a `--limit` there may be fewer.
    ///
    /// # Errors
    /// If there are too few, without a `--limit`.
    pub fn with_shots(mut self, shots: NonZeroUsize) -> Result<Self, ExperimentError> {
        let (shots, classes) = (shots.get(), self.classes.len());
        let most = self.train.len() / classes;
        if shots > most && self.arguments().limit.is_none() {
            return Err(ExperimentError::TooManyShots { shots, most });
        }
        self.train = Arc::new(self.train.balanced_first(shots.saturating_mul(classes)));
        Ok(self)
    }

    /// Sets another number of epochs.
    pub fn with_epochs(mut self, epochs: NonZeroUsize) -> Self {
        self.run = self.run.with_epochs(epochs);
        self
    }

    /// Records the values of flags that only this comparison has, so that `--resume` requires the same.
    ///
    /// # Errors
    /// If the group to resume was started with others.
    pub fn with_flags<'a>(
        mut self,
        flags: impl IntoIterator<Item = (&'a str, String)>,
    ) -> Result<Self, ExperimentError> {
        self.run = self.run.with_flags(flags)?;
        Ok(self)
    }

    /// Refuses a `--limit` that may leave no image for training or testing.
    fn check_limit(&self) -> Result<(), ExperimentError> {
        let classes = &self.classes;
        // Images are taken class by class, in rounds. Held-out images come last, wherever the round ends.
        let least = match self.hold_out {
            true => HELD_OUT * (CLASSES - classes.len() + 1),
            false => usize::from(classes.start) + 1,
        };
        match self.arguments().limit {
            Some(limit) if limit.get() < least => Err(ExperimentError::LimitTooLow {
                limit: limit.get(),
                hold_out: self.hold_out,
                least,
            }),
            _ => Ok(()),
        }
    }

    /// Opens one run of a group, with its own name and seed, and continues an interrupted run in its folder.
    ///
    /// # Errors
    /// If there are no images to train or test on, or the checkpoints of an interrupted run are damaged.
    pub fn member(&self, name: &str, seed: u64) -> Result<Self, ExperimentError> {
        self.check_limit()?;
        Ok(Self { run: self.run.member(name, seed)?, ..self.clone() })
    }

    /// The report of a run that has already finished under this schedule and number of epochs; `None` if something is
    /// left to train.
    ///
    /// A comparison calls it before any training, so that a run that cannot continue is reported before anything is
    /// overwritten.
    ///
    /// # Errors
    /// If it was trained under another schedule and may not continue, has no epoch left, or its files are damaged.
    pub fn finished(&self, schedule: &ScheduleConfig) -> Result<Option<Report>, ExperimentError> {
        self.schedule_of(schedule).map_err(|error| self.of_run(error))?;
        if self.completed_epochs() < self.epochs() {
            return Ok(None);
        }
        Ok(self.reported()?.filter(|report| report.summary.epochs == self.epochs()))
    }

    /// The schedule that the run trains under, from the checkpoint on if there is one.
    ///
    /// # Errors
    /// The same as [`Run::schedule`].
    pub fn schedule_of(&self, schedule: &ScheduleConfig) -> Result<Schedule, ExperimentError> {
        Ok(self.run.schedule(schedule, self.run_length())?)
    }

    /// The report of a run that has written all its files, even without checkpoints.
    ///
    /// # Errors
    /// If its files are damaged.
    pub fn reported(&self) -> Result<Option<Report>, ExperimentError> {
        if !self.file(Summary::FILE).exists() {
            return Ok(None);
        }
        let summary = Summary::load(self.folder())?;
        let history = History::load(self.folder(), summary.epochs)?;
        Ok(Some(self.run.report(summary, history, self.test.len())))
    }

    /// An error of this run, which is one of several.
    fn of_run(&self, error: impl Into<ExperimentError>) -> ExperimentError {
        ExperimentError::OfRun { run: self.label().to_owned(), source: Box::new(error.into()) }
    }

    /// Items, batch size and epochs of the whole run.
    pub fn run_length(&self) -> RunLength {
        self.length(self.train.len())
    }

    /// Whether a run must keep the schedule that it was saved under.
    pub fn is_exact(&self) -> bool {
        self.on_mismatch() == OnMismatch::Refuse
    }

    /// The remaining epochs.
    pub fn epochs_left(&self) -> RangeInclusive<usize> {
        self.completed_epochs() + 1..=self.epochs()
    }

    /// The file of the trained network.
    pub fn model_file(&self) -> PathBuf {
        self.file("model.bpk")
    }

    /// Batches to train on.
    pub fn train_loader(&self) -> ImageLoader {
        let Arguments { batch_size, seed, .. } = self.arguments();
        train_loader(self.train.clone(), batch_size.get(), self.augmentation, *seed, &self.device())
    }

    /// Batches to test on.
    pub fn test_loader(&self) -> ImageLoader {
        test_loader(self.test.clone(), self.arguments().batch_size.get(), &self.device().inner())
    }

    /// A metric of each update from a run's log.
    ///
    /// # Errors
    /// If a log cannot be read.
    pub fn logged(&self, metric: &str) -> Result<Vec<f64>, ExperimentError> {
        let history = History::load(self.folder(), self.epochs())?;
        Ok(logged(self.folder(), &history, metric)?.concat())
    }

    /// Trains the learner that `learner` makes for a schedule; an interrupted run continues, and a finished one is read
    /// again.
    ///
    /// # Errors
    /// If the learner cannot be built, training stops early, or a file cannot be read or written.
    pub fn train_unless_finished<M: ImageClassifier>(
        &self,
        schedule: ScheduleConfig,
        learner: impl FnOnce(ScheduleConfig) -> LearnerBuilder<M>,
    ) -> Result<(Schedule, Report), ExperimentError> {
        let rates = self.schedule_of(&schedule)?;
        if let Some(report) = self.finished(&schedule)? {
            return Ok((rates, report));
        }
        let learner = self.resuming(learner(schedule)).checkpoints(self.checkpoints());
        let learner = learner.metrics([RunMetrics::Control]);
        let learner = if self.norms { learner.metrics([RunMetrics::Norms]) } else { learner };
        let watch = learner.watch();
        let progress = self.start()?;
        // Only the first log of a process can be installed; a comparison keeps that one.
        let _ = FileApplicationLoggerInstaller::new(&self.log_file).install();
        let (train, test) = (Arc::new(self.train_loader()), Arc::new(self.test_loader()));
        let training = SupervisedTraining::new(self.folder(), train, test)
            .metrics((AccuracyMetric::new(), LossMetric::new()))
            .metric_train_numeric(LearningRateMetric::new())
            .with_application_logger(None)
            .renderer(Box::new(progress.clone()))
            .num_epochs(self.epochs());
        let result = learner.launch(training).map_err(|error| self.of_run(error))?;
        // Burn's error has the same text, and names the worker.
        if let Some(failure) = watch.failure() {
            return Err(failure.into());
        }
        let model = result.finished()?;
        let tested = evaluate(&model, &self.test_loader())?;
        self.save_model(model)?;
        Ok((rates.clone(), self.finish(&rates, progress.history()?, tested)?))
    }

    /// Saves the trained network.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save_model<M: Module>(&self, model: M) -> Result<(), ExperimentError> {
        let path = self.model_file();
        model
            .save_file(&path)
            .map_err(|error| ExperimentError::Record { path, reason: error.to_string() })
    }
}

impl fmt::Display for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.describe(self.train.len(), self.test.len()))
    }
}
