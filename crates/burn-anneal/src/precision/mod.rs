//! Training in half precision: loss scaling, master weights, and a cap on the rate.
//!
//! [`LearnerBuilder::half_precision`](crate::LearnerBuilder::half_precision) does all of it, and the model's
//! `TrainStep::step` has one changed line: `loss.scaled_backward()`, see
//! [`ScaledBackward`](crate::ScaledBackward). [`MasterWeights`] alone are for a `ModuleOptimizer` of one's own.

mod cast;
mod half;
mod inputs;
mod master;

pub use anneal_control::{
    LossScaler, LossScalerState, LossScaling, NoRoom, OutOfRange, OverflowCap, OverflowLimiter,
    OverflowLimiterState, ScaledUpdate, ScalingError,
};
pub use cast::{to_precision, to_precision_except};
pub use half::{HalfPrecision, PrecisionError};
pub(crate) use inputs::{Casts, OwnCast, own_cast};
pub use master::{MasterState, MasterWeights, with_master_weights};
