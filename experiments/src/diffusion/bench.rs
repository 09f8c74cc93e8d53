//! Trains a denoiser, and measures the progress at each level.

use std::collections::HashMap;

use anneal_examples::loader::ImageLoader;
use anneal_examples::prelude::*;
use burn::data::dataloader::DataLoader;
use burn::module::Module;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::Tensor;
use burn::train::TrainOutput;
use burn_anneal::control::{AnnounceError, Follow};
use burn_anneal::groups::Curvature;
use burn_anneal::prelude::*;
use burn_anneal::schedule::{self, curvature_weights, noise_weights};

use super::denoiser::{Denoiser, LEVELS, Noisy, Process};
use super::{Arm, Batches, Inverse, MIXED};
use crate::batches::InMemory;
use crate::cli::Settings;
use crate::comparison::Spread;
use crate::digits::{Digits, FROM_MINUS_1_TO_1};
use crate::error::ExperimentError;
use crate::harness::Trial;
use crate::rates::{at_rates, best};

/// Digits per update, and digits for measuring a curvature.
const BATCH: usize = 64;
const OF_CURVATURE: usize = 128;

/// Rates of plain SGD that are tried.
pub const PEAKS: [f64; 5] = [1.0, 2.0, 4.0, 8.0, 16.0];

/// How many times longer the reference run trains, whose losses count as the best possible.
const LONGER: u64 = 6;

/// The rate of the long run.
const LONG_PEAK: f64 = 4.0;

