//! One run of an example, from its arguments to its report.

use std::fmt;
use std::fs;
use std::num::NonZeroUsize;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Device;
use burn::train::metric::{AccuracyMetric, LearningRateMetric, LossMetric};
use burn::train::{
    ApplicationLoggerInstaller, FileApplicationLoggerInstaller, Interrupter, SupervisedTraining,
};
use burn_anneal::prelude::{
    BuildError, Checkpoint, CheckpointError, Checkpoints, LearnerBuilder, Monitored, OnMismatch,
    RunLength, RunMetrics, Schedule, ScheduleConfig, ScheduleExt,
};
use burn_store::{BurnpackStore, ModuleSnapshot};

use crate::arguments::{Arguments, Mismatch};
use crate::backend::SelectedDevice;
use crate::data::{self, Augmentation, CLASSES, Dataset, Images, Normalization};
use crate::error::ExampleError;
use crate::evaluation::evaluate;
use crate::history::{History, HistoryRecorder, SharedHistory};
use crate::loader::ImageLoader;
use crate::model::ImageClassifier;
use crate::report::Report;
use crate::settings::Settings;
use crate::summary::Summary;
use crate::{files, folder, plot, progress};

/// A run that is ready to train: its images are loaded, its device is seeded and its folder is
/// chosen, but nothing is written yet.
#[derive(Debug, Clone)]
pub struct Session {
    label: String,
    dataset: Dataset,
    augmentation: Augmentation,
    arguments: Arguments,
    settings: Settings,
    device: SelectedDevice,
    train: Arc<Images>,
    test: Arc<Images>,
    classes: Range<u8>,
    hold_out: bool,
    norms: bool,
    folder: PathBuf,
    log_file: PathBuf,
    saved: Option<Checkpoint>,
}

/// One of so many training images is held out.
const HELD_OUT: usize = 5;

/// What training leaves behind, for [`Session::finish`].
#[derive(Debug, Clone)]
pub struct Trained<M> {
    /// The network, in its `valid()` form.
    pub model: M,
    /// All epochs of the run.
    pub history: History,
}

impl Session {
    /// Prepares a run of an example, or with `--resume` the continuation of one.
    ///
    /// # Errors
    /// When the backend or the data cannot be used, the folder of a new run is not empty, or there
    /// is nothing to resume.
    pub fn open(
        example: &str,
        dataset: Dataset,
        augmentation: Augmentation,
        arguments: &Arguments,
    ) -> Result<Self, ExampleError> {
        let mut session = Self::open_group(example, dataset, augmentation, arguments)?;
        if arguments.resume {
            session.saved = session.checkpoint_to_resume()?;
        }
        Ok(session)
    }

