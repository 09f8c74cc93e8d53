//! Trains the classifier, and records its updates and epochs.

use anneal_examples::loader::ImageBatch;
use burn::module::Module;
use burn::train::TrainStep;
use burn_anneal::control::MetricOf;
use burn_anneal::prelude::*;

use crate::batches::InMemory;
use crate::digits::Digits;
use crate::error::ExperimentError;
use crate::evaluation::{Evaluation, evaluate};
use crate::model::Classifier;

/// The data and length of a classifier's training.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Images per update.
    pub batch_size: usize,
    /// The number of passes through the training digits.
    pub epochs: usize,
    /// Changes the batch of an update, by its number from 0.
    pub change: fn(u64, ImageBatch) -> ImageBatch,
}

/// The measurements of a training.
#[derive(Debug, Clone, Default)]
pub struct Course {
    /// The loss of each update.
    pub losses: Vec<f64>,
    /// The rate of each update; 0 if it was skipped.
    pub rates: Vec<f64>,
    /// On the validation digits after each epoch.
    pub valid: Vec<Evaluation>,
    /// On the test digits at the end.
    pub test: Evaluation,
}

impl Plan {
    /// Trains a classifier from a seed with the settings of `builder`. Controllers get `valid Loss`.
    ///
    /// # Errors
    /// If it cannot be built, a controller ends the run, or the device fails.
    pub fn train(
        &self,
        digits: &Digits,
        seed: u64,
        builder: impl FnOnce(Classifier) -> LearnerBuilder<Classifier>,
    ) -> Result<Course, ExperimentError> {
        self.train_while(digits, seed, builder, |_, _| Ok(true))
    }

    /// Like [`train`](Self::train), but ends after an epoch if `keep` decides so by its number and validation loss.
    ///
    /// # Errors
    /// The same as [`train`](Self::train), and those of `keep`.
    pub fn train_while(
        &self,
        digits: &Digits,
        seed: u64,
        builder: impl FnOnce(Classifier) -> LearnerBuilder<Classifier>,
        mut keep: impl FnMut(u64, f64) -> Result<bool, ExperimentError>,
    ) -> Result<Course, ExperimentError> {
        digits.device.seed(seed);
        let classifier = Classifier::new(&digits.device.clone().autodiff());
        let run = RunLength::from_items(digits.train.len(), self.batch_size).epochs(self.epochs);
        let mut training = builder(classifier).run(run).build_loop()?;
        let train_digits = digits.train_loader(self.batch_size, seed);
        let valid_digits = digits.loader_of(&digits.valid);
        let mut course = Course::default();
        for epoch in 1..=self.epochs {
            for batch in train_digits.batches_of(epoch) {
                let batch = (self.change)(training.next_update(), batch);
                course.update(&mut training, batch)?;
            }
            let valid = evaluate(&training.valid(), &valid_digits)?;
            training.end_epoch([(MetricOf::valid("Loss"), valid.loss)])?;
            course.valid.push(valid);
            if !keep(epoch as u64, valid.loss)? {
                break;
            }
        }
        let model = training.into_model().valid();
        course.test = evaluate(&model, &digits.loader_of(&digits.test))?;
        Ok(course)
    }
}

impl Course {
    /// Makes an update with a batch.
    ///
    /// # Errors
    /// If a controller ends the run, or the device fails.
    pub fn update(
        &mut self,
        training: &mut TrainingLoop<Classifier>,
        batch: ImageBatch,
    ) -> Result<(), ExperimentError> {
        let output = training.pass(|model| TrainStep::step(model, batch));
        self.rates.push(training.update()?.rate);
        self.losses.push(output.loss.try_into_scalar()?);
        Ok(())
    }

    /// The validation loss after the last epoch.
    pub fn valid_loss(&self) -> f64 {
        self.valid.last().map_or(f64::NAN, |valid| valid.loss)
    }

    /// The validation loss after each epoch.
    pub fn valid_losses(&self) -> Vec<(f64, f64)> {
        let point = |(epoch, valid): (i32, &Evaluation)| (f64::from(epoch), valid.loss);
        (1..).zip(&self.valid).map(point).collect()
    }

    /// The rates of the updates, counted from 1, or of evenly many of them.
    pub fn rate_line(&self) -> Vec<(f64, f64)> {
        const POINTS: usize = 1_000;
        let every = self.rates.len().div_ceil(POINTS).max(1);
        let point = |(update, rate): (i32, &f64)| (f64::from(update), *rate);
        (1..).zip(&self.rates).step_by(every).map(point).collect()
    }
}

/// Leaves a batch unchanged.
pub fn unchanged(_: u64, batch: ImageBatch) -> ImageBatch {
    batch
}
