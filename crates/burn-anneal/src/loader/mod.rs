//! A data loader whose batches depend only on seed and epoch.

mod ahead;
mod start;

pub use start::EpochStart;
pub(crate) use start::{look, open};

use ahead::{Ahead, Workers};
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::{Dataset, DatasetError};
use burn::tensor::Device;
use rand::SeedableRng;
use rand::seq::SliceRandom;
pub use rand_chacha::ChaCha8Rng;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes batches for a [`SeededLoader`], with random changes that a resumed run repeats.
///
/// Every Burn [`Batcher`] is a `SeededBatcher` without randomness. Implement this trait for a type that is not a
/// `Batcher`, with named types of items and batches, not type parameters.
///
/// ```
/// use burn::data::dataset::InMemDataset;
/// use burn::tensor::{Device, Tensor};
/// use burn_anneal::{ChaCha8Rng, SeededBatcher, SeededLoader};
/// use rand::RngExt;
///
/// /// Adds noise to numbers.
/// struct Noisy(f32);
///
/// impl SeededBatcher<f32, Tensor<1>> for Noisy {
///     fn batch(&self, items: Vec<f32>, device: &Device, random: &mut ChaCha8Rng) -> Tensor<1> {
///         let noisy = |x| x + self.0 * random.random_range(-1.0..=1.0);
///         let noisy: Vec<f32> = items.into_iter().map(noisy).collect();
///         Tensor::from_floats(noisy.as_slice(), device)
///     }
/// }
///
/// let loader = SeededLoader::new(InMemDataset::new(vec![0.0; 10]), Noisy(0.1), 4).shuffle(7);
/// let first = |epoch| loader.epoch(epoch).next().unwrap().unwrap().into_data();
/// assert_eq!(first(3), first(3));
/// assert_ne!(first(3), first(4));
/// ```
pub trait SeededBatcher<I, O>: Send + Sync {
    /// Makes a batch of `items` on `device`, with all randomness from `random`, a generator of `rand` 0.10.
    ///
    /// The numbers of `random` depend on the loader's seed (0 without [`shuffle`](SeededLoader::shuffle)), the epoch
    /// and the number of the batch's first item, but not on the batches before.
    fn batch(&self, items: Vec<I>, device: &Device, random: &mut ChaCha8Rng) -> O;
}

impl<I, O, B: Batcher<I, O>> SeededBatcher<I, O> for B {
    fn batch(&self, items: Vec<I>, device: &Device, _: &mut ChaCha8Rng) -> O {
        Batcher::batch(self, items, device)
    }
}

/// Loads batches that depend only on seed and epoch, so that a killed run resumes with exactly the same batches. Burn's
/// own loader draws all shuffles of a run from one generator, which a resumed run restarts.
///
/// As a Burn [`DataLoader`], each `iter` gives the next epoch, from 1 on, shared with its copies on other devices. A
/// slice counts its own epochs, from the loader's current one. The last batch of an epoch may be shorter than the
/// others. If the dataset fails, the error takes the place of the batch.
///
/// ```
/// use burn::data::dataloader::{DataLoader, batcher::Batcher};
/// use burn::data::dataset::InMemDataset;
/// use burn::tensor::{Device, Tensor};
/// use burn_anneal::SeededLoader;
/// use std::sync::Arc;
///
/// struct Numbers;
///
/// impl Batcher<f32, Tensor<1>> for Numbers {
///     fn batch(&self, items: Vec<f32>, device: &Device) -> Tensor<1> {
///         Tensor::from_floats(items.as_slice(), device)
///     }
/// }
///
/// let dataset = || InMemDataset::new((0..100).map(|number| number as f32).collect());
/// let batches = |loader: &dyn DataLoader<Tensor<1>>| -> Vec<_> {
///     loader.iter().map(|batch| batch.unwrap().into_data()).collect()
/// };
/// let loader = SeededLoader::new(dataset(), Numbers, 32).shuffle(7);
/// let (first, second) = (batches(&loader), batches(&loader));
/// assert_eq!(first.len(), 4);
///
/// // Another process that goes on after the first epoch:
/// let resumed = Arc::new(SeededLoader::new(dataset(), Numbers, 32).shuffle(7).starting_at(2));
/// assert_eq!(batches(resumed.as_ref()), second);
/// ```
#[must_use]
pub struct SeededLoader<I, O> {
    dataset: Arc<dyn Dataset<I>>,
    batcher: Arc<dyn SeededBatcher<I, O>>,
    batch_size: usize,
    /// The range of the dataset's items to load; all of them, except for a slice.
    items: Range<usize>,
    /// `None` if items are not shuffled.
    seed: Option<u64>,
    device: Device,
    prefetch: usize,
    /// Shared by the copies on all devices, which act as one loader.
    next_epoch: Arc<AtomicU64>,
    workers: Arc<Workers>,
}

