//! Floors above an end, and floors that hold the rate flat.

use super::structure::Stretch;
use super::{Code, Finding, Severity};
use crate::curve::{Rate, pieces::leading};
use crate::{Floor, ScheduleConfig};

/// The share of updates that a floor may hold flat without a finding.
const FLAT: f64 = 0.01;

impl Stretch<'_> {
    pub(super) fn floor(&self, floor: &Floor<u64>) -> Option<Finding> {
        let (end, length) = falls_to(&floor.schedule)?;
        if end == 0.0 {
            return self.flat(floor, length.min(self.length));
        }
        if floor.floor <= end {
            return None;
        }
        self.finding(
            Code::UnreachableEnd,
            self.begin(),
            format!("the end {end:.3e} lies below the floor {:.3e}", floor.floor),
            "lower the floor, or end at it",
        )
    }

    /// Checks the floor under a curve that falls over `length` updates.
    fn flat(&self, floor: &Floor<u64>, length: u64) -> Option<Finding> {
        // A rate of exactly the floor may be slightly above it in f64.
        let floored = floor.floor * (1.0 + 1e-9);
        let flat = leading(length, |back| self.node.rate(length - 1 - back) <= floored);
        if flat <= 1 || flat as f64 <= FLAT * length as f64 {
            return None;
        }
        let finding = self.finding(
            Code::FlatFloor,
            Some(length - flat),
            format!(
                "the floor holds the rate at {:.3e} for the last {flat} of {length} updates",
                floor.floor
            ),
            &format!(
                "write .end({:e}) to scale the curve so that it ends there, unless the flat part is intended",
                floor.floor
            ),
        )?;
        Some(Finding { severity: Severity::Note, ..finding })
    }
}

/// The end of a curve with an `.end(…)`, and the updates until it is reached.
fn falls_to(node: &ScheduleConfig<u64>) -> Option<(f64, u64)> {
    match node {
        ScheduleConfig::Cosine(curve) => Some((curve.end, curve.length)),
        ScheduleConfig::Polynomial(curve) if curve.start > curve.end => {
            Some((curve.end, curve.length))
        }
        ScheduleConfig::StableDecay(curve) => Some((curve.end, curve.length)),
        ScheduleConfig::OneCycle(curve) => Some((curve.end.unwrap_or(0.0), curve.length)),
        ScheduleConfig::Tanh(curve) => Some((curve.end, curve.length)),
        ScheduleConfig::WarmRestarts(curve) => Some((curve.end, curve.cycle)),
        ScheduleConfig::Warmup(warmup) => {
            let (end, length) = falls_to(&warmup.schedule)?;
            Some((end, length.saturating_add(warmup.shift())))
        }
        _ => None,
    }
}
