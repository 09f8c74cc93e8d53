//! Splits the items of a dataset among clients.

use anneal_control::OutOfRange;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::f64::consts::TAU;
use thiserror::Error;

/// Splits the items of a dataset among simulated clients by label: evenly, or so that clients see different classes.
///
/// Each item goes to one client, and sizes differ by at most one ([`Shards`](Self::Shards): by one per shard).
///
/// ```
/// use burn_anneal::ClientSplit;
///
/// let labels: Vec<u8> = (0..1_000).map(|item| (item % 10) as u8).collect();
/// let clients = ClientSplit::Shards(2).of(&labels, 5, 7)?;
/// assert_eq!(clients.iter().map(Vec::len).collect::<Vec<_>>(), [200; 5]);
/// for items in clients {
///     let mut classes: Vec<u8> = items.iter().map(|&item| labels[item]).collect();
///     classes.sort_unstable();
///     classes.dedup();
///     assert_eq!(classes.len(), 2);
/// }
/// # Ok::<(), burn_anneal::SplitError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ClientSplit {
    /// At random: all clients see all classes.
    Even,
    /// This many shards per client, at least 1. Items are sorted by class, in random order within a class, cut into
    /// clients × shards parts, and the parts are dealt at random. A client sees about as many classes as it has shards:
    /// at most as many if each class is a whole number of shards, at most twice as many if no class is smaller than a
    /// shard.
    ///
    /// Source: McMahan et al. 2017, "Communication-efficient learning of deep networks from decentralized data", with 2.
    Shards(usize),
    /// Each client draws its class shares from a Dirichlet distribution with parameters α p, where p are the class
    /// shares among all items, and then its items from those that are left. α is finite and above 0: at 0.1 most
    /// clients have one or two classes, at 100 all clients have all classes.
    ///
    /// Source: Hsu, Qi and Brown 2019, "Measuring the effects of non-identical data distribution for federated visual
    /// classification".
    Dirichlet(f64),
}

/// Why items cannot be split.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum SplitError {
    /// A field is out of its range.
    #[error(transparent)]
    Control(#[from] OutOfRange),
    /// There are too few items.
    #[error("labels: {items} items; {clients} clients need at least {least}")]
    TooFew {
        /// The items.
        items: usize,
        /// The clients.
        clients: usize,
        /// The least number of items.
        least: usize,
    },
}

impl ClientSplit {
    /// The indices of each client's items, ascending; the same for the same seed.
    ///
    /// # Errors
    /// [`SplitError`] if there is no client, a field is out of its range, or there are fewer items than clients or
    /// shards.
    pub fn of<L: Ord>(
        self,
        labels: &[L],
        clients: usize,
        seed: u64,
    ) -> Result<Vec<Vec<usize>>, SplitError> {
        OutOfRange::require("clients", clients, clients >= 1, "at least 1")?;
        let parts = match self {
            Self::Even => clients,
            Self::Shards(shards) => {
                OutOfRange::require("shards", shards, shards >= 1, "at least 1")?;
                clients.saturating_mul(shards)
            }
            Self::Dirichlet(alpha) => {
                let ok = alpha > 0.0 && alpha.is_finite();
                OutOfRange::require("alpha", alpha, ok, "above 0, finite")?;
                clients
            }
        };
        let items = labels.len();
        if items < parts {
            return Err(SplitError::TooFew { items, clients, least: parts });
        }
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut order: Vec<usize> = (0..items).collect();
        order.shuffle(&mut random);
        let mut dealt = match self {
            Self::Even => cut(&order, clients).map(<[usize]>::to_vec).collect(),
            Self::Shards(shards) => {
                order.sort_by(|one, other| labels[*one].cmp(&labels[*other]));
                let mut all: Vec<&[usize]> = cut(&order, parts).collect();
                all.shuffle(&mut random);
                all.chunks(shards).map(<[_]>::concat).collect()
            }
            Self::Dirichlet(alpha) => {
                let mut classes: BTreeMap<&L, Vec<usize>> = BTreeMap::new();
                order
                    .into_iter()
                    .for_each(|item| classes.entry(&labels[item]).or_default().push(item));
                let sizes = cut(labels, clients).map(<[L]>::len);
                draw(classes.into_values().collect(), sizes, alpha, &mut random)
            }
        };
        dealt.iter_mut().for_each(|items: &mut Vec<usize>| items.sort_unstable());
        Ok(dealt)
    }
}