impl<I, O> fmt::Debug for SeededLoader<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeededLoader")
            .field("items", &self.items)
            .field("batch_size", &self.batch_size)
            .field("seed", &self.seed)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

// A derived impl would require items and batches to be Clone.
impl<I, O> Clone for SeededLoader<I, O> {
    fn clone(&self) -> Self {
        Self {
            dataset: self.dataset.clone(),
            batcher: self.batcher.clone(),
            batch_size: self.batch_size,
            items: self.items.clone(),
            seed: self.seed,
            device: self.device.clone(),
            prefetch: self.prefetch,
            next_epoch: self.next_epoch.clone(),
            workers: self.workers.clone(),
        }
    }
}

/// The random words reserved for each item of the dataset: the first half for the shuffle of a loader that starts with
/// this item, the second for a batch that does. So no batch depends on what others drew.
const WORDS_PER_ITEM: u128 = 1 << 32;

impl<I: 'static, O: Send + 'static> SeededLoader<I, O> {
    /// Loads the items of a dataset in order, in batches of `batch_size`; 0 counts as 1.
    pub fn new(
        dataset: impl Dataset<I> + 'static,
        batcher: impl SeededBatcher<I, O> + 'static,
        batch_size: usize,
    ) -> Self {
        Self {
            items: 0..dataset.len(),
            dataset: Arc::new(dataset),
            batcher: Arc::new(batcher),
            batch_size: batch_size.max(1),
            seed: None,
            device: Device::default(),
            prefetch: 0,
            next_epoch: Arc::new(AtomicU64::new(1)),
            workers: Arc::default(),
        }
    }

    /// Shuffles each epoch differently.
    ///
    /// Epoch e draws from stream e of ChaCha8 under `seed`: its order from word 0 on, and the random numbers of a
    /// [`SeededBatcher`] from word n·2³² + 2³¹ on, where n is the number of the batch's first item in the epoch, from
    /// 0. A slice that starts with item s of the dataset counts its items from s, and draws its order from word s·2³²
    ///    on.
    pub fn shuffle(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// Makes the batches on this device; the default is `Device::default()`.
    pub fn device(self, device: &Device) -> Self {
        Self { device: device.clone(), ..self }
    }

    /// Loads up to this many batches ahead, on a thread that the loader keeps. With 0, the default, the requesting
    /// thread loads each batch when it is requested. The batches are the same.
    pub fn prefetch(self, batches: usize) -> Self {
        Self { prefetch: batches, ..self }
    }

    /// Starts at a later epoch, for a run that resumes in Burn's own loop: `saved.epoch() + 1`.
    pub fn starting_at(self, epoch: usize) -> Self {
        Self { next_epoch: Arc::new(AtomicU64::new(epoch as u64)), ..self }
    }

    /// The batches of any epoch, for a custom loop. Does not advance `iter`.
    pub fn epoch(&self, epoch: usize) -> Box<dyn DataLoaderIterator<O>> {
        self.batches(epoch as u64, 0)
    }

    fn batches(&self, epoch: u64, skip: usize) -> Box<dyn DataLoaderIterator<O>> {
        let ahead = self.prefetch.checked_sub(1);
        match ahead.and_then(|queued| Ahead::start(self.rest(epoch, skip), queued)) {
            Some(batches) => Box::new(batches),
            None => Box::new(self.rest(epoch, skip)),
        }
    }

    fn rest(&self, epoch: u64, skip: usize) -> Epoch<I, O> {
        let mut order: Vec<usize> = self.items.clone().collect();
        if self.seed.is_some() {
            order.shuffle(&mut self.random(epoch, self.first_word(0)));
        }
        let given = skip.saturating_mul(self.batch_size).min(order.len());
        Epoch { loader: self.clone(), epoch, order, given }
    }

    /// Makes the batch that starts with the item of this number.
    fn load(&self, epoch: u64, first: usize, indices: Vec<usize>) -> Result<O, DatasetError> {
        let items = self.dataset.get_many(indices)?;
        let mut random = self.random(epoch, self.first_word(first) + WORDS_PER_ITEM / 2);
        Ok(self.batcher.batch(items, &self.device, &mut random))
    }

    fn first_word(&self, number: usize) -> u128 {
        (self.items.start + number) as u128 * WORDS_PER_ITEM
    }

    fn random(&self, epoch: u64, word: u128) -> ChaCha8Rng {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed.unwrap_or(0));
        random.set_stream(epoch);
        random.set_word_pos(word);
        random
    }
}

