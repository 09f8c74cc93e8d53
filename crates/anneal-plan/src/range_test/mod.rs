//! The learning-rate range test: a sweep of rates, what rules read from its losses, and whether it is
//! meaningful.

mod points;
mod rules;
mod seeds;
#[cfg(feature = "plots")]
mod seeds_picture;
mod smooth;
mod sweep;
#[cfg(test)]
mod synthetic;
mod verdict;

#[cfg(test)]
pub(crate) use synthetic::Normal;

pub use points::{Point, RangeTest, Sweeping};
pub use rules::Rule;
pub use seeds::{Interval, RangeTests};
pub use smooth::Smooth;
pub use sweep::{Divergence, Ended, Sweep, SweepShape};
pub use verdict::{Apart, Fall, NothingSeen, Verdict};
