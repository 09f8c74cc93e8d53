//! The noise, or the number of updates, that spends a given ε.

use super::PrivacyAccountant;
use crate::OutOfRange;

/// The noise multipliers searched, as powers of 4: none below the first or above the second.
const LEAST: f64 = 1.0 / 1_024.0;
const MOST: f64 = 1_099_511_627_776.0;

impl PrivacyAccountant {
    /// The smallest noise multiplier, to nine digits, for which `steps` updates at this sampling rate stay
    /// within ε at this δ: to choose before training. Found by bisection.
    ///
    /// # Errors
    /// [`OutOfRange`] for an ε that is not finite and above 0, or that no noise multiplier from 1/1024 to 2⁴⁰
    /// attains; no updates; a rate or δ out of range.
    pub fn noise_multiplier_for(
        epsilon: f64,
        delta: f64,
        sampling_rate: f64,
        steps: u64,
    ) -> Result<f64, OutOfRange> {
        check_epsilon(epsilon)?;
        OutOfRange::require("steps", steps, steps >= 1, "at least 1")?;
        let within = |noise: f64| {
            let spent = Self::new(noise, sampling_rate)?.epsilon_after(steps, delta)?;
            Ok(spent <= epsilon)
        };
        // Too little noise, and enough noise.
        let (mut little, mut enough) = (1.0, 1.0);
        while !within(enough)? {
            (little, enough) = (enough, enough * 4.0);
            let allowed = "attainable with a noise multiplier of at most 2⁴⁰";
            OutOfRange::require("epsilon", epsilon, enough <= MOST, allowed)?;
        }
        while little == enough || within(little)? {
            (little, enough) = (little / 4.0, little);
            let allowed = "attainable with a noise multiplier of at least 1/1024";
            OutOfRange::require("epsilon", epsilon, little >= LEAST, allowed)?;
        }
        while enough - little > 1e-9 * enough {
            let middle = 0.5 * (little + enough);
            match within(middle)? {
                true => enough = middle,
                false => little = middle,
            }
        }
        Ok(enough)
    }

    /// The number of further updates, at the current noise and sampling rate, that keep ε at or below this at
    /// this δ: 0 if it is spent, `u64::MAX` if that many do.
    ///
    /// # Errors
    /// [`OutOfRange`] for an ε that is not finite and above 0, or a δ that is not above 0 and below 1.
    pub fn steps_within(&self, epsilon: f64, delta: f64) -> Result<u64, OutOfRange> {
        check_epsilon(epsilon)?;
        let within = |steps: u64| Ok(self.epsilon_after(steps, delta)? <= epsilon);
        let (mut fit, mut beyond) = (0, 1);
        while within(beyond)? {
            if beyond == u64::MAX {
                return Ok(u64::MAX);
            }
            (fit, beyond) = (beyond, beyond.saturating_mul(2));
        }
        while beyond - fit > 1 {
            let middle = fit + (beyond - fit) / 2;
            match within(middle)? {
                true => fit = middle,
                false => beyond = middle,
            }
        }
        Ok(fit)
    }
}

fn check_epsilon(epsilon: f64) -> Result<(), OutOfRange> {
    let ok = epsilon > 0.0 && epsilon.is_finite();
    OutOfRange::require("epsilon", epsilon, ok, "finite, above 0")
}
