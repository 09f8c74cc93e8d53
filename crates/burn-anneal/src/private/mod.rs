//! Differentially private training: DP-SGD in a custom loop.
//!
//! ```text
//! a sample, each item drawn independently        loader.rs
//!    │  for each item: forward, backward
//!    │  clipped to C, and summed                  sum.rs
//!    │  + noise of deviation σC, once, ÷ B        sum.rs, secret.rs
//!    ▼
//! an update, as in every other loop               training.rs, update/
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
