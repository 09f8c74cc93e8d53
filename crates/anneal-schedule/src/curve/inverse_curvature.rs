//! A rate that follows a table of curvatures.

use super::table::place;
use super::{Describe, Rate, tail::Tail};
use crate::{Length, OutOfRange, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// η(t) = peak · c_min / c(t), with c(t) = curvatures\[⌊t / every⌋\], held at the last one after the end of
/// the table: the flattest part of the table gets the peak, and the product of rate and curvature is
/// constant.
///
/// Only ratios matter, so the curvatures may have any unit. For a loss whose samples have noise levels with a
/// curvature each, this applies if all samples of a batch share one level per update. If a batch mixes
/// levels, the same ratio weights each sample's loss: [`curvature_weights`].
///
/// | field | unit | range |
/// | --- | --- | --- |
/// | `peak` | learning rate where the curvature is smallest | finite, above 0 |
/// | `curvatures` | any | at least one; finite, above 0 |
/// | `every` | how long each curvature holds, a span | inside the run; default 1 update |
///
/// Source: the stability limit 2/c of gradient descent on a quadratic of curvature c.
///
/// ```
/// use anneal_schedule::{inverse_curvature, prelude::*};
/// let schedule = inverse_curvature(0.5, [4.0, 2.0, 1.0]).every(Span::steps(5))
///     .resolve(RunLength::updates(15))?;
/// assert_eq!([0, 5, 10].map(|step| schedule.rate(step)), [0.125, 0.25, 0.5]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
#[must_use]
pub struct InverseCurvature<L: Length = Span> {
    /// The rate where the curvature is smallest.
    pub peak: f64,
    /// The curvatures, in order.
    pub curvatures: Vec<f64>,
    /// How long each of them holds; default one update.
    #[serde(default)]
    pub every: Option<L>,
    /// c_min, set on resolution.
    #[serde(skip)]
    smallest: f64,
}

/// An [`InverseCurvature`]: the rate is `peak` at the smallest of `curvatures` and inversely proportional to
/// them.
pub fn inverse_curvature(peak: f64, curvatures: impl Into<Vec<f64>>) -> InverseCurvature {
    InverseCurvature { peak, curvatures: curvatures.into(), every: None, smallest: 0.0 }
}

impl InverseCurvature {
    /// Holds each curvature for `every` instead of one update.
    pub fn every(mut self, every: Span) -> Self {
        self.every = Some(every);
        self
    }
}

/// The weights of the samples' losses that replace an [`InverseCurvature`] rate if a batch mixes noise
/// levels: w_i = c_min / c(level_i), in (0, 1].
///
/// With the rate held at the peak, a sample of level l then moves the weights as much as in a batch of level
/// l alone at the rate peak · c_min / c(l).
///
/// # Errors
/// [`ScheduleError`] if a curvature is not finite and above 0, or a level has no entry.
///
/// ```
/// use anneal_schedule::curvature_weights;
/// assert_eq!(curvature_weights(&[10.0, 2.0, 1.0], &[2, 0, 1])?, [1.0, 0.1, 0.5]);
/// # Ok::<(), anneal_schedule::ScheduleError>(())
/// ```
pub fn curvature_weights(curvatures: &[f64], levels: &[usize]) -> Result<Vec<f64>, ScheduleError> {
    let wrong = |field: String, value: String, allowed: String| -> ScheduleError {
        OutOfRange::new(format!("curvature_weights.{field}"), value, allowed).into()
    };
    let no_curvature = |&(_, &c): &(usize, &f64)| !(c > 0.0 && c.is_finite());
    if let Some((i, c)) = curvatures.iter().enumerate().find(no_curvature) {
        let field = format!("curvatures[{i}]");
        return Err(wrong(field, format!("{c:?}"), "a finite number above 0".into()));
    }
    let smallest = smallest(curvatures);
    let weight = |(i, &level): (usize, &usize)| match curvatures.get(level) {
        Some(curvature) => Ok(smallest / curvature),
        None => {
            let allowed =
                format!("an index into the {} curvatures, counted from 0", curvatures.len());
            Err(wrong(format!("levels[{i}]"), level.to_string(), allowed))
        }
    };
    levels.iter().enumerate().map(weight).collect()
}

fn smallest(curvatures: &[f64]) -> f64 {
    curvatures.iter().copied().fold(f64::INFINITY, f64::min)
}

impl Describe for InverseCurvature {
    type Resolved = InverseCurvature<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<InverseCurvature<u64>, ScheduleError> {
        if self.curvatures.is_empty() {
            return Err(scope.out_of_range("curvatures", "[]".into(), "at least one curvature"));
        }
        let curvatures = self
            .curvatures
            .iter()
            .enumerate()
            .map(|(i, &curvature)| scope.positive(&format!("curvatures[{i}]"), curvature))
            .collect::<Result<Vec<f64>, _>>()?;
        Ok(InverseCurvature {
            peak: scope.positive("peak", self.peak)?,
            smallest: smallest(&curvatures),
            curvatures,
            every: self.every.map(|span| scope.length("every", span)).transpose()?,
        })
    }
}

impl Rate for InverseCurvature<u64> {
    fn rate(&self, step: u64) -> f64 {
        let curvature = self.curvatures[place(step, self.every, self.curvatures.len())];
        self.peak * (self.smallest / curvature)
    }

    fn end_rate(&self, step: u64) -> f64 {
        self.rate(step.saturating_sub(1))
    }

    fn peak(&self) -> f64 {
        self.peak
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
    fn rate_times_curvature_is_constant() {
        let curvatures = [8.0, 0.25, 3.0, 1e-3];
        let schedule = resolved(inverse_curvature(0.5, curvatures).every(Span::steps(2)), 20);
        for step in 0..20 {
            let curvature = curvatures[(step as usize / 2).min(3)];
            assert!((schedule.rate(step) * curvature - 0.5 * 1e-3).abs() < 1e-18, "{step}");
        }
        assert_eq!(schedule.peak(), 0.5);
    }

    /// One step of gradient descent on ½ c w² from w = 1 shrinks w by the factor 1 − ηc. A batch of one level
    /// at the scheduled rate and a sample's weighted loss at the peak must do the same.
    #[test]
    fn both_readings_take_the_same_step() {
        let (peak, curvatures) = (0.25, [4.0, 2.0, 0.5]);
        let schedule = resolved(inverse_curvature(peak, curvatures), 3);
        let weights = curvature_weights(&curvatures, &[0, 1, 2]).unwrap();
        for (level, curvature) in curvatures.into_iter().enumerate() {
            let as_a_rate = 1.0 - schedule.rate(level as u64) * curvature;
            let as_a_weight = 1.0 - peak * (weights[level] * curvature);
            assert!((as_a_rate - as_a_weight).abs() < 1e-15, "{level}");
            // All levels contract as the flattest one does at the peak.
            assert!((as_a_rate - (1.0 - 0.25 * 0.5)).abs() < 1e-15, "{level}");
        }
    }

    #[test]
    fn extreme_curvatures_stay_finite() {
        let schedule = resolved(inverse_curvature(1e308, [5e-324, f64::MAX]), 5);
        assert_eq!([0, 1].map(|step| schedule.rate(step)), [1e308, 0.0]);
    }

    #[test]
    fn weights_refuse_what_the_table_does_not_have() {
        for (curvatures, levels, found) in [
            (&[1.0, 0.0][..], &[0][..], "curvature_weights.curvatures[1]: 0.0"),
            (&[f64::NAN], &[0], "curvature_weights.curvatures[0]: NaN"),
            (&[1.0, 2.0], &[1, 2], "curvature_weights.levels[1]: 2"),
        ] {
            let error = curvature_weights(curvatures, levels).unwrap_err().to_string();
            assert!(error.starts_with(found), "{error}");
        }
        assert_eq!(curvature_weights(&[], &[]).unwrap(), [0.0; 0]);
    }

    #[test]
    fn refuses_each_field() {
        assert_eq!(refused(inverse_curvature(0.0, [1.0])), "inverse_curvature.peak");
        assert_eq!(refused(inverse_curvature(1.0, [])), "inverse_curvature.curvatures");
        for curvature in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let config = inverse_curvature(1.0, [1.0, curvature]);
            assert_eq!(refused(config), "inverse_curvature.curvatures[1]");
        }
        let every = inverse_curvature(1.0, [1.0]).every(Span::steps(101));
        assert_eq!(refused(every), "inverse_curvature.every");
    }
}