impl<I: 'static, O: Send + 'static> DataLoader<O> for SeededLoader<I, O> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<O> + 'a> {
        let EpochStart { epoch, batches: skip } =
            EpochStart::begin(self.batch_size, &self.next_epoch);
        self.batches(epoch, skip)
    }

    fn num_items(&self) -> usize {
        self.items.len()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<O>> {
        Arc::new(self.clone().device(device))
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<O>> {
        let first = self.items.start;
        let end = first.saturating_add(end).min(self.items.end);
        let next_epoch = AtomicU64::new(self.next_epoch.load(Ordering::Relaxed));
        Arc::new(Self {
            items: first.saturating_add(start)..end,
            next_epoch: Arc::new(next_epoch),
            ..self.clone()
        })
    }
}

/// An epoch that is loaded by the requesting thread.
struct Epoch<I, O> {
    loader: SeededLoader<I, O>,
    epoch: u64,
    /// The indices of its items in the dataset.
    order: Vec<usize>,
    /// The number of items loaded or skipped.
    given: usize,
}

impl<I: 'static, O: Send + 'static> Iterator for Epoch<I, O> {
    type Item = Result<O, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.given;
        let indices = self.order[first..].chunks(self.loader.batch_size).next()?.to_vec();
        self.given += indices.len();
        Some(self.loader.load(self.epoch, first, indices))
    }
}

