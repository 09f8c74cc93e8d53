//! The privacy spent by differentially private training, and its budget.

mod accountant;
mod budget;
mod conversion;
mod inverse;
mod normal;
mod private_rate;
mod private_step;
mod sampled_gaussian;

pub use accountant::PrivacyAccountant;
pub use budget::PrivacyBudget;
pub use private_rate::PrivateRate;
pub use private_step::PrivateStep;

use crate::OutOfRange;

fn check_noise_multiplier(noise_multiplier: f64) -> Result<(), OutOfRange> {
    let ok = noise_multiplier > 0.0 && noise_multiplier.is_finite();
    let allowed = "finite, above 0: without noise nothing is private";
    OutOfRange::require("noise_multiplier", noise_multiplier, ok, allowed)
}

#[cfg(test)]
mod tests;
