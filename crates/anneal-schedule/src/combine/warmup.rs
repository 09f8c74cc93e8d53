//! Warm-up.

use crate::curve::pieces::{Piece, Shape, cut, without_first};
use crate::curve::{Describe, Inner, Rate, geometric_mix, half_cosine, mix, tail::Tail};
use crate::{Length, Level, ScheduleConfig, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};
use std::ops::Not;

/// A rise over n updates to the first rate of the inner schedule, r = inner(0):
///
/// ```text
/// prefix:   η(t) = w(x)              for t < n,   inner(t − n)   from n on
/// overlay:  η(t) = w(x)/r · inner(t) for t < n,   inner(t)       from n on
/// replace:  η(t) = w(x)              for t < n,   inner(t)       from n on
/// w(x) = start + (r − start) · ramp(x),   x = (t+1)/(n+1)
/// ```
///
/// The first update does not waste a rate of 0, and the peak is not used twice. Two options say otherwise.
/// With `include_start` update 0 has the start and update n the peak, x = t/n; with `include_peak` update
/// n − 1 has the peak, and the schedule has it again, x = (t+1)/n; with both x = t/(n−1).
///
/// A prefix shifts the schedule and leaves at least one update for it; the other two do neither. A schedule
/// whose beginning is replaced goes on underneath: where it has fallen below r by then, the rate jumps down at
/// update n. If n rounds to 0 updates there is no warm-up.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `length` | n, a span | inside the run; a prefix must be shorter than what is left of it |
/// | `ramp` | shape of the rise | see [`Ramp`]; default linear |
/// | `start` | learning rate, or share of r | at least 0, below r; exponential: above 0; default 0 |
/// | `include_start`, `include_peak` | | default false |
/// | `overlay`, `replace` | | not both; default false |
///
/// Source: Goyal et al. 2017, "Accurate, large minibatch SGD"; nanoGPT (the default), transformers
/// (`include_start`), BERT and timm (`replace`), DeepSpeed (logarithmic).
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = constant(1.0).warmup(Span::steps(3)).resolve(RunLength::updates(10))?;
/// assert_eq!([0, 1, 2, 3].map(|step| schedule.rate(step)), [0.25, 0.5, 0.75, 1.0]);
/// let llama = constant(1.0).warmup(Span::steps(4)).include_start().resolve(RunLength::updates(10))?;
/// assert_eq!([0, 1, 2, 3, 4].map(|step| llama.rate(step)), [0.0, 0.25, 0.5, 0.75, 1.0]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
#[must_use]
pub struct Warmup<L: Length = Span> {
    /// n: the updates of the rise.
    pub length: L,
    /// The shape of the rise.
    #[serde(default)]
    pub ramp: Ramp,
    /// The rate that the rise starts from, or its share of the rate that it rises to.
    #[serde(default)]
    pub start: L::Level,
    // Unused options are left out, so that schedules keep the fingerprints they had without them.
    /// Whether the first update has the rate `start`.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub include_start: bool,
    /// Whether the last update of the rise has the peak.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub include_peak: bool,
    /// Whether it multiplies the schedule instead of preceding it.
    #[serde(default)]
    pub overlay: bool,
    /// Whether it replaces the beginning of the schedule instead of preceding it.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub replace: bool,
    /// The schedule it rises to.
    pub schedule: Box<ScheduleConfig<L>>,
}

/// How a [`Warmup`] rises from 0 at x = 0 to 1 at x = 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ramp {
    /// x.
    #[default]
    Linear,
    /// ½(1 − cos πx).
    Cosine,
    /// Geometric: w(x) = start^(1−x) · r^x, so the start must be above 0.
    Exponential,
    /// 1 − √(1 − x).
    OneMinusSqrt,
    /// ln(1 + mx) / ln(1 + m), where x takes m updates from 0 to 1. With both ends included this is
    /// ln(t+1) / ln(n).
    Logarithmic,
}

impl Warmup {
    /// A linear prefix of `length` before `schedule`.
    pub fn new(length: Span, schedule: impl Into<ScheduleConfig>) -> Self {
        Self {
            length,
            ramp: Ramp::Linear,
            start: Level::default(),
            include_start: false,
            include_peak: false,
            overlay: false,
            replace: false,
            schedule: Box::new(schedule.into()),
        }
    }

