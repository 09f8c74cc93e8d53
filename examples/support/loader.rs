//! A data loader whose batches are a pure function of the seed and the epoch.
//!
//! Burn's own loader draws its shuffles from one generator that runs through the whole training, so
//! a resumed run sees other batches than the run that was interrupted. [`ImageLoader`] derives the
//! order and the augmentation of epoch `n` from `(seed, n)` alone: epoch 7 is the same whether the
//! process trained epochs 1 to 6 before or not.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_anneal::EpochStart;
use burn_dataset::DatasetError;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::data::{Augmentation, Images, Placement, place_image};

/// A batch of images and their classes.
#[derive(Debug, Clone)]
pub struct ImageBatch {
    /// Normalized images, `[batch, channels, height, width]`.
    pub images: Tensor<4>,
    /// Class of each image, `[batch]`.
    pub targets: Tensor<1, Int>,
}

/// Loads batches of images; see the [module](self).
///
/// As a Burn [`DataLoader`], each call of `iter` gives the next epoch. [`epoch`](Self::epoch) gives
/// any epoch, for a loop of one's own. The last batch of an epoch may be shorter than the others.
#[derive(Debug, Clone)]
pub struct ImageLoader {
    images: Arc<Images>,
    /// Positions of the images that this loader gives: all of them, except for a slice.
    items: Range<usize>,
    batch_size: usize,
    order: Order,
    tables: Arc<[[f32; 256]]>,
    /// Shared by the copies on all devices, because they stand for the same loader.
    next_epoch: Arc<AtomicU64>,
    device: Device,
}

/// In which order, and how, an epoch gives its images.
#[derive(Debug, Clone, Copy)]
enum Order {
    /// As they are stored, unchanged.
    Stored,
    /// Drawn anew for each epoch.
    Shuffled { seed: u64, augmentation: Augmentation },
}

/// One image of an epoch: its position and how it is placed.
type Draw = (usize, Placement);

impl ImageLoader {
    /// A loader for training: each epoch is shuffled and augmented anew, as `seed` says.
    ///
    /// A batch size of 0 counts as 1.
    pub fn train(
        images: Arc<Images>,
        batch_size: usize,
        augmentation: Augmentation,
        seed: u64,
        device: &Device,
    ) -> Self {
        Self::new(images, batch_size, Order::Shuffled { seed, augmentation }, device)
    }

    /// A loader for testing: every epoch gives all images unchanged, as they are stored.
    ///
    /// A batch size of 0 counts as 1.
    pub fn test(images: Arc<Images>, batch_size: usize, device: &Device) -> Self {
        Self::new(images, batch_size, Order::Stored, device)
    }

    fn new(images: Arc<Images>, batch_size: usize, order: Order, device: &Device) -> Self {
        let normalization = images.normalization();
        let channels = images.shape().channels;
        Self {
            items: 0..images.len(),
            batch_size: batch_size.max(1),
            order,
            tables: (0..channels).map(|channel| normalization.table(channel)).collect(),
            next_epoch: Arc::new(AtomicU64::new(1)),
            device: device.clone(),
            images,
        }
    }

    /// The same loader, whose first epoch is `epoch` (Burn counts epochs from 1).
    pub fn starting_at(self, epoch: usize) -> Self {
        Self { next_epoch: Arc::new(AtomicU64::new(epoch as u64)), ..self }
    }

