//! Piecewise constant rates.

use super::{Describe, Rate, tail::Tail};
use crate::{Length, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// η(t) = the value of the last boundary ≤ t; `start` before the first one.
///
/// With `scales`, each value is a factor of the previous rate: start · Π (factors of the boundaries ≤ t). A
/// lookup takes O(log n) for n boundaries.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `start` | learning rate | finite, at least 0 |
/// | `boundaries` | spans from the start of the schedule | 0 … end of the run; any order; of two at the same update, the later in the list wins |
/// | `values` | learning rate, or factor | finite, at least 0; one for each boundary |
/// | `scales` | | default false |
///
/// Source: keras `PiecewiseConstantDecay` (which changes one update after its boundary), optax
/// `piecewise_constant_schedule`.
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = piecewise_constant(0.1, [Span::percent(50), Span::percent(75)], [0.02, 0.001])
///     .resolve(RunLength::updates(200))?;
/// assert_eq!([99, 100, 150].map(|step| schedule.rate(step)), [0.1, 0.02, 0.001]);
/// let scaled = piecewise_constant(8.0, [Span::steps(2), Span::steps(4)], [0.5, 0.25]).scales()
///     .resolve(RunLength::updates(6))?;
/// assert_eq!([1, 2, 4].map(|step| scaled.rate(step)), [8.0, 4.0, 1.0]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
#[must_use]
pub struct PiecewiseConstant<L: Length = Span> {
    /// The rate before the first boundary.
    pub start: f64,
    /// The positions of the changes.
    pub boundaries: Vec<L>,
    /// The rate from each boundary on, or its factor.
    pub values: Vec<f64>,
    /// Whether the values are factors of the previous rate.
    #[serde(default)]
    pub scales: bool,
}

/// A [`PiecewiseConstant`] rate: `start`, then from each of `boundaries` on the matching one of `values`.
pub fn piecewise_constant(
    start: f64,
    boundaries: impl Into<Vec<Span>>,
    values: impl Into<Vec<f64>>,
) -> PiecewiseConstant {
    PiecewiseConstant { start, boundaries: boundaries.into(), values: values.into(), scales: false }
}

impl PiecewiseConstant {
    /// Interprets the values as factors of the previous rate.
    pub fn scales(mut self) -> Self {
        self.scales = true;
        self
    }
}

impl Describe for PiecewiseConstant {
    type Resolved = PiecewiseConstant<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<PiecewiseConstant<u64>, ScheduleError> {
        let start = scope.within("start", self.start, 0.0..=f64::MAX)?;
        let (boundaries, values) =
            resolve_points(scope, start, &self.boundaries, &self.values, self.scales)?;
        Ok(PiecewiseConstant { start, boundaries, values, scales: false })
    }
}

/// Sorted boundaries, each with its rate.
pub(super) fn resolve_points(
    scope: &Scope<'_>,
    start: f64,
    boundaries: &[Span],
    values: &[f64],
    scales: bool,
) -> Result<(Vec<u64>, Vec<f64>), ScheduleError> {
    if boundaries.len() != values.len() {
        let allowed = format!("one for each of the {} boundaries", boundaries.len());
        return Err(scope.out_of_range("values", format!("{} values", values.len()), allowed));
    }
    let point = |(i, (&boundary, &value)): (usize, (&Span, &f64))| {
        let boundary = scope.milestone(&format!("boundaries[{i}]"), boundary)?;
        Ok((boundary, scope.within(&format!("values[{i}]"), value, 0.0..=f64::MAX)?))
    };
    let mut points: Vec<(u64, f64)> = boundaries
        .iter()
        .zip(values)
        .enumerate()
        .map(point)
        .collect::<Result<_, ScheduleError>>()?;
    points.sort_by_key(|point| point.0);
    let (boundaries, mut values): (Vec<u64>, Vec<f64>) = points.into_iter().unzip();
    if scales {
        let mut rate = start;
        for value in &mut values {
            rate *= *value;
            let allowed = "factors whose product with the start stays finite";
            *value = scope.require("values", rate, rate.is_finite(), allowed)?;
        }
    }
    Ok((boundaries, values))
}

impl PiecewiseConstant<u64> {
    fn after(&self, passed: usize) -> f64 {
        passed.checked_sub(1).map_or(self.start, |last| self.values[last])
    }
}

impl Rate for PiecewiseConstant<u64> {
    fn rate(&self, step: u64) -> f64 {
        self.after(self.boundaries.partition_point(|&boundary| boundary <= step))
    }

    fn end_rate(&self, step: u64) -> f64 {
        self.rate(step.saturating_sub(1))
    }

    fn peak(&self) -> f64 {
        self.values.iter().copied().fold(self.start, f64::max)
    }

    fn tail(&self) -> Tail {
        Tail::settled(self.rate(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{refused, resolved};

    #[test]
    fn values_go_with_their_boundaries_in_any_order() {
        let boundaries = [6, 2, 6, 0].map(Span::steps);
        let schedule = resolved(piecewise_constant(9.0, boundaries, [1.0, 5.0, 0.0, 7.0]), 10);
        let rates: Vec<f64> = (0..8).map(|step| schedule.rate(step)).collect();
        assert_eq!(rates, [7.0, 7.0, 5.0, 5.0, 5.0, 5.0, 0.0, 0.0]);
    }

    #[test]
    fn scales_multiply_what_stands_before() {
        let boundaries = [4, 2].map(Span::steps);
        let schedule = resolved(piecewise_constant(1.0, boundaries, [0.5, 3.0]).scales(), 10);
        assert_eq!([1, 2, 4].map(|step| schedule.rate(step)), [1.0, 3.0, 1.5]);
        assert_eq!(schedule.peak(), 3.0);
    }

    #[test]
    fn the_end_of_a_run_on_a_boundary_does_not_jump() {
        let schedule = resolved(piecewise_constant(1.0, [Span::percent(100)], [0.5]), 10);
        assert_eq!([9, 10, 11].map(|step| schedule.rate(step)), [1.0; 3]);
    }

    #[test]
    fn without_boundaries_it_is_constant_also_at_zero() {
        assert_eq!(resolved(piecewise_constant(0.0, [], []), 10).rate(5), 0.0);
    }

    #[test]
    fn refuses_each_field() {
        let at = || [Span::steps(5)];
        assert_eq!(refused(piecewise_constant(-1.0, at(), [1.0])), "piecewise_constant.start");
        let late = [Span::steps(5), Span::steps(101)];
        assert_eq!(
            refused(piecewise_constant(1.0, late, [1.0, 1.0])),
            "piecewise_constant.boundaries[1]"
        );
        assert_eq!(refused(piecewise_constant(1.0, at(), [])), "piecewise_constant.values");
        assert_eq!(
            refused(piecewise_constant(1.0, at(), [f64::NAN])),
            "piecewise_constant.values[0]"
        );
        assert_eq!(
            refused(piecewise_constant(1e300, at(), [1e300]).scales()),
            "piecewise_constant.values"
        );
    }
}
