//! Differentially private training: DP-SGD in a loop of one's own.
//!
//! ```text
//! a sample, each item drawn for itself           loader.rs
//!    │  for each item: forward, backward
//!    │  clipped to C, and summed                  sum.rs
//!    │  + noise of deviation σC, once, ÷ B        sum.rs, secret.rs
//!    ▼
//! the update of every other loop                  training.rs, update/
//! ```

mod description;
mod loader;
mod norms;
mod secret;
mod sum;
mod training;

pub use description::{BestRate, DifferentialPrivacy};
pub use loader::PoissonLoader;
pub use training::PrivateLoop;

pub(crate) use norms::batch_norm;
pub(crate) use secret::Secret;
