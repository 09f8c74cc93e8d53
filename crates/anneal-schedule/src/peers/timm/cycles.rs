//! timm's decay in cycles.

use crate::curve::{Describe, Rate, cycle::last_of_cycle, falling_tanh, half_cosine, mix};
use crate::{ScheduleError, scope::Scope};
use serde::{Deserialize, Serialize};

/// `CosineLRScheduler`, `TanhLRScheduler` and `PolyLRScheduler` after their warm-up, as computed by timm.
/// With t = step + `offset`, cycle i starts at S_i and lasts T_i:
///
/// ```text
/// i = ⌊t/T⌋                           T_i = T        S_i = i·T                   m = 1
/// i = ⌊ln(1 − t/T·(1−m)) / ln m⌋      T_i = T·mⁱ     S_i = T·(1−mⁱ)/(1−m)        m ≠ 1
/// η = lr_min + (base_lr · dⁱ − lr_min) · f((t − S_i)/T_i)     i < cycle_limit
/// η = lr_min                                                 afterwards
/// ```
///
/// with the f of [`CycleShape`]. The logarithm is timm's and may miss a boundary by its rounding error, for
/// example for m = 3: there the last rate of a cycle is used once more instead of the next peak.
/// [`WarmRestarts`](crate::WarmRestarts) has exact boundaries.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `base_lr` | learning rate | finite, above 0 |
/// | `t_initial` | T, updates of the first cycle | 1 to 2⁶² |
/// | `shape` | | see [`CycleShape`] |
/// | `lr_min` | learning rate | finite, at least 0; default 0 |
/// | `cycle_mul` | m | finite, above 0; default 1 |
/// | `cycle_decay` | d | finite, at least 0; default 1 |
/// | `cycle_limit` | number of cycles | 0 to 2⁶²; default 1 |
/// | `offset` | skipped updates of the curve | 0 to 2⁶²; default 0 |
///
/// Written by [`translate`](super::translate) if no curve of this crate is equal; it has no builder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TimmCycles {
    /// The rate at the start of the first cycle.
    pub base_lr: f64,
    /// T: the updates of the first cycle.
    pub t_initial: u64,
    /// The shape of each cycle.
    pub shape: CycleShape,
    /// The rate at the end of each cycle.
    #[serde(default)]
    pub lr_min: f64,
    /// m: the ratio of each cycle's length to the previous one's.
    #[serde(default = "one")]
    pub cycle_mul: f64,
    /// d: the ratio of each cycle's first rate to the previous one's.
    #[serde(default = "one")]
    pub cycle_decay: f64,
    /// The number of cycles after which the rate is `lr_min`.
    #[serde(default = "one_cycle")]
    pub cycle_limit: u64,
    /// The updates of the curve that passed during a warm-up.
    #[serde(default)]
    pub offset: u64,
}

/// The shape of a cycle of [`TimmCycles`], from 1 at x = 0 to 0 at x = 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CycleShape {
    /// ½(1 + cos(π xᵏ)).
    CosineCycles {
        /// k, finite and at least 0.
        k_decay: f64,
    },
    /// ½(1 − tanh(lb · (1 − x) + ub · x)), which reaches neither 1 nor 0.
    TanhCycles {
        /// lb, finite and below ub.
        lb: f64,
        /// ub, finite.
        ub: f64,
    },
    /// (1 − xᵏ)^power.
    PolyCycles {
        /// The power, finite and at least 0.
        power: f64,
        /// k, finite and at least 0.
        k_decay: f64,
    },
}

fn one() -> f64 {
    1.0
}

fn one_cycle() -> u64 {
    1
}

/// Longer than any run, and small enough for every file format.
pub(super) const MOST: u64 = 1 << 62;

pub(super) fn at_most(
    scope: &Scope<'_>,
    field: &str,
    value: u64,
    least: u64,
) -> Result<u64, ScheduleError> {
    if (least..=MOST).contains(&value) {
        Ok(value)
    } else {
        Err(scope.out_of_range(field, value.to_string(), format!("{least} to 2^62")))
    }
}

impl Describe for CycleShape {
    type Resolved = Self;

