//! Rules of other libraries for reading a rate from a curve.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A rule that reads a rate from losses against rates.
///
/// | rule | suggests | fewest points |
/// | --- | --- | --- |
/// | `Valley` | the rate halfway down the longest strictly falling subsequence: index start + ⌊n/3⌋ + ⌊n/6⌋, n its length | 1 |
/// | `Slide` | going down from the highest rate with a window of 15 points, the last left end where the slopes at both ends differ by more than 0.005 | 16 |
/// | `Minimum` | a tenth of the rate with the lowest loss | 1 |
/// | `Steep` | the rate with the steepest fall to the next point, in ln rate | 2 |
/// | `Lightning` | the rate with the steepest fall, in rate, without the first 10 points and the last | 13 |
///
/// The index of the valley's start is its end minus its length, whether or not the points are consecutive; −1
/// means the last point, as in Python.
///
/// Source: `valley`, `slide`, `minimum` and `steep` of fastai 2.8, and `_LRFinder.suggestion` of Lightning
/// 2.6. fastai's rules are computed in 64 bits here, and agree with fastai on 64-bit tensors; Lightning's in
/// 32, as in Lightning.
///
/// ```
/// use anneal_plan::Rule;
///
/// let rates = [0.001, 0.01, 0.1, 1.0];
/// assert_eq!(Rule::Minimum.suggest(&rates, &[2.0, 1.5, 1.0, 3.0]), Some(0.1 / 10.0));
/// assert_eq!(Rule::Steep.suggest(&rates, &[2.0, 1.9, 1.0, 3.0]), Some(0.01));
/// assert_eq!(Rule::Slide.suggest(&rates, &[2.0, 1.9, 1.0, 3.0]), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rule {
    /// fastai's default.
    Valley,
    /// fastai's interval slide rule.
    Slide,
    /// fastai's minimum over 10.
    Minimum,
    /// fastai's steepest fall.
    Steep,
    /// Lightning's suggestion.
    Lightning,
}

/// Reads a rate from rates and their losses.
type Read = fn(&[f64], &[f64]) -> Option<f64>;

impl Rule {
    /// All rules.
    pub const ALL: [Self; 5] =
        [Self::Valley, Self::Slide, Self::Minimum, Self::Steep, Self::Lightning];

    /// The rate suggested for these rates, in ascending order, and their losses, which should already be
    /// smoothed if at all.
    ///
    /// `None` with too few points. If one list is longer, its rest is ignored. fastai's rules read up to the
    /// first NaN, as in its `lr_find`; Lightning's ignores each non-finite loss.
    pub fn suggest(self, rates: &[f64], losses: &[f64]) -> Option<f64> {
        let count = rates.len().min(losses.len());
        let until_nan = losses.iter().take(count).position(|loss| loss.is_nan()).unwrap_or(count);
        let (until, read): (usize, Read) = match self {
            Self::Valley => (until_nan, valley),
            Self::Slide => (until_nan, slide),
            Self::Minimum => (until_nan, |rates, losses| Some(rates[lowest(losses)?] / 10.0)),
            Self::Steep => (until_nan, steep),
            Self::Lightning => (count, lightning),
        };
        read(&rates[..until], &losses[..until])
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Valley => "valley",
            Self::Slide => "slide",
            Self::Minimum => "minimum",
            Self::Steep => "steep",
            Self::Lightning => "lightning",
        })
    }
}

/// The index of the first lowest value; the first NaN counts as the lowest, as in torch and numpy.
fn lowest<T: PartialOrd + Copy>(values: &[T]) -> Option<usize> {
    let mut found = 0;
    for (i, value) in values.iter().enumerate() {
        // NaN alone does not equal itself.
        if value.partial_cmp(value).is_none() {
            return Some(i);
        }
        if *value < values[found] {
            found = i;
        }
    }
    (!values.is_empty()).then_some(found)
}

fn valley(rates: &[f64], losses: &[f64]) -> Option<f64> {
    // At [n]: the highest loss in which a falling subsequence of length n + 1 may end.
    let mut ends: Vec<f64> = vec![];
    let mut end = 0;
    for (i, &loss) in losses.iter().enumerate() {
        let length = ends.partition_point(|&end| end > loss);
        if length == ends.len() {
            ends.push(loss);
            end = i;
        } else {
            ends[length] = loss;
        }
    }
    // fastai counts from the first point if no loss is below another.
    let length = if ends.len() > 1 { ends.len() } else { 0 };
    let index = (end + length / 3 + length / 6).checked_sub(length);
    match index {
        Some(index) => rates.get(index).copied(),
        None => rates.last().copied(),
    }
}

fn slide(rates: &[f64], losses: &[f64]) -> Option<f64> {
    const WINDOW: usize = 15;
    const DIFFERENCE: f64 = 0.005;
    let slopes = gradient(losses)?;
    let last = losses.len().checked_sub(WINDOW + 1)?;
    let differs = |left: &usize| (slopes[left + WINDOW] - slopes[*left]).abs() > DIFFERENCE;
    let left = (0..=last).rev().take_while(differs).last().unwrap_or(last);
    Some(rates[left])
}

/// numpy's `gradient` with distance 1.
fn gradient(values: &[f64]) -> Option<Vec<f64>> {
    let last = values.len().checked_sub(1).filter(|&last| last > 0)?;
    let at = |i: usize| match i {
        0 => values[1] - values[0],
        i if i == last => values[last] - values[last - 1],
        i => (values[i + 1] - values[i - 1]) / 2.0,
    };
    Some((0..=last).map(at).collect())
}

