//! Compares a value with the best so far, by torch's rule, which others adopted.

use crate::{MetricOf, OutOfRange, Signal, Split};
use serde::{Deserialize, Serialize};

/// What a second controller of this kind on the same group would conflict with.
pub(crate) const ROLE: &str = "a rule for plateaus";

/// The direction in which a signal improves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Lower is better.
    Min,
    /// Higher is better.
    Max,
}

/// How much better than the best a value must be to count as better.
///
/// | | min: better is below | max: better is above |
/// | --- | --- | --- |
/// | `Relative(x)` | best · (1 − x) | best · (1 + x) |
/// | `Absolute(x)` | best − x | best + x |
///
/// x is finite and at least 0; a relative x for the minimum is below 1. `Relative` is for positive signals:
/// for a negative one a slightly worse value counts as better, as in torch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Threshold {
    /// A share of the best.
    Relative(f64),
    /// A difference from the best.
    Absolute(f64),
}

impl Threshold {
    pub(crate) fn check(self, mode: Mode) -> Result<(), OutOfRange> {
        let (Self::Relative(x) | Self::Absolute(x)) = self;
        let below_1 = x < 1.0 || mode == Mode::Max || matches!(self, Self::Absolute(_));
        let ok = x >= 0.0 && x.is_finite() && below_1;
        let allowed = "finite, at least 0; below 1 if relative with a minimum";
        OutOfRange::require("threshold", self, ok, allowed)
    }
}

impl Mode {
    /// Refuses to maximize a loss.
    pub(crate) fn check(self, signal: &Signal) -> Result<(), OutOfRange> {
        signal.check_best(self == Self::Max)
    }

    /// Whether a value is better than the best so far. The first finite value is; a non-finite one never is.
    pub(crate) fn is_better(self, threshold: Threshold, value: f64, best: Option<f64>) -> bool {
        let better = match (self, threshold, best) {
            (_, _, None) => true,
            (Self::Min, Threshold::Relative(x), Some(best)) => value < best * (1.0 - x),
            (Self::Min, Threshold::Absolute(x), Some(best)) => value < best - x,
            (Self::Max, Threshold::Relative(x), Some(best)) => value > best * (1.0 + x),
            (Self::Max, Threshold::Absolute(x), Some(best)) => value > best + x,
        };
        value.is_finite() && better
    }
}

/// Refuses settings under which the rate could not change.
pub(crate) fn check_changes(
    factor: f64,
    min_rate: f64,
    smallest_change: f64,
) -> Result<(), OutOfRange> {
    let at_least_0 = |value: f64| value >= 0.0 && value.is_finite();
    OutOfRange::require("factor", factor, factor > 0.0 && factor < 1.0, "above 0, below 1")?;
    OutOfRange::require("min_rate", min_rate, at_least_0(min_rate), "finite, at least 0")?;
    let ok = at_least_0(smallest_change);
    OutOfRange::require("smallest_change", smallest_change, ok, "finite, at least 0")
}

/// The start of the rule's text form: `min(MetricOf::valid("Loss")`, without the closing bracket.
pub(crate) fn beginning(mode: Mode, signal: &Signal) -> String {
    let mode = if mode == Mode::Min { "min" } else { "max" };
    match signal {
        Signal::Metric(MetricOf { split: Split::Valid, name }) => {
            format!("{mode}(MetricOf::valid({name:?})")
        }
        Signal::Metric(MetricOf { split: Split::Train, name }) => {
            format!("{mode}(MetricOf::train({name:?})")
        }
        Signal::Announced(name) => format!("{mode}(Signal::Announced({name:?}.into())"),
        measured => format!("{mode}(Signal::{measured:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_better_beyond_the_threshold() {
        for (mode, threshold, best, worse, better) in [
            (Mode::Min, Threshold::Relative(0.25), 2.0, 1.5, 1.49),
            (Mode::Min, Threshold::Absolute(0.25), 2.0, 1.75, 1.74),
            (Mode::Max, Threshold::Relative(0.25), 2.0, 2.5, 2.51),
            (Mode::Max, Threshold::Absolute(0.25), 2.0, 2.25, 2.26),
        ] {
            assert!(!mode.is_better(threshold, worse, Some(best)), "{mode:?} {threshold:?}");
            assert!(mode.is_better(threshold, better, Some(best)), "{mode:?} {threshold:?}");
        }
    }

    #[test]
    fn what_is_not_finite_is_never_better() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for mode in [Mode::Min, Mode::Max] {
                for best in [None, Some(1.0)] {
                    assert!(!mode.is_better(Threshold::Absolute(0.0), value, best));
                }
            }
        }
    }

    #[test]
    fn thresholds_out_of_range_are_refused() {
        for threshold in [-0.1, f64::NAN, f64::INFINITY] {
            assert!(Threshold::Relative(threshold).check(Mode::Max).is_err());
            assert!(Threshold::Absolute(threshold).check(Mode::Min).is_err());
        }
        assert!(Threshold::Relative(1.0).check(Mode::Min).is_err());
        assert!(Threshold::Relative(1.0).check(Mode::Max).is_ok());
        assert!(Threshold::Absolute(1.0).check(Mode::Min).is_ok());
    }
}
