//! Lengths given in the wrong unit: updates instead of epochs or a number of repetitions.

use super::structure::{NOTHING, Stretch};
use super::{Code, Finding};
use crate::curve::{Inner, Rate, pieces::leading};
use crate::{Cyclic, Decay, Exponential, Repeat, ScheduleConfig, WarmRestarts};

/// A decay should not end in the first 1/`EARLY` of its part of the run.
const EARLY: u64 = 10;

/// The minimum length for the check of the first tenth.
const FEWEST: u64 = 100;

/// The number of updates of a curve that are checked.
const POINTS: u64 = 64;

/// Periods of up to this many updates could be epochs.
const EPOCHS: u64 = 300;

/// This many periods in a run are hardly intended.
const PERIODS: u64 = 100;

/// A length of 1/`ON_PURPOSE` of an epoch or more is not mistaken for one in epochs.
const ON_PURPOSE: u64 = 20;

impl Stretch<'_> {
    /// The epochs of the run, if a length could be a number of epochs without its unit: not above their number, and below
    /// an epoch if a curve is over then, or else below a twentieth of one.
    pub(super) fn epochs_meant(&self, length: u64, is_end: bool) -> Option<u64> {
        let epoch = self.epoch?;
        let (epochs, most) = (self.run / epoch, if is_end { epoch } else { epoch / ON_PURPOSE });
        (length <= epochs && length < most).then_some(epochs)
    }

    /// Checks for lengths in updates that are numbers of epochs without their unit.
    pub(super) fn in_updates(&self, parts: &[Inner<'_>]) -> Option<Finding> {
        let whole = |length: u64| if length < self.length { vec![length] } else { vec![] };
        let lengths = match self.node {
            ScheduleConfig::Cosine(curve) => whole(curve.length),
            ScheduleConfig::Polynomial(curve) => whole(curve.length),
            ScheduleConfig::Tanh(curve) => whole(curve.length),
            ScheduleConfig::OneCycle(curve) => whole(curve.length),
            ScheduleConfig::StableDecay(curve) => whole(curve.length),
            ScheduleConfig::StepDecay(curve) => whole(curve.every),
            ScheduleConfig::WarmRestarts(curve) => whole(curve.cycle),
            ScheduleConfig::Cyclic(curve) => whole(curve.up),
            ScheduleConfig::MultiStep(curve) => curve.milestones.clone(),
            ScheduleConfig::PiecewiseConstant(curve) => curve.boundaries.clone(),
            ScheduleConfig::PiecewiseInterpolate(curve) => curve.boundaries.clone(),
            // The last part takes the rest.
            ScheduleConfig::Sequence(_) => {
                let but_last = &parts[..parts.len().saturating_sub(1)];
                but_last.iter().map(|part| part.length).collect()
            }
            _ => return None,
        };
        let goes_on = matches!(
            self.node,
            ScheduleConfig::StepDecay(_)
                | ScheduleConfig::WarmRestarts(_)
                | ScheduleConfig::Cyclic(_)
                | ScheduleConfig::Sequence(_)
        );
        let epochs = self.epochs_meant(*lengths.iter().max()?, !goes_on)?;
        // One update is a delay rather than an epoch.
        if lengths.iter().all(|&length| length < 2) {
            return None;
        }
        let (are, written) = match lengths.as_slice() {
            [one] => (format!("the length {one} is"), format!("{one}ep")),
            several => {
                let listed = |unit: &str| {
                    let each: Vec<String> =
                        several.iter().map(|length| format!("{length}{unit}")).collect();
                    each.join(", ")
                };
                (format!("the lengths {} are", listed("")), listed("ep"))
            }
        };
        self.finding(
            Code::LooksLikeEpochs,
            Some(0),
            format!("{are} in updates, a small part of one of {epochs} epochs"),
            &format!("write {written} if epochs are meant"),
        )
    }

    /// Checks for a length of more epochs than the run has, whose number is one of updates in it.
    pub(super) fn in_epochs(&self, exponential: &Exponential<u64>) -> Option<Finding> {
        let (Decay::Factor { per: length, .. } | Decay::HalfLife(length)) = exponential.decay
        else {
            return None;
        };
        let epoch = self.epoch?;
        let (number, epochs) = (length / epoch, self.run / epoch);
        let is_meant = number > epochs && (epoch..self.run).contains(&number);
        if !length.is_multiple_of(epoch) || !is_meant {
            return None;
        }
        self.finding(
            Code::LooksLikeUpdates,
            self.begin(),
            format!("the length of {number} epochs is more than the {epochs} epochs of the run"),
            &format!("write {number} if updates are meant"),
        )
    }

    /// Checks for a curve that falls in the first tenth of its part and nowhere after it.
    pub(super) fn ends_early(&self) -> Option<Finding> {
        if self.length < FEWEST {
            return None;
        }
        let (length, early) = (self.length, self.length.div_ceil(EARLY));
        let (rate, last) = (|step| self.node.rate(step), self.node.rate(length - 1));
        let high = spread(0, early).map(rate).fold(0.0, f64::max);
        // After two drops by 10, a level of exactly a hundredth may be slightly below it in f64.
        let near = NOTHING * high * (1.0 + 1e-9);
        let has_fallen = |step| (rate(step) - last).abs() <= near;
        if last >= (1.0 - NOTHING) * high || !spread(early, length).all(has_fallen) {
            return None;
        }
        let low = if last == 0.0 { "0".into() } else { format!("{last:.3e}") };
        let over = leading(early, |step| !has_fallen(step));
        self.finding(
            Code::EndsEarly,
            Some(over),
            format!(
                "the rate is down from {high:.3e} to about {low} after {over} of {length} updates, and stays \
                 there"
            ),
            "make it longer: a length without a unit counts updates; give epochs (30ep) or a share of \
             the run (50%), or omit the length",
        )
    }

    pub(super) fn repeat(&self, repeat: &Repeat<u64>) -> Option<Finding> {
        self.short_period(
            repeat.every,
            repeat.count,
            "give the length of one repetition in epochs (3ep) or as a share of the run; this many repetitions \
             are .repeat_times(3)",
        )
    }

    pub(super) fn cyclic(&self, cyclic: &Cyclic<u64>) -> Option<Finding> {
        let period = cyclic.up.saturating_add(cyclic.down.unwrap_or(cyclic.up));
        self.short_period(period, None, UNIT)
    }

    pub(super) fn short_cycle(&self, restarts: &WarmRestarts<u64>) -> Option<Finding> {
        // Growing cycles are soon long.
        let is_even = restarts.multiplier == 1.0;
        is_even.then(|| self.short_period(restarts.cycle, restarts.limit, UNIT))?
    }

    fn short_period(&self, period: u64, limit: Option<u64>, change: &str) -> Option<Finding> {
        let times = (self.length / period.max(1)).min(limit.unwrap_or(u64::MAX));
        let is_epoch = self.epoch.is_some_and(|epoch| period >= epoch);
        if period > EPOCHS || times < PERIODS || is_epoch {
            return None;
        }
        self.finding(
            Code::ShortPeriod,
            self.begin(),
            format!("it restarts every {period} updates, {times} times in {}", self.length),
            change,
        )
    }
}

const UNIT: &str = "give the length in epochs (10ep) or as a share of the run (10%): a number without a \
                    unit counts updates";

/// Steps from `first` up to `end`, both included, at irregular distances, so that they miss no cycle.
fn spread(first: u64, end: u64) -> impl Iterator<Item = u64> {
    const GOLDEN: f64 = 0.618_033_988_749_894_8;
    let last = end - 1;
    let at = move |index: u64| (index as f64 * GOLDEN).fract() * (last - first) as f64;
    (0..POINTS).map(move |index| (first + at(index) as u64).min(last)).chain([last])
}
