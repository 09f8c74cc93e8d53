//! Training in half precision: loss scaling, master weights, and a cap on the rate.
//!
//! [`LearnerBuilder::half_precision`](crate::LearnerBuilder::half_precision) sets up all of this; the model's
//! `TrainStep::step` changes only one line, to `loss.scaled_backward()`: see
//! [`ScaledBackward`](crate::ScaledBackward). Use [`MasterWeights`] alone with your own `ModuleOptimizer`.

mod cast;
mod half;
mod inputs;
mod master;

pub use anneal_config::{HalfDtype, HalfPrecision};
pub use anneal_control::{
    LossScaler, LossScalerState, LossScaling, NoRoom, OutOfRange, OverflowCap, OverflowLimiter,
    OverflowLimiterState, ScaledUpdate, ScalingError,
};
pub use cast::{to_precision, to_precision_except};
pub use half::PrecisionError;
pub(crate) use half::{cast_to_half, float_dtype};
pub(crate) use inputs::{Casts, OwnCast, own_cast};
pub(crate) use master::{MASTER, current};
pub use master::{MasterState, MasterWeights, with_master_weights};
