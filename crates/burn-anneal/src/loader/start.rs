//! Where a loader is to begin, told through the thread.

use burn::data::dataloader::{DataLoader, DataLoaderIterator};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where an epoch begins that [`launch`](crate::LearnerBuilder::launch) asks a loader for.
///
/// [`SeededLoader`](crate::SeededLoader) looks at it by itself. A [`DataLoader`] of your own whose batches depend on the epoch
/// alone begins its `iter` with it, and can then be gone on with in mid-epoch:
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
/// The progress of such an iterator counts what is done already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStart {
    /// Which epoch, from 1 on.
    pub epoch: u64,
    /// Batches of it that are done.
    pub batches: usize,
}

impl EpochStart {
    /// Where an `iter` begins on this thread: at the start that is asked for, which is told the batch size in turn, or where
    /// nobody asks, as in Burn's own loop, at the next epoch. `next_epoch` is then the one after it, unless the batches are
    /// only looked at, as a rate finder does.
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

/// What [`open`] and [`look`] offer to the loaders behind an `iter`.
#[derive(Clone, Copy)]
struct Offer {
    start: EpochStart,
    /// Whether the loader goes on from there.
    moves: bool,
    /// That of the first loader that took it.
    batch_size: Option<usize>,
}

thread_local! {
    static OFFER: Cell<Option<Offer>> = const { Cell::new(None) };
}

/// The batches of a loader, and its batch size where it took the start.
type Opened<'a, O> = (Box<dyn DataLoaderIterator<O> + 'a>, Option<usize>);

/// Iterates over a loader from `start` on, and gives the batch size if a [`SeededLoader`] took the start; its next `iter`
/// then gives the epoch after it, and what is skipped counts as processed. Any other loader gives what its `iter` always
/// gives.
///
/// The start goes through the thread, and so to the loader inside of a user's own, or to each of several.
pub(crate) fn open<O>(loader: &dyn DataLoader<O>, start: EpochStart) -> Opened<'_, O> {
    offer(loader, start, true)
}

/// As [`open`], and leaves a loader that took the start where it is.
pub(crate) fn look<O>(loader: &dyn DataLoader<O>, start: EpochStart) -> Opened<'_, O> {
    offer(loader, start, false)
}

fn offer<O>(loader: &dyn DataLoader<O>, start: EpochStart, moves: bool) -> Opened<'_, O> {
    /// Takes the offer back even if `iter` panics.
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
