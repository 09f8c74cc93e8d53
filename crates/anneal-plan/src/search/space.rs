//! The search space: named axes with ranges and scales.

use super::sobol::MAX_DIMENSIONS;
use crate::OutOfRange;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Index;

/// How an axis measures distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Scale {
    /// Equal ratios have equal distance, as for rates and decays.
    Log,
    /// Equal differences have equal distance, as for a momentum.
    Linear,
}

/// A named range of one hyperparameter.
///
/// ```text
/// log:     value = low · (high / low)^u       u = ln(value / low) / ln(high / low)
/// linear:  value = low + (high − low) · u     u = (value − low) / (high − low)
/// ```
///
/// with u in [0, 1]. `low` and `high` are finite, `low` below `high`, and above 0 on a log axis.
///
/// ```
/// use anneal_plan::Axis;
///
/// let rate = Axis::log("rate", 1e-4, 1.0);
/// assert!((rate.value(0.25) - 1e-3).abs() < 1e-15);
/// assert!((rate.unit(1e-3) - 0.25).abs() < 1e-15);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// Its name.
    pub name: String,
    /// Its scale.
    pub scale: Scale,
    /// The smallest value.
    pub low: f64,
    /// The largest value.
    pub high: f64,
}

impl Axis {
    /// An axis with a log scale.
    pub fn log(name: impl Into<String>, low: f64, high: f64) -> Self {
        Self { name: name.into(), scale: Scale::Log, low, high }
    }

    /// An axis with a linear scale.
    pub fn linear(name: impl Into<String>, low: f64, high: f64) -> Self {
        Self { name: name.into(), scale: Scale::Linear, low, high }
    }

    /// The value at u, a number in [0, 1].
    pub fn value(&self, u: f64) -> f64 {
        let Self { low, high, .. } = *self;
        let value = match self.scale {
            // Rounding may miss the end.
            _ if u == 1.0 => high,
            Scale::Log => low * ((high.ln() - low.ln()) * u).exp(),
            Scale::Linear => low * (1.0 - u) + high * u,
        };
        value.max(low).min(high)
    }

    /// The coordinate of a value in [0, 1]; outside if the value is out of range.
    pub fn unit(&self, value: f64) -> f64 {
        let Self { low, high, .. } = *self;
        match self.scale {
            Scale::Log => (value.ln() - low.ln()) / (high.ln() - low.ln()),
            // Halved, because the range may overflow.
            Scale::Linear => (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0),
        }
    }

    /// Checks that it can be searched.
    ///
    /// # Errors
    /// A bound that is not finite, a log axis with a bound not above 0, or an empty range.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let Self { name, scale, low, high } = self;
        let (low_field, high_field) = (format!("{name}.low"), format!("{name}.high"));
        match scale {
            Scale::Log => OutOfRange::require(
                low_field,
                low,
                low.is_finite() && *low > 0.0,
                "finite, above 0 on a log axis",
            )?,
            Scale::Linear => OutOfRange::require(low_field, low, low.is_finite(), "finite")?,
        }
        // Bounds that differ in the last digit may have the same logarithm.
        let wide = high.is_finite() && low < high && self.unit(*high) == 1.0;
        OutOfRange::require(high_field, high, wide, format!("finite, above low, {low:?}"))
    }
}

/// The axes of a search, in order.
///
/// ```
/// use anneal_plan::Space;
///
/// let space = Space::new().log("rate", 1e-5, 1.0).log("decay", 1e-6, 0.1).linear("momentum", 0.0, 0.99);
/// space.check()?;
/// let middle = space.values(&[0.5, 0.5, 0.5]);
/// assert_eq!(format!("{:.4}", middle["rate"]), "0.0032");
/// # Ok::<(), anneal_plan::OutOfRange>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Space {
    axes: Vec<Axis>,
}

impl Space {
    /// A space without axes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an axis with a log scale.
    #[must_use]
    pub fn log(self, name: impl Into<String>, low: f64, high: f64) -> Self {
        self.axis(Axis::log(name, low, high))
    }

    /// Adds an axis with a linear scale.
    #[must_use]
    pub fn linear(self, name: impl Into<String>, low: f64, high: f64) -> Self {
        self.axis(Axis::linear(name, low, high))
    }

    /// Adds an axis.
    #[must_use]
    pub fn axis(mut self, axis: Axis) -> Self {
        self.axes.push(axis);
        self
    }

    /// Its axes, in order.
    pub fn axes(&self) -> &[Axis] {
        &self.axes
    }

    /// Checks that it can be searched.
    ///
    /// # Errors
    /// No axis or more than 21, a duplicate name, or an axis that [is refused](Axis::check).
    pub fn check(&self) -> Result<(), OutOfRange> {
        let count = self.axes.len();
        OutOfRange::require("axes", count, (1..=MAX_DIMENSIONS).contains(&count), "1 to 21")?;
        for (i, axis) in self.axes.iter().enumerate() {
            let new = self.axes[..i].iter().all(|other| other.name != axis.name);
            OutOfRange::require("axis", &axis.name, new, "each name once")?;
            axis.check()?;
        }
        Ok(())
    }

    /// The values at a point of the unit cube, which has a coordinate for each axis.
    pub fn values(&self, point: &[f64]) -> Values {
        let named = |(axis, u): (&Axis, &f64)| (axis.name.clone(), axis.value(*u));
        self.axes.iter().zip(point).map(named).collect()
    }