    /// Sets the shape of the rise.
    pub fn ramp(mut self, ramp: Ramp) -> Self {
        self.ramp = ramp;
        self
    }

    /// Rises from this rate, or from this share of the peak.
    pub fn start(mut self, start: impl Into<Level>) -> Self {
        self.start = start.into();
        self
    }

    /// Gives the first update the start itself, and update n the peak: t/n, as transformers and Llama do.
    pub fn include_start(mut self) -> Self {
        self.include_start = true;
        self
    }

    /// Gives the last update of the rise the peak, which the schedule then has again: (t+1)/n.
    pub fn include_peak(mut self) -> Self {
        self.include_peak = true;
        self
    }

    /// Multiplies the schedule instead of shifting it.
    pub fn overlay(mut self) -> Self {
        self.overlay = true;
        self
    }

    /// Replaces the first updates of the schedule instead of shifting it, as BERT and timm do.
    pub fn replace(mut self) -> Self {
        self.replace = true;
        self
    }
}

impl Describe for Warmup {
    type Resolved = Warmup<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<Warmup<u64>, ScheduleError> {
        if self.length == Span::Rest {
            let allowed = "updates, epochs, samples, tokens or a percentage";
            return Err(scope.out_of_range("length", self.length.to_string(), allowed));
        }
        if self.overlay && self.replace {
            return Err(scope.out_of_range(
                "replace",
                "true".into(),
                "overlay or replace, not both",
            ));
        }
        let (length, inside) = if self.overlay || self.replace {
            (scope.rounded_length("length", self.length)?, scope.inside("schedule")?)
        } else {
            let (length, start) = scope.prefix("length", self.length)?;
            (length, scope.inside_from("schedule", start)?)
        };
        let schedule = Box::new(self.schedule.resolve_in(&inside)?);
        let start = self.resolve_start(scope, schedule.rate(0))?;
        let Self { ramp, include_start, include_peak, overlay, replace, .. } = *self;
        Ok(Warmup { length, ramp, start, include_start, include_peak, overlay, replace, schedule })
    }
}

impl Warmup {
    /// The rate from which it rises to `first`.
    fn resolve_start(&self, scope: &Scope<'_>, first: f64) -> Result<f64, ScheduleError> {
        let start = scope.level("start", self.start, first)?;
        let (ok, allowed) = match self.ramp {
            Ramp::Exponential => (
                start > 0.0 && start < first,
                format!("a rate above 0 and below {first:?} with an exponential ramp"),
            ),
            _ => (start == 0.0 || (0.0..first).contains(&start), format!("a rate below {first:?}")),
        };
        if ok {
            // Adding 0 turns −0 into 0, so that equal schedules have equal fingerprints.
            return Ok(start + 0.0);
        }
        let allowed = format!("{allowed}; write a share of the peak as \"10%\"");
        Err(scope.out_of_range("start", self.start.to_string(), allowed))
    }
}

impl Warmup<u64> {
    /// x at update `step`, as how far it has come and how far it goes.
    fn progress(&self, step: u64) -> (f64, f64) {
        let outside = |included: bool| if included { 0.0 } else { 1.0 };
        let (before, after) = (outside(self.include_start), outside(self.include_peak));
        (step as f64 + before, self.length as f64 + (before + after - 1.0))
    }

    /// The rate of a rise to `first`.
    fn risen(&self, first: f64, step: u64) -> f64 {
        let (way, whole) = self.progress(step);
        // A rise of one update that has both its ends has its start.
        let x = if whole > 0.0 { way / whole } else { 0.0 };
        let rise = match self.ramp {
            Ramp::Linear => x,
            Ramp::Cosine => 1.0 - half_cosine(x),
            Ramp::Exponential => return geometric_mix(first, self.start, x),
            Ramp::OneMinusSqrt => 1.0 - (1.0 - x).sqrt(),
            Ramp::Logarithmic if whole > 0.0 => way.ln_1p() / whole.ln_1p(),
            Ramp::Logarithmic => 0.0,
        };
        mix(first, self.start, rise)
    }

