//! The batches of a loader, repeatedly, without advancing it.

use super::FindError;
use crate::launch::Feed;
use burn::data::dataloader::DataLoader;
use std::sync::Arc;

/// The batches of a loader, epoch after epoch.
pub(crate) struct Batches<'a, I> {
    loader: &'a Arc<dyn DataLoader<I>>,
    feed: Feed<'a, I>,
    /// The current epoch, from 1.
    epoch: u64,
    /// The distance to the next epoch.
    stride: u64,
    /// The number of epochs that have ended.
    pub ended: u64,
}

/// Why there is no next batch.
pub(crate) enum NoBatch {
    /// The batch cannot be loaded.
    Failed(String),
    /// The loader is empty.
    Empty,
}

impl From<NoBatch> for FindError {
    fn from(error: NoBatch) -> Self {
        match error {
            NoBatch::Failed(reason) => Self::Loader { reason },
            NoBatch::Empty => Self::NoBatches,
        }
    }
}

impl<'a, I> Batches<'a, I> {
    /// Starts at this epoch, and continues in steps of `stride` epochs.
    pub fn new(loader: &'a Arc<dyn DataLoader<I>>, epoch: u64, stride: u64) -> Self {
        let feed = Feed::look(loader.as_ref(), epoch);
        Self { loader, feed, epoch, stride, ended: 0 }
    }

    /// The next `count` batches.
    pub fn many(&mut self, count: u64) -> Result<Vec<I>, NoBatch> {
        (0..count).map(|_| self.next()).collect()
    }

    pub fn next(&mut self) -> Result<I, NoBatch> {
        for _ in 0..2 {
            let failed = |error| NoBatch::Failed(format!("{error}"));
            if let Some((_, item)) = self.feed.round().map_err(failed)?.pop() {
                return Ok(item);
            }
            self.ended += 1;
            self.epoch += self.stride;
            self.feed = Feed::look(self.loader.as_ref(), self.epoch);
        }
        Err(NoBatch::Empty)
    }
}
