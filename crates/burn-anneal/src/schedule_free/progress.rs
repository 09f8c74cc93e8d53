//! The weight of an update in the average.

/// The progress of the average of one parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Progress {
    /// Updates of the parameter.
    pub updates: u64,
    /// The largest rate so far.
    pub largest: f64,
    /// The sum of all weights, in units of the last one: 0 while all are 0.
    pub total: f64,
}

impl Progress {
    /// The progress after one more update at `rate`, with the weight updates^`polynomial` · largest^`power`.
    pub fn next(self, rate: f64, power: f64, polynomial: f64) -> Self {
        let (updates, largest) = (self.updates + 1, self.largest.max(rate));
        let total = if largest == 0.0 && power > 0.0 {
            0.0
        } else if self.total == 0.0 {
            1.0
        } else {
            // The ratio of two weights does not overflow, even if they would.
            let by_rate = if self.largest == largest { 1.0 } else { self.largest / largest };
            let by_update = self.updates as f64 / updates as f64;
            1.0 + self.total * by_rate.powf(power) * by_update.powf(polynomial)
        };
        Self { updates, largest, total }
    }

    /// c, the share of the last update in the average.
    pub fn share(&self) -> f64 {
        if self.total == 0.0 { 0.0 } else { self.total.recip() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// c as schedulefree 1.4.1 computes it, from the sum itself.
    fn by_sum(rates: &[f64], power: f64, polynomial: f64) -> Vec<f64> {
        let (mut largest, mut sum) = (-1.0_f64, 0.0);
        let share = |(k, rate): (usize, &f64)| {
            largest = largest.max(*rate);
            let weight = ((k + 1) as f64).powf(polynomial) * largest.powf(power);
            sum += weight;
            if sum == 0.0 { 0.0 } else { weight / sum }
        };
        rates.iter().enumerate().map(share).collect()
    }

    fn by_steps(rates: &[f64], power: f64, polynomial: f64) -> Vec<f64> {
        let mut progress = Progress::default();
        let mut share = |rate: &f64| {
            progress = progress.next(*rate, power, polynomial);
            progress.share()
        };
        rates.iter().map(&mut share).collect()
    }

    #[test]
    fn the_share_is_the_weight_over_the_sum_of_weights() {
        let rates = [0.0, 0.0, 0.1, 0.3, 0.2, 0.3, 0.05, 0.9, 0.0];
        for power in [0.0, 0.5, 2.0, 7.0] {
            for polynomial in [0.0, 0.5, 3.0, -0.5] {
                let expected = by_sum(&rates, power, polynomial);
                let found = by_steps(&rates, power, polynomial);
                for (t, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    let case = format!("update {t}, power {power}, polynomial {polynomial}");
                    assert!((found - expected).abs() < 1e-12, "{case}: {found}, not {expected}");
                }
            }
        }
    }

    #[test]
    fn weights_too_large_or_small_for_a_number_have_shares_all_the_same() {
        // 2^2000 and 10^-600: by the sum itself infinity/infinity and 0/0.
        let large = by_steps(&[0.1, 0.1], 2.0, 2_000.0);
        assert_eq!(large, [1.0, 1.0]);
        let small = by_steps(&[1e-300, 1e-300, 1e-300], 2.0, 0.0);
        assert_eq!(small, [1.0, 0.5, 1.0 / 3.0]);
    }
}
