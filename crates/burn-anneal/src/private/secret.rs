//! The random generators of samples and noise.

use rand::rngs::SysRng;
use rand::{Rng, SeedableRng};
use rand_chacha::{ChaCha8Rng, ChaCha20Rng};
use std::fmt;

/// The random words reserved for the batch of each item, within the stream of an update.
const WORDS_PER_ITEM: u128 = 1 << 32;

/// The keys of three independent generators, for samples, batches and noise. Each update has its own stream, so that a
/// resumed run draws the same numbers.
#[derive(Clone)]
pub(crate) struct Secret {
    samples: [u8; 32],
    batches: [u8; 32],
    noise: [u8; 32],
}

/// Keeps the keys out of logs.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// Makes keys from a seed, or without one from the operating system.
    pub fn new(seed: Option<u64>) -> Result<Self, String> {
        let mut random = match seed {
            Some(seed) => ChaCha20Rng::seed_from_u64(seed),
            None => ChaCha20Rng::try_from_rng(&mut SysRng).map_err(|error| error.to_string())?,
        };
        let mut key = || {
            let mut key = [0; 32];
            random.fill_bytes(&mut key);
            key
        };
        Ok(Self { samples: key(), batches: key(), noise: key() })
    }

    /// The generator for the sample of an update.
    pub fn sample(&self, update: u64) -> ChaCha20Rng {
        let mut random = ChaCha20Rng::from_seed(self.samples);
        random.set_stream(update);
        random
    }

    /// The generator for the batch of an item.
    pub fn batch(&self, update: u64, item: usize) -> ChaCha8Rng {
        let mut random = ChaCha8Rng::from_seed(self.batches);
        random.set_stream(update);
        random.set_word_pos(item as u128 * WORDS_PER_ITEM);
        random
    }

    /// The generator for the noise of an update.
    pub fn noise(&self, update: u64) -> ChaCha20Rng {
        let mut random = ChaCha20Rng::from_seed(self.noise);
        random.set_stream(update);
        random
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(secret: &Secret, update: u64) -> [u64; 3] {
        [
            secret.sample(update).next_u64(),
            secret.batch(update, 0).next_u64(),
            secret.noise(update).next_u64(),
        ]
    }

    #[test]
    fn a_seed_gives_the_same_words_and_the_system_others() {
        let secret = |seed| Secret::new(seed).unwrap();
        assert_eq!(words(&secret(Some(7)), 3), words(&secret(Some(7)), 3));
        assert_ne!(words(&secret(Some(7)), 3), words(&secret(Some(8)), 3));
        assert_ne!(words(&secret(None), 3), words(&secret(None), 3));
        assert_eq!(format!("{:?}", secret(Some(7))), "Secret");
    }

    #[test]
    fn no_two_purposes_updates_or_items_share_words() {
        let secret = Secret::new(Some(7)).unwrap();
        let mut all: Vec<u64> = (0..3).flat_map(|update| words(&secret, update)).collect();
        all.extend((1..3).map(|item| secret.batch(0, item).next_u64()));
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
