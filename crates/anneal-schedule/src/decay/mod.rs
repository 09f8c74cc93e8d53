//! Weight decay that stays what was meant while the rate moves: w ← (1 − d_t) w with a share d_t that a
//! [`Policy`] says.
//!
//! | policy | d_t | ω from a time scale τ | stays the same when … |
//! | --- | --- | --- | --- |
//! | [`Coupled`](Policy::Coupled) | η_t ω | 1/(η₀ τ) | nothing does: it fades with the rate |
//! | [`Independent`](Policy::Independent) | ω | 1/τ | the rate changes in any way |
//! | [`Relative`](Policy::Relative) | ω η_t/η₀ | 1/τ | the peak rate is tuned |
//! | [`Corrected`](Policy::Corrected) | ω η_t²/η₀ | 1/(η₀ τ) | for weights before a normalization: their relative update |
//!
//! η_t is the rate of update t, and η₀ the peak rate. A coefficient ω may be a number, a schedule, or a
//! time scale: the number of updates over which a weight without a gradient shrinks to 1/e at the peak
//! rate.

mod file;
mod shrinkage;
mod weight_decay;

pub use shrinkage::{Shrinkage, peak_rate};
pub use weight_decay::{Policy, Strength, WeightDecay};
