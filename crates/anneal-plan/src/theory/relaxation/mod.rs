//! Decays elsewhere: relaxation with several times or with a power law, and two models of learning.

mod learning;
mod mittag_leffler;
mod peeling;
mod spectrum;

pub use learning::{SpacedRepetition, adapt};
pub use mittag_leffler::{mittag_leffler, power_law_relaxation};
pub use peeling::{ExponentialDecay, TwoExponentials, peel};
pub use spectrum::{RelaxationSpectrum, relaxation_spectrum};

use super::check::finite;
use crate::OutOfRange;

/// Checks the (time, value) points of a curve: finite, and in order of time.
fn check_curve(curve: &[(f64, f64)]) -> Result<(), OutOfRange> {
    let mut last = f64::NEG_INFINITY;
    for &(time, value) in curve {
        finite("value", value)?;
        let later = time.is_finite() && time > last;
        OutOfRange::require("time", time, later, format!("above the time before, {last:?}"))?;
        last = time;
    }
    Ok(())
}
