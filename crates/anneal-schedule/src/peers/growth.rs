//! Exponential growth, which only peers have.

use crate::curve::{Describe, Rate, periods};
use crate::{ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// η(t) = start · factor^(t/per) with a factor above 1, as computed by the peers' exponential decays; with
/// `staircase`, t/per is rounded down. On overflow it stays at the largest f64.
///
/// Only a translation gives it; this crate's own [`Exponential`](crate::Exponential) rises towards an end.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `start` | learning rate | finite, above 0 |
/// | `factor` | | finite, above 1 |
/// | `per` | a span | at least 1 update; may exceed the run |
/// | `staircase` | | default false |
///
/// Source: optax `exponential_decay`, keras `ExponentialDecay`.
///
/// ```
/// use anneal_schedule::peers;
/// use serde_json::json;
/// let arguments = json!({ "initial_learning_rate": 1e-7, "decay_steps": 1, "decay_rate": 2.0 });
/// let test = peers::translate("keras", "ExponentialDecay", &arguments, 1e-7)?.schedule()?;
/// assert_eq!(test.rate(3), 8e-7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound(deserialize = "L: Deserialize<'de> + Default"))]
pub struct PeerGrowth<L = Span> {
    /// The rate of the first update.
    pub start: f64,
    /// The factor over each `per`.
    pub factor: f64,
    /// The span over which the rate grows by the factor.
    pub per: L,
    /// Whether the rate grows in steps, one after each `per`.
    #[serde(default)]
    pub staircase: bool,
}

impl Describe for PeerGrowth {
    type Resolved = PeerGrowth<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<PeerGrowth<u64>, ScheduleError> {
        let grows = self.factor > 1.0 && self.factor.is_finite();
        Ok(PeerGrowth {
            start: scope.positive("start", self.start)?,
            factor: scope.require("factor", self.factor, grows, "a finite number above 1")?,
            per: scope.time_constant("per", self.per)?,
            staircase: self.staircase,
        })
    }
}

impl Rate for PeerGrowth<u64> {
    fn rate(&self, step: u64) -> f64 {
        let growth = self.factor.powf(periods(step, self.per, self.staircase));
        (self.start * growth).min(f64::MAX)
    }

    fn end_rate(&self, step: u64) -> f64 {
        self.rate(if self.staircase { step.saturating_sub(1) } else { step })
    }

    fn peak(&self) -> f64 {
        f64::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{refused, resolved};

    fn growth(start: f64, factor: f64, per: u64) -> PeerGrowth {
        PeerGrowth { start, factor, per: Span::steps(per), staircase: false }
    }

    #[test]
    fn grows_up_to_the_largest_number() {
        let schedule = resolved(growth(1e-3, 4.0, 2), 1 << 62);
        assert_eq!([0, 1, 2, 4].map(|t| schedule.rate(t)), [1e-3, 2e-3, 4e-3, 16e-3]);
        assert_eq!(schedule.rate(1 << 40), f64::MAX);
    }

    #[test]
    fn a_staircase_grows_after_each_period() {
        let schedule = resolved(PeerGrowth { staircase: true, ..growth(1.0, 4.0, 2) }, 4);
        assert_eq!([0, 1, 2, 3, 4].map(|t| schedule.rate(t)), [1.0, 1.0, 4.0, 4.0, 4.0]);
    }

    #[test]
    fn refuses_each_field() {
        assert_eq!(refused(growth(0.0, 2.0, 1)), "peer_growth.start");
        assert_eq!(refused(growth(1.0, 1.0, 1)), "peer_growth.factor");
        assert_eq!(refused(growth(1.0, f64::INFINITY, 1)), "peer_growth.factor");
        assert_eq!(refused(growth(1.0, 2.0, 0)), "peer_growth.per");
    }
}
