//! Closed-loop control of training: what answers to what an update showed.
//!
//! A schedule knows only the step; a controller hears an [`Observation`] of each update and answers. All of
//! them are state machines on plain numbers: no tensors, no clock, no Burn. Their state is what a checkpoint
//! saves.
//!
//! - [`LossScaler`]: the scale of the loss in half-precision training, torch's `GradScaler`.
//! - [`RateLimiter`]: a cap on the rate, so that the next scaled gradient does not overflow.
//!
//! ```
//! use anneal_control::{LossScaling, Observation};
//!
//! let mut scaler = LossScaling::new().build()?;
//! assert_eq!(scaler.scale(), 65_536.0);
//! let update = scaler.observe(&Observation { overflow: true, ..Observation::default() })?;
//! assert!(update.is_skipped());
//! assert_eq!(scaler.scale(), 32_768.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod loss_scaler;
mod observation;
mod rate_cap;

pub use error::ControlError;
pub use loss_scaler::{LossScaler, LossScalerState, LossScaling, ScaledUpdate, ScalingError};
pub use observation::Observation;
pub use rate_cap::{BatchChange, CappedUpdate, RateCap, RateLimiter, RateLimiterState};