    /// Prepares a group of runs, which [`member`](Self::member) opens one by one.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_group(
        example: &str,
        dataset: Dataset,
        augmentation: Augmentation,
        arguments: &Arguments,
    ) -> Result<Self, ExampleError> {
        let device = SelectedDevice::select(arguments.backend)?;
        let out = arguments.out.as_deref();
        let folder = match arguments.resume {
            true => folder::old_run(example, out)?,
            false => folder::new_run(example, out)?,
        };
        let settings = Settings::new(example, dataset, arguments);
        // A run that was killed before it wrote anything begins anew.
        if arguments.resume && Settings::exist_in(&folder) {
            settings.check_against(&folder, arguments.on_mismatch != Mismatch::Refuse)?;
        }
        let images = data::load(dataset, arguments.data, arguments.limit)?;
        Ok(Self {
            label: String::new(),
            dataset,
            augmentation,
            arguments: arguments.clone(),
            settings,
            device,
            train: Arc::new(images.train),
            test: Arc::new(images.test),
            classes: 0..CLASSES as u8,
            hold_out: false,
            norms: false,
            log_file: folder.join("experiment.log"),
            folder,
            saved: None,
        }
        .seeded())
    }

    /// The same images as the inputs that another network expects.
    pub fn with_normalization(mut self, normalization: Normalization) -> Self {
        for images in [&mut self.train, &mut self.test] {
            *images = Arc::new(Images::clone(images).with_normalization(normalization));
        }
        self
    }

    /// Puts a fifth of the training images, balanced over the classes, in the place of the test
    /// images: to choose rates by, before the test images are looked at.
    pub fn holding_out(mut self) -> Self {
        let (train, test) = self.train.split(self.train.len() - self.train.len() / HELD_OUT);
        self.train = Arc::new(train);
        self.test = Arc::new(test);
        self.hold_out = true;
        self
    }

    /// The images of some classes only, which are numbered from 0 on.
    pub fn of_classes(mut self, classes: Range<u8>) -> Self {
        for images in [&mut self.train, &mut self.test] {
            *images = Arc::new(images.of_classes(classes.clone()));
        }
        self.classes = classes;
        self
    }

    /// Logs how long the weights of each group are after every update, for
    /// [`weight_norms`](Self::weight_norms).
    pub fn measuring_norms(mut self) -> Self {
        self.norms = true;
        self
    }

    /// The norm of a group's weights after each update, as a run that was
    /// [measuring](Self::measuring_norms) logged it.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn weight_norms(&self, group: &str) -> Result<Vec<f64>, ExampleError> {
        self.logged(&format!("Norm {group}"))
    }

    /// A metric of each update, as a run logged it.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn logged(&self, metric: &str) -> Result<Vec<f64>, ExampleError> {
        let file = metric.replace(' ', "_");
        let updates = self.run_length().resolve()?.updates_per_epoch();
        let updates =
            updates.and_then(|updates| usize::try_from(updates).ok()).unwrap_or(usize::MAX);
        let mut logged = Vec::new();
        for epoch in 1..=self.epochs() {
            let log = self.folder.join(format!("train/epoch-{epoch}/{file}.log"));
            let text =
                std::fs::read_to_string(&log).map_err(|source| ExampleError::file(&log, source))?;
            // Burn writes a line for each update, the value and a count, and one for the whole epoch.
            let values =
                text.lines().filter_map(|line| line.split(',').next()?.parse::<f64>().ok());
            logged.extend(values.take(updates));
        }
        Ok(logged)
    }

    /// Only so many images of each class to train on. Under a `--limit` there may be fewer.
    ///
    /// # Errors
    /// When there are not so many, and no `--limit` says why.
    pub fn with_shots(mut self, shots: NonZeroUsize) -> Result<Self, ExampleError> {
        let (shots, classes) = (shots.get(), self.classes.len());
        let most = self.train.len() / classes;
        if shots > most && self.arguments.limit.is_none() {
            return Err(ExampleError::TooManyShots { shots, most });
        }
        self.train = Arc::new(self.train.balanced_first(shots.saturating_mul(classes)));
        Ok(self)
    }

    /// Refuses a `--limit` that may leave no image to train on or to test on.
    fn check_limit(&self) -> Result<(), ExampleError> {
        let classes = &self.classes;
        // Images are taken from one class after the other, round and round. Those that are held out
        // come last, wherever the round ends.
        let least = match self.hold_out {
            true => HELD_OUT * (CLASSES - classes.len() + 1),
            false => usize::from(classes.start) + 1,
        };
        match self.arguments.limit {
            Some(limit) if limit.get() < least => Err(ExampleError::LimitTooLow {
                limit: limit.get(),
                hold_out: self.hold_out,
                least,
            }),
            _ => Ok(()),
        }
    }

    /// Another number of epochs.
    pub fn with_epochs(mut self, epochs: NonZeroUsize) -> Self {
        self.arguments.epochs = epochs;
        self
    }

    /// Notes the values of flags that only this example has, so that `--resume` asks for the same.
    ///
    /// # Errors
    /// When the run to resume was started with others.
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

    /// One run of a group: the same images under a name and a seed of its own, in a folder of its
    /// own. Goes on with what an interrupted run left there.
    ///
    /// # Errors
    /// When there are no images to train or test on, or the checkpoints of an interrupted run are
    /// damaged.
    pub fn member(&self, name: &str, seed: u64) -> Result<Self, ExampleError> {
        self.check_limit()?;
        let folder = self.folder.join(name).join(format!("seed-{seed}"));
        let arguments = Arguments { seed, ..self.arguments.clone() };
        Ok(Self {
            label: format!("{name}, seed {seed}"),
            saved: Checkpoint::newest(&folder)?,
            settings: self.settings.clone().with_seed(seed),
            arguments,
            folder,
            ..self.clone()
        }
        .seeded())
    }

    /// The report of a run that has come to its end already, under this schedule and after as many
    /// epochs; nothing where there is something left to train.
    ///
    /// A comparison asks for it before it trains anything, so that what cannot go on is said before
    /// anything is overwritten.
    ///
    /// # Errors
    /// When it was trained under another schedule and may not go on, or has no epoch left to go on
    /// with, or its files are damaged.
    pub fn finished(&self, schedule: &ScheduleConfig) -> Result<Option<Report>, ExampleError> {
        self.schedule_of(schedule).map_err(|error| self.of_run(error))?;
        if self.completed_epochs() < self.epochs() {
            return Ok(None);
        }
        Ok(self.reported()?.filter(|report| report.summary.epochs == self.epochs()))
    }

    /// The schedule that the run trains under, from the checkpoint on if there is one.
    ///
    /// # Errors
    /// When the checkpoint was saved under another schedule that may not change, or nothing is left to train.
    pub fn schedule_of(&self, schedule: &ScheduleConfig) -> Result<Schedule, ExampleError> {
        let Some(saved) = &self.saved else {
            return Ok(schedule.clone().resolve(self.run_length())?);
        };
        if saved.epoch() > self.epochs() {
            return Err(self.already_finished(saved.epoch()));
        }
        match saved.schedule_of(schedule, self.run_length(), self.on_mismatch()) {
            Err(BuildError::Checkpoint(CheckpointError::NothingLeft { .. })) => {
                Err(self.already_finished(saved.epoch()))
            }
            schedule => Ok(schedule?),
        }
    }

    /// The report of a run that has written all its files, which may have no checkpoints.
    ///
    /// # Errors
    /// When its files are damaged.
    pub(crate) fn reported(&self) -> Result<Option<Report>, ExampleError> {
        if !self.folder.join(Summary::FILE).exists() {
            return Ok(None);
        }
        let summary = Summary::load(&self.folder)?;
        let history = History::load(&self.folder, summary.epochs)?;
        Ok(Some(self.report(summary, history)))
    }

    pub(crate) fn already_finished(&self, epochs: usize) -> ExampleError {
        ExampleError::AlreadyFinished { path: self.folder.clone(), epochs }
    }

    /// An error of this run, which is one of several.
    fn of_run(&self, error: ExampleError) -> ExampleError {
        match &self.label[..] {
            "" => error,
            run => ExampleError::OfRun { run: run.to_owned(), source: Box::new(error) },
        }
    }

    /// Parameters drawn from now on depend on the seed alone.
    fn seeded(self) -> Self {
        self.device.device.seed(self.arguments.seed);
        self
    }

    fn checkpoint_to_resume(&self) -> Result<Option<Checkpoint>, ExampleError> {
        let Some(saved) = Checkpoint::newest(&self.folder)? else { return Ok(None) };
        // A run that died after its last epoch still has to write its model and its summary.
        let finished = saved.epoch() >= self.epochs() && self.folder.join(Summary::FILE).exists();
        if finished || saved.epoch() > self.epochs() {
            return Err(self.already_finished(saved.epoch()));
        }
        Ok(Some(saved))
    }

    /// The device to make a model on: with autodiff, and seeded.
    pub fn device(&self) -> Device {
        self.device.device.clone().autodiff()
    }

    /// Items, batch size and epochs of the whole run.
    pub fn run_length(&self) -> RunLength {
        RunLength::from_items(self.train.len(), self.arguments.batch_size.get())
            .epochs(self.epochs())
    }

    /// What to do when the saved epoch is one of another schedule.
    fn on_mismatch(&self) -> OnMismatch {
        self.arguments.on_mismatch.into()
    }

    /// Whether any schedule but the one that a run was saved under is refused.
    pub(crate) fn is_exact(&self) -> bool {
        self.on_mismatch() == OnMismatch::Refuse
    }

    /// The epochs that are left to train.
    pub fn epochs_left(&self) -> RangeInclusive<usize> {
        self.completed_epochs() + 1..=self.epochs()
    }

    /// Words for an epoch of this run.
    pub(crate) fn epoch_of_epochs(&self, epoch: usize) -> String {
        progress::epoch_of_epochs(&self.label, epoch, self.epochs())
    }

    /// Seed of the shuffles and the augmentation.
    pub(crate) fn seed(&self) -> u64 {
        self.arguments.seed
    }

    /// Name of the example.
    pub fn example(&self) -> &str {
        self.settings.example()
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the trained network is saved, for burn-store or Burn's `load_file` to read.
    pub fn model_file(&self) -> PathBuf {
        self.folder.join("model.bpk")
    }

    /// Batches to train on.
    pub fn train_loader(&self) -> ImageLoader {
        ImageLoader::train(
            self.train.clone(),
            self.arguments.batch_size.get(),
            self.augmentation,
            self.arguments.seed,
            &self.device(),
        )
    }

    /// Batches to test on.
    pub fn test_loader(&self) -> ImageLoader {
        let batch_size = self.arguments.batch_size.get();
        ImageLoader::test(self.test.clone(), batch_size, &self.device.device)
    }

    /// Creates the run's folder, and gives the epochs that an interrupted run completed in it.
    ///
    /// # Errors
    /// When the folder cannot be written, or the old history cannot be read.
    pub fn start(&self) -> Result<History, ExampleError> {
        fs::create_dir_all(&self.folder)
            .map_err(|source| ExampleError::file(&self.folder, source))?;
        // Those of a run that goes on with another batch size are noted anew.
        self.settings.save(&self.folder)?;
        match self.completed_epochs() {
            0 => Ok(History::default()),
            epochs => History::load(&self.folder, epochs),
        }
    }

    /// Trains what `learner` makes of a schedule; a run that was interrupted goes on, and one that is finished is
    /// read again.
    ///
    /// # Errors
    /// When the learner cannot be built, training stops early, or a file cannot be read or written.
    pub fn train_unless_finished<M: ImageClassifier>(
        &self,
        schedule: ScheduleConfig,
        learner: impl FnOnce(ScheduleConfig) -> LearnerBuilder<M>,
    ) -> Result<(Schedule, Report), ExampleError> {
        if let Some(report) = self.finished(&schedule)? {
            return Ok((self.schedule_of(&schedule)?, report));
        }
        self.train_under(learner(schedule))
    }

    /// Trains, from the newest checkpoint on if the run is resumed: checkpoints and logs in the run's folder, progress on
    /// the terminal; then tests the network and writes its files.
    ///
    /// # Errors
    /// When the learner cannot be built, training stops early, or a file cannot be written.
    pub fn train<M: ImageClassifier>(
        &self,
        learner: LearnerBuilder<M>,
    ) -> Result<Report, ExampleError> {
        Ok(self.train_under(learner)?.1)
    }

    fn train_under<M: ImageClassifier>(
        &self,
        learner: LearnerBuilder<M>,
    ) -> Result<(Schedule, Report), ExampleError> {
        let learner = self.resuming(learner).checkpoints(self.checkpoints());
        let learner = learner.metrics([RunMetrics::Control]);
        let learner = if self.norms { learner.metrics([RunMetrics::Norms]) } else { learner };
        let watch = learner.watch();
        let interrupter = Interrupter::new();
        let done = self.saved.as_ref().map_or(0, Checkpoint::batches);
        let history = SharedHistory::new(self.start()?, done as u64);
        // Only the first log of a process can be installed; a comparison keeps that one.
        let _ = FileApplicationLoggerInstaller::new(&self.log_file).install();
        let result = learner
            .launch(self.supervised_training(&history, interrupter))
            .map_err(|error| self.of_run(error.into()))?;
        // Burn's error says the same of a failure, and which of its workers it was.
        if let Some(failure) = watch.failure() {
            return Err(ExampleError::stopped(failure));
        }
        if let Some(error) = result.error {
            return Err(ExampleError::stopped(error));
        }
        let mut progress = history.lock();
        if let Some(error) = progress.error.take() {
            return Err(error);
        }
        let trained = Trained { model: result.model, history: progress.history.clone() };
        let schedule = watch.run().expect("it has trained").groups().schedule().clone();
        let report = self.finish(trained, &schedule)?;
        Ok((schedule, report))
    }

    /// A builder that goes on from the checkpoint, if there is one.
    pub fn resuming<M: Module>(&self, learner: LearnerBuilder<M>) -> LearnerBuilder<M> {
        let learner = learner.on_mismatch(self.on_mismatch());
        match &self.saved {
            Some(saved) => learner.resume_from(saved),
            None => learner,
        }
    }

    fn checkpoints(&self) -> Checkpoints {
        let checkpoints = Checkpoints::new(&self.folder);
        match self.arguments.save_every {
            Some(updates) => checkpoints.every_updates(updates.get() as u64),
            None => checkpoints,
        }
    }

    fn supervised_training<M: ImageClassifier>(
        &self,
        history: &SharedHistory,
        interrupter: Interrupter,
    ) -> SupervisedTraining<M> {
        let train = Arc::new(self.train_loader());
        let test = Arc::new(self.test_loader());
        let training = SupervisedTraining::new(&self.folder, train, test)
            .metrics((AccuracyMetric::new(), LossMetric::new()))
            .metric_train_numeric(LearningRateMetric::new())
            .with_application_logger(None)
            .with_interrupter(interrupter.clone())
            .num_epochs(self.epochs());
        let resumed_from = self.saved.as_ref().map(Checkpoint::epoch);
        let shown_by = progress::renderer(history.clone(), &self.label, interrupter, resumed_from);
        let recorder = HistoryRecorder::new(history.clone(), &self.folder, shown_by);
        training.renderer(Box::new(recorder))
    }

    /// Tests the trained network and writes model, picture and summary.
    ///
    /// # Errors
    /// When the device fails or a file cannot be written.
    pub fn finish<M: ImageClassifier>(
        &self,
        trained: Trained<M>,
        schedule: &Schedule,
    ) -> Result<Report, ExampleError> {
        let evaluation = evaluate(&trained.model, &self.test_loader())?;
        let summary = self.summary_of(&trained.history, evaluation.accuracy, schedule);
        self.save_model(trained.model)?;
        self.save_picture(schedule, summary.updates)?;
        summary.save(&self.folder)?;
        Ok(self.report(summary, trained.history))
    }

    fn report(&self, summary: Summary, history: History) -> Report {
        Report {
            summary,
            history,
            test_images: self.test.len(),
            device: self.device.clone(),
            resumed_from: self.saved.as_ref().map(Checkpoint::epoch),
            folder: self.folder.clone(),
        }
    }

    pub(crate) fn summary_of(
        &self,
        history: &History,
        accuracy: f64,
        schedule: &Schedule,
    ) -> Summary {
        let updates = history.updates();
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
            rate_first: schedule.rate(0),
            rate_peak: (0..updates).map(|step| schedule.rate(step)).fold(0.0, f64::max),
            rate_last: history.epochs.last().map_or(0.0, |last| last.rate),
            seed: self.arguments.seed,
        }
    }

    fn save_model<M: ImageClassifier>(&self, model: M) -> Result<(), ExampleError> {
        let path = self.model_file();
        model
            .save_into(&mut BurnpackStore::from_file(&path).overwrite(true))
            .map_err(|error| ExampleError::Record { path, reason: error.to_string() })
    }

    fn save_picture(&self, schedule: &Schedule, updates: u64) -> Result<(), ExampleError> {
        let points = plot::rate_points(|step| schedule.rate(step), updates);
        let picture = plot::schedule(self.example(), &schedule.to_string(), points);
        files::write(&self.folder.join("schedule.svg"), &picture)
    }

    pub(crate) fn epochs(&self) -> usize {
        self.arguments.epochs.get()
    }

    fn completed_epochs(&self) -> usize {
        self.saved.as_ref().map_or(0, Checkpoint::epoch)
    }
}

