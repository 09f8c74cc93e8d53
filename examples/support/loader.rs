//! Batches of images from a [`SeededLoader`]: they depend only on the seed and the epoch, so a resumed run sees the
//! same batches.

use std::sync::{Arc, Mutex, PoisonError};

use burn::data::dataset::{Dataset, DatasetError};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_anneal::{ChaCha8Rng, SeededBatcher, SeededLoader};
use rand::SeedableRng;
use rand::seq::SliceRandom;

use crate::data::{Augmentation, Images, Placement, place_image};

/// A batch of images and their classes.
#[derive(Debug, Clone)]
pub struct ImageBatch {
    /// Normalized images, `[batch, channels, height, width]`.
    pub images: Tensor<4>,
    /// Class of each image, `[batch]`.
    pub targets: Tensor<1, Int>,
}

/// Loads batches of images; its items are their indices.
pub type ImageLoader = SeededLoader<usize, ImageBatch>;

/// Batches to train on: each epoch is shuffled and augmented differently, by `seed`.
pub fn train_loader(
    images: impl Into<Arc<Images>>,
    batch_size: usize,
    augmentation: Augmentation,
    seed: u64,
    device: &Device,
) -> ImageLoader {
    loader(images.into(), batch_size, augmentation, device).shuffle(seed)
}

/// Batches to test on: all images unchanged and in order.
pub fn test_loader(
    images: impl Into<Arc<Images>>,
    batch_size: usize,
    device: &Device,
) -> ImageLoader {
    loader(images.into(), batch_size, Augmentation::NONE, device)
}

fn loader(
    images: Arc<Images>,
    batch_size: usize,
    augmentation: Augmentation,
    device: &Device,
) -> ImageLoader {
    let (normalization, channels) = (images.normalization(), images.shape().channels);
    let items = Positions(images.len());
    let batcher = ImageBatcher {
        images,
        tables: (0..channels).map(|channel| normalization.table(channel)).collect(),
        augmentation,
        epoch: Mutex::default(),
    };
    SeededLoader::new(items, batcher, batch_size).device(device)
}

/// The indices of this number of images.
struct Positions(usize);

impl Dataset<usize> for Positions {
    fn get(&self, index: usize) -> Result<usize, DatasetError> {
        Ok(index)
    }

    fn len(&self) -> usize {
        self.0
    }
}

/// Places and normalizes images.
struct ImageBatcher {
    images: Arc<Images>,
    /// The normalized value of each byte, for each channel.
    tables: Vec<[f32; 256]>,
    augmentation: Augmentation,
    epoch: Mutex<Placements>,
}

/// The placements of an epoch's images, in order.
#[derive(Default)]
struct Placements {
    /// Seed and stream of the epoch.
    of: Option<([u8; 32], u64)>,
    drawn: Arc<[Placement]>,
}

impl SeededBatcher<usize, ImageBatch> for ImageBatcher {
    fn batch(&self, items: Vec<usize>, device: &Device, random: &mut ChaCha8Rng) -> ImageBatch {
        let shape = self.images.shape();
        let mut pixels = vec![0.0; items.len() * shape.bytes()];
        let placements = self.placements(random);
        let first = (random.get_word_pos() >> 32) as usize;
        for ((number, &item), output) in
            items.iter().enumerate().zip(pixels.chunks_mut(shape.bytes()))
        {
            let placement = placements.get(first + number).copied().unwrap_or_default();
            place_image(self.images.image(item), shape, placement, &self.tables, output);
        }
        let targets: Vec<i32> =
            items.iter().map(|&item| i32::from(self.images.label(item))).collect();
        let dimensions = [items.len(), shape.channels, shape.height, shape.width];
        ImageBatch {
            images: Tensor::from_data(TensorData::new(pixels, dimensions), device),
            targets: Tensor::from_data(TensorData::new(targets, [items.len()]), device),
        }
    }
}

