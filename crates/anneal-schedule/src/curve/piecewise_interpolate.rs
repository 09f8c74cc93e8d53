//! Rates interpolated between points.

use super::piecewise_constant::resolve_points;
use super::{AnnealStrategy, Describe, Rate, fraction, half_cosine, mix, tail::Tail};
use crate::{Length, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// Interpolates from `start` at t = 0 through a point (b, v) per boundary, and holds the last one:
///
/// ```text
/// η(t) = v₀ + (v₁ − v₀)·x             linear     x = (t − b₀)/(b₁ − b₀)
/// η(t) = v₁ + ½(v₀ − v₁)(1 + cos πx)  cosine
/// ```
///
/// between the points (b₀, v₀) and (b₁, v₁) around t. With `scales`, each value is a factor of the previous
/// value. Two points at the same update make a jump. A lookup takes O(log n) for n boundaries.
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `start` | learning rate | finite, at least 0 |
/// | `boundaries` | spans from the start of the schedule | 0 … end of the run; any order |
/// | `values` | learning rate, or factor | finite, at least 0; one for each boundary |
/// | `scales` | | default false |
/// | `anneal` | shape between the points | linear (default) or cosine |
///
/// Source: optax `piecewise_interpolate_schedule`.
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = piecewise_interpolate(0.0, [Span::steps(4), Span::steps(8)], [1.0, 0.5])
///     .resolve(RunLength::updates(10))?;
/// assert_eq!([0, 2, 4, 6, 8, 9].map(|t| schedule.rate(t)), [0.0, 0.5, 1.0, 0.75, 0.5, 0.5]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
#[must_use]
pub struct PiecewiseInterpolate<L: Length = Span> {
    /// The rate of the first update.
    pub start: f64,
    /// The positions of the points.
    pub boundaries: Vec<L>,
    /// The rate at each boundary, or its factor.
    pub values: Vec<f64>,
    /// Whether the values are factors of the previous value.
    #[serde(default)]
    pub scales: bool,
    /// The shape between two points.
    #[serde(default = "straight")]
    pub anneal: AnnealStrategy,
}

fn straight() -> AnnealStrategy {
    AnnealStrategy::Linear
}

/// A [`PiecewiseInterpolate`] rate: from `start` to each of `values` at the matching one of `boundaries`.
pub fn piecewise_interpolate(
    start: f64,
    boundaries: impl Into<Vec<Span>>,
    values: impl Into<Vec<f64>>,
) -> PiecewiseInterpolate {
    PiecewiseInterpolate {
        start,
        boundaries: boundaries.into(),
        values: values.into(),
        scales: false,
        anneal: straight(),
    }
}

impl PiecewiseInterpolate {
    /// Interprets the values as factors of the previous value.
    pub fn scales(mut self) -> Self {
        self.scales = true;
        self
    }

    /// Sets the shape between two points.
    pub fn anneal(mut self, anneal: AnnealStrategy) -> Self {
        self.anneal = anneal;
        self
    }
}

impl Describe for PiecewiseInterpolate {
    type Resolved = PiecewiseInterpolate<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<PiecewiseInterpolate<u64>, ScheduleError> {
        let start = scope.within("start", self.start, 0.0..=f64::MAX)?;
        let (boundaries, values) =
            resolve_points(scope, start, &self.boundaries, &self.values, self.scales)?;
        Ok(PiecewiseInterpolate { start, boundaries, values, scales: false, anneal: self.anneal })
    }
}

impl PiecewiseInterpolate<u64> {
    /// The rate at `step` on the way to point `next`.
    fn toward(&self, next: usize, step: u64) -> f64 {
        let (begin, from) = match next.checked_sub(1) {
            Some(last) => (self.boundaries[last], self.values[last]),
            None => (0, self.start),
        };
        let Some(&end) = self.boundaries.get(next) else { return from };
        let x = fraction(step - begin, end - begin);
        let weight = match self.anneal {
            AnnealStrategy::Linear => 1.0 - x,
            AnnealStrategy::Cosine => half_cosine(x),
        };
        mix(from, self.values[next], weight)
    }
}

impl Rate for PiecewiseInterpolate<u64> {
    fn rate(&self, step: u64) -> f64 {
        self.toward(self.boundaries.partition_point(|&boundary| boundary <= step), step)
    }

    fn end_rate(&self, step: u64) -> f64 {
        // At a jump between two points, the first one has been reached.
        self.toward(self.boundaries.partition_point(|&boundary| boundary < step), step)
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
    fn cosine_has_its_formula_between_any_points() {
        let config = piecewise_interpolate(1.0, [10, 4].map(Span::steps), [2.0, 0.5]);
        let schedule = resolved(config.anneal(AnnealStrategy::Cosine), 20);
        for step in 0..20 {
            let (v0, v1, x) = match step {
                0..4 => (1.0, 0.5, step as f64 / 4.0),
                4..10 => (0.5, 2.0, (step - 4) as f64 / 6.0),
                _ => (0.0, 2.0, 1.0),
            };
            let expected: f64 = v1 + 0.5 * (v0 - v1) * (1.0 + (std::f64::consts::PI * x).cos());
            assert!((schedule.rate(step) - expected).abs() < 1e-15, "{step}");
        }
    }

    #[test]
    fn scales_accumulate() {
        let config = piecewise_interpolate(1.0, [4, 8].map(Span::steps), [0.5, 0.5]).scales();
        let schedule = resolved(config, 10);
        assert_eq!([0, 2, 4, 6, 8].map(|t| schedule.rate(t)), [1.0, 0.75, 0.5, 0.375, 0.25]);
    }

    #[test]
    fn two_points_at_the_same_update_are_a_jump() {
        let config = piecewise_interpolate(0.0, [4, 4, 8].map(Span::steps), [1.0, 3.0, 1.0]);
        let schedule = resolved(config.clone(), 10);
        assert_eq!([0, 2, 4, 6, 8].map(|t| schedule.rate(t)), [0.0, 0.5, 3.0, 2.0, 1.0]);
        let early = config.clone().boundaries.into_iter().take(2).collect::<Vec<_>>();
        let cut = resolved(piecewise_interpolate(0.0, early, [1.0, 3.0]), 4);
        assert_eq!(cut.rate(4), 1.0, "the end of a run holds what it has reached");
        let at_once = resolved(piecewise_interpolate(1.0, [Span::steps(0)], [2.0]), 4);
        assert_eq!(at_once.rate(0), 2.0);
    }

    #[test]
    fn refuses_each_field() {
        let name = |field: &str| format!("piecewise_interpolate.{field}");
        let at = || [Span::steps(5)];
        assert_eq!(refused(piecewise_interpolate(f64::NAN, at(), [1.0])), name("start"));
        let late = [Span::steps(101)];
        assert_eq!(refused(piecewise_interpolate(1.0, late, [1.0])), name("boundaries[0]"));
        assert_eq!(refused(piecewise_interpolate(1.0, at(), [1.0, 1.0])), name("values"));
        assert_eq!(refused(piecewise_interpolate(1.0, at(), [-1.0])), name("values[0]"));
    }
}