/// An arm and its peak rate, by name.
pub type Tuned = (&'static str, (Arm, f64));

/// What all arms of a process share.
pub struct Bench {
    digits: Digits,
    process: Process,
    updates: u64,
    /// The losses of a long run, of each level.
    least: Vec<f64>,
    /// The curvature of each level, of each seed.
    curvatures: HashMap<u64, Vec<f64>>,
}

impl Bench {
    pub fn new(settings: &Settings, process: Process) -> Result<Self, ExperimentError> {
        let digits = Digits::load(settings, FROM_MINUS_1_TO_1)?;
        let updates = settings.either(400, 20);
        let (least, curvatures) = (vec![0.0; LEVELS], HashMap::new());
        let mut bench = Self { digits, process, updates, least, curvatures };
        for seed in settings.seeds() {
            let curvatures = bench.measure(seed)?;
            bench.curvatures.insert(seed, curvatures);
        }
        let longer = Self { updates: LONGER * updates, ..bench };
        let model = longer.trained(&MIXED, LONG_PEAK, 0, longer.updates)?.into_model();
        let least = longer.losses(&model, &longer.digits.loader_of(&longer.digits.test))?;
        Ok(Self { updates, least, ..longer })
    }

    /// The curvature of the loss of each level, after an eighth of a run on batches of mixed levels.
    fn measure(&self, seed: u64) -> Result<Vec<f64>, ExperimentError> {
        let training = self.trained(&MIXED, PEAKS[0], seed, self.updates / 8)?;
        let loader = self.digits.train_loader(OF_CURVATURE, seed);
        let images = loader.batches_of(1).next().expect("there are digits").images;
        let rule = Curvature::new().max_iterations(20);
        let of_level = |level: usize| {
            let batch = Noisy::new(images.clone(), |_| level);
            let gradients = |model: &Denoiser| {
                let loss = model.errors(&batch, &self.process).mean();
                GradientsParams::from_grads(loss.backward(), model)
            };
            let found = rule.measure(training.model(), training.groups(), gradients)?;
            Ok(found.iter().next().map_or(f64::NAN, |(_, largest)| largest))
        };
        (0..LEVELS).map(of_level).collect()
    }

    /// Trains a network for this many updates of a run.
    fn trained(
        &self,
        arm: &Arm,
        peak: f64,
        seed: u64,
        updates: u64,
    ) -> Result<TrainingLoop<Denoiser>, ExperimentError> {
        self.digits.device.seed(seed);
        let model = Denoiser::new(&self.digits.device.clone().autodiff());
        let builder = LearnerBuilder::new(model, SgdConfig::new().build(), (arm.shape)(peak))
            .run(RunLength::updates(self.updates));
        let table = self.table(arm.inverse, seed);
        let smallest = table.iter().copied().fold(f64::INFINITY, f64::min);
        let is_mixed = arm.batches == Batches::Mixed;
        let announced = arm.inverse.announced_as().filter(|_| !is_mixed);
        let builder = match arm.inverse {
            _ if announced.is_none() => builder,
            Inverse::Curvature => builder.controller("curvature", Follow::curvature(smallest)),
            _ => builder.controller("noise", Follow::noise_level()),
        };
        let mut training = builder.build_loop()?;
        let loader = self.digits.train_loader(BATCH, seed);
        for (batch, update) in loader.all_batches().zip(0..updates) {
            let level = arm.level(update, self.updates);
            let of_sample = |number| if is_mixed { (number + level) % LEVELS } else { level };
            let batch = Noisy::new(batch.images, of_sample);
            if let Some(name) = announced {
                training.announce_value(name, table[level]).map_err(stopped)?;
            }
            let weights = match is_mixed {
                true => weights(arm.inverse, &table, &batch.levels)?,
                false => vec![1.0; batch.levels.len()],
            };
            training.pass(|model| {
                let errors = model.errors(&batch, &self.process);
                let weights = Tensor::<1>::from_floats(weights.as_slice(), &errors.device());
                let loss = (errors * weights).mean();
                TrainOutput::new(model, loss.clone().scaled_backward(), loss)
            });
            training.update()?;
        }
        Ok(training)
    }

    /// The quantity of each level that a rate or a weight is inverse to.
    fn table(&self, inverse: Inverse, seed: u64) -> Vec<f64> {
        match inverse {
            Inverse::Nothing => vec![],
            Inverse::Beta => self.process.betas.clone(),
            Inverse::Cumulative => self.process.cumulative(),
            Inverse::Curvature => self.curvatures[&seed].clone(),
        }
    }

    /// The loss of each level.
    fn losses(&self, model: &Denoiser, images: &ImageLoader) -> Result<Vec<f64>, ExperimentError> {
        let model = model.valid();
        // All use the same noise.
        self.digits.device.seed(1_000);
        let mut losses = vec![0.0; LEVELS];
        for batch in images.batches_of(1) {
            let share = batch.images.dims()[0] as f64 / images.num_items() as f64;
            for (level, loss) in losses.iter_mut().enumerate() {
                let batch = Noisy::new(batch.images.clone(), |_| level);
                let errors = model.errors(&batch, &self.process);
                *loss += share * f64::from(errors.mean().try_into_scalar::<f32>()?);
            }
        }
        Ok(losses)
    }

    /// The best peak of each arm on the validation digits, from the first seed, also in words.
    pub fn with_peaks<const N: usize>(
        &self,
        arms: [(&'static str, Arm); N],
    ) -> Result<(Vec<Tuned>, String), ExperimentError> {
        let valid = self.digits.loader_of(&self.digits.valid);
        let (mut found, mut words) = (vec![], vec![]);
        for (name, arm) in arms {
            let train = |peak| {
                let model = self.trained(&arm, peak, 0, self.updates)?.into_model();
                let loss = mean(&self.losses(&model, &valid)?);
                say(format_args!("{name:26} at {peak}: valid loss {loss:.4}"));
                Ok(loss)
            };
            let peak = best(&at_rates(&PEAKS, train, |loss| *loss)?).rate;
            words.push(format!("{peak} ({name})"));
            found.push((name, (arm, peak)));
        }
        Ok((found, words.join(", ")))
    }

    pub fn trial(&self, arm: &Arm, peak: f64, seed: u64) -> Result<Trial, ExperimentError> {
        let images = self.digits.loader_of(&self.digits.test);
        let first = self.trained(arm, peak, seed, 0)?.into_model();
        let last = self.trained(arm, peak, seed, self.updates)?.into_model();
        let (first, last) = (self.losses(&first, &images)?, self.losses(&last, &images)?);
        let progress: Vec<f64> = (0..LEVELS)
            .map(|level| (first[level] - last[level]) / (first[level] - self.least[level]))
            .collect();
        let spread = Spread::of(&progress);
        let slowest = progress.iter().copied().fold(f64::INFINITY, f64::min);
        let deviation = spread.standard_deviation.unwrap_or(f64::NAN);
        let line = (1..).zip(&progress).map(|(level, share)| (f64::from(level), *share));
        Ok(Trial {
            numbers: vec![mean(&last), spread.mean, slowest, deviation / spread.mean],
            lines: vec![line.collect()],
        })
    }

    pub fn note(&self, peaks: &str) -> String {
        let of_seed = |seed: &u64| &self.curvatures[seed];
        let curvatures: Vec<String> = (0..LEVELS)
            .map(|level| {
                let all: Vec<f64> =
                    self.curvatures.keys().map(|seed| of_seed(seed)[level]).collect();
                format!("{:.2}", mean(&all))
            })
            .collect();
        let factors: Vec<String> =
            self.process.kept.iter().map(|kept| format!("{kept:.2}")).collect();
        format!(
            "Digits of 14 × 14 pixels, and ten levels of noise, steps 5 to 95 of 100 whose β goes from 0.001 to 0.2. {} updates of \
             {BATCH} digits by plain SGD at a constant rate, all of one level, or mixed. The sum is (1 − ᾱ)/ᾱ, the noise of all steps \
             up to the level, so that 1/(1 + sum) is ᾱ: {}; 1/(1 + β) is 1.00 to 0.84. The curvature of each level, the largest eigenvalue after an \
             eighth of such a run: {}. Progress is what the loss of a level has fallen by, as a share of what {LONGER} times as many \
             updates along a cosine get; its spread is the standard deviation over the levels by their mean. Peak rates, the best of {PEAKS:?} \
             each by the mean loss on the validation digits of the first seed: {peaks}.",
            self.updates,
            factors.join(", "),
            curvatures.join(", "),
        )
    }
}

/// The weights on the losses of samples at these levels.
fn weights(inverse: Inverse, table: &[f64], levels: &[usize]) -> Result<Vec<f32>, ScheduleError> {
    let weights = match inverse {
        Inverse::Nothing => vec![1.0; levels.len()],
        Inverse::Curvature => curvature_weights(table, levels)?,
        _ => {
            let noise = schedule::table(table).resolve(RunLength::updates(LEVELS as u64))?;
            noise_weights(&noise, &levels.iter().map(|level| *level as u64).collect::<Vec<_>>())?
        }
    };
    Ok(weights.into_iter().map(|weight| weight as f32).collect())
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn stopped(error: AnnounceError) -> ExperimentError {
    ExperimentError::Stopped { reason: error.to_string() }
}
