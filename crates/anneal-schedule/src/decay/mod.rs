//! Weight decay that keeps its intended strength while the rate changes: w ← (1 − d_t) w with a share d_t set
//! by a [`Policy`].
//!
//! | policy | d_t | ω from a time scale τ | unaffected by … |
//! | --- | --- | --- | --- |
//! | [`Coupled`](Policy::Coupled) | η_t ω | 1/(η₀ τ) | nothing: it fades with the rate |
//! | [`Independent`](Policy::Independent) | ω | 1/τ | any change of the rate |
//! | [`Relative`](Policy::Relative) | ω η_t/η₀ | 1/τ | tuning of the peak rate |
//! | [`Corrected`](Policy::Corrected) | ω η_t²/η₀ | 1/(η₀ τ) | the rate, for the relative update of weights before a normalization |
//!
//! η_t is the rate of update t, and η₀ the peak rate. The coefficient ω may be a number, a schedule, or a
//! time scale: the number of updates at the peak rate after which a weight without a gradient has shrunk to
//! 1/e.

mod file;
mod shrinkage;
mod weight_decay;

pub use shrinkage::{Shrinkage, peak_rate};
pub use weight_decay::{Policy, Strength, WeightDecay};