impl<I: 'static, O: Send + 'static> DataLoaderIterator<O> for Epoch<I, O> {
    fn progress(&self) -> Progress {
        Progress::new(self.given, self.order.len(), Some("items".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::data::dataloader::DataLoaderBuilder;
    use burn::data::dataset::InMemDataset;
    use rand::RngExt;
    use std::collections::{BTreeSet, HashSet};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::AtomicUsize;
    use std::thread::{self, ThreadId};
    use std::time::{Duration, Instant};

    /// Items, each with a random number.
    type Drawn = Vec<(usize, u64)>;

    struct Draws;

    impl SeededBatcher<usize, Drawn> for Draws {
        fn batch(&self, items: Vec<usize>, _: &Device, random: &mut ChaCha8Rng) -> Drawn {
            items.into_iter().map(|item| (item, random.random())).collect()
        }
    }

    struct Plain;

    impl Batcher<usize, Vec<usize>> for Plain {
        fn batch(&self, items: Vec<usize>, _: &Device) -> Vec<usize> {
            items
        }
    }

    /// The numbers 0 to 10, some of which cannot be read.
    struct Unreadable(Range<usize>);

    impl Dataset<usize> for Unreadable {
        fn get(&self, index: usize) -> Result<usize, DatasetError> {
            match self.0.contains(&index) {
                true => Err(DatasetError::new(std::io::Error::other(format!("no item {index}")))),
                false => Ok(index),
            }
        }

        fn len(&self) -> usize {
            11
        }
    }

    fn items(count: usize) -> InMemDataset<usize> {
        InMemDataset::new((0..count).collect())
    }

    fn shuffled(seed: u64) -> SeededLoader<usize, Drawn> {
        SeededLoader::new(items(11), Draws, 4).shuffle(seed)
    }

    fn all<O>(batches: impl Iterator<Item = Result<O, DatasetError>>) -> Vec<O> {
        batches.map(Result::unwrap).collect()
    }

    fn order(batches: &[Drawn]) -> Vec<usize> {
        batches.iter().flatten().map(|&(item, _)| item).collect()
    }

    fn draws(batches: &[Drawn]) -> Vec<u64> {
        batches.iter().flatten().map(|&(_, draw)| draw).collect()
    }

    fn position<O>(batches: &dyn DataLoaderIterator<O>) -> (usize, usize) {
        let progress = batches.progress();
        assert_eq!(progress.unit.as_deref(), Some("items"));
        (progress.items_processed, progress.items_total)
    }

    /// Waits, with a generous time limit, for a condition that another thread makes true.
    fn wait_for(condition: impl Fn() -> bool) -> bool {
        let started = Instant::now();
        while !condition() && started.elapsed() < Duration::from_secs(20) {
            thread::sleep(Duration::from_millis(1));
        }
        condition()
    }

    #[test]
    fn the_same_seed_and_epoch_give_the_same_batches() {
        assert_eq!(all(shuffled(3).epoch(5)), all(shuffled(3).epoch(5)));
    }

    #[test]
    fn another_seed_or_epoch_gives_another_order_and_other_draws() {
        let batches = all(shuffled(3).epoch(5));

        for other in [all(shuffled(3).epoch(6)), all(shuffled(4).epoch(5))] {
            assert_ne!(order(&batches), order(&other));
            assert_ne!(draws(&batches), draws(&other));
        }
    }

    #[test]
    fn every_item_comes_once_per_epoch_and_the_last_batch_is_short() {
        let batches = all(shuffled(0).epoch(1));

        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 3]);
        let items: BTreeSet<usize> = order(&batches).into_iter().collect();
        assert!(items.into_iter().eq(0..11));
    }

    #[test]
    fn an_epoch_is_a_stream_of_the_generator() {
        let batches = all(shuffled(3).epoch(5));

        let mut random = ChaCha8Rng::seed_from_u64(3);
        random.set_stream(5);
        let mut expected: Vec<usize> = (0..11).collect();
        expected.shuffle(&mut random);
        assert_eq!(order(&batches), expected);
        random.set_word_pos((8 << 32) + (1 << 31));
        let expected: [u64; 3] = random.random();
        assert_eq!(draws(&batches[2..]), expected);
    }

    #[test]
    fn without_a_shuffle_items_come_in_their_order_and_are_drawn_for_anew() {
        let loader = SeededLoader::new(items(11), Draws, 4);
        let batches = all(loader.iter());

        let next = all(loader.iter());
        assert!(order(&batches).into_iter().eq(0..11));
        assert_eq!(order(&next), order(&batches));
        assert_ne!(draws(&next), draws(&batches));
        assert_eq!(draws(&batches).into_iter().collect::<HashSet<_>>().len(), 11);
        let mut random = ChaCha8Rng::seed_from_u64(0);
        random.set_stream(1);
        random.set_word_pos(1 << 31);
        assert_eq!(batches[0][0].1, random.random::<u64>());
    }

    #[test]
    fn a_batcher_of_burns_gives_its_batches() {
        let loader = SeededLoader::new(items(3), Plain, 2);

        assert_eq!(all(loader.iter()), [vec![0, 1], vec![2]]);
    }

    #[test]
    fn no_batch_size_is_one() {
        assert_eq!(all(SeededLoader::new(items(2), Plain, 0).iter()), [[0], [1]]);
    }

    #[test]
    fn no_item_is_an_epoch_without_batches() {
        let loader = SeededLoader::new(items(0), Plain, 2).shuffle(1);

        assert_eq!(loader.num_items(), 0);
        assert!(loader.iter().next().is_none());
        assert_eq!(position(loader.iter().as_ref()), (0, 0));
    }

    #[test]
    fn each_iter_gives_the_next_epoch_from_the_start_on() {
        assert_eq!(all(shuffled(3).iter()), all(shuffled(3).epoch(1)));
        let loader = shuffled(3).starting_at(5);

        assert_eq!(all(loader.iter()), all(loader.epoch(5)));
        assert_eq!(all(loader.iter()), all(loader.epoch(6)));
    }

    #[test]
    fn a_loader_on_another_device_goes_on_where_the_first_stood() {
        let loader = shuffled(3).starting_at(5);
        let moved = loader.to_device(&Device::default());

        assert_eq!(all(moved.iter()), all(loader.epoch(5)));
        assert_eq!(all(loader.iter()), all(loader.epoch(6)));
        assert_eq!(all(moved.iter()), all(loader.epoch(7)));
    }

    #[test]
    fn batches_are_made_on_the_device() {
        struct OnDevice;
        impl Batcher<usize, bool> for OnDevice {
            fn batch(&self, _: Vec<usize>, device: &Device) -> bool {
                device.is_autodiff()
            }
        }
        let device = Device::default().autodiff();
        let loader = SeededLoader::new(items(1), OnDevice, 1);

        assert_eq!(all(loader.iter()), [false]);
        assert_eq!(all(loader.to_device(&device).iter()), [true]);
        assert_eq!(all(loader.device(&device).iter()), [true]);
    }

    #[test]
    fn slices_split_the_items_and_count_their_own_epochs() {
        let loader = shuffled(3).starting_at(5);
        let slices = [loader.slice(0, 5), loader.slice(5, 11)];

        for _ in 0..2 {
            let epoch = slices.each_ref().map(|slice| all(slice.iter()));
            let items = epoch.each_ref().map(|batches| BTreeSet::from_iter(order(batches)));
            assert!(items[0].iter().copied().eq(0..5) && items[1].iter().copied().eq(5..11));
        }
        assert_eq!(slices[0].num_items(), 5);
        assert_eq!(all(loader.iter()), all(loader.epoch(5)));
        assert_eq!(all(slices[0].iter()), all(loader.starting_at(7).slice(0, 5).iter()));
    }

    #[test]
    fn a_slice_ends_with_what_it_is_cut_from() {
        let slice = shuffled(0).slice(2, 5);
        let most = usize::MAX;
        let cases = [(1, 9, 2), (0, most, 3), (7, 9, 0), (2, 1, 0), (most, most, 0)];

        for (start, end, count) in cases {
            let slice = slice.slice(start, end);
            assert_eq!(
                (slice.num_items(), order(&all(slice.iter())).len()),
                (count, count),
                "{start} to {end}"
            );
        }
    }

    #[test]
    fn slices_neither_shuffle_nor_draw_alike() {
        let loader = SeededLoader::new(items(40), Draws, 4).shuffle(3);
        let [one, other] =
            [loader.slice(0, 20), loader.slice(20, 40)].map(|slice| all(slice.iter()));

        let moved: Vec<usize> = order(&other).into_iter().map(|item| item - 20).collect();
        assert_ne!(order(&one), moved);
        assert!(
            HashSet::<u64>::from_iter(draws(&one))
                .is_disjoint(&draws(&other).into_iter().collect())
        );
    }

    #[test]
    fn a_slice_in_order_is_a_part_of_the_whole() {
        let loader = SeededLoader::new(items(11), Draws, 4);

        assert_eq!(all(loader.slice(4, 11).iter()), all(loader.epoch(1))[1..]);
    }

    #[test]
    fn progress_counts_items() {
        for prefetch in [0, 2] {
            let loader = shuffled(0).prefetch(prefetch);
            let mut batches = loader.iter();

            for processed in [0, 4, 8, 11, 11] {
                assert_eq!(position(batches.as_ref()), (processed, 11));
                batches.next();
            }
        }
    }

    #[test]
    fn an_error_of_the_dataset_takes_the_place_of_its_batch() {
        for prefetch in [0, 2] {
            let loader = SeededLoader::new(Unreadable(5..6), Plain, 4).prefetch(prefetch);
            let mut batches = loader.iter();

            assert_eq!(batches.next().unwrap().unwrap(), [0, 1, 2, 3]);
            assert_eq!(batches.next().unwrap().unwrap_err().to_string(), "no item 5");
            assert_eq!(position(batches.as_ref()), (8, 11));
            assert_eq!(batches.next().unwrap().unwrap(), [8, 9, 10]);
            assert!(batches.next().is_none());
        }
    }

    #[test]
    fn an_epoch_that_is_opened_in_its_middle_gives_the_rest() {
        let loader = shuffled(3).starting_at(5);
        let epoch = all(loader.epoch(7));

        for prefetch in [0, 2] {
            let loader = loader.clone().prefetch(prefetch);
            for (skip, processed) in [(0, 0), (1, 4), (2, 8), (3, 11), (usize::MAX / 2 + 1, 11)] {
                let (batches, batch_size) = open(&loader, EpochStart { epoch: 7, batches: skip });
                assert_eq!(batch_size, Some(4));
                assert_eq!(position(batches.as_ref()), (processed, 11));
                assert_eq!(all(batches), epoch[skip.min(3)..]);
            }
        }
    }

    #[test]
    fn after_an_epoch_that_was_opened_comes_the_next() {
        let loader = shuffled(3);
        let moved = loader.to_device(&Device::default());

        open(&loader, EpochStart { epoch: 7, batches: 2 });

        assert_eq!(all(moved.iter()), all(loader.epoch(8)));
        assert_eq!(all(loader.iter()), all(loader.epoch(9)));
    }

    #[test]
    fn a_slice_is_opened_by_its_own_batches() {
        let slice = shuffled(3).starting_at(7).slice(2, 11);
        let epoch = all(slice.iter());

        let (batches, _) = open(slice.as_ref(), EpochStart { epoch: 7, batches: 1 });

        assert_eq!(position(batches.as_ref()), (4, 9));
        assert_eq!(all(batches), epoch[1..]);
    }

    #[test]
    fn another_loader_ignores_where_it_is_opened_and_leaves_it_to_nobody() {
        let other = DataLoaderBuilder::new(Plain).batch_size(4).build(items(11));
        let (batches, batch_size) = open(other.as_ref(), EpochStart { epoch: 7, batches: 2 });
        let loader = shuffled(3);

        assert_eq!(batch_size, None);
        assert_eq!(all(batches), [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9, 10]]);
        assert_eq!(all(loader.iter()), all(loader.epoch(1)));
    }

