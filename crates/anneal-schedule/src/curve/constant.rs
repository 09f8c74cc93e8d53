//! Constant rate.

use super::pieces::{Piece, Shape, cut};
use super::{Describe, Rate, tail::Tail};
use crate::{ScheduleError, scope::Scope};
use serde::{Deserialize, Serialize};

/// η(t) = rate.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `rate` | learning rate | finite, above 0 |
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = constant(1e-3).resolve(RunLength::updates(10))?;
/// assert_eq!(schedule.rate(7), 1e-3);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Constant {
    /// The rate of every update.
    pub rate: f64,
}

/// A [`Constant`] rate.
pub fn constant(rate: f64) -> Constant {
    Constant { rate }
}

impl Describe for Constant {
    type Resolved = Constant;

    fn resolve(&self, scope: &Scope<'_>) -> Result<Constant, ScheduleError> {
        Ok(Constant { rate: scope.positive("rate", self.rate)? })
    }
}

impl Rate for Constant {
    fn rate(&self, _step: u64) -> f64 {
        self.rate
    }

    fn peak(&self) -> f64 {
        self.rate
    }

    fn mean(&self, _step: u64, _window: u64) -> Option<f64> {
        Some(self.rate)
    }

    fn tail(&self) -> Tail {
        Tail::settled(self.rate)
    }

    fn pieces(&self, steps: u64) -> Option<Vec<Piece>> {
        Some(cut([(steps, Shape::Constant(self.rate))], steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{refused, resolved};

    #[test]
    fn is_the_same_everywhere() {
        let schedule = resolved(constant(0.5), 10);
        for step in [0, 1, 9, 10, u64::MAX] {
            assert_eq!(schedule.rate(step), 0.5);
        }
    }

    #[test]
    fn refuses_what_is_no_rate() {
        for rate in [0.0, -1e-3, f64::NAN, f64::INFINITY] {
            assert_eq!(refused(constant(rate)), "constant.rate");
        }
    }
}