    fn resolve(&self, scope: &Scope<'_>) -> Result<Self, ScheduleError> {
        let not_negative = |field: &str, value| scope.within(field, value, 0.0..=f64::MAX);
        Ok(match *self {
            Self::CosineCycles { k_decay } => {
                Self::CosineCycles { k_decay: not_negative("cosine_cycles.k_decay", k_decay)? }
            }
            Self::TanhCycles { lb, ub } => {
                let ub = scope.within("tanh_cycles.ub", ub, f64::MIN..=f64::MAX)?;
                let ok = lb.is_finite() && lb < ub;
                let below = format!("finite, below ub = {ub:?}");
                Self::TanhCycles { lb: scope.require("tanh_cycles.lb", lb, ok, &below)? + 0.0, ub }
            }
            Self::PolyCycles { power, k_decay } => Self::PolyCycles {
                power: not_negative("poly_cycles.power", power)?,
                k_decay: not_negative("poly_cycles.k_decay", k_decay)?,
            },
        })
    }
}

impl Describe for TimmCycles {
    type Resolved = Self;

    fn resolve(&self, scope: &Scope<'_>) -> Result<Self, ScheduleError> {
        let resolved = Self {
            base_lr: scope.positive("base_lr", self.base_lr)?,
            t_initial: at_most(scope, "t_initial", self.t_initial, 1)?,
            shape: self.shape.resolve(&scope.named("shape"))?,
            lr_min: scope.within("lr_min", self.lr_min, 0.0..=f64::MAX)?,
            cycle_mul: scope.positive("cycle_mul", self.cycle_mul)?,
            cycle_decay: scope.within("cycle_decay", self.cycle_decay, 0.0..=f64::MAX)?,
            cycle_limit: at_most(scope, "cycle_limit", self.cycle_limit, 0)?,
            offset: at_most(scope, "offset", self.offset, 0)?,
        };
        let finite = resolved.peak().is_finite();
        scope.require(
            "cycle_decay",
            self.cycle_decay,
            finite,
            "a factor that keeps the rates finite",
        )?;
        Ok(resolved)
    }
}

impl CycleShape {
    fn weight(self, x: f64) -> f64 {
        match self {
            Self::CosineCycles { k_decay } => half_cosine(x.powf(k_decay)),
            Self::TanhCycles { lb, ub } => falling_tanh(x, lb, ub),
            Self::PolyCycles { power, k_decay } => (1.0 - x.powf(k_decay)).powf(power),
        }
    }
}

impl TimmCycles {
    /// The cycle of a step, and the share of it that has passed; `None` beyond the point where shrinking
    /// cycles accumulate.
    fn locate(&self, step: u64) -> Option<(f64, f64)> {
        let t = step.saturating_add(self.offset);
        let (first, m) = (self.t_initial as f64, self.cycle_mul);
        if m == 1.0 {
            let into = (t % self.t_initial) as f64;
            return Some(((t / self.t_initial) as f64, into / first));
        }
        let t = t as f64;
        let growth = 1.0 - t / first * (1.0 - m);
        if growth <= 0.0 {
            return None;
        }
        let cycle = (growth.ln() / m.ln()).floor();
        let power = m.powf(cycle);
        let length = power * first;
        let into = t - (1.0 - power) / (1.0 - m) * first;
        // A boundary missed by the logarithm lies a rounding error outside the cycle.
        let x = into / length;
        Some((cycle, if x.is_nan() { 0.0 } else { x.clamp(0.0, 1.0) }))
    }

    fn rate_in(&self, cycle: f64, x: f64) -> f64 {
        if cycle >= self.cycle_limit as f64 {
            return self.lr_min;
        }
        mix(self.base_lr * self.cycle_decay.powf(cycle), self.lr_min, self.shape.weight(x))
    }
}

impl Rate for TimmCycles {
    fn rate(&self, step: u64) -> f64 {
        self.locate(step).map_or(self.lr_min, |(cycle, x)| self.rate_in(cycle, x))
    }

    fn end_rate(&self, step: u64) -> f64 {
        // Where a cycle starts, the previous one has reached its end.
        let before = step.checked_sub(1).and_then(|last| self.locate(last));
        let begins = before.filter(|before| self.locate(step).is_none_or(|at| at.0 != before.0));
        begins.map_or_else(|| self.rate(step), |(cycle, _)| self.rate_in(cycle, 1.0))
    }

    fn cycle_end(&self, from: u64) -> Option<u64> {
        let is_followed = self.locate(from)?.0 + 1.0 < self.cycle_limit as f64;
        last_of_cycle(from, |step| self.locate(step).map(|at| at.0)).filter(|_| is_followed)
    }

