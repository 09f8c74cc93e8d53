//! Training in half precision: loss scaling, master weights, and a cap on the rate.
//!
//! In a learner, [`LearnerBuilder::half_precision`](crate::LearnerBuilder::half_precision) does all of it, and
//! the model's `TrainStep::step` has one changed line: `loss.scale_loss().backward()`, see [`ScaleLoss`]. In a
//! loop of one's own, [`GradScaler`] and [`MasterWeights`] are what torch's `GradScaler` and Apex's O2 are.

mod batches;
mod cast;
mod grad_scaler;
mod gradients;
mod keeper;
mod master;
mod metric;
mod pass;
mod reports;
mod scaling;
mod summary;

pub use anneal_control::{
    BatchChange, CappedUpdate, ControlError, LossScaler, LossScalerState, LossScaling, Observation,
    RateCap, RateLimiter, RateLimiterState, ScaledUpdate, ScalingError,
};
pub use cast::{to_precision, to_precision_except};
pub use grad_scaler::GradScaler;
pub use master::{MasterState, MasterWeights, with_master_weights};
pub use metric::ScalingMetric;
pub use pass::ScaleLoss;
pub use scaling::OnSkip;
pub use summary::{ScalingFailure, ScalingSummary};

pub(crate) use batches::{CopyItem, copy_of};
pub(crate) use cast::{has_half_parameters, in_f32, precisions};
pub(crate) use gradients::in_f32_gradients;
pub(crate) use keeper::{Kept, keeping, kept};
pub(crate) use reports::{Report, Reports};
pub(crate) use scaling::{Scaling, Trained};