fn steep(rates: &[f64], losses: &[f64]) -> Option<f64> {
    let slope = |i: usize| (losses[i + 1] - losses[i]) / (rates[i + 1].ln() - rates[i].ln());
    let slopes: Vec<f64> = (0..losses.len().saturating_sub(1)).map(slope).collect();
    Some(rates[lowest(&slopes)?])
}

fn lightning(rates: &[f64], losses: &[f64]) -> Option<f64> {
    const FIRST: usize = 10;
    const LAST: usize = 1;
    let kept: Vec<usize> = (FIRST..losses.len().saturating_sub(LAST))
        .filter(|&i| (losses[i] as f32).is_finite())
        .collect();
    let x: Vec<f32> = kept.iter().map(|&i| rates[i] as f32).collect();
    let y: Vec<f32> = kept.iter().map(|&i| losses[i] as f32).collect();
    Some(rates[kept[lowest(&slopes(&x, &y)?)?]])
}

/// torch's `gradient` with these coordinates: second order inside, first order at the ends.
fn slopes(x: &[f32], y: &[f32]) -> Option<Vec<f32>> {
    let last = x.len().checked_sub(1).filter(|&last| last > 0)?;
    let at = |i: usize| match i {
        0 => (y[1] - y[0]) / (x[1] - x[0]),
        i if i == last => (y[last] - y[last - 1]) / (x[last] - x[last - 1]),
        i => {
            let (left, right) = (x[i] - x[i - 1], x[i + 1] - x[i]);
            let before = -right / (left * (left + right));
            let here = (right - left) / (left * right);
            let after = left / (right * (left + right));
            before * y[i - 1] + here * y[i] + after * y[i + 1]
        }
    };
    Some((0..=last).map(at).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(count: u32) -> Vec<f64> {
        (1..=count).map(f64::from).collect()
    }

    /// fastai's own loops over all pairs.
    fn pairs(rates: &[f64], losses: &[f64]) -> f64 {
        let n = losses.len();
        let (mut start, mut end) = (0i64, 0);
        let mut lengths = vec![1i64; n];
        for i in 1..n {
            for j in 0..i {
                if losses[i] < losses[j] && lengths[i] < lengths[j] + 1 {
                    lengths[i] = lengths[j] + 1;
                }
                if lengths[end] < lengths[i] {
                    end = i;
                    start = end as i64 - lengths[end];
                }
            }
        }
        let sections = (end as i64 - start) as f64 / 3.0;
        let index = start + sections as i64 + (sections / 2.0) as i64;
        rates[if index < 0 { n - 1 } else { index as usize }]
    }

    proptest::proptest! {
        #[test]
        fn the_valley_is_that_of_all_pairs(losses in proptest::collection::vec(0i32..40, 1..60)) {
            let losses: Vec<f64> = losses.into_iter().map(f64::from).collect();
            let rates = rates(losses.len() as u32);
            assert_eq!(Rule::Valley.suggest(&rates, &losses), Some(pairs(&rates, &losses)));
        }
    }

    /// By hand from the definitions.
    #[test]
    fn rules_read_their_points() {
        let losses = [5.0, 5.0, 3.9, 3.0, 2.5, 2.0, 9.0];
        let rates = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];
        // The valley of 5 ends at index 5: start 0, and 1 on.
        assert_eq!(Rule::Valley.suggest(&rates, &losses), Some(2.0));
        assert_eq!(Rule::Minimum.suggest(&rates, &losses), Some(3.2));
        assert_eq!(Rule::Steep.suggest(&rates, &losses), Some(2.0));
        // Slopes of a parabola differ by 15 in a window of 15: down to the first point.
        let parabola: Vec<f64> = (0..20).map(|i| 0.5 * f64::from(i * i)).collect();
        let twenty: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(Rule::Slide.suggest(&twenty, &parabola), Some(1.0));
        assert_eq!(Rule::Slide.suggest(&twenty, &[1.0; 20]), Some(5.0));
        // From index 10 to 18; the steepest fall is around index 14.
        let mut step = vec![2.0; 20];
        step[14..].fill(1.0);
        step[14] = 1.4;
        assert_eq!(Rule::Lightning.suggest(&twenty, &step), Some(15.0));
    }

    #[test]
    fn short_and_broken_curves_have_an_answer_or_none() {
        let answers = |count: u32| {
            let rates = rates(count);
            Rule::ALL.map(|rule| rule.suggest(&rates, &rates).is_some())
        };
        assert_eq!(answers(0), [false; 5]);
        assert_eq!(answers(1), [true, false, true, false, false]);
        assert_eq!(answers(2), [true, false, true, true, false]);
        assert_eq!(answers(12), [true, false, true, true, false]);
        assert_eq!(answers(13), [true, false, true, true, true]);
        assert_eq!(answers(15), [true, false, true, true, true]);
        assert_eq!(answers(16), [true; 5]);
        let nan = [3.0, 2.0, f64::NAN, 1.0];
        assert_eq!(Rule::Minimum.suggest(&rates(4), &nan), Some(0.2));
        assert_eq!(Rule::Minimum.suggest(&rates(9), &[3.0, 2.0]), Some(0.2));
        // A valley of all points that is shorter than 3 starts before them, as in Python.
        assert_eq!(Rule::Valley.suggest(&rates(2), &[2.0, 1.0]), Some(2.0));
        let broken = [f64::NAN, f64::INFINITY, -f64::INFINITY, 0.0, f64::MAX, -1.0].repeat(5);
        for rule in Rule::ALL {
            rule.suggest(&broken, &broken);
            rule.suggest(&rates(30), &broken[1..]);
        }
    }

    #[test]
    fn names_are_those_of_files() {
        for rule in Rule::ALL {
            assert_eq!(serde_json::json!(rule), rule.to_string());
        }
    }
}
