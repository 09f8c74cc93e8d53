//! The rates of a range test, and when it stops.

use super::Smooth;
use crate::OutOfRange;
use crate::number::short;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The rates that a range test tries, one per update.
///
/// ```text
/// exponential: η_i = lowest · (highest/lowest)^(i/(updates − 1))
/// linear:      η_i = lowest + (highest − lowest) · i/(updates − 1)
/// ```
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `lowest` | 1e-7 | above 0, finite |
/// | `highest` | 10 | above `lowest`, finite |
/// | `updates` | 100 | at least 20: fewer points say nothing, see [`Verdict`](super::Verdict) |
/// | `shape` | exponential | |
/// | `diverges_at` | 4 | above 1, finite; see [`Divergence`] |
///
/// A sweep of the minimum 20 updates that diverges before the last one says nothing.
///
/// Source: Smith 2017, arXiv 1506.01186; defaults of fastai's `lr_find`, whose last rate is one step short of
/// the highest.
///
/// ```
/// use anneal_plan::Sweep;
///
/// // A loss that falls up to a rate of 0.1 and then rises.
/// let mut sweeping = Sweep::default().begin()?;
/// while let Some(rate) = sweeping.rate() {
///     sweeping.hear(if rate < 0.1 { 2.3 - rate.sqrt() } else { 50.0 * rate });
/// }
/// let test = sweeping.finish();
/// assert_eq!(test.points()[0].rate, 1e-7);
/// assert!(test.ended().rate().is_some_and(|rate| rate < 10.0));
/// # Ok::<(), anneal_plan::OutOfRange>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sweep {
    lowest: f64,
    highest: f64,
    updates: u64,
    shape: SweepShape,
    diverges_at: f64,
}

/// The spacing of the rates of a [`Sweep`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SweepShape {
    /// Constant ratio between consecutive rates.
    #[default]
    Exponential,
    /// Constant difference between consecutive rates.
    Linear,
}

impl Default for Sweep {
    fn default() -> Self {
        let shape = SweepShape::Exponential;
        Self { lowest: 1e-7, highest: 10.0, updates: 100, shape, diverges_at: 4.0 }
    }
}

impl Sweep {
    /// A sweep from `lowest` to `highest`.
    pub fn new(lowest: f64, highest: f64) -> Self {
        Self { lowest, highest, ..Self::default() }
    }

    /// Sets the number of updates.
    #[must_use]
    pub fn updates(self, updates: u64) -> Self {
        Self { updates, ..self }
    }

    /// Sets the spacing of the rates.
    #[must_use]
    pub fn shape(self, shape: SweepShape) -> Self {
        Self { shape, ..self }
    }

    /// Sets the multiple of the best smoothed loss that counts as divergence.
    #[must_use]
    pub fn diverges_at(self, multiple: f64) -> Self {
        Self { diverges_at: multiple, ..self }
    }

    /// Begins the sweep.
    ///
    /// # Errors
    /// A field outside its range.
    pub fn begin(&self) -> Result<super::Sweeping, OutOfRange> {
        self.check()?;
        Ok(super::Sweeping::new(self.clone()))
    }

    /// Checks that the fields are in their ranges.
    ///
    /// # Errors
    /// The first field out of range.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let Self { lowest, highest, updates, diverges_at, .. } = *self;
        let positive = |value: f64| value.is_finite() && value > 0.0;
        OutOfRange::require("lowest", lowest, positive(lowest), "above 0, finite")?;
        let above = positive(highest) && highest > lowest;
        OutOfRange::require("highest", highest, above, format!("above `lowest`, {lowest:?}"))?;
        let fewest = super::verdict::FEWEST as u64;
        OutOfRange::require("updates", updates, updates >= fewest, format!("at least {fewest}"))?;
        let divergent = diverges_at.is_finite() && diverges_at > 1.0;
        OutOfRange::require("diverges_at", diverges_at, divergent, "above 1, finite")
    }

    /// The rate of update `index`, counted from 0; from the last update on, `highest`.
    pub fn rate(&self, index: u64) -> f64 {
        let Self { lowest, highest, updates, .. } = *self;
        if index == 0 {
            return lowest;
        }
        if index >= updates.saturating_sub(1) {
            return highest;
        }
        let share = index as f64 / (updates - 1) as f64;
        let rate = match self.shape {
            // In logarithms, as the quotient of the ends may overflow.
            SweepShape::Exponential => (lowest.ln() + share * (highest.ln() - lowest.ln())).exp(),
            SweepShape::Linear => lowest + share * (highest - lowest),
        };
        rate.max(lowest).min(highest)
    }

    /// The number of planned updates.
    pub fn length(&self) -> u64 {
        self.updates
    }

    #[cfg(feature = "plots")]
    /// Whether its rates are best drawn on a logarithmic axis.
    pub(super) fn is_exponential(&self) -> bool {
        self.shape == SweepShape::Exponential
    }

    /// The check for divergence of its losses.
    pub fn divergence(&self) -> Divergence {
        Divergence { multiple: self.diverges_at, smooth: Smooth::default(), best: None }
    }
}

impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = match self.shape {
            SweepShape::Exponential => "exponential",
            SweepShape::Linear => "linear",
        };
        let (lowest, highest) = (short(self.lowest), short(self.highest));
        write!(f, "{} updates from {lowest} to {highest}, {shape}", self.updates)
    }
}

/// How a sweep ended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Every rate was tried.
    Swept,
    /// The smoothed loss rose too far above its best.
    Diverged {
        /// The rate of the last update.
        rate: f64,
    },
    /// The loss was NaN or infinite.
    NotFinite {
        /// The rate of the update with that loss.
        rate: f64,
    },
    /// It was ended before.
    Stopped,
}

