//! Planning a run: what a range test shows, and searches over trials. Plain numbers, without Burn.

mod curvature;
mod error;
mod picture;
mod range_test;
mod warmup;

pub use curvature::{SweepCurvature, TwoSteps, curvature_of_step, mean_curvature};
pub use error::PlanError;
pub use range_test::{
    Apart, Divergence, Ended, Fall, Interval, NothingSeen, Point, RangeTest, RangeTests, Rule,
    Smooth, Sweep, SweepShape, Sweeping, Verdict,
};
pub use warmup::{FirstRate, FoundRate, LargestStable, StableAt, Warmup, WarmupAdvice};
