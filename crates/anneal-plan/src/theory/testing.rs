//! Seeded samples and schedules for the tests.

use anneal_schedule::{RunLength, Schedule, ScheduleConfig, ScheduleExt};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Independent standard normal numbers.
pub(super) struct Normals(ChaCha8Rng);

impl Normals {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(super) fn next(&mut self) -> f64 {
        StandardNormal.sample(&mut self.0)
    }
}

/// The mean of samples and its standard error.
pub(super) fn mean_and_error(samples: &[f64]) -> (f64, f64) {
    let count = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / count;
    let squares: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0) / count).sqrt())
}

/// Asserts that the mean of samples is within 4 of its standard errors of `expected`: a correct formula
/// fails for 1 of 16,000 seeds.
#[track_caller]
pub(super) fn assert_mean(samples: &[f64], expected: f64) {
    let (mean, error) = mean_and_error(samples);
    assert!(
        (mean - expected).abs() <= 4.0 * error,
        "{mean} ± {error} of {} samples, expected {expected}",
        samples.len()
    );
}

#[track_caller]
pub(super) fn assert_close(found: f64, expected: f64, relative: f64) {
    let scale = found.abs().max(expected.abs());
    assert!((found - expected).abs() <= relative * scale, "{found}, expected {expected}");
}

/// The schedule over this many updates.
pub(super) fn run(config: impl Into<ScheduleConfig>, updates: u64) -> Schedule {
    config.into().resolve(RunLength::updates(updates)).unwrap()
}