/// Cuts a list into parts whose lengths differ by at most one.
fn cut<T>(all: &[T], parts: usize) -> impl Iterator<Item = &[T]> {
    let start = move |part: usize| (part as u128 * all.len() as u128 / parts as u128) as usize;
    (0..parts).map(move |part| &all[start(part)..start(part + 1)])
}

/// Draws the items of each client, by its own class shares, from the classes that have items left.
fn draw(
    mut classes: Vec<Vec<usize>>,
    sizes: impl Iterator<Item = usize>,
    alpha: f64,
    random: &mut impl Rng,
) -> Vec<Vec<usize>> {
    let items: usize = classes.iter().map(Vec::len).sum();
    let prior: Vec<f64> = classes.iter().map(|class| class.len() as f64 / items as f64).collect();
    let mut client = |size| {
        let logarithms: Vec<f64> =
            prior.iter().map(|p| log_gamma_variate(alpha * p, random)).collect();
        let mut drawn = vec![];
        for _ in 0..size {
            let left = |class: &usize| !classes[*class].is_empty();
            let left: Vec<usize> = (0..classes.len()).filter(left).collect();
            // Relative to the largest that is left, since all of them may underflow.
            let most = left.iter().map(|&class| logarithms[class]).fold(f64::MIN, f64::max);
            let shares = left.iter().map(|&class| (logarithms[class] - most).exp());
            let mut at = random.random::<f64>() * shares.clone().sum::<f64>();
            let chosen = left.iter().zip(shares).find(|(_, share)| {
                at -= share;
                at < 0.0
            });
            let class = chosen.map_or(left[left.len() - 1], |(class, _)| *class);
            drawn.extend(classes[class].pop());
        }
        drawn
    };
    sizes.map(&mut client).collect()
}

