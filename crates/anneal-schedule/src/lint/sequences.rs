//! Jumps between consecutive parts.

use super::structure::Stretch;
use super::{Code, Finding};
use crate::PiecewiseConstant;
use crate::curve::{Inner, Rate};

/// The factor by which a rate may change in one update. A drop to a hundredth is known from fine-tuning, a
/// rise to ten times from the first deep residual networks.
const JUMP: f64 = 100.0 * (1.0 + 1e-9);

impl Stretch<'_> {
    pub(super) fn jump(&self, parts: &[Inner<'_>]) -> Option<Finding> {
        let used = parts.iter().filter(|part| part.length > 0);
        let used: Vec<(u64, f64)> = used.map(|part| (part.start, part.node.peak())).collect();
        self.jump_between(&used)
    }

    pub(super) fn leap(&self, piecewise: &PiecewiseConstant<u64>) -> Option<Finding> {
        let starts = [0].into_iter().chain(piecewise.boundaries.iter().copied());
        let levels: Vec<(u64, f64)> = starts.map(|start| (start, self.node.rate(start))).collect();
        self.jump_between(&levels)
    }

    /// Checks consecutive parts, given their starts and peaks. A part that starts as high as any earlier one
    /// is a restart, and so is one that starts low and rises to an earlier level.
    fn jump_between(&self, parts: &[(u64, f64)]) -> Option<Finding> {
        let highest = |parts: &[(u64, f64)]| parts.iter().map(|part| part.1).fold(0.0, f64::max);
        let jumps = |&(index, start): &(usize, u64)| {
            let (before, after) = (highest(&parts[..index]), highest(&parts[index..]));
            let up = before > 0.0 && self.node.rate(start) > JUMP * before;
            let down = after > 0.0 && self.node.rate(start - 1) > JUMP * after;
            up || down
        };
        let starts = parts.iter().map(|part| part.0).enumerate();
        let inside = starts.filter(|&(_, start)| start > 0 && start < self.length);
        let (_, start) = inside.into_iter().find(jumps)?;
        let (before, after) = (self.node.rate(start - 1), self.node.rate(start));
        self.finding(
            Code::SuddenJump,
            Some(start),
            format!("the rate jumps from {before:.3e} to {after:.3e} in one update"),
            "check the exponents of both parts; use a warm-up to make a rise gradual",
        )
    }
}
