//! Inverse square root.

use super::{Describe, Rate, tail::Tail};
use crate::{Length, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// η(t) = peak / √(1 + t/τ): the rate has halved after 3τ updates and keeps falling.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `peak` | learning rate | finite, above 0 |
/// | `timescale` | τ, a span | at least 1 update; may exceed the run |
///
/// After a warm-up of τ updates this is peak · √(τ/t), with t counted from the start of the
/// warm-up: transformers' default.
///
/// Source: Zhai et al. 2022, "Scaling vision transformers"; transformers `inverse_sqrt`.
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = inverse_sqrt(0.1, Span::steps(100)).resolve(RunLength::updates(1_000))?;
/// assert_eq!([0, 300].map(|step| schedule.rate(step)), [0.1, 0.05]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
pub struct InverseSqrt<L: Length = Span> {
    /// The rate of the first update.
    pub peak: f64,
    /// τ: the larger, the slower the decay.
    pub timescale: L,
}

/// An [`InverseSqrt`] decay from `peak` with time scale `timescale`.
pub fn inverse_sqrt(peak: f64, timescale: Span) -> InverseSqrt {
    InverseSqrt { peak, timescale }
}

impl Describe for InverseSqrt {
    type Resolved = InverseSqrt<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<InverseSqrt<u64>, ScheduleError> {
        Ok(InverseSqrt {
            peak: scope.positive("peak", self.peak)?,
            timescale: scope.time_constant("timescale", self.timescale)?,
        })
    }
}

impl Rate for InverseSqrt<u64> {
    fn rate(&self, step: u64) -> f64 {
        self.peak / (1.0 + step as f64 / self.timescale as f64).sqrt()
    }

    fn peak(&self) -> f64 {
        self.peak
    }

    fn tail(&self) -> Tail {
        Tail::Power(0.5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::combine::ScheduleExt;
    use crate::curve::{linear, refused, resolved};

    #[test]
    fn halves_after_three_timescales() {
        let schedule = resolved(inverse_sqrt(1.0, Span::steps(5)), 1_000);
        assert_eq!([0, 15, 75].map(|step| schedule.rate(step)), [1.0, 0.5, 0.25]);
        let long = resolved(inverse_sqrt(1.0, Span::percent(150)), 100);
        assert!((long.rate(75) - 1.0 / 1.5f64.sqrt()).abs() < 1e-15);
    }

    #[test]
    fn continues_a_warm_up_of_its_timescale() {
        let after = linear(0.0, 2.0).then(Span::steps(10), inverse_sqrt(2.0, Span::steps(10)));
        let schedule = resolved(after, 1_000);
        for t in [10u64, 11, 40, 999] {
            assert!((schedule.rate(t) - 2.0 * (10.0 / t as f64).sqrt()).abs() < 1e-15, "{t}");
        }
    }

    #[test]
    fn refuses_each_field() {
        assert_eq!(refused(inverse_sqrt(0.0, Span::steps(5))), "inverse_sqrt.peak");
        for timescale in [Span::steps(0), Span::epochs(-1), Span::percent(f64::NAN)] {
            assert_eq!(refused(inverse_sqrt(1.0, timescale)), "inverse_sqrt.timescale");
        }
    }
}