    /// The update at which the schedule starts.
    pub(crate) fn shift(&self) -> u64 {
        if self.overlay || self.replace { 0 } else { self.length }
    }

    /// The rates of a rise to `first` as a shape with known sums.
    fn rise_shape(&self, first: f64) -> Option<Shape> {
        let (way, whole) = self.progress(0);
        if whole == 0.0 {
            return Some(Shape::Constant(self.start));
        }
        let (at_0, step) = (self.risen(first, 0), 1.0 / whole);
        match self.ramp {
            Ramp::Linear => Some(Shape::Linear { first: at_0, slope: (first - self.start) * step }),
            Ramp::Cosine => {
                Some(Shape::HalfCosine { from: self.start, to: first, start: way * step, step })
            }
            Ramp::Exponential => {
                let log_ratio = (first.ln() - self.start.ln()) * step;
                Some(Shape::Geometric { first: at_0, log_ratio })
            }
            Ramp::OneMinusSqrt | Ramp::Logarithmic => None,
        }
    }
}

impl Rate for Warmup<u64> {
    fn rate(&self, step: u64) -> f64 {
        if step >= self.length {
            return self.schedule.rate(step - self.shift());
        }
        if self.overlay && self.start == 0.0 {
            return self.risen(1.0, step) * self.schedule.rate(step);
        }
        let first = self.schedule.rate(0);
        let risen = self.risen(first, step);
        if self.overlay { risen / first * self.schedule.rate(step) } else { risen }
    }

    fn end_rate(&self, step: u64) -> f64 {
        match step < self.length {
            true => self.rate(step),
            false => self.schedule.end_rate(step - self.shift()),
        }
    }

    fn peak(&self) -> f64 {
        self.schedule.peak()
    }

    fn tail(&self) -> Tail {
        self.schedule.tail()
    }

    fn pieces(&self, steps: u64) -> Option<Vec<Piece>> {
        if self.length == 0 {
            return self.schedule.pieces(steps);
        }
        if self.overlay {
            return None;
        }
        let mut pieces = cut([(self.length, self.rise_shape(self.schedule.rate(0))?)], steps);
        if steps > self.length {
            let skipped = self.length - self.shift();
            pieces.extend(without_first(self.schedule.pieces(steps - self.shift())?, skipped));
        }
        Some(pieces)
    }

    fn cycle_end(&self, from: u64) -> Option<u64> {
        // A cycle that is replaced has no end.
        let from = if self.replace { from.max(self.length) } else { from };
        let end = self.schedule.cycle_end(from.saturating_sub(self.shift()))?;
        Some(end.saturating_add(self.shift()))
    }

