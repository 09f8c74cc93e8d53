//! Cosine annealing with warm restarts.

use super::{Describe, Rate, cycle::last_of_cycle, half_cosine, mix, tail::Tail};
use crate::{Length, Level, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// Cosine annealing in cycles (SGDR). Cycle n = 0, 1, … starts at step S_n and lasts T_n:
///
/// ```text
/// T_n = T·mⁿ     S_n = T·(mⁿ − 1)/(m − 1)     (S_n = n·T for m = 1)
/// η(t) = end + ½(peak·dⁿ − end)(1 + cos(π (t − S_n)/T_n))
/// ```
///
/// The cycle is computed arithmetically, not by a loop; for an integer m its boundaries are exact at any
/// step. With `cycle_warmup` w, each cycle starts with w updates at (i+1)/(w+1) of its peak, and the cosine
/// takes the rest of the cycle. After `limit` cycles the rate holds `end`.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `peak` | learning rate | finite, above 0 |
/// | `end` | learning rate or share of the peak | [0, peak]; default 0; a cycle whose peak has decayed below it stays at it |
/// | `cycle` | T, span of the first cycle | inside the run, at least 1 update |
/// | `multiplier` | m, growth of the cycle length | [1, 10⁶]; default 1 |
/// | `peak_decay` | d, factor of the peak per cycle | (0, 1]; default 1 |
/// | `cycle_warmup` | w, span | shorter than `cycle`; default none |
/// | `limit` | number of cycles | at least 1; default none |
///
/// Source: Loshchilov and Hutter 2017, "SGDR"; torch `CosineAnnealingWarmRestarts`, timm.
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = warm_restarts(1.0, Span::steps(10)).multiplier(2.0).peak_decay(0.5)
///     .resolve(RunLength::updates(70))?;
/// assert_eq!([0, 10, 30].map(|step| schedule.rate(step)), [1.0, 0.5, 0.25]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
#[must_use]
pub struct WarmRestarts<L: Length = Span> {
    /// The rate at the start of the first cycle.
    pub peak: f64,
    /// The rate at the end of every cycle.
    #[serde(default)]
    pub end: L::Level,
    /// T: the length of the first cycle.
    pub cycle: L,
    /// m: the ratio of each cycle's length to the previous one's.
    #[serde(default = "one")]
    pub multiplier: f64,
    /// d: the ratio of each cycle's peak to the previous one's.
    #[serde(default = "one")]
    pub peak_decay: f64,
    /// w: a warm-up inside each cycle.
    #[serde(default)]
    pub cycle_warmup: Option<L>,
    /// The number of cycles after which the rate holds `end`.
    #[serde(default)]
    pub limit: Option<u64>,
}

fn one() -> f64 {
    1.0
}

/// [`WarmRestarts`] from `peak` to 0 in cycles of `cycle`.
pub fn warm_restarts(peak: f64, cycle: Span) -> WarmRestarts {
    WarmRestarts {
        peak,
        end: Level::default(),
        cycle,
        multiplier: one(),
        peak_decay: one(),
        cycle_warmup: None,
        limit: None,
    }
}

impl WarmRestarts {
    /// Ends each cycle at `end` instead of 0.
    pub fn end(mut self, end: impl Into<Level>) -> Self {
        self.end = end.into();
        self
    }

    /// Makes each cycle `multiplier` times as long as the previous one.
    pub fn multiplier(mut self, multiplier: f64) -> Self {
        self.multiplier = multiplier;
        self
    }

    /// Makes each peak `peak_decay` times the previous one.
    pub fn peak_decay(mut self, peak_decay: f64) -> Self {
        self.peak_decay = peak_decay;
        self
    }

    /// Warms up linearly over `warmup` at the start of every cycle.
    pub fn cycle_warmup(mut self, warmup: Span) -> Self {
        self.cycle_warmup = Some(warmup);
        self
    }

    /// Stops after `limit` cycles and holds the end.
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }
}

impl Describe for WarmRestarts {
    type Resolved = WarmRestarts<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<WarmRestarts<u64>, ScheduleError> {
        let peak = scope.positive("peak", self.peak)?;
        let cycle = scope.length("cycle", self.cycle)?;
        let warmup =
            self.cycle_warmup.map(|span| scope.rounded_length("cycle_warmup", span)).transpose()?;
        if let Some(warmup) = warmup.filter(|&warmup| warmup >= cycle) {
            let allowed = format!("less than the cycle's {cycle} updates");
            return Err(scope.out_of_range("cycle_warmup", format!("{warmup} updates"), allowed));
        }
        if self.limit == Some(0) {
            return Err(scope.out_of_range("limit", "0".into(), "at least 1 cycle"));
        }
        Ok(WarmRestarts {
            peak,
            end: scope.end(self.end, peak)?,
            cycle,
            multiplier: scope.within("multiplier", self.multiplier, 1.0..=1e6)?,
            peak_decay: scope.factor("peak_decay", self.peak_decay)?,
            cycle_warmup: warmup,
            limit: self.limit,
        })
    }
}

