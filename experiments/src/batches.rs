//! Batches of images in memory, of which none fails to load.

use anneal_examples::prelude::*;

/// The batches of an [`ImageLoader`].
pub trait InMemory {
    /// Those of an epoch.
    fn batches_of(&self, epoch: usize) -> impl Iterator<Item = ImageBatch> + use<Self>;

    /// Those of one epoch after the other, without end.
    fn all_batches(&self) -> impl Iterator<Item = ImageBatch> {
        (1..).flat_map(|epoch| self.batches_of(epoch))
    }
}

impl InMemory for ImageLoader {
    fn batches_of(&self, epoch: usize) -> impl Iterator<Item = ImageBatch> + use<> {
        self.epoch(epoch).map(|batch| batch.expect("it is in memory"))
    }
}