impl Ended {
    /// The rate at which the loss diverged or was not finite.
    pub fn rate(self) -> Option<f64> {
        match self {
            Self::Diverged { rate } | Self::NotFinite { rate } => Some(rate),
            Self::Swept | Self::Stopped => None,
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Swept => f.write_str("tried every rate"),
            Self::Diverged { rate } => write!(f, "diverged at {}", short(rate)),
            Self::NotFinite { rate } => write!(f, "was no longer finite at {}", short(rate)),
            Self::Stopped => f.write_str("was stopped early"),
        }
    }
}

/// Detects when the losses of a sweep diverge. Takes one loss after another.
///
/// ```text
/// best ← min(best, smoothed)
/// best > 0:  diverged if smoothed > diverges_at · best
/// best ≤ 0:  diverged if smoothed > best + (diverges_at − 1) · max(|best|, first − best)
/// ```
///
/// The first line is fastai's rule. If the best loss is not above 0, that rule would stop every sweep, so the
/// second uses the size of the losses instead. A non-finite loss stops the sweep at once.
///
/// Source: fastai's `LRFinder.after_batch` (2.8).
///
/// ```
/// use anneal_plan::{Ended, Sweep};
///
/// let mut divergence = Sweep::default().divergence();
/// assert_eq!(divergence.hear(0.1, 1.0), None);
/// assert_eq!(divergence.hear(0.2, 1.1), None);
/// assert_eq!(divergence.hear(0.4, 100.0), Some(Ended::Diverged { rate: 0.4 }));
/// assert_eq!(divergence.hear(0.8, f64::NAN), Some(Ended::NotFinite { rate: 0.8 }));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    multiple: f64,
    smooth: Smooth,
    /// The first and the best smoothed loss.
    best: Option<(f64, f64)>,
}

impl Divergence {
    /// Takes the loss of an update at this rate; returns how the sweep ended, if it did.
    pub fn hear(&mut self, rate: f64, loss: f64) -> Option<Ended> {
        if !loss.is_finite() {
            return Some(Ended::NotFinite { rate });
        }
        let smoothed = self.smooth.hear(loss);
        let (first, best) = self.best.unwrap_or((smoothed, smoothed));
        let best = best.min(smoothed);
        self.best = Some((first, best));
        let limit = match best > 0.0 {
            true => self.multiple * best,
            false => best + (self.multiple - 1.0) * (-best).max(first - best),
        };
        (smoothed > limit).then_some(Ended::Diverged { rate })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_exact_and_the_rates_between_rise() {
        for (lowest, highest) in [(1e-7, 10.0), (0.1, 0.3), (1e-300, 1e300), (1.0, 1.0 + 1e-15)] {
            for shape in [SweepShape::Exponential, SweepShape::Linear] {
                let sweep = Sweep::new(lowest, highest).updates(37).shape(shape);
                let rates: Vec<f64> = (0..40).map(|i| sweep.rate(i)).collect();
                assert_eq!((rates[0], rates[36], rates[39]), (lowest, highest, highest));
                assert!(rates.is_sorted(), "{rates:?}");
            }
        }
    }

    /// 1e-7 to 10 in 9 rates is a decade apart; linear is a constant distance apart.
    #[test]
    fn rates_lie_on_their_shape() {
        let sweep = Sweep::default().updates(9);
        for i in 0..9 {
            let decade = 10f64.powi(i as i32 - 7);
            assert!((sweep.rate(i) / decade - 1.0).abs() < 1e-13, "{}", sweep.rate(i));
        }
        let sweep = Sweep::new(1.0, 3.0).updates(5).shape(SweepShape::Linear);
        assert_eq!([0, 1, 2, 3, 4].map(|i| sweep.rate(i)), [1.0, 1.5, 2.0, 2.5, 3.0]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let field = |sweep: Sweep| match sweep.begin() {
            Err(OutOfRange { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        for lowest in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(field(Sweep::new(lowest, 10.0)), "lowest");
        }
        for highest in [0.1, 0.05, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(field(Sweep::new(0.1, highest)), "highest");
        }
        assert_eq!(field(Sweep::default().updates(19)), "updates");
        for multiple in [1.0, f64::NAN, f64::INFINITY, -4.0] {
            assert_eq!(field(Sweep::default().diverges_at(multiple)), "diverges_at");
        }
        assert!(Sweep::default().updates(20).check().is_ok());
    }

    /// fastai's rule on a positive loss: smoothed means for two values, written out by hand.
    #[test]
    fn it_diverges_above_its_multiple_of_the_best() {
        // The mean of 1 and x is (0.98 + x)/1.98, which is 4 at x = 6.94.
        for (loss, diverged) in [(6.93, false), (6.95, true)] {
            let mut divergence = Sweep::default().divergence();
            assert_eq!(divergence.hear(0.1, 1.0), None);
            assert_eq!(divergence.hear(0.2, loss).is_some(), diverged, "{loss}");
        }
    }

    #[test]
    fn a_loss_below_zero_diverges_only_where_it_rises_far() {
        let mut divergence = Sweep::default().divergence();
        for loss in [-1.0, -1.1, -0.9, -1.5, -2.0, -1.0, -0.5] {
            assert_eq!(divergence.hear(0.1, loss), None, "{loss}");
        }
        assert!(divergence.hear(0.1, 1000.0).is_some());
        let mut falling = Sweep::default().divergence();
        assert!((0..50).all(|i| falling.hear(0.1, 1.0 - 0.1 * f64::from(i)).is_none()));
    }
}
