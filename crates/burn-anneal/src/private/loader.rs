//! A loader that draws each item independently.

use super::Secret;
use crate::build_error::BuildError;
use crate::loader::{ChaCha8Rng, SeededBatcher};
use anneal_control::OutOfRange;
use burn::data::dataset::{Dataset, DatasetError};
use burn::tensor::Device;
use rand::RngExt;
use std::fmt;
use std::sync::Arc;

/// Draws the sample of each update of a [`PrivateLoop`](crate::PrivateLoop): each item independently, with probability
///
/// ```text
/// q = expected batch / items
/// ```
///
/// which is Poisson sampling, as [`PrivacyAccountant`](crate::control::PrivacyAccountant) assumes. The size of a sample
/// varies, with a standard deviation of about √B, and may be 0; an item may be in two consecutive samples, or in none
/// for long. A shuffled epoch cut into batches has another, usually larger ε, so private training requires this loader.
///
/// Each item becomes a batch of its own, made by the batcher on the device of the model when it is needed. A
/// [`SeededBatcher`] gets a separate generator for each item.
///
/// A sample depends only on the seed of [`DifferentialPrivacy`](crate::DifferentialPrivacy) and the number of the
/// update. The expected batch must be at least 1 and at most the number of items, and there must be items; building the
/// loop checks this.
///
/// ```
/// use burn::data::dataloader::batcher::Batcher;
/// use burn::data::dataset::InMemDataset;
/// use burn::tensor::{Device, Tensor};
/// use burn_anneal::PoissonLoader;
///
/// struct Numbers;
///
/// impl Batcher<f32, Tensor<1>> for Numbers {
///     fn batch(&self, items: Vec<f32>, device: &Device) -> Tensor<1> {
///         Tensor::from_floats(items.as_slice(), device)
///     }
/// }
///
/// let loader = PoissonLoader::new(InMemDataset::new(vec![0.5; 1_000]), Numbers, 50);
/// assert_eq!(loader.sampling_rate(), 0.05);
/// assert_ne!(loader.drawn(7, 0), loader.drawn(7, 1));
/// let mean = (0..100).map(|update| loader.drawn(7, update).len()).sum::<usize>() as f64 / 100.0;
/// assert!((mean - 50.0).abs() < 3.0);
/// ```
pub struct PoissonLoader<O> {
    load: Arc<Load<O>>,
    items: usize,
    expected_batch: usize,
}

/// Makes the batch of one item.
type Load<O> = dyn Fn(usize, &Device, &mut ChaCha8Rng) -> Result<O, DatasetError> + Send + Sync;

// A derived impl would require batches to be Clone.
impl<O> Clone for PoissonLoader<O> {
    fn clone(&self) -> Self {
        Self { load: self.load.clone(), ..*self }
    }
}

impl<O> fmt::Debug for PoissonLoader<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PoissonLoader({} of {} items expected)", self.expected_batch, self.items)
    }
}

impl<O> PoissonLoader<O> {
    /// Samples the items of a dataset, with this mean number of items per sample.
    pub fn new<I>(
        dataset: impl Dataset<I> + 'static,
        batcher: impl SeededBatcher<I, O> + 'static,
        expected_batch: usize,
    ) -> Self {
        let items = dataset.len();
        let load = move |item: usize, device: &Device, random: &mut ChaCha8Rng| {
            Ok(batcher.batch(vec![dataset.get(item)?], device, random))
        };
        Self { load: Arc::new(load), items, expected_batch }
    }

    /// The items of the dataset.
    pub fn items(&self) -> usize {
        self.items
    }

    /// The mean number of items per sample, by which gradients are divided.
    pub fn expected_batch(&self) -> usize {
        self.expected_batch
    }

    /// The sampling rate q: the probability that an item is in a sample; at most 1.
    pub fn sampling_rate(&self) -> f64 {
        (self.expected_batch as f64 / self.items as f64).min(1.0)
    }

    /// The items that a loop with this seed draws for an update, in order.
    pub fn drawn(&self, seed: u64, update: u64) -> Vec<usize> {
        Secret::new(Some(seed)).map_or(vec![], |secret| self.draw(&secret, update))
    }

    pub(super) fn draw(&self, secret: &Secret, update: u64) -> Vec<usize> {
        let (mut random, rate) = (secret.sample(update), self.sampling_rate());
        (0..self.items).filter(|_| random.random_bool(rate)).collect()
    }

