//! Tells loaders where to start, through a thread-local.

use burn::data::dataloader::{DataLoader, DataLoaderIterator};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// The position in an epoch at which [`launch`](crate::LearnerBuilder::launch) asks a loader to start.
///
/// [`SeededLoader`](crate::SeededLoader) uses it automatically. Your own [`DataLoader`], if its batches depend only on
/// the epoch, can call it at the start of its `iter`, and then supports resuming in mid-epoch:
///
/// ```
/// use burn_anneal::EpochStart;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// let next_epoch = AtomicU64::new(5);
/// let start = EpochStart::begin(32, &next_epoch);
/// assert_eq!(start, EpochStart { epoch: 5, batches: 0 }, "nobody asks: the loader counts");
/// assert_eq!(next_epoch.load(Ordering::Relaxed), 6);
/// ```
///
/// The progress of such an iterator must count the skipped items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStart {
    /// The epoch, from 1 on.
    pub epoch: u64,
    /// The batches of the epoch to skip.
    pub batches: usize,
}

impl EpochStart {
    /// Returns where an `iter` on this thread must start: at the requested position, or without a request, as in Burn's
    /// own loop, at the next epoch. Reports the batch size, and sets `next_epoch` to the epoch after it, unless the
    /// batches are only read for a rate finder.
    pub fn begin(batch_size: usize, next_epoch: &AtomicU64) -> Self {
        let Some(offer) = OFFER.get() else {
            return Self { epoch: next_epoch.fetch_add(1, Ordering::Relaxed), batches: 0 };
        };
        OFFER.set(Some(Offer { batch_size: offer.batch_size.or(Some(batch_size)), ..offer }));
        if offer.moves {
            next_epoch.store(offer.start.epoch.wrapping_add(1), Ordering::Relaxed);
        }
        offer.start
    }
}

/// The start that [`open`] and [`look`] offer to the loaders behind an `iter`.
#[derive(Clone, Copy)]
struct Offer {
    start: EpochStart,
    /// Whether the loader advances.
    moves: bool,
    /// The batch size of the first loader that took the offer.
    batch_size: Option<usize>,
}

thread_local! {
    static OFFER: Cell<Option<Offer>> = const { Cell::new(None) };
}

/// The batches of a loader, and its batch size if it took the start.
type Opened<'a, O> = (Box<dyn DataLoaderIterator<O> + 'a>, Option<usize>);

/// Iterates over a loader from `start` on, and returns the batch size if a [`SeededLoader`] took the start. Its next
/// `iter` then gives the next epoch, and skipped items count as processed. Other loaders ignore the start.
///
/// The start is thread-local, so it also reaches one or several loaders inside a user's own.
pub(crate) fn open<O>(loader: &dyn DataLoader<O>, start: EpochStart) -> Opened<'_, O> {
    offer(loader, start, true)
}

/// Like [`open`], but does not advance a loader that took the start.
pub(crate) fn look<O>(loader: &dyn DataLoader<O>, start: EpochStart) -> Opened<'_, O> {
    offer(loader, start, false)
}

fn offer<O>(loader: &dyn DataLoader<O>, start: EpochStart, moves: bool) -> Opened<'_, O> {
    /// Withdraws the offer even if `iter` panics.
    struct TakeBack;
    impl Drop for TakeBack {
        fn drop(&mut self) {
            OFFER.set(None);
        }
    }
    OFFER.set(Some(Offer { start, moves, batch_size: None }));
    let _take_back = TakeBack;
    let batches = loader.iter();
    (batches, OFFER.get().and_then(|offer| offer.batch_size))
}
