//! A linear probe: trains only the last layer of a network, on features that the rest computes once.

use std::time::Instant;

use anneal_examples::prelude::*;
use anneal_examples::progress::{bar, epoch_of_epochs};
use burn::data::dataloader::DataLoader;
use burn::module::Module;
use burn::nn::Linear;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Int, Tensor};
use burn_anneal::prelude::{RunLength, Schedule, ScheduleExt, cosine};
use indicatif::ProgressBar;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::Session;
use crate::batches::InMemory;
use crate::error::ExperimentError;
use crate::evaluation::Evaluation;

/// The number of passes of a probe over the features. More passes fit the training images better and others worse, and
/// leave less for later layers to learn.
const PASSES: usize = 5;

/// Features in each of its updates.
const BATCH: usize = 64;

/// The peak of its rates.
const PEAK: f64 = 1e-3;

/// A network with only its last layer trained.
#[derive(Debug, Clone)]
pub struct LinearProbe {
    /// The last layer, to continue from.
    pub output: Linear,
    /// The schedule that it was trained under.
    pub rates: Schedule,
    /// What the network achieves with it.
    pub report: Report,
}

impl LinearProbe {
    /// Trains the last layer on the features of the same images, with the same augmentation, as any other training in
    /// the session.
    ///
    /// After each epoch a new layer is trained on the features of all images so far.
    ///
    /// # Errors
    /// If the device fails or a file cannot be written.
    pub fn train(session: &Session, network: &EfficientNet) -> Result<Self, ExperimentError> {
        if let Some(probe) = Self::finished(session, network)? {
            return Ok(probe);
        }
        let mut history = session.start_history()?;
        let frozen = network.valid();
        let bar = bar("images");
        let mut test = CachedFeatures::default();
        test.add(&frozen, &session.test_loader(), 1, &bar);
        let mut seen = CachedFeatures::default();
        let mut output = network.output();
        let mut rates = schedule(1)?;
        for epoch in session.epochs_left() {
            let started = Instant::now();
            bar.set_prefix(epoch_of_epochs(session.label(), epoch, session.epochs()));
            seen.add(&frozen, &session.train_loader(), epoch, &bar);
            rates = schedule(seen.updates())?;
            let loss;
            (output, loss) = seen.fit(network.output(), &rates, session.arguments().seed)?;
            let tested = test.evaluate(&output)?;
            let record = EpochRecord {
                epoch,
                train_loss: loss,
                valid_loss: tested.loss,
                valid_accuracy: tested.accuracy,
                rate: rates.rate(seen.updates() - 1),
                updates: seen.updates(),
                seconds: started.elapsed().as_secs_f64(),
            };
            bar.suspend(|| {
                say(format_args!(
                    "{}   {record}",
                    epoch_of_epochs(session.label(), epoch, session.epochs())
                ))
            });
            history.epochs.push(record);
            history.save(session.folder())?;
        }
        bar.finish_and_clear();
        let model = frozen.with_output(output.valid());
        let tested = burn_anneal::evaluate(&model, &session.test_loader())?;
        session.save_model(model)?;
        // The last of its trainings, one after each epoch.
        let used = (0..seen.updates()).map(|step| (step as f64, rates.rate(step))).collect();
        let report = session.finish_with(used, &rates, history, tested)?;
        Ok(Self { output, rates, report })
    }

    /// Refuses a probe that an earlier run trained for another number of epochs, unless it may be
    /// trained again.
    ///
    /// # Errors
    /// If it was trained for more epochs, or for fewer without `--on-mismatch`, or its files are damaged.
    pub fn check(session: &Session) -> Result<(), ExperimentError> {
        Self::report(session).map(drop)
    }

    /// The report of a probe that was trained for as many epochs; there are no checkpoints.
    fn report(session: &Session) -> Result<Option<Report>, ExperimentError> {
        let Some(report) = session.reported()? else {
            return Ok(None);
        };
        let (trained, epochs) = (report.summary.epochs, session.epochs());
        if trained > epochs {
            return Err(session.already_finished(trained).into());
        }
        if trained < epochs && session.is_exact() {
            let path = session.folder().to_owned();
            return Err(ExperimentError::ShorterProbe { path, trained, epochs });
        }
        Ok(Some(report).filter(|_| trained == epochs))
    }

    /// The probe of a comparison that was interrupted after it.
    fn finished(
        session: &Session,
        network: &EfficientNet,
    ) -> Result<Option<Self>, ExperimentError> {
        let Some(report) = Self::report(session)? else {
            return Ok(None);
        };
        let path = session.model_file();
        let trained = network.clone().try_load_file(&path);
        let output = trained
            .map_err(|error| ExperimentError::Record { path, reason: error.to_string() })?
            .output();
        let updates = report.history.epochs.last().map_or(1, |record| record.updates);
        Ok(Some(Self { output, rates: schedule(updates)?, report }))
    }
}

/// The features of images before the last layer, and their classes.
#[derive(Debug, Clone, Default)]
struct CachedFeatures {
    features: Vec<Tensor<2>>,
    targets: Vec<Tensor<1, Int>>,
}

impl CachedFeatures {
    fn add(
        &mut self,
        frozen: &EfficientNet,
        images: &ImageLoader,
        epoch: usize,
        bar: &ProgressBar,
    ) {
        bar.set_length(images.num_items() as u64);
        bar.set_position(0);
        for batch in images.batches_of(epoch) {
            let count = batch.targets.dims()[0] as u64;
            self.features.push(frozen.features(batch.images.without_autodiff()));
            self.targets.push(batch.targets.without_autodiff());
            bar.inc(count);
        }
    }

