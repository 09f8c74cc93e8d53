//! The images that the examples train on.
//!
//! [`load`] returns the training and test images of a [`Dataset`], either from the sample in this
//! repository ([`DataSource::Sample`]) or from the whole dataset ([`DataSource::Full`]).

mod augmentation;
mod cifar_records;
mod error;
mod full;
mod idx;
mod images;
mod sample;

pub use augmentation::{Augmentation, Placement, place_image};
pub use error::DataError;
pub use images::{ImageShape, Images, Normalization};
pub use sample::SampleFiles;

use std::fmt;
use std::num::NonZeroUsize;

/// Number of classes in every dataset of the examples.
pub const CLASSES: usize = 10;

/// A dataset of labeled images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dataset {
    /// 32×32 color images of ten kinds of things (Krizhevsky, 2009).
    Cifar10,
    /// 28×28 gray images of handwritten digits (LeCun et al., 1998).
    Mnist,
}

/// Where the images of a [`Dataset`] come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum DataSource {
    /// the small real sample in the repository
    Sample,
    /// the whole dataset, downloaded once and kept in your cache folder
    Full,
}

/// The images to train on and the images to test on.
#[derive(Debug, Clone)]
pub struct Splits {
    /// Images to train on.
    pub train: Images,
    /// Images that training never sees.
    pub test: Images,
}

/// Loads a dataset; with a `limit`, only that many training images, balanced over the classes.
///
/// The test images are never limited, so that accuracies stay comparable.
///
/// # Errors
/// A [`DataError`] that names the missing or damaged file and what to do.
pub fn load(
    dataset: Dataset,
    source: DataSource,
    limit: Option<NonZeroUsize>,
) -> Result<Splits, DataError> {
    let splits = match source {
        DataSource::Sample => SampleFiles::bundled().load(dataset)?,
        DataSource::Full => full::load(dataset)?,
    };
    Ok(match limit {
        Some(limit) => {
            Splits { train: splits.train.balanced_first(limit.get()), test: splits.test }
        }
        None => splits,
    })
}

impl Dataset {
    /// Size of the images.
    pub const fn shape(self) -> ImageShape {
        match self {
            Self::Cifar10 => ImageShape::new(3, 32, 32),
            Self::Mnist => ImageShape::new(1, 28, 28),
        }
    }

    /// Mean and standard deviation of the whole training set, for each channel.
    pub const fn normalization(self) -> Normalization {
        match self {
            Self::Cifar10 => {
                Normalization { mean: &[0.4914, 0.4822, 0.4465], std: &[0.2470, 0.2435, 0.2616] }
            }
            Self::Mnist => Normalization { mean: &[0.1307], std: &[0.3081] },
        }
    }
}

impl fmt::Display for Dataset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Cifar10 => "cifar10",
            Self::Mnist => "mnist",
        })
    }
}

impl fmt::Display for DataSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Sample => "sample",
            Self::Full => "full",
        })
    }
}
