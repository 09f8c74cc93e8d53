//! Warm-ups that are too long, too short, or redundant.

use super::structure::Stretch;
use super::{Code, Finding};
use crate::curve::Rate;
use crate::error::counted;
use crate::{ScheduleConfig, Warmup};

impl Stretch<'_> {
    pub(super) fn warmup(&self, warmup: &Warmup<u64>) -> Option<Finding> {
        let length =
            self.vanished(warmup).or_else(|| self.long(warmup)).or_else(|| self.short(warmup));
        length.or_else(|| self.double(warmup))
    }

    fn vanished(&self, warmup: &Warmup<u64>) -> Option<Finding> {
        if warmup.length > 0 {
            return None;
        }
        self.finding(
            Code::WarmupRoundsToZero,
            Some(0),
            format!("the warm-up rounds to 0 of {} updates, so there is none", self.run),
            "give its length in updates, or omit it",
        )
    }

    fn long(&self, warmup: &Warmup<u64>) -> Option<Finding> {
        if warmup.length <= self.run - warmup.length.min(self.run) {
            return None;
        }
        self.finding(
            Code::WarmupLongerThanHalf,
            Some(0),
            format!("the warm-up takes {} of {} updates", warmup.length, self.run),
            "shorten the warm-up: 1 % to 10 % of the run is usual",
        )
    }

    fn short(&self, warmup: &Warmup<u64>) -> Option<Finding> {
        let length = warmup.length;
        let epochs = self.epochs_meant(length, false)?;
        self.finding(
            Code::LooksLikeEpochs,
            Some(0),
            format!(
                "the warm-up takes {}, a small part of one of {epochs} epochs",
                counted(length, "updates")
            ),
            &format!("write .warmup({length}ep) if epochs are meant"),
        )
    }

    fn double(&self, warmup: &Warmup<u64>) -> Option<Finding> {
        let other = rises(&warmup.schedule)?;
        self.finding(
            Code::DoubleWarmup,
            Some(0),
            format!("the warm-up of {} updates leads to {other}", warmup.length),
            "remove one of them",
        )
    }
}

/// The rise of a schedule from its first update, in words.
fn rises(node: &ScheduleConfig<u64>) -> Option<String> {
    match node {
        ScheduleConfig::Warmup(warmup) if warmup.length > 0 => {
            Some(format!("another warm-up of {} updates", warmup.length))
        }
        ScheduleConfig::OneCycle(cycle) if cycle.pct_start > 0.0 => {
            Some("a one-cycle schedule, which has its own warm-up".into())
        }
        ScheduleConfig::Noam(_) => Some("a Noam schedule, which has its own warm-up".into()),
        ScheduleConfig::Polynomial(line) if line.start < line.end => {
            Some(format!("a rise from {:.3e} to {:.3e}", line.start, line.end))
        }
        _ => {
            let mut first =
                node.inner().into_iter().filter(|inner| inner.start == 0 && inner.length > 0);
            first.find_map(|inner| rises(inner.node))
        }
    }
}
