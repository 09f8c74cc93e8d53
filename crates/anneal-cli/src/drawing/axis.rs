//! The rate axis, and the format of its numbers.

/// The maximum number of ticks above the lowest one.
const TICKS: f64 = 5.0;

/// The maximum number of decades on a logarithmic axis.
const DECADES: f64 = 9.0;

/// An axis with its own coordinates, in which ticks are at whole numbers: any finite rates can be drawn, even
/// the largest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    /// The coordinate of the lower edge.
    pub low: f64,
    /// The coordinate of the upper edge.
    pub high: f64,
    /// Whether some rates are below the lower edge and are drawn on it.
    pub cut: bool,
    scale: Scale,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Scale {
    /// The coordinate is the rate in these units.
    Linear(f64),
    /// The coordinate is the number of ticks, of `decades` decades each, above 10^`top`.
    Log { top: f64, decades: f64 },
}

impl Axis {
    /// An axis for these rates.
    pub fn of(rates: impl Iterator<Item = f64> + Clone, log: bool) -> Self {
        let highest = rates.clone().fold(0.0, f64::max);
        if log && highest > 0.0 { Self::log(rates, highest) } else { Self::linear(highest) }
    }

    /// From 0 to the first tick at or above `highest`.
    fn linear(highest: f64) -> Self {
        let highest = if highest > 0.0 { highest } else { 1.0 };
        let unit = nice(highest / TICKS);
        // A rounding error must not add a tick.
        let high = (highest / unit - 1e-9).ceil().max(1.0);
        Self { low: 0.0, high, cut: false, scale: Scale::Linear(unit) }
    }

    /// Whole decades around the rates, with ticks at both edges.
    fn log(rates: impl Iterator<Item = f64> + Clone, highest: f64) -> Self {
        let edge = highest.log10() - DECADES;
        let lowest = rates.clone().map(|rate| rate.log10().max(edge)).fold(f64::INFINITY, f64::min);
        // Adding 0 turns −0 into 0.
        let top = highest.log10().ceil() + 0.0;
        let shown = (top - lowest.floor()).max(1.0);
        let decades = (shown / TICKS).ceil();
        let low = -(shown / decades).ceil();
        let cut = rates.into_iter().any(|rate| rate.log10() < top + low * decades);
        Self { low, high: 0.0, cut, scale: Scale::Log { top, decades } }
    }

    /// The coordinate of a rate, inside the axis.
    pub fn coordinate(&self, rate: f64) -> f64 {
        let coordinate = match self.scale {
            Scale::Linear(unit) => rate / unit,
            Scale::Log { top, decades } => (rate.log10() - top) / decades,
        };
        coordinate.clamp(self.low, self.high)
    }

    /// The ticks, from the lowest up.
    pub fn ticks(&self) -> impl Iterator<Item = f64> {
        let (low, high) = (self.low, self.high);
        (0..).map(move |index| low + f64::from(index)).take_while(move |tick| *tick <= high)
    }

    /// The label of the tick at this coordinate.
    pub fn label(&self, coordinate: f64) -> String {
        match self.scale {
            Scale::Linear(unit) if unit * self.high < 1e-3 && coordinate != 0.0 => {
                format!("{:e}", rounded(coordinate * unit))
            }
            Scale::Linear(unit) => short((coordinate * unit).min(f64::MAX)),
            Scale::Log { top, decades } => format!("1e{}", top + coordinate * decades),
        }
    }
}

/// The smallest number of the form 1, 2, 5, 10, … times a power of 10 that is at least `number`.
pub fn nice(number: f64) -> f64 {
    let power = 10f64.powf(number.max(f64::MIN_POSITIVE).log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    // log10 and powf may be off by an ulp.
    let factor = factors.into_iter().find(|factor| number <= factor * power * (1.0 + 1e-9));
    rounded(factor.unwrap_or(10.0) * power).max(f64::MIN_POSITIVE)
}

/// A rate with four digits.
pub fn short(rate: f64) -> String {
    let rounded = rounded(rate);
    if rounded == 0.0 || (1e-3..1e5).contains(&rounded) {
        format!("{rounded}")
    } else if rounded.is_finite() {
        format!("{rounded:e}")
    } else {
        // The largest rates round up to more than the largest f64.
        format!("{rate:.3e}")
    }
}

/// A short number of updates: 1500, 20k, 1.5M.
pub fn count(updates: f64) -> String {
    let units = [(1e15, ""), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")];
    match units.into_iter().find(|unit| updates >= unit.0) {
        Some((1e15, _)) => format!("{updates:e}"),
        Some((1e4, _)) => format!("{}k", rounded(updates / 1e3)),
        Some((unit, letter)) => format!("{}{letter}", rounded(updates / unit)),
        None => format!("{updates}"),
    }
}

/// A number rounded to four digits.
fn rounded(number: f64) -> f64 {
    format!("{number:.3e}").parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(rates: &[f64], log: bool) -> Vec<String> {
        let axis = Axis::of(rates.iter().copied(), log);
        axis.ticks().map(|tick| axis.label(tick)).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(&[0.1], false), ["0", "0.02", "0.04", "0.06", "0.08", "0.1"]);
        assert_eq!(labels(&[3e-4, 1e-6], false), ["0", "1e-4", "2e-4", "3e-4"]);
        assert_eq!(labels(&[0.7], false), ["0", "0.2", "0.4", "0.6", "0.8"]);
        assert_eq!(labels(&[0.0], false), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(labels(&[0.5, 0.02], true), ["1e-2", "1e-1", "1e0"]);
        assert_eq!(labels(&[1.0, 1e-7], true), ["1e-8", "1e-6", "1e-4", "1e-2", "1e0"]);
    }

    #[test]
    fn a_logarithmic_axis_has_a_decade_and_a_place_for_zero() {
        assert_eq!(labels(&[0.1], true), ["1e-2", "1e-1"]);
        let axis = Axis::of([1.0, 0.0, 0.5].into_iter(), true);
        assert_eq!(axis.label(axis.low), "1e-10");
        assert_eq!((axis.coordinate(0.0), axis.cut), (axis.low, true));
        assert!(!Axis::of([1.0, 1e-8].into_iter(), true).cut);
    }

    #[test]
    fn extreme_rates_have_an_axis() {
        for highest in [f64::MAX, 5e-324, f64::MIN_POSITIVE, 1e300] {
            for log in [false, true] {
                let axis = Axis::of([highest, 0.0].into_iter(), log);
                assert!(axis.low < axis.high && axis.high.is_finite(), "{highest}: {axis:?}");
                assert!((1..=11).contains(&axis.ticks().count()), "{highest}: {axis:?}");
                let top = axis.coordinate(highest);
                assert!(top > axis.low && top <= axis.high, "{highest}: {axis:?}");
                assert!(axis.ticks().all(|tick| !axis.label(tick).contains("inf")), "{axis:?}");
            }
        }
    }

    #[test]
    fn numbers_are_short() {
        let rates = [0.0, 0.1, 1.0 / 3.0, 3e-4, 1e-300, 123_456.0, f64::MAX];
        assert_eq!(
            rates.map(short),
            ["0", "0.1", "0.3333", "3e-4", "1e-300", "1.235e5", "1.798e308"]
        );
        let counts = [0.0, 1_500.0, 20_000.0, 1.5e6, 2e12, 2e15];
        assert_eq!(counts.map(count), ["0", "1500", "20k", "1.5M", "2T", "2e15"]);
    }
}
