//! Decays in models of human learning.

use super::super::check::{finite, not_negative, positive, share};
use crate::OutOfRange;

/// Spaced repetition: a memory that decays, and more slowly after each recall.
///
/// ```text
/// retention = e^(−t/S)                 t since the last recall
/// S ← g S                              at each recall
/// interval  = S ln(1/target)           until the retention has fallen to a target
/// ```
///
/// So intervals grow geometrically, by g, whatever the target. It assumes that the growth g does not depend
/// on when one recalls; times are in the unit of S.
///
/// | argument | range |
/// | --- | --- |
/// | `stability` S, of the first memory | above 0, finite |
/// | `growth` g | at least 1, finite |
///
/// Source: Ebbinghaus 1885, "Über das Gedächtnis"; Pimsleur 1967, "A memory schedule".
///
/// ```
/// use anneal_plan::theory::SpacedRepetition;
///
/// let memory = SpacedRepetition::new(10.0, 2.5)?;
/// let days: Vec<f64> = memory.intervals(0.9)?.take(3).map(f64::round).collect();
/// assert_eq!(days, [1.0, 3.0, 7.0]);
/// # Ok::<(), anneal_plan::OutOfRange>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpacedRepetition {
    stability: f64,
    growth: f64,
}

impl SpacedRepetition {
    /// A memory of this stability, which each recall multiplies by `growth`.
    ///
    /// # Errors
    /// An argument outside its range.
    pub fn new(stability: f64, growth: f64) -> Result<Self, OutOfRange> {
        positive("stability", stability)?;
        let ok = growth.is_finite() && growth >= 1.0;
        OutOfRange::require("growth", growth, ok, "at least 1, finite")?;
        Ok(Self { stability, growth })
    }

    /// The retention at a time since the last of `recalls` recalls.
    ///
    /// # Errors
    /// A time below 0 or not finite.
    pub fn retention(&self, recalls: u32, time: f64) -> Result<f64, OutOfRange> {
        not_negative("time", time)?;
        Ok((-time / (self.stability * self.growth.powf(f64::from(recalls)))).exp())
    }

    /// The intervals between recalls that are due when the retention has fallen to `target`, without an end.
    ///
    /// # Errors
    /// A target that is not between 0 and 1.
    pub fn intervals(&self, target: f64) -> Result<impl Iterator<Item = f64> + use<>, OutOfRange> {
        share("target", target)?;
        let (first, growth) = (-self.stability * target.ln(), self.growth);
        Ok(std::iter::successors(Some(first), move |interval| Some(interval * growth)))
    }
}

/// The command after `trials` trials of error-driven motor learning, C ← C − k(C − C*).
///
/// ```text
/// C_n = C* + (1 − k)ⁿ (C_0 − C*)
/// ```
///
/// Gradient descent on ½(C − C*)² at the rate k: it converges for 0 < k < 2, without overshooting up to k = 1.
///
/// Source: Thoroughman and Shadmehr 2000, "Learning of action through adaptive combination of motor primitives".
///
/// ```
/// use anneal_plan::theory::adapt;
/// assert_eq!(adapt(0.0, 8.0, 0.5, 3)?, 7.0);
/// # Ok::<(), anneal_plan::OutOfRange>(())
/// ```
///
/// # Errors
/// A start or a target that is not finite, or a gain k that is not above 0 and below 2.
pub fn adapt(start: f64, target: f64, gain: f64, trials: u32) -> Result<f64, OutOfRange> {
    finite("start", start)?;
    finite("target", target)?;
    OutOfRange::require("gain", gain, gain > 0.0 && gain < 2.0, "above 0, below 2")?;
    Ok(target + (1.0 - gain).powf(f64::from(trials)) * (start - target))
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::assert_close;
    use super::*;

    /// Forgetting in small steps dR = −R dt/S, and a recall when the target is reached.
    #[test]
    fn recalls_are_due_when_the_target_is_reached() {
        let memory = SpacedRepetition::new(3.0, 1.7).unwrap();
        let (width, target) = (1e-5, 0.8);
        let mut stability = 3.0;
        for (recalls, interval) in (0..4).zip(memory.intervals(target).unwrap()) {
            let (mut retention, mut steps) = (1.0, 0u32);
            while retention > target {
                // The midpoint rule.
                retention -= retention * (width - 0.5 * width * width / stability) / stability;
                steps += 1;
            }
            assert!((f64::from(steps) * width - interval).abs() <= 1.01 * width, "{interval}");
            assert_close(memory.retention(recalls, interval).unwrap(), target, 1e-14);
            stability *= 1.7;
        }
    }

    #[test]
    fn trials_are_those_of_the_recursion() {
        for gain in [0.1, 0.5, 1.0, 1.9] {
            for trials in [0, 1, 2, 7] {
                let stepped = (0..trials).fold(5.0, |c, _| c - gain * (c + 3.0));
                assert_close(adapt(5.0, -3.0, gain, trials).unwrap(), stepped, 1e-14);
            }
        }
    }

    #[test]
    fn arguments_are_checked() {
        assert_eq!(SpacedRepetition::new(0.0, 2.0).unwrap_err().field, "stability");
        assert_eq!(SpacedRepetition::new(1.0, 0.5).unwrap_err().field, "growth");
        let memory = SpacedRepetition::new(1.0, 2.0).unwrap();
        assert_eq!(memory.retention(0, f64::NAN).unwrap_err().field, "time");
        assert_eq!(memory.intervals(1.0).map(drop).unwrap_err().field, "target");
        for gain in [0.0, 2.0, f64::NAN] {
            assert_eq!(adapt(0.0, 1.0, gain, 1).unwrap_err().field, "gain");
        }
        assert_eq!(adapt(f64::NAN, 1.0, 0.5, 1).unwrap_err().field, "start");
        assert_eq!(adapt(0.0, f64::INFINITY, 0.5, 1).unwrap_err().field, "target");
    }
}
