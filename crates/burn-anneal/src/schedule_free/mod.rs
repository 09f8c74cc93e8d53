//! Schedule-free training: an average inside the optimizer takes the place of a decay of the rate.
//!
//! A rate that falls averages the noise of the last updates away, but has to know when the run ends. Here the
//! optimizer keeps the average itself, at a constant rate, so that the weights that are evaluated are good at any
//! time. [`ScheduleFree`] is the optimizer. The model holds the weights at which gradients are taken;
//! [`averaged()`] gives the ones to evaluate, to save and to use.

mod averaged;
mod fall;
mod optimizer;
mod progress;
mod second_moment;
mod state;

pub use averaged::averaged;
pub use optimizer::{ScheduleFree, ScheduleFreeConfig};
pub use second_moment::{SecondMoment, SecondMomentState};
pub use state::ScheduleFreeState;

pub(crate) use fall::{Fall, first_fall};