    fn peak(&self) -> f64 {
        let Some(last) = self.cycle_limit.checked_sub(1) else { return self.lr_min };
        let growth = self.cycle_decay.powf(last as f64).max(1.0);
        (self.base_lr * growth).max(self.lr_min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{refused, resolved};

    fn cycles(shape: CycleShape) -> TimmCycles {
        TimmCycles {
            base_lr: 1.0,
            t_initial: 10,
            shape,
            lr_min: 0.0,
            cycle_mul: 1.0,
            cycle_decay: 1.0,
            cycle_limit: 1,
            offset: 0,
        }
    }

    fn cosine() -> TimmCycles {
        cycles(CycleShape::CosineCycles { k_decay: 1.0 })
    }

    #[test]
    fn a_border_that_the_logarithm_misses_is_missed() {
        // In f64, ln 243 / ln 3 is 4.999…: cycle 5 of a tripling length 2, at 2·(3⁵ − 1)/2 = 242, starts an
        // update late.
        let config = TimmCycles { t_initial: 2, cycle_mul: 3.0, cycle_limit: 9, ..cosine() };
        let schedule = resolved(config, 1_000);
        assert!(schedule.rate(242) < 1e-12 && schedule.rate(243) > 0.99);
        assert_eq!(schedule.rate(80), 1.0);
    }

    #[test]
    fn cycles_that_shrink_end_in_the_minimum() {
        // Lengths 10, 5, 2.5, … accumulate at 20.
        let config = TimmCycles { cycle_mul: 0.5, cycle_limit: 3, lr_min: 0.1, ..cosine() };
        let schedule = resolved(config, 100);
        assert_eq!([0, 10, 15].map(|step| schedule.rate(step)), [1.0; 3]);
        assert_eq!([18, 19, 20, 21, 99].map(|step| schedule.rate(step)), [0.1; 5]);
    }

    #[test]
    fn a_run_that_ends_on_a_border_holds_the_end() {
        let config = TimmCycles { cycle_limit: 3, lr_min: 0.1, ..cosine() };
        assert_eq!(resolved(config, 20).rate(20), 0.1);
    }

    #[test]
    fn peaks_may_grow_and_the_minimum_may_be_the_highest() {
        let config = TimmCycles { cycle_decay: 2.0, cycle_limit: 3, ..cosine() };
        let schedule = resolved(config, 100);
        assert_eq!([0, 10, 20, 30].map(|step| schedule.rate(step)), [1.0, 2.0, 4.0, 0.0]);
        assert_eq!(schedule.peak(), 4.0);
        let rising = resolved(TimmCycles { lr_min: 3.0, ..cosine() }, 100);
        assert_eq!((rising.rate(5), rising.rate(10), rising.peak()), (2.0, 3.0, 3.0));
    }

    #[test]
    fn refuses_each_field() {
        let field = |config: TimmCycles| refused(config);
        assert_eq!(field(TimmCycles { base_lr: 0.0, ..cosine() }), "timm_cycles.base_lr");
        for t_initial in [0, u64::MAX] {
            assert_eq!(field(TimmCycles { t_initial, ..cosine() }), "timm_cycles.t_initial");
        }
        assert_eq!(field(TimmCycles { lr_min: -0.1, ..cosine() }), "timm_cycles.lr_min");
        for cycle_mul in [0.0, -1.0, f64::NAN] {
            assert_eq!(field(TimmCycles { cycle_mul, ..cosine() }), "timm_cycles.cycle_mul");
        }
        let grows = TimmCycles { cycle_decay: 10.0, cycle_limit: 400, ..cosine() };
        assert_eq!(field(grows), "timm_cycles.cycle_decay");
        assert_eq!(field(TimmCycles { cycle_decay: -1.0, ..cosine() }), "timm_cycles.cycle_decay");
        let limit = TimmCycles { cycle_limit: u64::MAX, ..cosine() };
        assert_eq!(field(limit), "timm_cycles.cycle_limit");
        assert_eq!(field(TimmCycles { offset: u64::MAX, ..cosine() }), "timm_cycles.offset");
        for (shape, name) in [
            (CycleShape::CosineCycles { k_decay: -1.0 }, "cosine_cycles.k_decay"),
            (CycleShape::TanhCycles { lb: 1.0, ub: 1.0 }, "tanh_cycles.lb"),
            (CycleShape::TanhCycles { lb: 1.0, ub: f64::NAN }, "tanh_cycles.ub"),
            (CycleShape::PolyCycles { power: -1.0, k_decay: 1.0 }, "poly_cycles.power"),
            (CycleShape::PolyCycles { power: 1.0, k_decay: f64::NAN }, "poly_cycles.k_decay"),
        ] {
            assert_eq!(field(cycles(shape)), format!("timm_cycles.shape.{name}"));
        }
    }
}
