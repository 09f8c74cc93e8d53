//! Trains until a target loss, and measures the noise scale.

use std::sync::Arc;

use anneal_examples::backend::SelectedDevice;
use anneal_examples::data::{self, Augmentation, DataSource, Dataset, Images};
use anneal_examples::loader::{ImageBatch, ImageLoader};
use anneal_examples::prelude::*;
use burn::module::Module;
use burn::optim::SgdConfig;
use burn::tensor::Device;
use burn::train::TrainStep;
use burn_anneal::control::{NoiseScale, NoiseScaleEstimate};
use burn_anneal::prelude::*;

use super::network::Convolutions;
use crate::batches::InMemory;
use crate::cli::Settings;
use crate::error::ExperimentError;
use crate::evaluation::evaluate;

/// Batches whose gradients make an update.
pub const BATCHES: usize = 4;

/// Images whose loss is checked.
const LOOKED_AT: usize = 500;

/// The half-life, in updates.
const HALF_LIFE: u64 = 50;

/// The images and the device.
pub struct Pictures {
    /// Without autodiff.
    device: Device,
    train: Arc<Images>,
    looked_at: ImageLoader,
}

/// How a network trains.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Images of an update.
    pub batch_size: usize,
    pub rate: f64,
    /// The target loss.
    pub target: f64,
    /// Whether it ends there.
    pub stops: bool,
    /// The number of images after which it ends in any case.
    pub images: usize,
}

/// The measurements of a training.
#[derive(Debug, Clone, Default)]
pub struct Course {
    /// Updates to the target; NaN if it was not reached.
    pub updates: f64,
    /// The loss of training images, by updates.
    pub losses: Vec<(f64, f64)>,
    /// The noise scale after each update, if known.
    pub scales: Vec<(f64, NoiseScaleEstimate)>,
}

impl Pictures {
    /// The CIFAR-10 sample of the repository: 2,000 images; a fifth of them in a short run.
    ///
    /// # Errors
    /// If there is no device, or a file of images is missing or damaged.
    pub fn load(settings: &Settings) -> Result<Self, ExperimentError> {
        let device = SelectedDevice::select(None)?.device;
        let images = data::load(Dataset::Cifar10, DataSource::Sample, None)?.train;
        let train = Arc::new(images.balanced_first(settings.either(images.len(), 400)));
        let looked_at = Arc::new(train.balanced_first(LOOKED_AT));
        let looked_at = test_loader(looked_at, LOOKED_AT, &device);
        Ok(Self { device, train, looked_at })
    }

    /// The number of training images.
    pub fn len(&self) -> usize {
        self.train.len()
    }

    /// Trains a network from a seed with plain SGD.
    ///
    /// # Errors
    /// If it cannot be built, or the device fails.
    pub fn train(&self, plan: &Plan, seed: u64) -> Result<Course, ExperimentError> {
        self.device.seed(seed);
        let device = self.device.clone().autodiff();
        let items = plan.batch_size / BATCHES;
        let loader = train_loader(
            Arc::clone(&self.train),
            items,
            Augmentation::CROP_AND_FLIP,
            seed,
            &device,
        );
        let run = RunLength::from_items(self.train.len(), items).gradient_accumulation(BATCHES);
        let epochs = plan.images.div_ceil(self.train.len());
        let sgd = SgdConfig::new().build();
        let mut training =
            LearnerBuilder::new(Convolutions::new(&device), sgd, constant(plan.rate))
                .run(run.epochs(epochs))
                .gradient_reduction(GradientReduction::Mean)
                .controller("noise scale", NoiseScale::new().half_life(HALF_LIFE))
                .build_loop()?;
        let mut course = Course { updates: f64::NAN, ..Course::default() };
        let mut look_at = 0;
        for epoch in 1..=epochs {
            let batches: Vec<ImageBatch> = loader.batches_of(epoch).collect();
            for batches in batches.chunks(BATCHES) {
                if training.next_update() >= look_at {
                    look_at = 1 + training.next_update() * 21 / 20;
                    let loss = evaluate(&training.model().valid(), &self.looked_at)?.loss;
                    course.note(training.next_update() as f64, loss, plan.target);
                    if loss.is_nan() || (plan.stops && course.updates.is_finite()) {
                        return Ok(course);
                    }
                }
                for batch in batches {
                    training.pass(|model| TrainStep::step(model, batch.clone()));
                }
                let number = training.update()?.number;
                let scale = training.gradient_noise().and_then(|noise| noise.scale);
                course.scales.extend(scale.map(|scale| (number as f64 + 1.0, scale)));
            }
        }
        Ok(course)
    }
}

impl Course {
    /// Records a loss, and where it first reached the target, by linear interpolation.
    fn note(&mut self, updates: f64, loss: f64, target: f64) {
        if let Some((earlier, higher)) = self.losses.last().copied()
            && self.updates.is_nan()
            && loss <= target
        {
            let way = (higher - target) / (higher - loss);
            self.updates = earlier + way * (updates - earlier);
        }
        self.losses.push((updates, loss));
    }

    /// Whether the target was not reached by then.
    pub fn is_on_the_way(&self, update: f64) -> bool {
        self.updates.is_nan() || update <= self.updates
    }

    /// The noise scale of the run up to the target, by which updates of `batch_size` images are U = U_min (1 + 𝓑/B): the
    /// mean over the progress that updates make, 1/(1 + 𝓑/B) each.
    pub fn noise_scale(&self, batch_size: usize) -> f64 {
        let (mut sum, mut progress) = (0.0, 0.0);
        let scales = self.scales.iter().take_while(|(update, _)| self.is_on_the_way(*update));
        for (_, scale) in scales {
            let made = 1.0 / (1.0 + scale.value / batch_size as f64);
            sum += scale.value * made;
            progress += made;
        }
        sum / progress
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_reached_between_two_looks() {
        let mut course = Course { updates: f64::NAN, ..Course::default() };
        course.note(0.0, 2.0, 1.0);
        course.note(10.0, 1.5, 1.0);
        assert!(course.updates.is_nan());
        course.note(30.0, 0.5, 1.0);
        assert_eq!(course.updates, 20.0);
        course.note(40.0, 1.5, 1.0);
        course.note(50.0, 0.5, 1.0);
        assert_eq!((course.updates, course.losses.len()), (20.0, 5));
    }

    #[test]
    fn the_noise_scale_of_a_run_is_weighed_by_progress() {
        let at = |update, value| (update, NoiseScaleEstimate { value, low: value, high: value });
        let scales = vec![at(1.0, 10.0), at(2.0, 30.0), at(3.0, 1e9)];
        let course = Course { updates: 2.5, scales, ..Course::default() };
        // 1/2 and 1/4 of an update without noise.
        assert!((course.noise_scale(10) - (5.0 + 7.5) / 0.75).abs() < 1e-12);
    }
}
