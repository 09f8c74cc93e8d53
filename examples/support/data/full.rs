//! The whole datasets, from `burn-dataset`'s download and cache.

use std::any::Any;
use std::num::NonZeroUsize;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::thread;

use burn_dataset::Dataset as _;
use burn_dataset::vision::{
    Annotation, CifarDataset, CifarType, ImageDatasetItem, ImageFolderDataset, MnistDataset,
    PixelData,
};

use super::{DataError, Dataset, Images, Splits};

/// Images of CIFAR-10's own training and test split.
const CIFAR10_SIZES: (usize, usize) = (50_000, 10_000);

/// Loads both splits, and downloads them if the cache is empty.
pub(super) fn load(dataset: Dataset) -> Result<Splits, DataError> {
    let cache = Cache::of(dataset);
    let was_cached = cache.is_filled();
    // burn-dataset panics if a download or a file fails.
    let decoded = catch_panic(|| match dataset {
        Dataset::Cifar10 => decode_cifar10(),
        Dataset::Mnist => decode_mnist(),
    });
    decoded.and_then(|result| result).map_err(|reason| {
        if was_cached { cache.damaged(reason) } else { cache.not_downloaded(reason) }
    })
}

/// The folder in which `burn-dataset` keeps a dataset.
struct Cache {
    name: &'static str,
    folder: PathBuf,
    files: &'static [&'static str],
}

impl Cache {
    fn of(dataset: Dataset) -> Self {
        let (name, folder, files): (_, _, &[&str]) = match dataset {
            Dataset::Cifar10 => ("CIFAR-10", "cifar10", &[""]),
            Dataset::Mnist => (
                "MNIST",
                "mnist",
                &[
                    "train/train-images-idx3-ubyte",
                    "train/train-labels-idx1-ubyte",
                    "test/t10k-images-idx3-ubyte",
                    "test/t10k-labels-idx1-ubyte",
                ],
            ),
        };
        let root = dirs::cache_dir().unwrap_or_default().join("burn-dataset");
        Self { name, folder: root.join(folder), files }
    }

    fn is_filled(&self) -> bool {
        self.files.iter().all(|file| self.folder.join(file).exists())
    }

    fn damaged(self, reason: String) -> DataError {
        DataError::DamagedCache { dataset: self.name, folder: self.folder, reason }
    }

    fn not_downloaded(self, reason: String) -> DataError {
        DataError::NoDownload { dataset: self.name, folder: self.folder, reason }
    }
}

fn decode_cifar10() -> Result<Splits, String> {
    let dataset = CifarDataset::new(CifarType::Cifar10);
    Ok(Splits {
        train: decode_folder(&dataset.train(), CIFAR10_SIZES.0)?,
        test: decode_folder(&dataset.test(), CIFAR10_SIZES.1)?,
    })
}

/// Decodes all image files once, on all cores, into one buffer.
fn decode_folder(folder: &ImageFolderDataset, expected: usize) -> Result<Images, String> {
    if folder.len() != expected {
        return Err(format!("{} images instead of {expected}", folder.len()));
    }
    let bytes = Dataset::Cifar10.shape().bytes();
    let mut pixels = vec![0; expected * bytes];
    let mut labels = vec![0; expected];
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let share = expected.div_ceil(threads);
    thread::scope(|scope| {
        let shares = pixels.chunks_mut(share * bytes).zip(labels.chunks_mut(share));
        let workers: Vec<_> = shares
            .enumerate()
            .map(|(worker, (pixels, labels))| {
                scope.spawn(move || decode_share(folder, worker * share, pixels, labels))
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|panic| Err(panic_message(panic))))
    })?;
    images(Dataset::Cifar10, pixels, labels)
}

fn decode_share(
    folder: &ImageFolderDataset,
    first: usize,
    pixels: &mut [u8],
    labels: &mut [u8],
) -> Result<(), String> {
    let images = pixels.chunks_mut(Dataset::Cifar10.shape().bytes());
    for (offset, (pixels, label)) in images.zip(labels).enumerate() {
        let item = folder.get(first + offset).map_err(|error| error.to_string())?;
        *label =
            decode_image(&item, pixels).map_err(|wrong| format!("{}: {wrong}", item.image_path))?;
    }
    Ok(())
}

/// Sorts the interleaved colors of one image into planes, and returns its class.
fn decode_image(item: &ImageDatasetItem, planes: &mut [u8]) -> Result<u8, &'static str> {
    let shape = Dataset::Cifar10.shape();
    let PixelData::U8(interleaved) = &item.image else {
        return Err("not an image of 8 bits per color");
    };
    if (item.image_height, item.image_width) != (shape.height, shape.width)
        || interleaved.len() != shape.bytes()
    {
        return Err("not a 32×32 image with three colors");
    }
    for (channel, plane) in planes.chunks_mut(shape.plane()).enumerate() {
        let colors = interleaved.iter().skip(channel).step_by(shape.channels);
        plane.iter_mut().zip(colors).for_each(|(to, from)| *to = *from);
    }
    match item.annotation {
        Annotation::Label(label) => u8::try_from(label).map_err(|_| "not one of ten classes"),
        _ => Err("no class"),
    }
}

fn decode_mnist() -> Result<Splits, String> {
    Ok(Splits {
        train: decode_digits(&MnistDataset::train())?,
        test: decode_digits(&MnistDataset::test())?,
    })
}

fn decode_digits(dataset: &MnistDataset) -> Result<Images, String> {
    let mut pixels = Vec::with_capacity(dataset.len() * Dataset::Mnist.shape().bytes());
    let mut labels = Vec::with_capacity(dataset.len());
    for index in 0..dataset.len() {
        let digit = dataset.get(index).map_err(|error| error.to_string())?;
        pixels.extend(digit.image.iter().flatten().map(|&gray| gray as u8));
        labels.push(digit.label);
    }
    if labels.is_empty() {
        return Err("no digit".to_owned());
    }
    images(Dataset::Mnist, pixels, labels)
}

fn images(dataset: Dataset, pixels: Vec<u8>, labels: Vec<u8>) -> Result<Images, String> {
    Images::new(pixels, labels, dataset.shape(), dataset.normalization())
        .map_err(|error| error.to_string())
}

/// Runs `work`, and turns a panic into an error without printing it.
fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    panic::set_hook(hook);
    result.map_err(panic_message)
}

fn panic_message(panic: Box<dyn Any + Send>) -> String {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no reason given");
    message.trim_start_matches("called `Result::unwrap()` on an `Err` value: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        let result = catch_panic(|| -> u8 { "".parse::<u8>().map_err(|_| "no network").unwrap() });

        assert_eq!(result, Err("\"no network\"".to_owned()));
    }

    #[test]
    fn interleaved_colors_are_sorted_into_planes() {
        let shape = Dataset::Cifar10.shape();
        let interleaved = (0..shape.bytes()).map(|index| (index % 3) as u8).collect();
        let item = ImageDatasetItem {
            image: PixelData::U8(interleaved),
            image_width: 32,
            image_height: 32,
            annotation: Annotation::Label(7),
            image_path: String::new(),
        };
        let mut planes = vec![9; shape.bytes()];

        assert_eq!(decode_image(&item, &mut planes), Ok(7));
        for (channel, plane) in planes.chunks(shape.plane()).enumerate() {
            assert!(plane.iter().all(|&pixel| pixel == channel as u8));
        }
    }
}