impl ImageBatcher {
    /// The placements of this generator's epoch, drawn all at once, after its order, from the same stream.
    fn placements(&self, random: &ChaCha8Rng) -> Arc<[Placement]> {
        if self.augmentation == Augmentation::NONE {
            return Arc::default();
        }
        let of = (random.get_seed(), random.get_stream());
        let mut epoch = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        if epoch.of != Some(of) {
            let mut random = ChaCha8Rng::from_seed(of.0);
            random.set_stream(of.1);
            let mut order: Vec<usize> = (0..self.images.len()).collect();
            order.shuffle(&mut random);
            let drawn = order.iter().map(|_| self.augmentation.draw(&mut random)).collect();
            *epoch = Placements { of: Some(of), drawn };
        }
        Arc::clone(&epoch.drawn)
    }
}

#[cfg(test)]
mod tests {
    use burn::data::dataloader::DataLoader;

    use super::*;
    use crate::data::{ImageShape, Normalization};

    /// 11 images of 4×4 pixels, each in its own shade of gray.
    fn images() -> Arc<Images> {
        let shape = ImageShape::new(1, 4, 4);
        let pixels = (0..11_u8).flat_map(|index| [index + 1; 16]).collect();
        let labels = (0..11_u8).map(|index| index % 10).collect();
        let normalization = Normalization { mean: &[0.0], std: &[1.0] };
        Arc::new(Images::new(pixels, labels, shape, normalization).unwrap())
    }

    /// The number of each image of an epoch, from 1, and its class.
    fn contents(loader: &ImageLoader, epoch: usize) -> Vec<(i64, i64)> {
        let of = |batch: ImageBatch| {
            let images: Vec<f32> = batch.images.into_data().iter::<f32>().collect();
            let targets: Vec<i64> = batch.targets.into_data().iter::<i64>().collect();
            let number = |image: &[f32]| (image[0] * 255.0).round() as i64;
            images.chunks(16).map(number).zip(targets).collect::<Vec<_>>()
        };
        loader.epoch(epoch).flat_map(|batch| of(batch.unwrap())).collect()
    }

    #[test]
    fn every_image_comes_once_with_its_class() {
        let loader = train_loader(images(), 4, Augmentation::NONE, 1, &Device::default());
        let mut found = contents(&loader, 2);
        assert_ne!(found, contents(&loader, 3));
        found.sort_unstable();
        assert_eq!(found, (0..11).map(|index| (index + 1, index % 10)).collect::<Vec<_>>());
    }

    #[test]
    fn a_test_loader_gives_the_images_as_they_are_stored() {
        let loader = test_loader(images(), 100, &Device::default());
        let classes: Vec<i64> = contents(&loader, 9).into_iter().map(|(_, class)| class).collect();
        assert_eq!(classes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0]);
    }

    /// An image with distinct pixels shows its placement, which follows the draws after the order of the epoch.
    #[test]
    fn placements_are_those_drawn_after_the_order() {
        let shape = ImageShape::new(1, 8, 8);
        let normalization = Normalization { mean: &[0.0], std: &[1.0] };
        let picture: Vec<u8> = (0..64).collect();
        let images = Images::new(picture.repeat(5), vec![0; 5], shape, normalization).unwrap();
        let (images, augmentation) = (Arc::new(images), Augmentation::CROP_AND_FLIP);
        let loader = train_loader(images, 2, augmentation, 3, &Device::default());
        let batches = loader.epoch(7).map(|batch| batch.unwrap().images.into_data());
        let found: Vec<f32> =
            batches.flat_map(|data| data.iter::<f32>().collect::<Vec<_>>()).collect();

        let mut random = ChaCha8Rng::seed_from_u64(3);
        random.set_stream(7);
        (0..5).collect::<Vec<usize>>().shuffle(&mut random);
        let mut expected = vec![0.0; 5 * 64];
        for output in expected.chunks_mut(64) {
            let placement = augmentation.draw(&mut random);
            place_image(&picture, shape, placement, &[normalization.table(0)], output);
        }
        assert_eq!(found, expected);
        assert_eq!(loader.num_items(), 5);
    }
}
