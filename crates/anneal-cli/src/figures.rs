//! The key figures of a schedule over a run.

use anneal_schedule::Schedule;

/// The number of updates examined one by one; a longer run is sampled evenly.
const LOOKED_AT: u64 = 1 << 20;

/// The number of updates that the mean of a long run samples per octave.
const IN_OCTAVE: u64 = 1 << 16;

/// Key figures of a schedule in a run of `updates` updates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// The rate of the first update.
    pub first: f64,
    /// The first update with the largest rate.
    pub peak_at: u64,
    /// The largest rate.
    pub peak: f64,
    /// The rate of the last update.
    pub last: f64,
    /// The mean rate.
    pub mean: f64,
    /// Whether every update was examined; if not, mean and peak are approximate.
    pub exact: bool,
}

impl Figures {
    /// The figures over updates 0 to `updates` − 1.
    pub fn of(schedule: &Schedule, updates: u64) -> Self {
        let count = updates.min(LOOKED_AT);
        let step =
            |index: u64| (u128::from(index) * u128::from(updates) / u128::from(count)) as u64;
        let (mut peak_at, mut peak) = (0, f64::NEG_INFINITY);
        for at in (0..count).map(step) {
            let rate = schedule.rate(at);
            if rate > peak {
                (peak_at, peak) = (at, rate);
            }
        }
        if count < updates {
            (peak_at, peak) = climb(schedule, peak_at, updates / count + 1, updates);
        }
        Self {
            first: schedule.rate(0),
            peak_at,
            peak,
            last: schedule.rate(updates - 1),
            mean: mean(schedule, updates).min(peak),
            exact: count == updates,
        }
    }
}

/// The mean over octaves of updates, each examined fully up to [`IN_OCTAVE`] updates and sampled evenly
/// beyond: this follows a power-law decay in every octave.
fn mean(schedule: &Schedule, updates: u64) -> f64 {
    let (mut start, mut end, mut mean) = (0, LOOKED_AT, 0.0);
    while start < updates {
        let length = end.min(updates) - start;
        let count = if start == 0 { length } else { length.min(IN_OCTAVE) };
        // The rate in the middle of each part.
        let rates = (0..count).map(|index| {
            let middle = u128::from(2 * index + 1) * u128::from(length) / u128::from(2 * count);
            schedule.rate(start + middle as u64)
        });
        let of_octave: f64 = rates.map(|rate| rate / count as f64).sum();
        mean += of_octave * (length as f64 / updates as f64);
        (start, end) = (end, end.saturating_mul(2));
    }
    mean
}

/// The largest rate around `at`, searched more closely in each round.
fn climb(schedule: &Schedule, mut at: u64, mut radius: u64, updates: u64) -> (u64, f64) {
    const POINTS: u64 = 64;
    loop {
        let (first, end) = (at.saturating_sub(radius), at.saturating_add(radius).min(updates - 1));
        let stride = ((end - first) / POINTS).max(1);
        let around = (first..=end).step_by(stride as usize).chain([at]);
        // The first of equal rates.
        let best = around
            .map(|step| (step, schedule.rate(step)))
            .max_by(|one, other| one.1.total_cmp(&other.1).then(other.0.cmp(&one.0)));
        if let Some((step, rate)) = best {
            if stride == 1 {
                return (step, rate);
            }
            at = step;
        }
        radius = stride;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anneal_schedule::prelude::*;

    fn figures(config: impl Into<ScheduleConfig>, updates: u64) -> Figures {
        let schedule = config.into().resolve(RunLength::updates(updates)).unwrap();
        Figures::of(&schedule, updates)
    }

    #[test]
    fn a_short_run_is_exact() {
        let found = figures(linear(1.0, 0.0).warmup(Span::steps(1)), 5);
        // ½, 1, ¾, ½, ¼
        assert_eq!((found.first, found.peak_at, found.peak, found.last), (0.5, 1, 1.0, 0.25));
        assert!((found.mean - 0.6).abs() < 1e-15 && found.exact);
        let one = figures(constant(0.1), 1);
        assert_eq!((one.first, one.peak_at, one.peak, one.last, one.mean), (0.1, 0, 0.1, 0.1, 0.1));
    }

    #[test]
    fn the_peak_of_a_long_run_is_found_to_the_update() {
        for updates in [3_000_000, 1_000_000_007, 1 << 50] {
            let warmup = updates / 7 + 1;
            let found = figures(cosine(0.1).warmup(Span::steps(warmup)), updates);
            assert_eq!((found.peak_at, found.peak, found.exact), (warmup, 0.1, false));
            // The mean of the warm-up is half the peak, and so is that of the cosine.
            assert!((found.mean - 0.05).abs() < 1e-6, "{}", found.mean);
        }
    }

    /// By the integral: ∫ 0.1 (1 + t/100)^−0.7 dt from 0 to T is 0.1 · 100/0.3 · ((1 + T/100)^0.3 − 1).
    #[test]
    fn the_mean_of_a_long_run_follows_a_power_law() {
        for updates in [10_000_000u64, 1_000_000_000, 1_000_000_000_000_000] {
            let found = figures(power_law(0.1, Span::steps(100), 0.7), updates).mean;
            let t = updates as f64;
            let expected = 0.1 * 100.0 / 0.3 * ((1.0 + t / 100.0).powf(0.3) - 1.0) / t;
            assert!((found / expected - 1.0).abs() < 1e-4, "{found} is not {expected}");
        }
    }

    #[test]
    fn the_mean_of_the_largest_rates_is_finite() {
        assert_eq!(figures(constant(f64::MAX), 3).mean, f64::MAX);
    }
}
