//! The cost of a batch size at a noise scale, and the matching rate.

use super::estimate::digits;
use crate::{NoiseScaleEstimate, OutOfRange};
use anneal_schedule::square_root_scaling;
use std::fmt;

/// The costs of batch sizes at a noise scale 𝓑, relative to the current size B₀ and rate η₀.
///
/// Reaching a given loss with batches of B items takes
///
/// ```text
/// updates:   U = U_min (1 + 𝓑/B)       U_min with infinitely large batches
/// examples:  E = E_min (1 + B/𝓑)       E_min with infinitely small batches
/// ```
///
/// So a batch far below 𝓑 wastes updates, and one far above it wastes examples. The advised batch is 𝓑, at
/// which both are twice their minimum: below it, doubling the batch saves more than a quarter of the updates
/// and adds less than half of the examples; above it, the reverse.
///
/// The matching rates, given one tuned at B₀:
///
/// ```text
/// SGD:              η = η₀ (1 + 𝓑/B₀) / (1 + 𝓑/B)      proportional to B for B ≪ 𝓑, constant for B ≫ 𝓑
/// Adam and similar: η = η₀ √(B/B₀)
/// ```
///
/// [`NoiseScaleEstimate::advice`] makes it. The noise scale changes during a run, mostly upwards, and it
/// ignores curvature, so it is accurate only to a factor of a few.
///
/// Source: McCandlish et al. 2018, "An empirical model of large-batch training", arXiv 1812.06162, sections 2.2 and
/// 2.3; for Adam Malladi et al. 2022, "On the SDEs and scaling rules for adaptive gradient algorithms".
///
/// ```
/// use anneal_control::NoiseScaleEstimate;
///
/// let scale = NoiseScaleEstimate { value: 192.0, low: 150.0, high: 250.0 };
/// let advice = scale.advice(64, 0.1)?;
/// assert_eq!((advice.now().updates, advice.advised().updates), (4.0, 2.0));
/// assert_eq!((advice.advised().batch_size, advice.advised().rate), (192, 0.2));
/// assert_eq!(advice.at(128).examples, 1.0 + 128.0 / 192.0);
/// println!("{advice}");
/// # Ok::<(), anneal_control::OutOfRange>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchAdvice {
    scale: NoiseScaleEstimate,
    batch_size: u64,
    rate: f64,
}

/// A batch size with its cost and rate.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct BatchCost {
    /// Items per update.
    pub batch_size: u64,
    /// Updates to a given loss, relative to the minimum: 1 + 𝓑/B. An update gains the inverse of this,
    /// relative to one without noise.
    pub updates: f64,
    /// Examples to a given loss, relative to the minimum: 1 + B/𝓑; infinite without noise. An example gains
    /// the inverse of this, relative to one in a small batch.
    pub examples: f64,
    /// The rate of SGD.
    pub rate: f64,
    /// The rate of Adam and similar optimizers.
    pub adaptive_rate: f64,
}

impl BatchAdvice {
    pub(super) fn new(
        scale: NoiseScaleEstimate,
        batch_size: u64,
        rate: f64,
    ) -> Result<Self, OutOfRange> {
        OutOfRange::require("batch_size", batch_size, batch_size >= 1, "at least 1 item")?;
        let ok = rate > 0.0 && rate.is_finite();
        OutOfRange::require("rate", rate, ok, "finite, above 0")?;
        Ok(Self { scale, batch_size, rate })
    }

    /// The noise scale it is based on.
    pub fn scale(&self) -> NoiseScaleEstimate {
        self.scale
    }

    /// The current batch size.
    pub fn now(&self) -> BatchCost {
        self.at(self.batch_size)
    }

    /// The largest batch that still pays off: 𝓑, rounded, and at least 1 item.
    pub fn advised(&self) -> BatchCost {
        self.at(self.scale.value.round() as u64)
    }

    /// A batch of this many items; 0 counts as 1.
    pub fn at(&self, batch_size: u64) -> BatchCost {
        let batch_size = batch_size.max(1);
        let noise = |items: u64| 1.0 + self.scale.value / items as f64;
        let updates = noise(batch_size);
        let adaptive = square_root_scaling(self.rate, self.batch_size, batch_size);
        BatchCost {
            batch_size,
            updates,
            examples: 1.0 + batch_size as f64 / self.scale.value,
            rate: self.rate * noise(self.batch_size) / updates,
            // None of the refused values can occur.
            adaptive_rate: adaptive.unwrap_or(self.rate),
        }
    }
}