    /// The batches of one epoch. Does not touch the epoch that `iter` gives next.
    pub fn epoch(&self, epoch: usize) -> EpochBatches<'_> {
        self.rest_of(epoch, 0)
    }

    /// The batches of one epoch after the other, without end.
    pub fn epochs(&self) -> impl Iterator<Item = ImageBatch> + '_ {
        (1..).flat_map(|epoch| self.epoch(epoch))
    }

    /// Those after so many batches.
    fn rest_of(&self, epoch: usize, batches: usize) -> EpochBatches<'_> {
        let draws = self.draws(epoch);
        let given = (batches * self.batch_size).min(draws.len());
        EpochBatches { loader: self, draws, given }
    }

    /// Number of images in an epoch.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Number of batches in an epoch.
    pub fn batches(&self) -> usize {
        self.items.len().div_ceil(self.batch_size)
    }

    fn draws(&self, epoch: usize) -> Vec<Draw> {
        match self.order {
            Order::Stored => self.items.clone().map(|item| (item, Placement::default())).collect(),
            Order::Shuffled { seed, augmentation } => {
                // One stream of the generator per epoch, so that epochs are independent.
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                random.set_stream(epoch as u64);
                let mut items: Vec<usize> = self.items.clone().collect();
                items.shuffle(&mut random);
                items.into_iter().map(|item| (item, augmentation.draw(&mut random))).collect()
            }
        }
    }

    fn batch(&self, draws: &[Draw]) -> ImageBatch {
        let shape = self.images.shape();
        let mut pixels = vec![0.0; draws.len() * shape.bytes()];
        for (&(item, placement), output) in draws.iter().zip(pixels.chunks_mut(shape.bytes())) {
            place_image(self.images.image(item), shape, placement, &self.tables, output);
        }
        let targets: Vec<i32> =
            draws.iter().map(|&(item, _)| i32::from(self.images.label(item))).collect();
        let dimensions = [draws.len(), shape.channels, shape.height, shape.width];
        ImageBatch {
            images: Tensor::from_data(TensorData::new(pixels, dimensions), &self.device),
            targets: Tensor::from_data(TensorData::new(targets, [draws.len()]), &self.device),
        }
    }
}

impl DataLoader<ImageBatch> for ImageLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<ImageBatch> + 'a> {
        // A run that goes on in mid-epoch asks for the rest of that epoch.
        let start = EpochStart::begin(self.batch_size, &self.next_epoch);
        Box::new(BurnBatches(self.rest_of(start.epoch as usize, start.batches)))
    }

    fn num_items(&self) -> usize {
        self.items.len()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<ImageBatch>> {
        Arc::new(Self { device: device.clone(), ..self.clone() })
    }

    /// A loader for a part of the images. It counts its own epochs: each device of a multi-device
    /// run iterates over its own slice.
    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<ImageBatch>> {
        let first = self.items.start;
        let end = (first + end).min(self.items.end);
        let next = self.next_epoch.load(Ordering::Relaxed);
        Arc::new(Self {
            items: (first + start).min(end)..end,
            next_epoch: Arc::new(AtomicU64::new(next)),
            ..self.clone()
        })
    }
}

/// The batches of one epoch, from [`ImageLoader::epoch`].
#[derive(Debug)]
pub struct EpochBatches<'a> {
    loader: &'a ImageLoader,
    draws: Vec<Draw>,
    given: usize,
}

impl Iterator for EpochBatches<'_> {
    type Item = ImageBatch;

    fn next(&mut self) -> Option<ImageBatch> {
        let rest = &self.draws[self.given..];
        if rest.is_empty() {
            return None;
        }
        let draws = &rest[..rest.len().min(self.loader.batch_size)];
        self.given += draws.len();
        Some(self.loader.batch(draws))
    }
}

/// [`EpochBatches`] in the form that Burn's training loop asks for.
struct BurnBatches<'a>(EpochBatches<'a>);

impl Iterator for BurnBatches<'_> {
    type Item = Result<ImageBatch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(Ok)
    }
}

