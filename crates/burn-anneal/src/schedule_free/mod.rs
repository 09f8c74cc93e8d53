//! Schedule-free training: an average inside the optimizer replaces the decay of the rate.
//!
//! A falling rate averages out the noise of the last updates, but must know when the run ends. Here the optimizer
//! keeps an average at a constant rate, so that the evaluated weights are good at any time. [`ScheduleFree`] is the
//! optimizer. The model holds the weights at which gradients are taken; [`averaged()`] returns the weights to
//! evaluate, save and use.

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
