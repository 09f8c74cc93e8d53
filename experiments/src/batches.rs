//! Batches of images in memory, which cannot fail to load.

use anneal_examples::prelude::*;

/// The batches of an [`ImageLoader`].
pub trait InMemory {
    /// The batches of an epoch.
    fn batches_of(&self, epoch: usize) -> impl Iterator<Item = ImageBatch> + use<Self>;

    /// The batches of all epochs, without end.
    fn all_batches(&self) -> impl Iterator<Item = ImageBatch> {
        (1..).flat_map(|epoch| self.batches_of(epoch))
    }
}

impl InMemory for ImageLoader {
    fn batches_of(&self, epoch: usize) -> impl Iterator<Item = ImageBatch> + use<> {
        self.epoch(epoch).map(|batch| batch.expect("it is in memory"))
    }
}