impl fmt::Display for BatchAdvice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.scale)?;
        let (now, advised) = (self.now(), self.advised());
        let costs = |cost: BatchCost| {
            let (updates, examples) = (digits(cost.updates), digits(cost.examples));
            format!("{updates} times the minimum updates, {examples} times the minimum examples")
        };
        writeln!(f, "batches of {} at rate {}: {}", now.batch_size, digits(now.rate), costs(now))?;
        write!(
            f,
            "batches of {} at rate {} with SGD, {} with Adam: {}",
            advised.batch_size,
            digits(advised.rate),
            digits(advised.adaptive_rate),
            costs(advised)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anneal_schedule::linear_scaling;

    fn scale(value: f64) -> NoiseScaleEstimate {
        NoiseScaleEstimate { value, low: 0.8 * value, high: 1.25 * value }
    }

    /// (U/U_min − 1)(E/E_min − 1) = 1, the hyperbola in the paper, and E = U B.
    #[test]
    fn updates_and_examples_trade_off() {
        let advice = scale(500.0).advice(32, 0.1).unwrap();
        for batch_size in [1, 32, 500, 10_000] {
            let BatchCost { updates, examples, .. } = advice.at(batch_size);
            assert!(((updates - 1.0) * (examples - 1.0) - 1.0).abs() < 1e-9);
            // E_min = 𝓑 U_min.
            assert!((updates * batch_size as f64 / (examples * 500.0) - 1.0).abs() < 1e-12);
        }
        assert_eq!((advice.advised().updates, advice.advised().examples), (2.0, 2.0));
    }

    #[test]
    fn rates_follow_the_rules_of_scaling() {
        let advice = scale(1e9).advice(32, 0.1).unwrap();
        let linear = linear_scaling(0.1, 32, 256).unwrap();
        assert!((advice.at(256).rate / linear - 1.0).abs() < 1e-6, "far below the noise scale");
        assert_eq!(advice.at(128).adaptive_rate, 0.2);
        let advice = scale(1e-3).advice(32, 0.1).unwrap();
        assert!((advice.at(256).rate / 0.1 - 1.0).abs() < 1e-4, "far above it");
        // The best rate of a noisy quadratic, ε_max / (1 + 𝓑/B), at both sizes.
        let best = |batch: f64| 0.5 / (1.0 + 100.0 / batch);
        let advice = scale(100.0).advice(25, best(25.0)).unwrap();
        assert!((advice.at(300).rate - best(300.0)).abs() < 1e-15);
    }

    #[test]
    fn no_noise_and_too_much_are_numbers_too() {
        let advice = scale(0.0).advice(8, 0.1).unwrap();
        let BatchCost { batch_size, updates, rate, .. } = advice.advised();
        assert_eq!((batch_size, updates, rate), (1, 1.0, 0.1));
        assert_eq!(advice.now().examples, f64::INFINITY);
        assert_eq!(scale(1e30).advice(8, 0.1).unwrap().advised().batch_size, u64::MAX);
        assert_eq!(advice.at(0).batch_size, 1);
    }

    #[test]
    fn it_refuses_what_is_no_batch_or_rate() {
        assert_eq!(scale(9.0).advice(0, 0.1).unwrap_err().field, "batch_size");
        for rate in [0.0, -0.1, f64::NAN, f64::INFINITY] {
            assert_eq!(scale(9.0).advice(8, rate).unwrap_err().field, "rate");
        }
    }

    #[test]
    fn it_says_so_in_words() {
        let text = scale(192.0).advice(64, 0.1).unwrap().to_string();
        let expected = "noise scale 192 items (95 %: 154 to 240)\n\
                        batches of 64 at rate 0.1: 4 times the minimum updates, 1.33 times the minimum examples\n\
                        batches of 192 at rate 0.2 with SGD, 0.173 with Adam: 2 times the minimum updates, 2 times the \
                        minimum examples";
        assert_eq!(text, expected);
    }
}
