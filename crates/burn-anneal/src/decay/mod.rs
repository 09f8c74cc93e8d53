//! Weight decay for any of Burn's optimizers that stays what was meant while the rate moves.
//!
//! [`WeightDecay`] says what is meant. In a learner,
//! [`LearnerBuilder::weight_decay`](crate::LearnerBuilder::weight_decay) takes it; in groups,
//! [`GroupsConfig::weight_decay`](crate::groups::GroupsConfig::weight_decay); [`Decayed`] is a bare
//! optimizer of Burn's that has it, for everything else.

mod error;
mod optimizer;
mod own;

pub use crate::schedule::decay::{Policy, Shrinkage, Strength, WeightDecay};
pub use error::DecayError;
pub use optimizer::{Decayed, DecayedError};
pub use own::TakeWeightDecay;
