//! Searches over hyperparameters: what they try, and what they learn.

mod censored;
mod description;
mod error;
mod gaussian_process;
mod halving;
mod hits;
mod sample;
mod sobol;
mod space;
mod strategy;
mod study;
mod surrogate;
#[cfg(feature = "plots")]
mod surrogate_picture;
mod table;
mod trials;
mod upper_confidence;

pub use description::{Direction, Search};
pub use error::SearchError;
pub use gaussian_process::{GaussianProcess, Kernel, Posterior, Prediction};
pub use halving::Halving;
pub use hits::Target;
pub use sobol::Sobol;
pub use space::{Axis, Scale, Space, Values};
pub use strategy::Strategy;
pub use study::{Next, Study, Trial};
pub use surrogate::Surrogate;
pub use trials::{Status, TrialRecord};
pub use upper_confidence::UpperConfidence;
