//! The batches of an epoch in rounds, with one batch for each device that has any left.

use crate::loader::{EpochStart, look, open};
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use std::collections::VecDeque;
use std::sync::Arc;

/// The batches of an epoch.
pub(crate) struct Feed<'a, I> {
    lanes: Vec<Lane<'a, I>>,
}

/// The batches of one device.
struct Lane<'a, I> {
    iterator: Box<dyn DataLoaderIterator<I> + 'a>,
    batch_size: Option<usize>,
    /// Batches that were read ahead.
    ahead: VecDeque<(Result<I, DatasetError>, Progress)>,
    progress: Progress,
    /// Whether it had a batch in the last round.
    is_live: bool,
}

impl<'a, I> Feed<'a, I> {
    /// Opens an epoch, from 1; without its first `skip` rounds if the order of the loaders' batches is known.
    pub fn open(loaders: &'a [Arc<dyn DataLoader<I>>], epoch: u64, skip: usize) -> Self {
        let open = |loader: &'a Arc<dyn DataLoader<I>>| {
            Lane::new(open(loader.as_ref(), EpochStart { epoch, batches: skip }))
        };
        Self { lanes: loaders.iter().map(open).collect() }
    }

    /// Opens an epoch of one loader, without advancing a loader that knows its epochs.
    pub fn look(loader: &'a dyn DataLoader<I>, epoch: u64) -> Self {
        Self { lanes: vec![Lane::new(look(loader, EpochStart { epoch, batches: 0 }))] }
    }

    /// Whether the order of all loaders' batches is known.
    pub fn is_known(&self) -> bool {
        self.lanes.iter().all(|lane| lane.batch_size.is_some())
    }

    /// The items of a full batch, judged by the first batches; `None` if there are no batches.
    ///
    /// A loader with several threads may give its short last batch first, but there is only one.
    ///
    /// # Errors
    /// If a batch cannot be loaded.
    pub fn batch_size(&mut self) -> Result<Option<usize>, String> {
        let mut largest = None;
        for lane in &mut self.lanes {
            largest = largest.max(match lane.batch_size {
                Some(size) => Some(size),
                None => lane.look_ahead()?,
            });
        }
        Ok(largest)
    }

    /// The items of the epoch, as its progress counts them.
    pub fn items(&self) -> usize {
        self.lanes.iter().map(|lane| lane.progress.items_total).sum()
    }

    /// The processed items of all devices.
    pub fn done(&self) -> usize {
        self.lanes.iter().map(|lane| lane.progress.items_processed).sum()
    }

    /// The next batches, each with the number of its device; empty at the end of the epoch.
    ///
    /// # Errors
    /// If a batch cannot be loaded.
    pub fn round(&mut self) -> Result<Vec<(usize, I)>, DatasetError> {
        let mut items = vec![];
        for (device, lane) in self.lanes.iter_mut().enumerate() {
            let item = lane.next().transpose()?;
            lane.is_live = item.is_some();
            items.extend(item.map(|item| (device, item)));
        }
        Ok(items)
    }

    /// The progress of the devices that had a batch in the last round, as Burn's loop shows it.
    pub fn progress(&self) -> Progress {
        let live = || self.lanes.iter().filter(|lane| lane.is_live).map(|lane| &lane.progress);
        Progress {
            items_processed: live().map(|progress| progress.items_processed).sum(),
            items_total: live().map(|progress| progress.items_total).sum(),
            unit: live().next().and_then(|progress| progress.unit.clone()),
        }
    }
}

impl<'a, I> Lane<'a, I> {
    fn new((iterator, batch_size): (Box<dyn DataLoaderIterator<I> + 'a>, Option<usize>)) -> Self {
        let progress = iterator.progress();
        Self { iterator, batch_size, ahead: VecDeque::new(), progress, is_live: true }
    }

    fn next(&mut self) -> Option<Result<I, DatasetError>> {
        let (item, progress) = match self.ahead.pop_front() {
            Some(ahead) => ahead,
            None => (self.iterator.next()?, self.iterator.progress()),
        };
        self.progress = progress;
        Some(item)
    }

    /// The larger of the first two batches.
    fn look_ahead(&mut self) -> Result<Option<usize>, String> {
        let (mut done, mut largest) = (0, None);
        for _ in 0..2 {
            let Some(item) = self.iterator.next() else { break };
            if let Err(error) = &item {
                return Err(error.to_string());
            }
            let progress = self.iterator.progress();
            largest = largest.max(Some(progress.items_processed.saturating_sub(done)));
            done = progress.items_processed;
            self.ahead.push_back((item, progress));
        }
        Ok(largest)
    }
}
