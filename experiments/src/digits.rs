//! The digits of the experiments.

use std::sync::Arc;

use anneal_examples::backend::SelectedDevice;
use anneal_examples::data::{self, Augmentation, DataSource, Dataset, Images, Normalization};
use anneal_examples::loader::ImageLoader;
use anneal_examples::prelude::*;
use burn::tensor::{Device, Tensor};

use crate::batches::InMemory;
use crate::cli::Settings;
use crate::error::ExperimentError;
use crate::model::PIXELS;

/// Pixels from -1 to 1, the range of a generator.
pub const FROM_MINUS_1_TO_1: Normalization = Normalization { mean: &[0.5], std: &[0.5] };

/// Images tested at once.
const TESTED_AT_ONCE: usize = 250;

/// The MNIST sample of the repository, and the device.
#[derive(Debug, Clone)]
pub struct Digits {
    /// Without autodiff.
    pub device: Device,
    /// To train on.
    pub train: Arc<Images>,
    /// To choose rates during training, but not to learn from.
    pub valid: Arc<Images>,
    /// To test on.
    pub test: Arc<Images>,
}

impl Digits {
    /// 3,200 digits to train on, 800 to validate on and 1,000 to test on; a tenth of each in a short run.
    ///
    /// # Errors
    /// If there is no device, or a file of digits is missing or damaged.
    pub fn load(
        settings: &Settings,
        normalization: Normalization,
    ) -> Result<Self, ExperimentError> {
        let device = SelectedDevice::select(None)?.device;
        let splits = data::load(Dataset::Mnist, DataSource::Sample, None)?;
        let (train, valid) = splits.train.split(splits.train.len() / 5 * 4);
        let [train, valid, test] = [train, valid, splits.test].map(|images| {
            let count = settings.either(images.len(), images.len() / 10);
            Arc::new(images.balanced_first(count).with_normalization(normalization))
        });
        Ok(Self { device, train, valid, test })
    }

    /// Loads the training digits in batches, shuffled.
    pub fn train_loader(&self, batch_size: usize, seed: u64) -> ImageLoader {
        let (images, device) = (Arc::clone(&self.train), self.device.clone().autodiff());
        train_loader(images, batch_size, Augmentation::NONE, seed, &device)
    }

    /// Loads digits as they are stored.
    pub fn loader_of(&self, images: &Arc<Images>) -> ImageLoader {
        test_loader(Arc::clone(images), TESTED_AT_ONCE, &self.device)
    }
}

/// Some digits as a tensor: `[images, pixels]`.
pub fn tensor_of(images: &Arc<Images>, device: &Device) -> Tensor<2> {
    let loader = test_loader(Arc::clone(images), images.len(), device);
    let all: Vec<Tensor<4>> = loader.batches_of(1).map(|batch| batch.images).collect();
    Tensor::cat(all, 0).reshape([-1, PIXELS as i32])
}