impl DataLoaderIterator<ImageBatch> for BurnBatches<'_> {
    fn progress(&self) -> Progress {
        Progress {
            items_processed: self.0.given,
            items_total: self.0.draws.len(),
            unit: Some("images".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{ImageShape, Normalization};

    /// 11 images of 4×4 pixels; the label and every pixel tell which image it is.
    fn images() -> Arc<Images> {
        let shape = ImageShape::new(1, 4, 4);
        let pixels = (0..11_u8).flat_map(|index| [index + 1; 16]).collect();
        let labels = (0..11_u8).map(|index| index % 10).collect();
        let normalization = Normalization { mean: &[0.0], std: &[1.0] };
        Arc::new(Images::new(pixels, labels, shape, normalization).unwrap())
    }

    fn train_loader(seed: u64) -> ImageLoader {
        let device = Device::default();
        ImageLoader::train(images(), 4, Augmentation::CROP_AND_FLIP, seed, &device)
    }

    fn contents(batches: impl Iterator<Item = ImageBatch>) -> Vec<(Vec<f32>, Vec<i64>)> {
        batches
            .map(|batch| {
                let images = batch.images.into_data().iter::<f32>().collect();
                let targets = batch.targets.into_data().iter::<i64>().collect();
                (images, targets)
            })
            .collect()
    }

    fn next_epoch(loader: &dyn DataLoader<ImageBatch>) -> Vec<(Vec<f32>, Vec<i64>)> {
        contents(loader.iter().map(|batch| batch.unwrap()))
    }

    #[test]
    fn the_same_seed_and_epoch_give_the_same_batches() {
        assert_eq!(contents(train_loader(3).epoch(5)), contents(train_loader(3).epoch(5)));
    }

    #[test]
    fn another_seed_or_epoch_gives_other_batches() {
        let batches = contents(train_loader(3).epoch(5));

        assert_ne!(batches, contents(train_loader(3).epoch(6)));
        assert_ne!(batches, contents(train_loader(4).epoch(5)));
    }

    #[test]
    fn every_image_comes_once_per_epoch_and_the_last_batch_is_short() {
        let loader = ImageLoader::train(images(), 4, Augmentation::NONE, 0, &Device::default());
        let batches = contents(loader.epoch(1));

        let sizes: Vec<usize> = batches.iter().map(|(_, targets)| targets.len()).collect();
        assert_eq!(sizes, [4, 4, 3]);
        assert_eq!(loader.batches(), 3);
        let mut seen: Vec<u32> = batches
            .iter()
            .flat_map(|(images, _)| images.chunks(16))
            .map(|image| (image[0] * 255.0).round() as u32)
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, (1..=11).collect::<Vec<_>>());
    }

    #[test]
    fn images_keep_their_labels() {
        let loader = ImageLoader::train(images(), 4, Augmentation::NONE, 1, &Device::default());

        for (images, targets) in contents(loader.epoch(2)) {
            for (image, target) in images.chunks(16).zip(targets) {
                assert_eq!(
                    (image[0] * 255.0).round() as i64 - 1,
                    target % 10 + (image[0] * 255.0 > 10.5) as i64 * 10
                );
            }
        }
    }

    #[test]
    fn each_iter_gives_the_next_epoch_from_the_start_on() {
        let loader = train_loader(3).starting_at(5);

        assert_eq!(next_epoch(&loader), contents(loader.epoch(5)));
        assert_eq!(next_epoch(&loader), contents(loader.epoch(6)));
    }

    #[test]
    fn a_loader_on_another_device_goes_on_where_the_first_stood() {
        let loader = train_loader(3).starting_at(5);
        let moved = loader.to_device(&Device::default());

        assert_eq!(next_epoch(moved.as_ref()), contents(loader.epoch(5)));
        assert_eq!(next_epoch(&loader), contents(loader.epoch(6)));
    }

    #[test]
    fn slices_split_the_images_and_count_their_own_epochs() {
        let loader = train_loader(3).starting_at(5);
        let slices = [loader.slice(0, 5), loader.slice(5, 11)];

        for epoch in 0..2 {
            let items: usize = slices
                .iter()
                .flat_map(|slice| next_epoch(slice.as_ref()))
                .map(|(_, targets)| targets.len())
                .sum();
            assert_eq!(items, 11, "epoch {epoch}");
        }
        assert_eq!(slices[0].num_items(), 5);
        assert_eq!(loader.slice(0, 5).slice(3, 9).num_items(), 2);
    }

    #[test]
    fn progress_counts_images() {
        let loader = train_loader(0);
        let mut batches = loader.iter();
        batches.next();

        let progress = batches.progress();
        assert_eq!((progress.items_processed, progress.items_total), (4, 11));
    }

    #[test]
    fn a_test_loader_gives_the_images_as_they_are_stored() {
        let loader = ImageLoader::test(images(), 100, &Device::default());

        let batches = contents(loader.epoch(9));

        assert_eq!(batches.len(), 1);
        assert_eq!(batches[0].1, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0]);
        assert_eq!(next_epoch(&loader), batches);
    }
}