/// The position of a step: its cycle, how far into it, and the cycle's length.
struct InCycle {
    cycle: u64,
    step: f64,
    length: f64,
}

impl WarmRestarts<u64> {
    fn locate(&self, step: u64) -> InCycle {
        let m = self.multiplier;
        if m == 1.0 {
            InCycle {
                cycle: step / self.cycle,
                step: (step % self.cycle) as f64,
                length: self.cycle as f64,
            }
        } else if m.fract() == 0.0 {
            self.locate_exactly(step, m as u128)
        } else {
            self.locate_by_logarithm(step)
        }
    }

    /// Integer m: S_n ≤ t means mⁿ ≤ 1 + t(m−1)/T, so n is an integer logarithm, exact in 128 bits.
    fn locate_exactly(&self, step: u64, m: u128) -> InCycle {
        let (step, first) = (u128::from(step), u128::from(self.cycle));
        let cycle = (1 + step * (m - 1) / first).ilog(m);
        let power = m.pow(cycle);
        let start = first * (power - 1) / (m - 1);
        InCycle {
            cycle: u64::from(cycle),
            step: (step - start) as f64,
            length: first as f64 * power as f64,
        }
    }

    /// Fractional m: cycle boundaries are real numbers, and the logarithm finds the cycle up to a rounding
    /// error at a boundary, which one comparison on each side corrects.
    fn locate_by_logarithm(&self, step: u64) -> InCycle {
        let (t, first) = (step as f64, self.cycle as f64);
        let growth = self.multiplier - 1.0;
        let log_m = growth.ln_1p();
        let start = |n: f64| first * (n * log_m).exp_m1() / growth;
        let mut n = ((t * growth / first).ln_1p() / log_m).floor();
        if start(n) > t {
            n -= 1.0;
        } else if start(n + 1.0) <= t {
            n += 1.0;
        }
        let length = first * (n * log_m).exp();
        InCycle { cycle: n as u64, step: (t - start(n)).clamp(0.0, length), length }
    }
}

impl WarmRestarts<u64> {
    /// The first update of the cycle that contains `step`, and the cycle's peak; `None` once the limit is
    /// reached.
    pub(crate) fn cycle_of(&self, step: u64) -> Option<(u64, f64)> {
        let at = self.locate(step);
        let running = self.limit.is_none_or(|limit| at.cycle < limit);
        // A boundary of a fractional multiplier lies between two updates.
        running.then(|| (step - at.step.floor() as u64, self.peak_of(at.cycle)))
    }

    fn peak_of(&self, cycle: u64) -> f64 {
        (self.peak * self.peak_decay.powf(cycle as f64)).max(self.end)
    }
}

impl Rate for WarmRestarts<u64> {
    fn rate(&self, step: u64) -> f64 {
        let at = self.locate(step);
        if self.limit.is_some_and(|limit| at.cycle >= limit) {
            return self.end;
        }
        let peak = self.peak_of(at.cycle);
        let warmup = self.cycle_warmup.unwrap_or(0) as f64;
        if at.step < warmup {
            return peak * ((at.step + 1.0) / (warmup + 1.0));
        }
        // Beyond 2⁵³ updates the two may be the same f64; then the cycle is all warm-up.
        let rest = at.length - warmup;
        let x = if rest > 0.0 { (at.step - warmup) / rest } else { 0.0 };
        mix(peak, self.end, half_cosine(x))
    }

    fn end_rate(&self, step: u64) -> f64 {
        // Where a cycle starts, the previous one has reached its end.
        if step > 0 && self.locate(step).step == 0.0 { self.end } else { self.rate(step) }
    }

    fn peak(&self) -> f64 {
        self.peak
    }

    fn cycle_end(&self, from: u64) -> Option<u64> {
        let restarts = |cycle: u64| self.limit.is_none_or(|limit| cycle.saturating_add(1) < limit);
        let is_followed = restarts(self.locate(from).cycle);
        last_of_cycle(from, |step| self.locate(step).cycle).filter(|_| is_followed)
    }