    /// The sample of an update: one batch for each drawn item, made lazily.
    pub(super) fn sample<'a>(
        &'a self,
        secret: &'a Secret,
        update: u64,
        device: &'a Device,
    ) -> impl Iterator<Item = Result<O, DatasetError>> + 'a {
        let drawn = self.draw(secret, update).into_iter();
        drawn.map(move |item| (self.load)(item, device, &mut secret.batch(update, item)))
    }

    pub(crate) fn check(&self) -> Result<(), BuildError> {
        if self.items == 0 {
            return Err(BuildError::NoItems);
        }
        let ok = (1..=self.items).contains(&self.expected_batch);
        let allowed = "at least 1, at most the number of items";
        OutOfRange::require("expected_batch", self.expected_batch, ok, allowed)
            .map_err(|error| BuildError::Control { part: "loader", error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::data::dataloader::batcher::Batcher;
    use burn::data::dataset::InMemDataset;

    struct Plain;

    impl Batcher<usize, Vec<usize>> for Plain {
        fn batch(&self, items: Vec<usize>, _: &Device) -> Vec<usize> {
            items
        }
    }

    struct Draws;

    impl SeededBatcher<usize, (usize, u64)> for Draws {
        fn batch(&self, items: Vec<usize>, _: &Device, random: &mut ChaCha8Rng) -> (usize, u64) {
            (items[0], random.random())
        }
    }

    fn loader(items: usize, expected: usize) -> PoissonLoader<Vec<usize>> {
        PoissonLoader::new(InMemDataset::new((0..items).collect()), Plain, expected)
    }

    /// Whether a count of a binomial distribution is within 5 deviations of its mean.
    fn is_binomial(count: usize, trials: usize, chance: f64) -> bool {
        let mean = trials as f64 * chance;
        (count as f64 - mean).abs() < 5.0 * (mean * (1.0 - chance)).sqrt()
    }

    #[test]
    fn each_item_is_drawn_for_itself_with_the_same_probability() {
        let (loader, updates, items) = (loader(40, 10), 20_000, 40);
        let samples: Vec<Vec<usize>> = (0..updates).map(|t| loader.drawn(3, t)).collect();
        let has = |sample: &Vec<usize>, item| sample.binary_search(&item).is_ok();
        let updates = updates as usize;

        for item in 0..items {
            let count = samples.iter().filter(|sample| has(sample, item)).count();
            assert!(is_binomial(count, updates, 0.25), "item {item}: {count}");
            // Together with its neighbor, and in two consecutive updates.
            let next = (item + 1) % items;
            let both = samples.iter().filter(|sample| has(sample, item) && has(sample, next));
            let (both, again) = (
                both.count(),
                samples.windows(2).filter(|two| has(&two[0], item) && has(&two[1], item)).count(),
            );
            assert!(is_binomial(both, updates, 0.0625), "items {item} and {next}: {both}");
            assert!(is_binomial(again, updates, 0.0625), "item {item} again: {again}");
        }
        // The variance of the sample size is n q (1 − q) = 7.5, to within 5 standard deviations √(2/20000).
        let sizes = samples.iter().map(|sample| sample.len() as f64);
        let variance = sizes.map(|size| (size - 10.0).powi(2)).sum::<f64>() / updates as f64;
        assert!((variance / 7.5 - 1.0).abs() < 0.05, "{variance}");
    }

    #[test]
    fn a_sample_may_be_empty_or_all_there_is() {
        // About e^−1 of the samples.
        let empty = (0..2_000).filter(|t| loader(1_000, 1).drawn(5, *t).is_empty()).count();
        assert!(is_binomial(empty, 2_000, 0.999f64.powi(1_000)), "{empty}");
        assert_eq!(loader(7, 7).drawn(5, 0), [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn an_item_is_a_batch_of_its_own_with_draws_of_its_own() {
        let items = InMemDataset::new((100..150).collect());
        let loader = PoissonLoader::new(items, Draws, 20);
        let (secret, device) = (Secret::new(Some(7)).unwrap(), Device::default());
        let sample = |update| -> Vec<(usize, u64)> {
            loader.sample(&secret, update, &device).map(Result::unwrap).collect()
        };
        assert_eq!(sample(4), sample(4));
        let drawn: Vec<usize> = sample(4).iter().map(|(item, _)| item - 100).collect();
        assert_eq!(drawn, loader.drawn(7, 4));
        let all = [sample(4), sample(5)].concat();
        let mut words: Vec<u64> = all.iter().map(|(_, word)| *word).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), all.len());
    }

    #[test]
    fn no_items_and_batches_that_cannot_be_expected_are_refused() {
        assert!(matches!(loader(0, 1).check(), Err(BuildError::NoItems)));
        assert!(loader(10, 1).check().is_ok() && loader(10, 10).check().is_ok());
        for expected in [0, 11, usize::MAX] {
            let error = loader(10, expected).check().unwrap_err().to_string();
            assert!(error.starts_with("loader: expected_batch"), "{error}");
        }
    }
}