    /// The point of the unit cube with these values.
    ///
    /// # Errors
    /// Values of other axes, or outside their ranges.
    pub fn point(&self, values: &Values) -> Result<Vec<f64>, OutOfRange> {
        let names: Vec<&str> = self.axes.iter().map(|axis| &*axis.name).collect();
        for (name, value) in values.iter() {
            OutOfRange::require(name, value, names.contains(&name), format!("only {names:?}"))?;
        }
        let coordinate = |axis: &Axis| {
            let Axis { name, low, high, .. } = axis;
            let allowed = format!("{low:?} to {high:?}");
            let Some(value) = values.get(name) else {
                return Err(OutOfRange::new(name, "none", allowed));
            };
            OutOfRange::require(name, value, (*low..=*high).contains(&value), allowed)?;
            Ok(axis.unit(value))
        };
        self.axes.iter().map(coordinate).collect()
    }
}

/// Values by axis name.
///
/// ```
/// use anneal_plan::Values;
///
/// let values = Values::from_iter([("rate", 1e-3), ("decay", 0.01)]);
/// assert_eq!(values["rate"], 1e-3);
/// assert_eq!(values.get("momentum"), None);
/// assert_eq!(values.to_string(), "decay 0.01, rate 0.001");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Values(BTreeMap<String, f64>);

impl Values {
    /// The value of an axis, if it exists.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// Names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, value)| (&**name, *value))
    }
}

/// The value of an axis.
///
/// # Panics
/// If the axis does not exist; [`Values::get`] does not panic.
impl Index<&str> for Values {
    type Output = f64;

    fn index(&self, name: &str) -> &f64 {
        match self.0.get(name) {
            Some(value) => value,
            None => panic!("no axis `{name}` among {:?}", self.0.keys().collect::<Vec<_>>()),
        }
    }
}

impl<N: Into<String>> FromIterator<(N, f64)> for Values {
    fn from_iter<I: IntoIterator<Item = (N, f64)>>(values: I) -> Self {
        Self(values.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = self.0.iter().map(|(name, value)| format!("{name} {}", Short(*value)));
        f.write_str(&pairs.collect::<Vec<_>>().join(", "))
    }
}

/// A number with four digits.
pub(crate) struct Short(pub(crate) f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounded: f64 = format!("{:.3e}", self.0).parse().unwrap_or(self.0);
        match rounded.abs() {
            0.0 => f.pad("0"),
            1e-3..1e5 => f.pad(&rounded.to_string()),
            _ => f.pad(&format!("{rounded:e}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(space: Space, expected: &str) {
        let error = space.check().unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn what_cannot_be_searched_is_refused_by_field() {
        refused(Space::new(), "axes: 0 is not allowed; allowed: 1 to 21");
        let many = (0..22).fold(Space::new(), |space, i| space.linear(i.to_string(), 0.0, 1.0));
        refused(many, "axes: 22");
        let twice = Space::new().log("rate", 1e-3, 1.0).linear("rate", 0.0, 1.0);
        refused(twice, "axis: \"rate\"");
        for low in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            refused(Space::new().log("rate", low, 1.0), &format!("rate.low: {low:?}"));
        }
        let last_digit = f64::from_bits(1f64.to_bits() + 1);
        for high in [1.0, 0.5, f64::NAN, f64::INFINITY] {
            refused(Space::new().log("rate", 1.0, high), &format!("rate.high: {high:?}"));
            refused(
                Space::new().linear("momentum", 1.0, high),
                &format!("momentum.high: {high:?}"),
            );
        }
        refused(Space::new().log("rate", 1e9, 1e9 * last_digit), "rate.high");
        refused(Space::new().linear("x", f64::NEG_INFINITY, 0.0), "x.low: -inf");
        assert!(Space::new().linear("x", f64::MIN, f64::MAX).check().is_ok());
    }

    #[test]
    fn bounds_are_reached_exactly() {
        for axis in [Axis::log("a", 3e-7, 0.7), Axis::linear("b", -0.3, 0.9)] {
            assert_eq!((axis.value(0.0), axis.value(1.0)), (axis.low, axis.high));
            assert_eq!((axis.unit(axis.low), axis.unit(axis.high)), (0.0, 1.0));
        }
    }

    #[test]
    fn values_of_another_space_have_no_point() {
        let space = Space::new().log("rate", 1e-3, 1.0);
        let point =
            |values: &[(&str, f64)]| space.point(&Values::from_iter(values.iter().copied()));
        assert!(point(&[("rate", 0.1)]).is_ok());
        for (values, field) in [
            (&[("rate", 2.0)][..], "rate: 2.0 is not allowed; allowed: 0.001 to 1.0"),
            (&[("rate", f64::NAN)], "rate: NaN is"),
            (&[], "rate: none is not allowed; allowed: 0.001 to 1.0"),
            (&[("rate", 0.1), ("decay", 0.1)], "decay: 0.1"),
        ] {
            let error = point(values).unwrap_err().to_string();
            assert!(error.starts_with(field), "{error}");
        }
    }

    #[test]
    #[should_panic(expected = "no axis `decay` among [\"rate\"]")]
    fn an_index_without_an_axis_names_those_there_are() {
        let _ = Values::from_iter([("rate", 0.1)])["decay"];
    }

    proptest! {
        #[test]
        fn values_and_points_agree(
            low in 1e-300..1e300f64, ratio in 1.001..1e6f64, from in -1e9..1e9f64, width in 1e-3..1e9f64,
            u in prop::array::uniform2(0.0..=1.0f64),
        ) {
            let space = Space::new().log("a", low, low * ratio).linear("b", from, from + width);
            space.check().unwrap();
            let values = space.values(&u);
            let back = space.point(&values).unwrap();
            prop_assert!((back[0] - u[0]).abs() < 1e-9);
            prop_assert!((back[1] - u[1]).abs() < 1e-9 + 1e-15 * from.abs() / width);
            let json = serde_json::to_string(&values).unwrap();
            prop_assert_eq!(serde_json::from_str::<Values>(&json).unwrap(), values);
        }
    }
}