    fn tail(&self) -> Tail {
        let warms = self.cycle_warmup.is_some_and(|updates| updates > 0);
        if self.limit.is_some() || (self.end > 0.0 && self.peak_decay < 1.0 && !warms) {
            Tail::settled(self.end)
        } else if self.peak_decay == 1.0 || self.end > 0.0 {
            Tail::Recurring
        } else if self.multiplier == 1.0 {
            Tail::Geometric
        } else {
            // Cycle n starts near mⁿ with peak dⁿ.
            Tail::Waves(-self.peak_decay.ln() / self.multiplier.ln())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{refused, resolved};

    /// The cycles as a loop computes them.
    fn simulated(first: u64, m: u64, d: f64, steps: u64) -> Vec<f64> {
        let (mut start, mut length, mut peak) = (0, first, 1.0);
        (0..steps)
            .map(|step| {
                if step == start + length {
                    (start, length, peak) = (step, length * m, peak * d);
                }
                peak * half_cosine((step - start) as f64 / length as f64)
            })
            .collect()
    }

    #[test]
    fn equals_a_simulation() {
        for (first, m, d) in [(7, 1, 1.0), (3, 2, 0.5), (5, 3, 0.9), (1, 2, 0.5)] {
            let config = warm_restarts(1.0, Span::steps(first)).multiplier(m as f64).peak_decay(d);
            let schedule = resolved(config, 1000);
            for (step, expected) in simulated(first, m, d, 1000).into_iter().enumerate() {
                let rate = schedule.rate(step as u64);
                assert!((rate - expected).abs() < 1e-14, "{schedule} at {step}: {rate}");
            }
        }
    }

    #[test]
    fn borders_are_exact_far_out() {
        // Cycle n with initial length 10 and doubling starts at 10(2ⁿ − 1).
        let schedule = resolved(warm_restarts(1.0, Span::steps(10)).multiplier(2.0), 1 << 63);
        for n in 0..59 {
            let start = 10 * ((1u64 << n) - 1);
            assert_eq!(schedule.rate(start), 1.0, "start of cycle {n}");
            if start > 0 {
                assert!(schedule.rate(start - 1) < 0.1, "end of cycle {}", n - 1);
            }
        }
    }

    #[test]
    fn fractional_multipliers_keep_their_borders() {
        let schedule = resolved(warm_restarts(1.0, Span::steps(4)).multiplier(1.5), 100);
        // Boundaries at 4, 10, 19, 32.5, …
        for start in [0, 4, 10, 19] {
            assert_eq!(schedule.rate(start), 1.0, "{start}");
        }
        assert!((schedule.rate(33) - half_cosine(0.5 / 20.25)).abs() < 1e-12);
    }

    #[test]
    fn warms_up_in_each_cycle_and_stops_at_the_limit() {
        let config = warm_restarts(1.0, Span::steps(10)).cycle_warmup(Span::steps(3)).end(0.1);
        let schedule = resolved(config.limit(2), 50);
        for start in [0, 10] {
            assert_eq!([0, 1, 2, 3].map(|i| schedule.rate(start + i)), [0.25, 0.5, 0.75, 1.0]);
            assert!(
                (schedule.rate(start + 5) - mix(1.0, 0.1, half_cosine(2.0 / 7.0))).abs() < 1e-15
            );
        }
        assert_eq!([20, 21, 49].map(|step| schedule.rate(step)), [0.1; 3]);
    }

    #[test]
    fn extreme_parameters_stay_finite() {
        let config = warm_restarts(1e308, Span::steps(10)).cycle_warmup(Span::steps(5));
        assert!((0..20).all(|step| resolved(config.clone(), 20).rate(step).is_finite()));
        let long =
            warm_restarts(1.0, Span::steps(1 << 60)).cycle_warmup(Span::steps((1 << 60) - 1));
        let schedule = resolved(long, 1 << 62);
        assert!([(1 << 60) - 2, (1 << 60) - 1, 1 << 60].iter().all(|&t| schedule.rate(t) <= 1.0));
    }

    #[test]
    fn the_end_of_a_run_on_a_border_does_not_hold_the_next_peak() {
        let schedule = resolved(warm_restarts(1.0, Span::steps(10)).end(0.1), 20);
        assert_eq!([0, 10, 20, 21].map(|step| schedule.rate(step)), [1.0, 1.0, 0.1, 0.1]);
        let within = resolved(warm_restarts(1.0, Span::steps(10)), 15);
        assert_eq!(within.rate(15), 0.5);
    }

    #[test]
    fn refuses_each_field() {
        let config = || warm_restarts(1.0, Span::steps(10));
        assert_eq!(refused(warm_restarts(0.0, Span::steps(10))), "warm_restarts.peak");
        assert_eq!(refused(warm_restarts(1.0, Span::steps(0))), "warm_restarts.cycle");
        assert_eq!(refused(config().end(2.0)), "warm_restarts.end");
        assert_eq!(refused(config().multiplier(0.5)), "warm_restarts.multiplier");
        assert_eq!(refused(config().peak_decay(0.0)), "warm_restarts.peak_decay");
        assert_eq!(refused(config().cycle_warmup(Span::steps(10))), "warm_restarts.cycle_warmup");
        assert_eq!(refused(config().limit(0)), "warm_restarts.limit");
    }
}