    fn inner(&self) -> Vec<Inner<'_>> {
        vec![Inner { start: self.shift(), ..Inner::whole(&self.schedule) }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::combine::ScheduleExt;
    use crate::curve::{constant, cosine, linear, refused, resolved};

    #[test]
    fn each_ramp_has_its_formula() {
        // n = 3: x = ¼, ½, ¾.
        let expected = |w: fn(f64) -> f64| [0.25, 0.5, 0.75].map(w);
        for (ramp, start, expected) in [
            (Ramp::Linear, 0.2, expected(|x| 0.2 + 0.8 * x)),
            (Ramp::Cosine, 0.0, expected(|x| 0.5 - 0.5 * (std::f64::consts::PI * x).cos())),
            (Ramp::Exponential, 0.01, expected(|x| 0.01f64.powf(1.0 - x))),
            (Ramp::OneMinusSqrt, 0.0, expected(|x| 1.0 - (1.0 - x).sqrt())),
            // m = 4, from t = −1 to t = 3.
            (Ramp::Logarithmic, 0.2, expected(|x| 0.2 + 0.8 * (1.0 + 4.0 * x).ln() / 5f64.ln())),
        ] {
            let config = constant(1.0).warmup(Span::steps(3)).ramp(ramp).start(start);
            let schedule = resolved(config, 10);
            for (step, expected) in expected.into_iter().enumerate() {
                assert!((schedule.rate(step as u64) - expected).abs() < 1e-15, "{ramp:?} {step}");
            }
            assert_eq!(schedule.rate(3), 1.0, "{ramp:?}");
        }
    }

    /// x at each update of a warm-up of 4, by whether it includes the start and the peak.
    const WITHIN: [(bool, bool, [f64; 4]); 4] = [
        (false, false, [0.2, 0.4, 0.6, 0.8]),
        (true, false, [0.0, 0.25, 0.5, 0.75]),
        (false, true, [0.25, 0.5, 0.75, 1.0]),
        (true, true, [0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0]),
    ];

    fn including(warmup: Warmup, start: bool, peak: bool) -> Warmup {
        Warmup { include_start: start, include_peak: peak, ..warmup }
    }

    #[test]
    fn the_rise_includes_the_start_and_the_peak_if_told() {
        for (start, peak, within) in WITHIN {
            let warmup = || including(linear(2.0, 1.0).warmup(Span::steps(4)), start, peak);
            let prefix = resolved(warmup().start(0.5), 14);
            let overlay = resolved(warmup().start(0.5).overlay(), 10);
            let replace = resolved(warmup().start(Level::percent(25)).replace(), 10);
            for (step, x) in (0..).zip(within) {
                let (risen, line) = (0.5 + 1.5 * x, 2.0 - step as f64 / 10.0);
                for (schedule, expected) in
                    [(&prefix, risen), (&overlay, risen / 2.0 * line), (&replace, risen)]
                {
                    let rate = schedule.rate(step);
                    assert!((rate - expected).abs() < 1e-15, "{schedule} at {step}: {rate}");
                }
            }
            assert_eq!([4, 9, 14].map(|t| prefix.rate(t)), [2.0, 1.5, 1.0]);
            for schedule in [overlay, replace] {
                assert_eq!([4, 5, 10].map(|t| schedule.rate(t)), [1.6, 1.5, 1.0], "{schedule}");
            }
            let smooth = resolved(warmup().ramp(Ramp::Cosine), 14);
            for (step, x) in (0..).zip(within) {
                let expected = 1.0 - (std::f64::consts::PI * x).cos();
                assert!((smooth.rate(step) - expected).abs() < 1e-15, "{smooth} at {step}");
            }
        }
    }

    #[test]
    fn pieces_have_the_rates() {
        let shaped = [Ramp::Linear, Ramp::Cosine, Ramp::Exponential];
        let ends = [false, true];
        for (ramp, length) in shaped.iter().flat_map(|&ramp| [1, 2, 9].map(|n| (ramp, n))) {
            for (start, peak) in ends.iter().flat_map(|&start| ends.map(|peak| (start, peak))) {
                let steps = Span::steps(length);
                // The second part begins within the longest warm-up.
                let falling =
                    || cosine(1.0).length(Span::steps(5)).then(Span::steps(5), linear(0.5, 0.0));
                let warmup = falling().warmup(steps).ramp(ramp).start(Level::percent(10));
                let prefix = including(warmup, start, peak);
                for config in [prefix.clone(), prefix.replace()] {
                    let schedule = resolved(config, 30);
                    for steps in [1, 7, 9, 30] {
                        let pieces = schedule.pieces(steps).unwrap();
                        let rates = pieces.iter().flat_map(|piece| {
                            (0..piece.length).map(|i| piece.at(i)).collect::<Vec<_>>()
                        });
                        assert_eq!(rates.clone().count() as u64, steps, "{schedule}");
                        for (step, rate) in (0..).zip(rates) {
                            let expected = schedule.rate(step);
                            assert!(
                                (rate - expected).abs() < 1e-14,
                                "{schedule} at {step}: {rate}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_rise_of_one_update_is_what_it_includes() {
        for ramp in [Ramp::Linear, Ramp::Cosine, Ramp::Exponential, Ramp::Logarithmic] {
            let warmup = || constant(1.0).warmup(Span::steps(1)).ramp(ramp).start(0.25);
            let first = |start, peak| resolved(including(warmup(), start, peak), 9).rate(0);
            assert!(first(false, false) > 0.25 && first(false, false) < 1.0, "{ramp:?}");
            assert_eq!((first(true, false), first(false, true)), (0.25, 1.0), "{ramp:?}");
            assert_eq!(first(true, true), 0.25, "{ramp:?}");
        }
    }

    #[test]
    fn what_is_replaced_has_no_cycle_ends() {
        let cycles = || crate::warm_restarts(1.0, Span::steps(5)).warmup(Span::steps(12));
        let ends = |config: Warmup| resolved(config, 30).cycle_ends().collect::<Vec<_>>();
        assert_eq!(ends(cycles().replace()), [14, 19, 24, 29]);
        assert_eq!(ends(cycles().overlay()), [4, 9, 14, 19, 24, 29]);
        assert_eq!(ends(cycles()), [16, 21, 26, 29]);
    }

    #[test]
    fn a_start_that_is_no_rate_below_the_peak_says_what_to_write() {
        let warmup = || cosine(0.1).warmup(Span::steps(5));
        let said = |config: Warmup| {
            config.resolve(crate::RunLength::updates(100)).unwrap_err().to_string()
        };
        let share = "; write a share of the peak as \"10%\"";
        assert_eq!(
            said(warmup().start(0.2)),
            format!("warmup.start: 0.2 is not allowed; allowed: a rate below 0.1{share}")
        );
        assert_eq!(
            said(warmup().start(Level::percent(100))),
            format!("warmup.start: 100% is not allowed; allowed: a rate below 0.1{share}")
        );
        assert_eq!(
            said(warmup().ramp(Ramp::Exponential)),
            format!(
                "warmup.start: 0.0 is not allowed; \
                 allowed: a rate above 0 and below 0.1 with an exponential ramp{share}"
            )
        );
        assert_eq!(
            said(warmup().overlay().replace()),
            "warmup.replace: true is not allowed; allowed: overlay or replace, not both"
        );
        // A rise to 0 needs no start.
        assert_eq!(resolved(linear(0.0, 1.0).warmup(Span::steps(5)), 100).rate(4), 0.0);
    }

    #[test]
    fn a_prefix_shifts_and_an_overlay_does_not() {
        let prefix = resolved(linear(1.0, 0.0).warmup(Span::steps(4)), 12);
        assert_eq!([3, 4, 8, 12].map(|t| prefix.rate(t)), [0.8, 1.0, 0.5, 0.0]);
        let overlay = resolved(linear(1.0, 0.0).warmup(Span::steps(4)).overlay(), 10);
        assert_eq!([0, 4, 5, 10].map(|t| overlay.rate(t)), [0.2, 0.6, 0.5, 0.0]);
    }

    #[test]
    fn a_share_of_a_tiny_run_may_be_nothing() {
        let schedule = resolved(constant(1.0).warmup(Span::percent(10)), 4);
        assert_eq!(schedule.rate(0), 1.0);
    }

    #[test]
    fn a_prefix_leaves_an_update_for_the_peak() {
        // 90 % of 2 or 3 updates rounds to all of them, 50 % of 1 too.
        for (percent, updates) in [(90.0, 1), (90.0, 2), (90.0, 3), (50.0, 1)] {
            let schedule = resolved(cosine(1.0).warmup(Span::percent(percent)), updates);
            assert_eq!(schedule.rate(updates - 1), 1.0, "{percent} % of {updates}");
        }
        for all in [Span::steps(100), Span::percent(100)] {
            assert_eq!(refused(cosine(1.0).warmup(all)), "warmup.length");
        }
        assert_eq!(resolved(cosine(1.0).warmup(Span::steps(99)), 100).rate(99), 1.0);
    }

    #[test]
    fn refuses_each_field() {
        let config = |length| constant(1.0).warmup(length);
        for length in [Span::steps(0), Span::steps(101), Span::percent(-5), Span::Rest] {
            assert_eq!(refused(config(length)), "warmup.length");
        }
        let five = || config(Span::steps(5));
        assert_eq!(refused(five().start(1.0)), "warmup.start");
        assert_eq!(refused(five().start(f64::NAN)), "warmup.start");
        assert_eq!(refused(five().ramp(Ramp::Exponential)), "warmup.start");
        let inner = constant(0.0).warmup(Span::steps(5));
        assert_eq!(refused(inner), "warmup.schedule.constant.rate");
    }
}
