//! The sample in the repository.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use super::{DataError, Dataset, Images, Splits, cifar_records, idx};

/// The folder that holds the gzipped sample files; see the README there.
#[derive(Debug, Clone)]
pub struct SampleFiles {
    folder: PathBuf,
}

impl SampleFiles {
    /// The files in `examples/data` of the repository that the program was built from.
    pub fn bundled() -> Self {
        Self::in_folder(Path::new(env!("CARGO_MANIFEST_DIR")).join("data"))
    }

    /// The files in another folder with the same layout.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Reads the training and test images of a dataset.
    ///
    /// # Errors
    /// If a file is missing, truncated, damaged or has other contents; the error names it.
    pub fn load(&self, dataset: Dataset) -> Result<Splits, DataError> {
        let (train, test) = match dataset {
            Dataset::Cifar10 => (self.cifar10("train")?, self.cifar10("test")?),
            Dataset::Mnist => (self.mnist("train")?, self.mnist("t10k")?),
        };
        Ok(Splits { train, test })
    }

    fn cifar10(&self, split: &str) -> Result<Images, DataError> {
        let path = self.folder.join(format!("cifar10/{split}.bin.gz"));
        let (pixels, labels) = cifar_records::parse(&decompress(&path)?)
            .map_err(|found| wrong_contents(&path, "CIFAR-10 records", found))?;
        images(&path, Dataset::Cifar10, pixels, labels)
    }

    fn mnist(&self, split: &str) -> Result<Images, DataError> {
        let shape = Dataset::Mnist.shape();
        let image_path = self.folder.join(format!("mnist/{split}-images-idx3-ubyte.gz"));
        let label_path = self.folder.join(format!("mnist/{split}-labels-idx1-ubyte.gz"));
        let pixels = idx::parse_images(&decompress(&image_path)?, shape.height, shape.width)
            .map_err(|found| wrong_contents(&image_path, "28×28 images in IDX format", found))?;
        let labels = idx::parse_labels(&decompress(&label_path)?)
            .map_err(|found| wrong_contents(&label_path, "labels in IDX format", found))?;
        images(&label_path, Dataset::Mnist, pixels, labels)
    }
}

fn decompress(path: &Path) -> Result<Vec<u8>, DataError> {
    let unreadable = |source| DataError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => DataError::Missing { path: path.to_owned() },
        _ => unreadable(source),
    })?;
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

fn images(
    path: &Path,
    dataset: Dataset,
    pixels: Vec<u8>,
    labels: Vec<u8>,
) -> Result<Images, DataError> {
    Images::new(pixels, labels, dataset.shape(), dataset.normalization())
        .map_err(|error| wrong_contents(path, "one label per image", error.to_string()))
}

fn wrong_contents(path: &Path, expected: &str, found: String) -> DataError {
    DataError::WrongContents { path: path.to_owned(), expected: expected.to_owned(), found }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::data::CLASSES;

    fn class_counts(images: &Images) -> [usize; CLASSES] {
        let mut counts = [0; CLASSES];
        for index in 0..images.len() {
            counts[images.label(index) as usize] += 1;
        }
        counts
    }

    #[test]
    fn the_bundled_sample_is_whole_and_balanced() {
        let cifar = SampleFiles::bundled().load(Dataset::Cifar10).unwrap();
        let mnist = SampleFiles::bundled().load(Dataset::Mnist).unwrap();

        assert_eq!(class_counts(&cifar.train), [200; CLASSES]);
        assert_eq!(class_counts(&cifar.test), [50; CLASSES]);
        assert_eq!(class_counts(&mnist.train), [400; CLASSES]);
        assert_eq!(class_counts(&mnist.test), [100; CLASSES]);
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = tempfile::tempdir().unwrap();

        let error = SampleFiles::in_folder(folder.path()).load(Dataset::Cifar10).unwrap_err();

        assert!(
            matches!(&error, DataError::Missing { path } if path.ends_with("cifar10/train.bin.gz"))
        );
    }

    #[test]
    fn a_truncated_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("cifar10")).unwrap();
        let whole = fs::read(SampleFiles::bundled().folder.join("cifar10/test.bin.gz")).unwrap();
        let truncated = folder.path().join("cifar10/train.bin.gz");
        fs::write(&truncated, &whole[..whole.len() / 2]).unwrap();

        let error = SampleFiles::in_folder(folder.path()).load(Dataset::Cifar10).unwrap_err();

        assert!(matches!(&error, DataError::Unreadable { path, .. } if *path == truncated));
        assert!(error.to_string().contains("truncated"));
    }

    #[test]
    fn a_file_of_another_data_set_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("cifar10")).unwrap();
        let digits = SampleFiles::bundled().folder.join("mnist/t10k-images-idx3-ubyte.gz");
        fs::copy(digits, folder.path().join("cifar10/train.bin.gz")).unwrap();

        let error = SampleFiles::in_folder(folder.path()).load(Dataset::Cifar10).unwrap_err();

        assert!(matches!(error, DataError::WrongContents { .. }));
    }
}
