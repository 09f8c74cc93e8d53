//! The errors of image files.

use std::path::PathBuf;

/// Why images cannot be loaded; the message tells from where, why, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file of the bundled sample is missing.
    #[error(
        "the data file {} is missing: restore examples/data from the repository, or use --data full",
        path.display()
    )]
    Missing {
        /// The file that is missing.
        path: PathBuf,
    },
    /// A file cannot be read, or its gzip stream is truncated or damaged.
    #[error(
        "the data file {} is truncated or damaged ({source}): restore examples/data from the \
         repository, or use --data full",
        path.display()
    )]
    Unreadable {
        /// The file that could not be read.
        path: PathBuf,
        /// What the operating system or the decompressor reports.
        source: std::io::Error,
    },
    /// A file has other contents than its name implies.
    #[error(
        "the data file {} does not hold {expected}, but {found}: restore examples/data from the \
         repository, or use --data full",
        path.display()
    )]
    WrongContents {
        /// The damaged file.
        path: PathBuf,
        /// What the file should hold.
        expected: String,
        /// What it holds.
        found: String,
    },
    /// The whole dataset is not in the cache and cannot be downloaded.
    #[error(
        "the whole {dataset} dataset is not in {} and could not be downloaded: check the network, \
         or use --data sample ({reason})",
        folder.display()
    )]
    NoDownload {
        /// The dataset's name.
        dataset: &'static str,
        /// Folder where the dataset would be kept.
        folder: PathBuf,
        /// Why the download failed.
        reason: String,
    },
    /// The cached copy of the whole dataset is damaged or incomplete.
    #[error(
        "the {dataset} dataset in {} is damaged ({reason}): delete that folder to download it again, \
         or use --data sample",
        folder.display()
    )]
    DamagedCache {
        /// The dataset's name.
        dataset: &'static str,
        /// Folder that holds the cached copy.
        folder: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The numbers of pixels and labels do not match.
    #[error("{pixels} pixel bytes do not make {labels} images of {bytes_per_image} bytes")]
    Mismatch {
        /// Number of pixel bytes.
        pixels: usize,
        /// Number of labels.
        labels: usize,
        /// Number of bytes that one image has.
        bytes_per_image: usize,
    },
    /// A label is not the number of a class.
    #[error("label {label} of image {index} is not a class: labels go from 0 to {}", super::CLASSES - 1)]
    UnknownClass {
        /// The label.
        label: u8,
        /// Position of the image.
        index: usize,
    },
}