    /// A wrapper around loaders, as a user may write it.
    struct Both(SeededLoader<usize, Drawn>, SeededLoader<usize, Drawn>);

    struct Zipped<'a, O>(Box<dyn DataLoaderIterator<O> + 'a>, Box<dyn DataLoaderIterator<O> + 'a>);

    impl<O> Iterator for Zipped<'_, O> {
        type Item = Result<(O, O), DatasetError>;

        fn next(&mut self) -> Option<Self::Item> {
            let (one, other) = (self.0.next()?, self.1.next()?);
            Some(one.and_then(|one| Ok((one, other?))))
        }
    }

    impl<O> DataLoaderIterator<(O, O)> for Zipped<'_, O> {
        fn progress(&self) -> Progress {
            self.0.progress()
        }
    }

    impl DataLoader<(Drawn, Drawn)> for Both {
        fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<(Drawn, Drawn)> + 'a> {
            Box::new(Zipped(self.0.iter(), self.1.iter()))
        }

        fn num_items(&self) -> usize {
            self.0.num_items()
        }

        fn to_device(&self, _: &Device) -> Arc<dyn DataLoader<(Drawn, Drawn)>> {
            unreachable!("the test only opens the loader")
        }

        fn slice(&self, _: usize, _: usize) -> Arc<dyn DataLoader<(Drawn, Drawn)>> {
            unreachable!("the test only opens the loader")
        }
    }

    #[test]
    fn loaders_inside_of_another_are_opened_too() {
        let both = Both(shuffled(3), SeededLoader::new(items(20), Draws, 7).shuffle(4));

        let (batches, batch_size) = open(&both, EpochStart { epoch: 7, batches: 1 });

        let rests = [&both.0, &both.1].map(|loader| all(loader.epoch(7)).split_off(1));
        let [one, other] = rests.map(Vec::into_iter);
        assert_eq!(batch_size, Some(4));
        assert_eq!(all(batches), one.zip(other).collect::<Vec<_>>());
    }

    #[test]
    fn a_loader_that_panics_leaves_its_start_to_nobody() {
        struct Panics;
        impl DataLoader<()> for Panics {
            fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<()> + 'a> {
                panic!("no batches")
            }

            fn num_items(&self) -> usize {
                0
            }

            fn to_device(&self, _: &Device) -> Arc<dyn DataLoader<()>> {
                unreachable!("the test only opens the loader")
            }

            fn slice(&self, _: usize, _: usize) -> Arc<dyn DataLoader<()>> {
                unreachable!("the test only opens the loader")
            }
        }
        let opened = catch_unwind(|| open(&Panics, EpochStart { epoch: 7, batches: 2 }).1);
        let loader = shuffled(3);

        assert!(opened.is_err());
        assert_eq!(all(loader.iter()), all(loader.epoch(1)));
    }

    #[test]
    fn batches_that_are_loaded_ahead_are_the_same() {
        for prefetch in [1, 2, usize::MAX] {
            let loader = shuffled(3).prefetch(prefetch);
            for epoch in 1..4 {
                assert_eq!(all(loader.iter()), all(shuffled(3).epoch(epoch)));
            }
        }
    }

    /// Returns the thread that it runs on, and counts its calls.
    struct Threads(Arc<AtomicUsize>);

    impl Batcher<usize, ThreadId> for Threads {
        fn batch(&self, _: Vec<usize>, _: &Device) -> ThreadId {
            self.0.fetch_add(1, Ordering::SeqCst);
            thread::current().id()
        }
    }

    #[test]
    fn so_many_batches_are_loaded_ahead_and_no_more() {
        for prefetch in [1, 3] {
            let made = Arc::new(AtomicUsize::new(0));
            let loader = SeededLoader::new(items(50), Threads(made.clone()), 1).prefetch(prefetch);
            let mut batches = loader.iter();
            batches.next();

            assert!(wait_for(|| made.load(Ordering::SeqCst) == 1 + prefetch));
            thread::sleep(Duration::from_millis(50));
            assert_eq!(made.load(Ordering::SeqCst), 1 + prefetch);
        }
    }

    #[test]
    fn one_thread_loads_all_epochs_and_another_what_is_read_beside_them() {
        let loader = SeededLoader::new(items(5), Threads(Arc::default()), 1).prefetch(2);
        let threads =
            |batches: Box<dyn DataLoaderIterator<ThreadId> + '_>| HashSet::from_iter(all(batches));

        let first: HashSet<ThreadId> = threads(loader.iter());
        // Dropped in mid-epoch.
        loader.iter().next();
        assert_eq!(first.len(), 1);
        assert!(!first.contains(&thread::current().id()));
        assert_eq!(threads(loader.epoch(9)), first);
        assert_eq!(threads(loader.to_device(&Device::default()).iter()), first);
        let (mut one, other) = (loader.iter(), loader.iter());
        assert_eq!(HashSet::from_iter(one.next().map(Result::unwrap)), first);
        assert!(threads(other).is_disjoint(&first));
    }

    #[test]
    fn a_thread_ends_with_its_loader() {
        let made = Arc::new(AtomicUsize::new(0));
        let loader = SeededLoader::new(items(1_000), Threads(made.clone()), 1).prefetch(2);
        let mut batches = loader.iter();
        batches.next();
        drop(batches);
        let workers = Arc::downgrade(&loader.workers);
        drop(loader);

        assert!(wait_for(|| Arc::strong_count(&made) == 1 && workers.strong_count() == 0));
        assert!(made.load(Ordering::SeqCst) <= 4);
    }

    #[test]
    fn a_panic_on_the_other_thread_comes_through() {
        struct Panics;
        impl Batcher<usize, ()> for Panics {
            fn batch(&self, items: Vec<usize>, _: &Device) {
                assert!(items[0] != 2, "no 2");
            }
        }
        let loader = SeededLoader::new(items(5), Panics, 1).prefetch(2);

        for _ in 0..2 {
            let mut batches = loader.iter();
            assert!(batches.next().is_some() && batches.next().is_some());
            let panic = catch_unwind(AssertUnwindSafe(|| batches.next().is_some())).unwrap_err();
            assert_eq!(panic.downcast_ref::<&str>(), Some(&"no 2"));
            assert_eq!(position(batches.as_ref()), (3, 5));
            assert!(batches.next().is_some());
        }
    }
}
