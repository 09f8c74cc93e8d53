//! CIFAR-10 images, for the experiments that train on them.

use std::sync::Arc;

use anneal_examples::backend::SelectedDevice;
use anneal_examples::data::{self, DataSource, Dataset, Images};
use burn::tensor::Device;

use crate::cli::Settings;
use crate::error::ExperimentError;

/// What all arms of an experiment share.
pub struct Colors {
    pub device: Device,
    pub train: Arc<Images>,
    pub test: Arc<Images>,
}

impl Colors {
    /// All of the sample, or a tenth in a short run.
    ///
    /// # Errors
    /// If the images cannot be loaded.
    pub fn sample(settings: &Settings) -> Result<Self, ExperimentError> {
        Self::load(settings, DataSource::Sample, [2_000, 500])
    }

    /// So many images to train on and to test on, as many of each class.
    ///
    /// # Errors
    /// If the images cannot be loaded.
    pub fn load(
        settings: &Settings,
        source: DataSource,
        counts: [usize; 2],
    ) -> Result<Self, ExperimentError> {
        let device = SelectedDevice::select(None)?.device;
        let splits = data::load(Dataset::Cifar10, source, None)?;
        let normalization = Dataset::Cifar10.normalization();
        let first = |images: Images, count: usize| {
            let count = settings.either(count, count / 10);
            Arc::new(images.balanced_first(count).with_normalization(normalization))
        };
        let [train, test] = counts;
        Ok(Self { device, train: first(splits.train, train), test: first(splits.test, test) })
    }
}
