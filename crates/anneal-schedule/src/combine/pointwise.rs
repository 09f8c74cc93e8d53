//! Pointwise product, sum, minimum, maximum and multiple of schedules.

use super::IntoList;
use crate::curve::{Describe, Inner, Rate, pieces::Piece, tail::Tail};
use crate::{Length, ScheduleConfig, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

macro_rules! pointwise {
    ($($(#[$doc:meta])* $name:ident, $function:ident, $start:expr, $fold:expr, $tails:expr);* $(;)?) => {$(
        $(#[$doc])*
        ///
        /// | field | range |
        /// | --- | --- |
        /// | `schedules` | at least one; their combination must be finite |
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
        #[serde(deny_unknown_fields)]
        #[serde(bound = "")]
        #[must_use]
        pub struct $name<L: Length = Span> {
            /// The combined schedules.
            pub schedules: Vec<ScheduleConfig<L>>,
        }

        #[doc = concat!("The [`", stringify!($name), "`] of `schedules`, point by point.")]
        ///
        /// ```
        /// use anneal_schedule::prelude::*;
        #[doc = concat!("use anneal_schedule::", stringify!($function), ";")]
        #[doc = concat!("let config = ", stringify!($function), "((cosine(0.1), linear(1.0, 0.5)));")]
        #[doc = concat!("let same = \"", stringify!($function), "([cosine(0.1), linear(1.0, 0.5)])\";")]
        /// assert_eq!(config.to_string(), same);
        /// ```
        pub fn $function(schedules: impl IntoList<ScheduleConfig>) -> $name {
            $name { schedules: schedules.into_list() }
        }

        impl Describe for $name {
            type Resolved = $name<u64>;

            fn resolve(&self, scope: &Scope<'_>) -> Result<$name<u64>, ScheduleError> {
                let resolved = $name { schedules: resolve_all(&self.schedules, scope)? };
                check_finite(resolved, scope)
            }
        }

        impl Rate for $name<u64> {
            fn rate(&self, step: u64) -> f64 {
                self.schedules.iter().map(|schedule| schedule.rate(step)).fold($start, $fold)
            }

            fn end_rate(&self, step: u64) -> f64 {
                self.schedules.iter().map(|schedule| schedule.end_rate(step)).fold($start, $fold)
            }

            fn peak(&self) -> f64 {
                self.schedules.iter().map(|schedule| schedule.peak()).fold($start, $fold)
            }

            fn tail(&self) -> Tail {
                let tails = self.schedules.iter().map(|schedule| schedule.tail());
                tails.reduce($tails).unwrap_or(Tail::Unknown)
            }

            fn inner(&self) -> Vec<Inner<'_>> {
                self.schedules.iter().map(Inner::whole).collect()
            }
        }
    )*};
}

pointwise! {
    /// η(t) = Π ηᵢ(t). Source: torch `ChainedScheduler`.
    Product, product, 1.0, |a, b| a * b, Tail::times;
    /// η(t) = Σ ηᵢ(t).
    Sum, sum, 0.0, |a, b| a + b, Tail::plus;
    /// η(t) = min ηᵢ(t).
    Minimum, minimum, f64::INFINITY, f64::min, Tail::least;
    /// η(t) = max ηᵢ(t).
    Maximum, maximum, 0.0, f64::max, Tail::most;
}

fn resolve_all(
    schedules: &[ScheduleConfig],
    scope: &Scope<'_>,
) -> Result<Vec<ScheduleConfig<u64>>, ScheduleError> {
    if schedules.is_empty() {
        return Err(scope.out_of_range("schedules", "[]".into(), "at least one schedule"));
    }
    let resolve = |(i, schedule): (usize, &ScheduleConfig)| {
        schedule.resolve_in(&scope.inside(&format!("schedules[{i}]"))?)
    };
    schedules.iter().enumerate().map(resolve).collect()
}

fn check_finite<R: Rate>(resolved: R, scope: &Scope<'_>) -> Result<R, ScheduleError> {
    let peak = resolved.peak();
    scope.require(
        "schedules",
        peak,
        peak.is_finite(),
        "schedules whose combination stays finite",
    )?;
    Ok(resolved)
}

/// η(t) = factor · inner(t).
///
/// | field | range |
/// | --- | --- |
/// | `factor` | finite, above 0 |
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = constant(0.1).scale(4.0).resolve(RunLength::updates(1))?;
/// assert_eq!(schedule.rate(0), 0.4);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
pub struct Scale<L: Length = Span> {
    /// The factor.
    pub factor: f64,
    /// The schedule to multiply.
    pub schedule: Box<ScheduleConfig<L>>,
}

impl Product {
    /// Adds a factor, without nesting products.
    pub fn times(mut self, other: impl Into<ScheduleConfig>) -> Self {
        self.schedules.push(other.into());
        self
    }
}

impl Sum {
    /// Adds a summand, without nesting sums.
    pub fn plus(mut self, other: impl Into<ScheduleConfig>) -> Self {
        self.schedules.push(other.into());
        self
    }
}

impl Describe for Scale {
    type Resolved = Scale<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<Scale<u64>, ScheduleError> {
        let factor = scope.positive("factor", self.factor)?;
        let schedule = Box::new(self.schedule.resolve_in(&scope.inside("schedule")?)?);
        let resolved = Scale { factor, schedule };
        let finite = resolved.peak().is_finite();
        scope.require("factor", factor, finite, "a factor that keeps the rates finite")?;
        Ok(resolved)
    }
}

impl Rate for Scale<u64> {
    fn rate(&self, step: u64) -> f64 {
        self.factor * self.schedule.rate(step)
    }

    fn end_rate(&self, step: u64) -> f64 {
        self.factor * self.schedule.end_rate(step)
    }

    fn peak(&self) -> f64 {
        self.factor * self.schedule.peak()
    }

    fn mean(&self, step: u64, window: u64) -> Option<f64> {
        Some(self.factor * self.schedule.mean(step, window)?)
    }

    fn tail(&self) -> Tail {
        self.schedule.tail().scaled(self.factor)
    }

    fn pieces(&self, steps: u64) -> Option<Vec<Piece>> {
        let pieces = self.schedule.pieces(steps)?;
        Some(pieces.into_iter().map(|piece| piece.scaled(self.factor)).collect())
    }

    fn inner(&self) -> Vec<Inner<'_>> {
        vec![Inner::whole(&self.schedule)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::combine::ScheduleExt;
    use crate::curve::{constant, linear, refused, resolved};

    #[test]
    fn combines_point_by_point() {
        let (a, b) = (linear(1.0, 0.0), constant(0.5));
        let at =
            |config: ScheduleConfig| [0, 4, 8].map(|step| resolved(config.clone(), 8).rate(step));
        assert_eq!(at(a.clone().times(b.clone()).into()), [0.5, 0.25, 0.0]);
        assert_eq!(at(a.clone().plus(b.clone()).into()), [1.5, 1.0, 0.5]);
        let both = || (a.clone(), b.clone());
        assert_eq!(at(minimum(both()).into()), [0.5, 0.5, 0.0]);
        assert_eq!(at(maximum(both()).into()), [1.0, 0.5, 0.5]);
        assert_eq!(at(a.scale(3.0).into()), [3.0, 1.5, 0.0]);
    }

    #[test]
    fn a_chain_of_factors_is_one_product() {
        let chain = constant(2.0).times(constant(3.0)).times(constant(-1.0));
        assert_eq!(chain.schedules.len(), 3);
        assert_eq!(refused(chain), "product.schedules[2].constant.rate");
        let chain = constant(2.0).plus(constant(3.0)).plus(constant(-1.0));
        assert_eq!(refused(chain), "sum.schedules[2].constant.rate");
    }

    #[test]
    fn refuses_each_field() {
        assert_eq!(refused(product(Vec::<ScheduleConfig>::new())), "product.schedules");
        assert_eq!(refused(product([constant(1e200), constant(1e200)])), "product.schedules");
        assert_eq!(refused(sum([constant(f64::MAX), constant(f64::MAX)])), "sum.schedules");
        assert_eq!(refused(minimum([constant(-1.0)])), "minimum.schedules[0].constant.rate");
        assert_eq!(refused(maximum([constant(f64::NAN)])), "maximum.schedules[0].constant.rate");
        assert_eq!(refused(constant(1.0).scale(0.0)), "scale.factor");
        assert_eq!(refused(constant(1e300).scale(1e300)), "scale.factor");
    }
}
