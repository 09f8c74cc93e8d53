//! timm's stable and decay phases.

use super::cycles::at_most;
use crate::curve::{Describe, Rate, half_cosine, mix};
use crate::{ScheduleError, scope::Scope};
use serde::{Deserialize, Serialize};

/// `WSDLRScheduler` after its warm-up, as computed by timm:
///
/// ```text
/// s(t) = max(base_lr · (1 + t/τ)^(−p), lr_min)
/// η(t) = s(t)                                   t ≤ t_initial − decay_t
/// η(t) = lr_min + (s(t) − lr_min) · f(x)        x = min((t − (t_initial − decay_t))/decay_t, 1)
/// ```
///
/// Unlike in [`StableDecay`](crate::StableDecay), the stable rate keeps falling during the decay.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `base_lr` | learning rate | finite, above 0 |
/// | `t_initial` | updates of both phases | 1 to 2⁶² |
/// | `decay_t` | updates of the decay | 1 to `t_initial` |
/// | `lr_min` | learning rate | [0, `base_lr`]; default 0 |
/// | `stable` | τ in updates and p, finite and above 0 | default none: s = base_lr |
/// | `decay` | f | see [`WsdDecay`]; default 1 − √x |
///
/// Written by [`translate`](super::translate) if no curve of this crate is equal; it has no builder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TimmWsd {
    /// The rate of the first update.
    pub base_lr: f64,
    /// The updates of both phases.
    pub t_initial: u64,
    /// The updates of the decay.
    pub decay_t: u64,
    /// The rate at the end.
    #[serde(default)]
    pub lr_min: f64,
    /// τ and p of a falling stable phase.
    #[serde(default)]
    pub stable: Option<WsdStable>,
    /// The shape of the decay.
    #[serde(default)]
    pub decay: WsdDecay,
}

/// A falling stable phase of [`TimmWsd`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WsdStable {
    /// (1 + t/τ)^(−p).
    Falling {
        /// τ.
        timescale: f64,
        /// p.
        power: f64,
    },
}

/// The decay shape of [`TimmWsd`], from 1 at x = 0 to 0 at x = 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WsdDecay {
    /// 1 − x^p, p finite and above 0: ½ is timm's `1-sqrt`, 1 its `linear`.
    Power(f64),
    /// ½(1 + cos πx).
    Cosine,
    /// (rˣ − r)/(1 − r), r in (0, 1).
    Exp(f64),
}

impl Default for WsdDecay {
    fn default() -> Self {
        Self::Power(0.5)
    }
}

impl Describe for TimmWsd {
    type Resolved = Self;

    fn resolve(&self, scope: &Scope<'_>) -> Result<Self, ScheduleError> {
        let base_lr = scope.positive("base_lr", self.base_lr)?;
        let t_initial = at_most(scope, "t_initial", self.t_initial, 1)?;
        if !(1..=t_initial).contains(&self.decay_t) {
            let allowed = format!("1 to t_initial = {t_initial}");
            return Err(scope.out_of_range("decay_t", self.decay_t.to_string(), allowed));
        }
        if let Some(WsdStable::Falling { timescale, power }) = self.stable {
            scope.positive("stable.falling.timescale", timescale)?;
            scope.positive("stable.falling.power", power)?;
        }
        match self.decay {
            WsdDecay::Power(power) => {
                scope.positive("decay.power", power)?;
            }
            WsdDecay::Exp(ratio) => {
                scope.require("decay.exp", ratio, ratio > 0.0 && ratio < 1.0, "in (0, 1)")?;
            }
            WsdDecay::Cosine => {}
        }
        let lr_min = scope.within("lr_min", self.lr_min, 0.0..=base_lr)?;
        Ok(Self { lr_min, ..self.clone() })
    }
}

impl TimmWsd {
    fn stable_rate(&self, t: f64) -> f64 {
        let factor = match self.stable {
            None => 1.0,
            Some(WsdStable::Falling { timescale, power }) => (1.0 + t / timescale).powf(-power),
        };
        (self.base_lr * factor).max(self.lr_min)
    }
}

impl Rate for TimmWsd {
    fn rate(&self, step: u64) -> f64 {
        let stable = self.stable_rate(step as f64);
        let turn = self.t_initial - self.decay_t;
        if step <= turn {
            return stable;
        }
        let x = ((step - turn) as f64 / self.decay_t as f64).min(1.0);
        let weight = match self.decay {
            WsdDecay::Power(power) => 1.0 - x.powf(power),
            WsdDecay::Cosine => half_cosine(x),
            WsdDecay::Exp(ratio) => (ratio.powf(x) - ratio) / (1.0 - ratio),
        };
        mix(stable, self.lr_min, weight)
    }

    fn peak(&self) -> f64 {
        self.base_lr
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{refused, resolved};

    fn wsd() -> TimmWsd {
        let stable = Some(WsdStable::Falling { timescale: 5.0, power: 1.0 });
        let decay = WsdDecay::Power(1.0);
        TimmWsd { base_lr: 1.0, t_initial: 20, decay_t: 10, lr_min: 0.0, stable, decay }
    }

    #[test]
    fn the_stable_rate_falls_on_under_the_decay() {
        let schedule = resolved(wsd(), 50);
        let expected =
            [(0, 1.0), (5, 0.5), (10, 1.0 / 3.0), (15, 0.25 * 0.5), (20, 0.0), (49, 0.0)];
        for (step, expected) in expected {
            assert!((schedule.rate(step) - expected).abs() < 1e-15, "{step}");
        }
    }

    #[test]
    fn each_decay_has_its_formula() {
        let exp: f64 = (0.1f64.sqrt() - 0.1) / 0.9;
        for (decay, weight) in [
            (WsdDecay::default(), 1.0 - 0.5f64.sqrt()),
            (WsdDecay::Power(2.0), 0.75),
            (WsdDecay::Cosine, 0.5),
            (WsdDecay::Exp(0.1), exp),
        ] {
            let schedule = resolved(TimmWsd { stable: None, decay, lr_min: 0.5, ..wsd() }, 50);
            assert!((schedule.rate(15) - (0.5 + 0.5 * weight)).abs() < 1e-15, "{decay:?}");
            assert_eq!((schedule.rate(10), schedule.rate(20)), (1.0, 0.5), "{decay:?}");
        }
    }

    #[test]
    fn refuses_each_field() {
        let falling = |timescale, power| TimmWsd {
            stable: Some(WsdStable::Falling { timescale, power }),
            ..wsd()
        };
        for (config, field) in [
            (TimmWsd { base_lr: f64::NAN, ..wsd() }, "base_lr"),
            (TimmWsd { t_initial: 0, ..wsd() }, "t_initial"),
            (TimmWsd { decay_t: 0, ..wsd() }, "decay_t"),
            (TimmWsd { decay_t: 21, ..wsd() }, "decay_t"),
            (TimmWsd { lr_min: 1.5, ..wsd() }, "lr_min"),
            (falling(0.0, 1.0), "stable.falling.timescale"),
            (falling(1.0, 0.0), "stable.falling.power"),
            (TimmWsd { decay: WsdDecay::Power(0.0), ..wsd() }, "decay.power"),
            (TimmWsd { decay: WsdDecay::Exp(1.0), ..wsd() }, "decay.exp"),
        ] {
            assert_eq!(refused(config), format!("timm_wsd.{field}"));
        }
    }
}
