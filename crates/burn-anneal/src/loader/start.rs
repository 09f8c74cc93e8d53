//! Where a loader is to begin, told through the thread.

use burn::data::dataloader::{DataLoader, DataLoaderIterator};
use std::cell::Cell;

/// Where an epoch begins that [`launch`](crate::LearnerBuilder::launch) asks a loader for.
///
/// [`SeededLoader`](crate::SeededLoader) looks at it by itself. A [`DataLoader`] of your own whose batches depend on the epoch alone takes it in
/// its `iter`, and can then be gone on with in mid-epoch:
///
/// ```
/// use burn_anneal::EpochStart;
///
/// /// The epoch to give, and how many of its items are done.
/// fn begin(batch_size: usize, next_epoch: &mut u64) -> (u64, usize) {
///     let start = EpochStart::take(batch_size).unwrap_or(EpochStart { epoch: *next_epoch, batches: 0 });
///     *next_epoch = start.epoch + 1;
///     (start.epoch, start.batches * batch_size)
/// }
/// assert_eq!(begin(32, &mut 5), (5, 0), "nobody asks");
/// ```
///
/// The progress of such an iterator counts what is done already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStart {
    /// Which epoch, from 1 on.
    pub epoch: u64,
    /// Batches of it that are done.
    pub batches: usize,
}

impl EpochStart {
    /// What is asked for now, on this thread; the batch size is told in turn. `None` where nobody asks, as in Burn's own
    /// loop: the loader then counts epochs itself.
    pub fn take(batch_size: usize) -> Option<Self> {
        let (start, before) = OFFER.get()?;
        OFFER.set(Some((start, before.or(Some(batch_size)))));
        Some(start)
    }
}

thread_local! {
    /// What [`open`] offers to the loaders behind an `iter`, and the batch size of the first that took it.
    static OFFER: Cell<Option<(EpochStart, Option<usize>)>> = const { Cell::new(None) };
}

/// Iterates over a loader from `start` on, and gives the batch size if a [`SeededLoader`] took the start; its next `iter`
/// then gives the epoch after it, and what is skipped counts as processed. Any other loader gives what its `iter` always
/// gives.
///
/// The start goes through the thread, and so to the loader inside of a user's own, or to each of several.
pub(crate) fn open<'a, O>(
    loader: &'a dyn DataLoader<O>,
    start: EpochStart,
) -> (Box<dyn DataLoaderIterator<O> + 'a>, Option<usize>) {
    /// Takes the offer back even if `iter` panics.
    struct TakeBack;
    impl Drop for TakeBack {
        fn drop(&mut self) {
            OFFER.set(None);
        }
    }
    OFFER.set(Some((start, None)));
    let _take_back = TakeBack;
    let batches = loader.iter();
    (batches, OFFER.get().and_then(|(_, batch_size)| batch_size))
}
