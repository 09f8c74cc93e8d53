//! Weight decay for any of Burn's optimizers that keeps its intended strength while the rate changes.
//!
//! [`WeightDecay`] describes it. Give it to
//! [`LearnerBuilder::weight_decay`](crate::LearnerBuilder::weight_decay) in a learner, or to
//! [`GroupsConfig::weight_decay`](crate::groups::GroupsConfig::weight_decay) in groups; elsewhere,
//! [`Decayed`] adds it to one of Burn's bare optimizers.

mod error;
mod optimizer;
mod own;

pub use crate::schedule::decay::{Policy, Shrinkage, Strength, WeightDecay};
pub use error::DecayError;
pub use optimizer::{Decayed, DecayedError};
pub use own::TakeWeightDecay;
