//! Momentum that follows the run: schedules for SGD's momentum and Adam's β₁, and what happens to it
//! where the rate drops.
//!
//! Burn's optimizers fix their momentum when they are made, and are told only the rate. But their state
//! does not know it, so [`ScheduledMomentum`] makes one anew for each update, with Burn's own maths, state
//! and record. [`ScheduledAdam`] is Adam with the factors of its bias correction in f64 and a choice of
//! them; [`RateInsideSgd`] is SGD with the rate inside its buffer, which Burn has not, and for which
//! [`RateDrop`] is.
//!
//! The schedules are given to [`LearnerBuilder::momentum`](crate::LearnerBuilder::momentum), or to
//! [`GroupsConfig::momentum`](crate::groups::GroupsConfig::momentum).

mod adam;
mod error;
mod rate_inside;
mod scheduled;

pub use crate::schedule::{DropEffect, RateDrop};
pub use adam::{ScheduledAdam, ScheduledAdamConfig, ScheduledAdamState};
pub(crate) use error::check_momentum;
pub use rate_inside::{RateInsideSgd, RateInsideState};
pub use scheduled::ScheduledMomentum;
