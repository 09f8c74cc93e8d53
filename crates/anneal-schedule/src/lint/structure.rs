//! What the parts of a schedule show, each over the updates that it is used for.

use super::{Code, Finding, Severity};
use crate::analysis::Window;
use crate::curve::{Inner, Rate};
use crate::{AfterEnd, Cosine, Floor, Node, WarmRestarts, Warmup};

/// A change of the rate below this share is none.
const NOTHING: f64 = 0.01;

/// How far from its end a cycle may be cut off, as a share of its height.
const CUT: f64 = 0.1;

/// A part of the schedule, in updates of the run.
struct Stretch<'a> {
    node: &'a Node<u64>,
    /// The update of the run at which it begins.
    start: u64,
    /// The updates that it is used for, at least 1.
    length: u64,
    /// The updates of the whole run.
    run: u64,
}

pub(super) fn findings(window: &Window<'_>) -> Vec<Finding> {
    let schedule = window.schedule();
    let run = window.steps();
    // Beyond its run a schedule holds its rate, whatever its parts would do.
    let length = schedule.length().map_or(run, |updates| updates.min(run));
    let whole = Stretch { node: schedule.node(), start: 0, length, run };
    let mut findings = vec![];
    whole.visit(&mut findings);
    findings
}

impl Stretch<'_> {
    fn visit(&self, findings: &mut Vec<Finding>) {
        findings.extend(match self.node {
            Node::Warmup(warmup) => self.warmup(warmup),
            Node::WarmRestarts(restarts) => self.restarts(restarts),
            Node::Floor(floor) => self.floor(floor),
            Node::Cosine(cosine) => self.cosine(cosine),
            Node::StepDecay(_) | Node::MultiStep(_) | Node::Exponential(_) => self.decay(),
            _ => None,
        });
        for Inner { node, start, length } in self.node.inner() {
            let length = length.min(self.length.saturating_sub(start));
            if length > 0 {
                Stretch { node, start: self.start + start, length, run: self.run }.visit(findings);
            }
        }
    }

    fn finding(
        &self,
        code: Code,
        step: Option<u64>,
        message: String,
        change: &str,
    ) -> Option<Finding> {
        let step = step.map(|step| self.start + step);
        Some(Finding { code, severity: Severity::Warning, step, message, change: change.into() })
    }

    /// The first update of this part, unless it is the whole schedule.
    fn begin(&self) -> Option<u64> {
        (self.start > 0).then_some(0)
    }

    fn warmup(&self, warmup: &Warmup<u64>) -> Option<Finding> {
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

    fn decay(&self) -> Option<Finding> {
        let (first, last) = (self.node.rate(0), self.node.rate(self.length - 1));
        if self.length == 1 || (last - first).abs() > NOTHING * first {
            return None;
        }
        self.finding(
            Code::DecayNeverStarts,
            self.begin(),
            format!(
                "the decay leaves the rate {first:.3e} at {last:.3e} over {} updates",
                self.length
            ),
            "shorten the distance between its drops or its half-life, or use a constant",
        )
    }

    fn cosine(&self, cosine: &Cosine<u64>) -> Option<Finding> {
        // More than half a wave is asked for where it has to rise.
        let goes_on = cosine.after == AfterEnd::Continue && cosine.cycles <= 0.5;
        let (lowest, last) = (cosine.rate(cosine.length), cosine.rate(self.length - 1));
        if !goes_on || self.length <= cosine.length || last <= lowest + CUT * (cosine.peak - lowest)
        {
            return None;
        }
        self.finding(
            Code::RisesAgain,
            Some(cosine.length),
            format!(
                "the cosine ends after {} of {} updates and rises again",
                cosine.length, self.length
            ),
            "make it as long as the run, let it hold its end, or use warm restarts",
        )
    }

    fn floor(&self, floor: &Floor<u64>) -> Option<Finding> {
        let end = match &*floor.schedule {
            Node::Cosine(inside) => inside.end,
            Node::Polynomial(inside) => inside.end,
            Node::StableDecay(inside) => inside.end,
            Node::WarmRestarts(inside) => inside.end,
            _ => return None,
        };
        if end == 0.0 || floor.floor <= end {
            return None;
        }
        self.finding(
            Code::UnreachableEnd,
            self.begin(),
            format!("the end {end:.3e} lies below the floor {:.3e}", floor.floor),
            "lower the floor, or end at it",
        )
    }

    fn restarts(&self, restarts: &WarmRestarts<u64>) -> Option<Finding> {
        self.no_restart(restarts)
            .or_else(|| self.flat_restart(restarts))
            .or_else(|| self.cut_off(restarts))
    }

    fn no_restart(&self, restarts: &WarmRestarts<u64>) -> Option<Finding> {
        if restarts.limit != Some(1) && restarts.cycle < self.length {
            return None;
        }
        self.finding(
            Code::RestartResetsNothing,
            self.begin(),
            format!(
                "there is no restart: the first cycle takes {} of {} updates",
                restarts.cycle, self.length
            ),
            "shorten the cycle, or use a cosine",
        )
    }

    /// Peaks only fall, so if any restart raises no rate the last one does not.
    fn flat_restart(&self, restarts: &WarmRestarts<u64>) -> Option<Finding> {
        let raises = |start: u64, peak: f64| {
            let before = restarts.rate(start - 1);
            peak - before > NOTHING * before
        };
        let flat = |step: u64| match restarts.cycle_of(step) {
            Some((start, peak)) => start > 0 && !raises(start, peak),
            None => false,
        };
        let (mut low, mut high) = (restarts.cycle, self.last_cycle(restarts));
        if !flat(high) {
            return None;
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if flat(middle) { high = middle } else { low = middle + 1 }
        }
        self.finding(
            Code::RestartResetsNothing,
            Some(low),
            format!(
                "the restart raises the rate from {:.3e} to {:.3e}",
                restarts.rate(low - 1),
                restarts.rate(low)
            ),
            "lower the end, lengthen the cycle, let the peak fall more slowly, or limit the cycles",
        )
    }

    /// The last update of this part that lies in a cycle.
    fn last_cycle(&self, restarts: &WarmRestarts<u64>) -> u64 {
        let running = |step: u64| restarts.cycle_of(step).is_some();
        // The first cycle always runs.
        let after = crate::curve::pieces::leading(self.length, running);
        after.saturating_sub(1).max(restarts.cycle.min(self.length - 1))
    }

    fn cut_off(&self, restarts: &WarmRestarts<u64>) -> Option<Finding> {
        let (start, peak) = restarts.cycle_of(self.length - 1)?;
        let last = restarts.end_rate(self.length);
        if last <= restarts.end + CUT * (peak - restarts.end) {
            return None;
        }
        self.finding(
            Code::UnreachableEnd,
            Some(self.length - 1),
            format!(
                "the restarts are cut off {} updates into a cycle, at the rate {last:.3e} on the way to {:.3e}",
                self.length - start, restarts.end
            ),
            "choose cycles that fill the run, or limit their number and let a decay follow",
        )
    }
}
