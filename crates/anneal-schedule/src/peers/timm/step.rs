//! timm's step decay.

use super::cycles::at_most;
use crate::curve::{Describe, Rate};
use crate::{ScheduleError, scope::Scope};
use serde::{Deserialize, Serialize};

/// `StepLRScheduler` after its warm-up, as computed by timm: base_lr · decay_rate^(t // decay_t) with t =
/// step + `offset`, and Python's float division if `decay_t` is fractional.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `base_lr` | learning rate | finite, above 0 |
/// | `decay_t` | updates between drops | finite, above 0 |
/// | `decay_rate` | factor per drop | [0, 1] |
/// | `offset` | skipped updates of the curve | 0 to 2⁶²; default 0 |
///
/// Written by [`translate`](super::translate) if [`StepDecay`](crate::StepDecay) is not equal; it has no
/// builder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TimmStep {
    /// The rate before the first drop.
    pub base_lr: f64,
    /// The interval between drops.
    pub decay_t: f64,
    /// The factor of each drop.
    pub decay_rate: f64,
    /// The updates of the curve that passed during a warm-up.
    #[serde(default)]
    pub offset: u64,
}

impl Describe for TimmStep {
    type Resolved = Self;

    fn resolve(&self, scope: &Scope<'_>) -> Result<Self, ScheduleError> {
        Ok(Self {
            base_lr: scope.positive("base_lr", self.base_lr)?,
            decay_t: scope.positive("decay_t", self.decay_t)?,
            decay_rate: scope.within("decay_rate", self.decay_rate, 0.0..=1.0)?,
            offset: at_most(scope, "offset", self.offset, 0)?,
        })
    }
}

impl Rate for TimmStep {
    fn rate(&self, step: u64) -> f64 {
        let t = step.saturating_add(self.offset);
        let drops = if self.decay_t.fract() == 0.0 && self.decay_t < u64::MAX as f64 {
            (t / self.decay_t as u64) as f64
        } else {
            floor_division(t as f64, self.decay_t)
        };
        self.base_lr * self.decay_rate.powf(drops)
    }

    fn end_rate(&self, step: u64) -> f64 {
        self.rate(step.saturating_sub(1))
    }

    fn peak(&self) -> f64 {
        self.base_lr
    }
}

/// Python's `t // d` for floats that are not negative: not ⌊t/d⌋, which may round up to a whole number that t
/// does not reach.
fn floor_division(t: f64, d: f64) -> f64 {
    let quotient = (t - t % d) / d;
    let floor = quotient.floor();
    if quotient - floor > 0.5 { floor + 1.0 } else { floor }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{refused, resolved};

    fn steps() -> TimmStep {
        TimmStep { base_lr: 1.0, decay_t: 2.5, decay_rate: 0.5, offset: 0 }
    }

    #[test]
    fn drops_at_fractions_and_from_an_offset() {
        let rates = |config: TimmStep| {
            let schedule = resolved(config, 10);
            [0, 2, 3, 4, 5, 7, 8].map(|step| schedule.rate(step))
        };
        assert_eq!(rates(steps()), [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125]);
        let later = TimmStep { offset: 5, ..steps() };
        assert_eq!(rates(later)[..3], [0.25, 0.25, 0.125]);
        let off = TimmStep { decay_rate: 0.0, ..steps() };
        assert_eq!(rates(off)[..3], [1.0, 1.0, 0.0]);
    }

    #[test]
    fn divides_as_python_does() {
        // In Python 1 // 0.1 is 9.0, because the f64 nearest to 0.1 is above it.
        assert_eq!(floor_division(1.0, 0.1), 9.0);
        assert_eq!(floor_division(7.0, 0.7), 10.0);
        assert_eq!(floor_division(6.0, 2.4), 2.0);
    }

    #[test]
    fn refuses_each_field() {
        assert_eq!(refused(TimmStep { base_lr: -1.0, ..steps() }), "timm_step.base_lr");
        assert_eq!(refused(TimmStep { decay_t: 0.0, ..steps() }), "timm_step.decay_t");
        for decay_rate in [-0.1, 1.1, f64::NAN] {
            assert_eq!(refused(TimmStep { decay_rate, ..steps() }), "timm_step.decay_rate");
        }
        assert_eq!(refused(TimmStep { offset: u64::MAX, ..steps() }), "timm_step.offset");
    }
}