impl fmt::Display for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} {}: {} images to train on, {} to test on; computing on {}",
            self.dataset,
            self.arguments.data,
            self.train.len(),
            self.test.len(),
            self.device
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Defaults;

    #[test]
    fn norms_are_those_of_the_updates_and_not_of_the_epochs() {
        let folder = tempfile::tempdir().unwrap();
        let defaults =
            Defaults { about: "Trains a test", epochs: 2, batch_size: 64, learning_rate: 1e-3 };
        let arguments: Arguments = defaults.parse_from(["test", "--limit", "128"]).unwrap();
        let arguments = Arguments { out: Some(folder.path().join("run")), ..arguments };
        let session =
            Session::open("test", Dataset::Cifar10, Augmentation::NONE, &arguments).unwrap();
        for (epoch, lines) in [(1, "3.5,1\n2.5,1\n3,final\n"), (2, "1.5,1\n0.5,1\n1,final\n")] {
            let log = session.folder().join(format!("train/epoch-{epoch}"));
            std::fs::create_dir_all(&log).unwrap();
            std::fs::write(log.join("Norm_weights.log"), lines).unwrap();
        }
        assert_eq!(session.weight_norms("weights").unwrap(), [3.5, 2.5, 1.5, 0.5]);
        let missing = session.weight_norms("heads").unwrap_err().to_string();
        assert!(missing.contains("Norm_heads.log"), "{missing}");
    }
}
