//! Closed-loop control of training: what answers to what an update showed.
//!
//! A schedule knows only the step; a [`Controller`] hears an [`Observation`] of each update, and the
//! [metrics](EpochMetrics) of each epoch, and answers with a
//! factor or a cap on the rate, a factor on the gradients, a skip, or the scale of the next loss. All of them are
//! state machines on plain numbers: no tensors, no clock, no Burn. Their state is what a checkpoint saves.
//!
//! - [`LossScaler`]: the scale of the loss in half-precision training, torch's `GradScaler`.
//! - [`RateLimiter`]: a cap on the rate, so that the next scaled gradient does not overflow.
//! - [`FiniteGuard`]: skips updates that are not finite, or stops.
//! - [`Cooldown`]: half the rate for a while after a loss that is not finite; the pattern for one of your own.
//!
//! [`Controllers`] puts several together.

mod controller;
mod controllers;
mod cooldown;
mod error;
mod finite_guard;
mod loss_scaler;
mod metrics;
mod observation;
mod rate_cap;

pub use controller::{
    Answer, BatchAgain, BatchChange, Controller, EpochSeen, Event, LossScale, Needs, Seen, Stop,
};
pub use controllers::{Controllers, MissingMetric, RestoreError, SavedControllers, Stopped};
pub use cooldown::Cooldown;
pub use error::ControlError;
pub use finite_guard::{FiniteGuard, FiniteGuardState};
pub use loss_scaler::{LossScaler, LossScalerState, LossScaling, ScaledUpdate, ScalingError};
pub use metrics::{EpochMetrics, MetricOf, Split};
pub use observation::Observation;
pub use rate_cap::{NoRoom, RateCap, RateLimiter, RateLimiterState};
