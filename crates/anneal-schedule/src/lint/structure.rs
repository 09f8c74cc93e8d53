//! Findings about the parts of a schedule, each over the updates it is used for.

use super::{Code, Finding, Severity};
use crate::analysis::Window;
use crate::curve::{Inner, Rate};
use crate::{AfterEnd, Cosine, ScheduleConfig, WarmRestarts};

/// A change of the rate below this share does not count.
pub(super) const NOTHING: f64 = 0.01;

/// How far above its end a cycle may be cut off, as a share of its height.
const CUT: f64 = 0.1;

/// A part of the schedule, in updates of the run.
pub(super) struct Stretch<'a> {
    pub(super) node: &'a ScheduleConfig<u64>,
    /// The update of the run at which it starts.
    pub(super) start: u64,
    /// The number of updates it is used for, at least 1.
    pub(super) length: u64,
    /// The number of updates of the whole run.
    pub(super) run: u64,
    /// The number of updates per epoch, if known.
    pub(super) epoch: Option<u64>,
}

pub(super) fn findings(window: &Window<'_>) -> Vec<Finding> {
    let schedule = window.schedule();
    let run = window.steps();
    // After its run a schedule holds its rate, whatever its parts would do.
    let length = schedule.length().map_or(run, |updates| updates.min(run));
    let epoch = schedule.run().updates_per_epoch();
    let whole = Stretch { node: schedule.node(), start: 0, length, run, epoch };
    let mut findings = vec![];
    whole.visit(&mut findings);
    findings
}

impl Stretch<'_> {
    fn visit(&self, findings: &mut Vec<Finding>) {
        let inner = self.node.inner();
        let own = match self.node {
            ScheduleConfig::Warmup(warmup) => self.warmup(warmup),
            ScheduleConfig::WarmRestarts(restarts) => self.restarts(restarts),
            ScheduleConfig::Repeat(repeat) => self.repeat(repeat),
            ScheduleConfig::Cyclic(cyclic) => self.cyclic(cyclic),
            ScheduleConfig::Floor(floor) => self.floor(floor),
            ScheduleConfig::Cosine(cosine) => self.cosine(cosine),
            ScheduleConfig::StepDecay(_) | ScheduleConfig::MultiStep(_) => self.decay(),
            ScheduleConfig::Exponential(exponential) => {
                self.in_epochs(exponential).or_else(|| self.decay())
            }
            ScheduleConfig::Sequence(_) => self.jump(&inner),
            ScheduleConfig::PiecewiseConstant(piecewise) => self.leap(piecewise),
            _ => None,
        };
        let is_curve = inner.is_empty();
        let found = self.in_updates(&inner).or(own);
        findings.extend(found.or_else(|| is_curve.then(|| self.ends_early())?));
        for Inner { node, start, length } in inner {
            let length = length.min(self.length.saturating_sub(start));
            if length > 0 {
                Stretch { node, start: self.start + start, length, ..*self }.visit(findings);
            }
        }
    }

    pub(super) fn finding(
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
    pub(super) fn begin(&self) -> Option<u64> {
        (self.start > 0).then_some(0)
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
            "shorten the interval between its drops or its half-life, or use a constant",
        )
    }

    fn cosine(&self, cosine: &Cosine<u64>) -> Option<Finding> {
        // With more than half a wave the rise is intended.
        if cosine.after != AfterEnd::Continue || cosine.cycles > 0.5 {
            return None;
        }
        let bottom = cosine.cycle_end(0)?;
        let (lowest, last) = (cosine.rate(bottom), self.length - 1);
        // A whole wave has passed at the top, half of it at the bottom.
        let top = (bottom as f64 * 2f64.powf(cosine.k.recip())).ceil();
        let highest = if last as f64 >= top { cosine.peak } else { cosine.rate(last) };
        if last <= bottom || highest <= lowest + CUT * (cosine.peak - lowest) {
            return None;
        }
        self.finding(
            Code::RisesAgain,
            Some(bottom),
            format!(
                "the cosine ends after {bottom} of {} updates and rises again, to {highest:.3e}",
                self.length
            ),
            "make it as long as the run, let it hold its end, or use warm restarts; a length without a \
             unit counts updates, not epochs",
        )
    }

    fn restarts(&self, restarts: &WarmRestarts<u64>) -> Option<Finding> {
        self.no_restart(restarts)
            .or_else(|| self.flat_restart(restarts))
            .or_else(|| self.short_cycle(restarts))
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

    /// Peaks only fall, so if any restart fails to raise the rate, the last one does.
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
            "lower the end, lengthen the cycle, slow the decay of the peak, or limit the cycles",
        )
    }

    /// The last update of this part that belongs to a cycle.
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
            "choose cycles that fill the run, or limit their number and add a decay after them",
        )
    }
}
