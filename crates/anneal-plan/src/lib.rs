//! Planning a run: what a range test shows, and searches over trials. Plain numbers, without Burn.
//!
//! - [`Sweep`] has the rates of a range test, [`RangeTests`] what it showed, with a [`Verdict`] on whether that says anything.
//! - [`FirstRate`] bisects for the largest stable rate, [`WarmupAdvice`] says how long a warm-up it asks for, and [`TwoSteps`],
//!   [`mean_curvature`] and [`RangeTest::curvature`] what losses say of the curvature.
//! - [`Search`] looks for the values of hyperparameters in a [`Space`]: at random, evenly, on a grid, or where a Gaussian
//!   process hopes for most ([`UpperConfidence`]). [`Halving`] stops bad trials early; a file makes it resumable.
//! - [`Target`] says how many trials it takes to hit a good interval.
//! - [`GaussianProcess`] and [`Sobol`] are what a search is made of, for use alone.

mod curvature;
mod error;
mod picture;
mod range_test;
mod search;
mod warmup;

pub use curvature::{SweepCurvature, TwoSteps, curvature_of_step, mean_curvature};
pub use error::PlanError;
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
