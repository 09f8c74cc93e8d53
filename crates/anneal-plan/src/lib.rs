//! Plans a run with range tests and searches over trials. On plain numbers, without Burn.
//!
//! ```
//! use anneal_plan::Sweep;
//!
//! // In place of a training: a loss that falls around 1e-3 and rises from 0.3 on.
//! let loss = |rate: f64| 1.0 + 1.0 / (1.0 + rate / 1e-3) + (rate / 0.3).powi(4);
//! let test = Sweep::default().run(loss)?;
//! assert!(test.suggestion().is_some_and(|rate| rate > 1e-4 && rate < 1e-1));
//! # Ok::<(), anneal_plan::OutOfRange>(())
//! ```
//!
//! | question | answer |
//! | --- | --- |
//! | Which rate? | [`Sweep`] gives the rates of a range test, [`RangeTests`] the result, with a [`Verdict`] on whether it is meaningful |
//! | How large can the initial rate be, and how long must it warm up? | [`FirstRate`], [`WarmupAdvice`] |
//! | How curved is the loss? | [`TwoSteps`], [`mean_curvature`], [`RangeTest::curvature`] |
//! | Which hyperparameters? | [`Search`] in a [`Space`]: at random, evenly, on a grid, or where a Gaussian process is most promising ([`UpperConfidence`]); [`Halving`] stops bad trials early, and a file makes the search resumable |
//! | How many trials? | [`Target`] |
//! | What do models with exact answers predict of a schedule? | [`theory`] |
//!
//! [`GaussianProcess`] and [`Sobol`] are the building blocks of a search, and can be used alone.
//!
//! | feature | default | what |
//! | --- | --- | --- |
//! | `plots` | yes | pictures of range tests and searches, as SVG and in the terminal |

mod curvature;
#[cfg(test)]
mod guarantees;
mod number;
#[cfg(feature = "plots")]
mod picture;
mod range_test;
mod search;
pub mod theory;
mod warmup;

pub use anneal_schedule::OutOfRange;
pub use curvature::{SweepCurvature, TwoSteps, curvature_of_step, mean_curvature};
pub use range_test::{
    Apart, Divergence, Ended, Fall, Interval, NothingSeen, Point, RangeTest, RangeTests, Rule,
    Smooth, Sweep, SweepShape, Sweeping, Verdict,
};
pub use search::{
    Axis, Direction, GaussianProcess, Halving, Kernel, Next, Posterior, Prediction, Scale, Search,
    SearchError, Sobol, Space, Status, Strategy, Study, Surrogate, Target, Trial, TrialRecord,
    UpperConfidence, Values,
};
pub use warmup::{FirstRate, FoundRate, LargestStable, StableAt, Warmup, WarmupAdvice};

/// The code in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