    fn len(&self) -> usize {
        self.targets.iter().map(|targets| targets.dims()[0]).sum()
    }

    fn updates(&self) -> u64 {
        (PASSES * self.len().div_ceil(BATCH)).max(1) as u64
    }

    fn joined(&self) -> (Tensor<2>, Tensor<1, Int>) {
        (Tensor::cat(self.features.clone(), 0), Tensor::cat(self.targets.clone(), 0))
    }

    /// Trains a last layer; returns it and the loss of the last update.
    fn fit(
        &self,
        mut output: Linear,
        rates: &Schedule,
        seed: u64,
    ) -> Result<(Linear, f64), ExperimentError> {
        // The features have no autodiff, so the layer treats them as constants.
        let (features, targets) = self.joined();
        let mut optimizer: ModuleOptimizer = AdamConfig::new().build().into();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut order: Vec<i32> = Vec::new();
        let mut last_loss = Tensor::zeros([1], &features.device());
        for update in 0..self.updates() {
            if order.is_empty() {
                order = (0..self.len() as i32).collect();
                order.shuffle(&mut random);
            }
            let chosen = order.split_off(order.len().saturating_sub(BATCH));
            let chosen = Tensor::<1, Int>::from_data(chosen.as_slice(), &features.device());
            let logits = output.forward(features.clone().select(0, chosen.clone()));
            let loss = cross_entropy(logits, targets.clone().select(0, chosen));
            let gradients = GradientsParams::from_grads(loss.backward(), &output);
            output = optimizer.step(rates.rate(update), output, gradients);
            last_loss = loss.without_autodiff();
        }
        Ok((output, last_loss.try_into_scalar::<f64>()?))
    }

    fn evaluate(&self, output: &Linear) -> Result<Evaluation, ExperimentError> {
        let (features, targets) = self.joined();
        let logits = output.valid().forward(features);
        let classes = logits.clone().argmax(1).squeeze_dim::<1>(1);
        let right = classes.equal(targets.clone()).int().sum().try_into_scalar::<f64>()?;
        let loss = cross_entropy(logits, targets).try_into_scalar::<f64>()?;
        Ok(Evaluation { loss, accuracy: right / self.len() as f64 })
    }
}

fn schedule(updates: u64) -> Result<Schedule, ExperimentError> {
    Ok(cosine(PEAK).resolve(RunLength::updates(updates))?)
}

fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, targets)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use burn::nn::{Initializer, LinearConfig};
    use burn::tensor::Device;

    use super::*;
    use anneal_examples::arguments::Mismatch;

    #[test]
    fn a_probe_of_fewer_epochs_is_trained_anew_only_by_choice() {
        let folder = tempfile::tempdir().unwrap();
        let about = "Trains a test";
        let defaults = Defaults { about, epochs: 1, batch_size: 4, learning_rate: 1e-3 };
        let arguments: Arguments = defaults.parse_from(["test"]).unwrap();
        let member = |epochs, on_mismatch| {
            let out = Some(folder.path().join("run"));
            let epochs = NonZeroUsize::new(epochs).unwrap();
            let arguments = Arguments { epochs, on_mismatch, out, ..arguments.clone() };
            let augmentation = Augmentation::NONE;
            let group = Session::open_group("test", Dataset::Cifar10, augmentation, &arguments);
            group.unwrap().member("probe", 0).unwrap()
        };
        // A session of a new run refuses a folder that is in use.
        let sessions = [
            member(2, Mismatch::Refuse),
            member(3, Mismatch::Refuse),
            member(3, Mismatch::KeepStep),
            member(1, Mismatch::KeepStep),
        ];
        let trained = &sessions[0];
        trained.start().unwrap();
        let record = |epoch| EpochRecord { epoch, ..EpochRecord::default() };
        let history = History { epochs: (1..=2).map(record).collect() };
        history.save(trained.folder()).unwrap();
        let tested = burn_anneal::Evaluation { loss: 1.0, accuracy: Some(0.5), items: 10 };
        trained.finish_with(vec![(0.0, 0.1)], &schedule(2).unwrap(), history, tested).unwrap();

        let reports = sessions.map(|session| LinearProbe::report(&session));

        let [same, more, extended, fewer] = reports;
        assert_eq!(same.unwrap().unwrap().summary.epochs, 2);
        assert!(matches!(more, Err(ExperimentError::ShorterProbe { trained: 2, epochs: 3, .. })));
        assert!(extended.unwrap().is_none());
        let error = fewer.unwrap_err().to_string();
        assert!(error.contains("already finished 2 epochs"), "{error}");
    }

    #[test]
    fn a_layer_learns_to_tell_features_apart() {
        let device = Device::default();
        let labels: Vec<i32> = (0..200).map(|item| item % 4).collect();
        let targets = Tensor::<1, Int>::from_data(labels.as_slice(), &device);
        let features: Tensor<2> = targets.clone().one_hot::<2>(4).float().mul_scalar(3.0);
        let cached = CachedFeatures { features: vec![features], targets: vec![targets] };
        // A few updates at a small rate do not undo random weights.
        let zeros = LinearConfig::new(4, 4).with_initializer(Initializer::Zeros);
        let untrained = zeros.init(&device.autodiff());

        let rates = schedule(cached.updates()).unwrap();
        let (fitted, loss) = cached.fit(untrained.clone(), &rates, 0).unwrap();

        assert_eq!(cached.updates(), 4 * PASSES as u64);
        let (before, after) =
            (cached.evaluate(&untrained).unwrap(), cached.evaluate(&fitted).unwrap());
        assert!(after.loss < before.loss && loss < before.loss, "{before:?} {after:?} {loss}");
        assert!(after.accuracy > 0.99, "{after:?}");
    }
}
