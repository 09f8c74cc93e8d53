//! Momentum that follows the run: schedules for SGD's momentum and Adam's β₁, and policies for the
//! velocity at rate drops.
//!
//! Burn's optimizers have a fixed momentum and get only the rate, but their state does not depend on the
//! momentum. So [`ScheduledMomentum`] makes a new optimizer for each update, with Burn's own maths, state
//! and record. [`ScheduledAdam`] is Adam with its bias correction in f64 and a choice of its factors;
//! [`RateInsideSgd`] is SGD with the rate inside its buffer, which Burn does not have, and which
//! [`RateDrop`] applies to.
//!
//! Give the schedules to [`LearnerBuilder::momentum`](crate::LearnerBuilder::momentum) or
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