/// The logarithm of a gamma variate of scale 1 (Marsaglia and Tsang 2000): a variate of a shape one larger, times
/// u^(1/shape).
fn log_gamma_variate(shape: f64, random: &mut impl Rng) -> f64 {
    let mut uniform = || 1.0 - random.random::<f64>();
    let d = shape + 1.0 - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    let larger = loop {
        let normal = (-2.0 * uniform().ln()).sqrt() * (TAU * uniform()).cos();
        let v = (1.0 + c * normal).powi(3);
        if v > 0.0 && uniform().ln() < 0.5 * normal * normal + d - d * v + d * v.ln() {
            break (d * v).ln();
        }
    };
    larger + uniform().ln() / shape
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Ten classes of 100 to 109 items, interleaved.
    fn labels() -> Vec<u8> {
        let label = |item: usize| (0..10).map(move |class| (item, class));
        let all = (0..110).flat_map(label);
        all.filter(|(item, class)| *item < 100 + usize::from(*class)).map(|(_, c)| c).collect()
    }

    fn classes(items: &[usize], labels: &[u8]) -> usize {
        items.iter().map(|&item| labels[item]).collect::<HashSet<_>>().len()
    }

    #[test]
    fn each_item_goes_to_one_client_and_sizes_differ_little() {
        let labels = labels();
        let splits = [ClientSplit::Even, ClientSplit::Shards(3), ClientSplit::Dirichlet(0.05)];
        for (split, most) in splits.into_iter().zip([1, 3, 1]) {
            for clients in [1, 7, 300] {
                let dealt = split.of(&labels, clients, 3).unwrap();
                assert_eq!(dealt.len(), clients);
                let mut all = dealt.concat();
                all.sort_unstable();
                assert!(all.into_iter().eq(0..labels.len()), "{split:?}, {clients}");
                let sizes: Vec<usize> = dealt.iter().map(Vec::len).collect();
                let (least, largest) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
                assert!(*least >= 1 && largest - least <= most, "{split:?}: {sizes:?}");
                assert!(dealt.iter().all(|items| items.is_sorted()));
            }
        }
    }

    #[test]
    fn the_seed_decides() {
        let labels = labels();
        for split in [ClientSplit::Even, ClientSplit::Shards(2), ClientSplit::Dirichlet(1.0)] {
            let of = |seed| split.of(&labels, 8, seed).unwrap();
            assert_eq!(of(1), of(1));
            assert_ne!(of(1), of(2));
        }
    }

    #[test]
    fn a_client_sees_as_many_classes_as_it_has_shards() {
        // Each class is two shards.
        let labels: Vec<u8> = (0..200).map(|item| (item % 10) as u8).collect();
        for items in ClientSplit::Shards(2).of(&labels, 10, 5).unwrap() {
            assert!(classes(&items, &labels) <= 2);
        }
        // Shards of 66 items span at most two classes of 100.
        let labels = self::labels();
        let dealt = ClientSplit::Shards(2).of(&labels, 8, 5).unwrap();
        assert!(dealt.iter().all(|items| (1..=4).contains(&classes(items, &labels))));
        let even = ClientSplit::Even.of(&labels, 8, 5).unwrap();
        assert!(even.iter().all(|items| classes(items, &labels) == 10));
    }

    /// For two classes of equal size, a client's share is Beta(α/2, α/2), with variance 1/(4 (α + 1)). Drawing this
    /// many items hardly adds to it, and with this many clients the classes do not run out before most have drawn.
    #[test]
    fn shares_vary_as_a_dirichlet_distribution_says() {
        let (clients, each) = (1_000, 100);
        let labels: Vec<bool> = (0..clients * each).map(|item| item % 2 == 0).collect();
        for alpha in [0.2, 1.0, 5.0] {
            let dealt = ClientSplit::Dirichlet(alpha).of(&labels, clients, 11).unwrap();
            let share = |items: &Vec<usize>| {
                items.iter().filter(|item| labels[**item]).count() as f64 / each as f64
            };
            let early = &dealt[..clients * 9 / 10];
            let square = |items| (share(items) - 0.5_f64).powi(2);
            let found = early.iter().map(square).sum::<f64>() / early.len() as f64;
            let (beta, items) = (0.25 / (alpha + 1.0), each as f64);
            let expected = beta + (0.25 - beta) / items;
            assert!((found / expected - 1.0).abs() < 0.12, "{alpha}: {found}, not {expected}");
        }
    }

    #[test]
    fn a_tiny_alpha_gives_one_class_as_long_as_there_is_one() {
        let labels: Vec<u8> = (0..10_000).map(|item| (item % 10) as u8).collect();
        let dealt = ClientSplit::Dirichlet(1e-6).of(&labels, 100, 1).unwrap();
        assert!(dealt[..20].iter().all(|items| classes(items, &labels) == 1));
    }

    #[test]
    fn what_cannot_be_dealt_is_refused() {
        let of = |split: ClientSplit, items: usize, clients| {
            split.of(&vec![0; items], clients, 0).unwrap_err().to_string()
        };
        assert_eq!(of(ClientSplit::Even, 5, 0), "clients: 0 is not allowed; allowed: at least 1");
        assert_eq!(
            of(ClientSplit::Shards(0), 5, 1),
            "shards: 0 is not allowed; allowed: at least 1"
        );
        for alpha in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(of(ClientSplit::Dirichlet(alpha), 5, 1).starts_with("alpha: "), "{alpha}");
        }
        let few = "labels: 5 items; 3 clients need at least 6";
        assert_eq!(of(ClientSplit::Shards(2), 5, 3), few);
        assert!(ClientSplit::Shards(usize::MAX).of(&[0; 5], 3, 0).is_err());
        assert!(ClientSplit::Even.of(&[0; 2], 3, 0).is_err());
    }
}
