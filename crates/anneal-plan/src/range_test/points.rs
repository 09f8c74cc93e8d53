//! A sweep, while it runs and afterwards.

use super::{Divergence, Ended, Fall, Rule, Smooth, Sweep, Verdict};
use serde::{Deserialize, Serialize};

/// The result of one update of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The rate of the update.
    pub rate: f64,
    /// The loss of its batch before the update, finite.
    pub loss: f64,
}

/// A running sweep: asks for the loss at one rate after another until it is over. Created by
/// [`Sweep::begin`].
#[derive(Clone, Debug, PartialEq)]
pub struct Sweeping {
    test: RangeTest,
    index: u64,
    divergence: Divergence,
    over: bool,
}

impl Sweeping {
    pub(super) fn new(sweep: Sweep) -> Self {
        let divergence = sweep.divergence();
        let test = RangeTest { sweep, points: vec![], ended: Ended::Stopped, skipped: 0 };
        Self { test, index: 0, divergence, over: false }
    }

    /// The rate of the next update; `None` once every rate was tried, or the loss diverged.
    pub fn rate(&self) -> Option<f64> {
        (!self.over).then(|| self.test.sweep.rate(self.index))
    }

    /// Takes the loss at that rate. A finished sweep ignores it.
    pub fn hear(&mut self, loss: f64) {
        let Some(rate) = self.rate() else { return };
        if loss.is_finite() {
            self.test.points.push(Point { rate, loss });
        }
        let ended = self.divergence.hear(rate, loss);
        self.advance(ended);
    }

    /// Skips the rate because its update was not made, for example after an overflow with loss scaling.
    pub fn skip(&mut self) {
        if self.rate().is_some() {
            self.test.skipped += 1;
            self.advance(None);
        }
    }

    fn advance(&mut self, ended: Option<Ended>) {
        self.index += 1;
        let swept = self.index >= self.test.sweep.length();
        if let Some(ended) = ended.or(swept.then_some(Ended::Swept)) {
            (self.over, self.test.ended) = (true, ended);
        }
    }

    /// Returns the result. An unfinished sweep counts as [stopped](Ended::Stopped).
    pub fn finish(self) -> RangeTest {
        self.test
    }
}

/// The result of one sweep: its points, how it ended, and what they say.
///
/// The rules are applied as in fastai: to the [smoothed](Smooth) losses, without the first tenth of the
/// planned updates and the last five points.
///
/// ```
/// use anneal_plan::{Rule, Sweep, Verdict};
///
/// // A noise-free loss that halves around 1e-3 and rises from 0.3 on.
/// let sweep = Sweep::default();
/// let loss = |rate: f64| 1.0 + 1.0 / (1.0 + rate / 1e-3) + (rate / 0.3).powi(4);
/// let test = sweep.run(loss)?;
/// assert!(matches!(test.verdict(), Verdict::Clear));
/// assert!(test.suggestion().is_some_and(|rate| rate > 1e-4 && rate < 1e-1));
///
/// // If the loss says nothing, there is no rate.
/// let test = sweep.run(|_| 1.0)?;
/// assert_eq!(test.suggestion(), None);
/// # Ok::<(), anneal_plan::OutOfRange>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RangeTest {
    pub(super) sweep: Sweep,
    pub(super) points: Vec<Point>,
    pub(super) ended: Ended,
    #[serde(default)]
    pub(super) skipped: u64,
}

impl RangeTest {
    /// The planned sweep.
    pub fn sweep(&self) -> &Sweep {
        &self.sweep
    }

    /// Rate and loss of each update that was made and had a finite loss.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// How it ended.
    pub fn ended(&self) -> Ended {
        self.ended
    }

    /// The number of skipped updates, whose rates have no points.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The points with their losses [smoothed](Smooth).
    pub fn smoothed(&self) -> Vec<Point> {
        let losses = Smooth::all(self.points.iter().map(|point| point.loss));
        self.points.iter().zip(losses).map(|(point, loss)| Point { loss, ..*point }).collect()
    }

    /// How far the loss fell, and how far noise alone may make it appear to fall; `None` with fewer than 20
    /// points.
    pub fn fall(&self) -> Option<Fall> {
        Fall::of(&self.points.iter().map(|point| point.loss).collect::<Vec<f64>>())
    }

    /// Whether the curve is meaningful.
    pub fn verdict(&self) -> Verdict {
        Verdict::of(self)
    }

    /// The rate suggested by [`Rule::Valley`], unless the [verdict](Self::verdict) is `Nothing`.
    pub fn suggestion(&self) -> Option<f64> {
        self.suggestion_by(Rule::Valley)
    }

    /// The rate suggested by a rule, unless the [verdict](Self::verdict) is `Nothing`.
    pub fn suggestion_by(&self, rule: Rule) -> Option<f64> {
        match self.verdict() {
            Verdict::Nothing(_) => None,
            _ => self.read(rule),
        }
    }

    /// The rate that a rule reads, whatever the verdict.
    pub(super) fn read(&self, rule: Rule) -> Option<f64> {
        const LAST: usize = 5;
        let smoothed = self.smoothed();
        let first = usize::try_from(self.sweep.length() / 10).unwrap_or(usize::MAX);
        let kept = match rule {
            // It omits points by itself.
            Rule::Lightning => &smoothed[..],
            _ => smoothed.get(first..smoothed.len().saturating_sub(LAST))?,
        };
        let (rates, losses): (Vec<f64>, Vec<f64>) =
            kept.iter().map(|point| (point.rate, point.loss)).unzip();
        rule.suggest(&rates, &losses)
    }
}

impl Sweep {
    /// Runs the whole sweep on a function that returns the loss at a rate.
    ///
    /// # Errors
    /// A field outside its range.
    pub fn run(&self, mut loss: impl FnMut(f64) -> f64) -> Result<RangeTest, crate::OutOfRange> {
        let mut sweeping = self.begin()?;
        while let Some(rate) = sweeping.rate() {
            sweeping.hear(loss(rate));
        }
        Ok(sweeping.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_ends_once_and_keeps_finite_losses() {
        let mut sweeping = Sweep::default().updates(20).begin().unwrap();
        let mut rates = vec![];
        while let Some(rate) = sweeping.rate() {
            rates.push(rate);
            sweeping.hear(if rates.len() == 15 { f64::NAN } else { 1.0 });
        }
        sweeping.hear(1.0);
        sweeping.skip();
        let test = sweeping.finish();
        assert_eq!((rates.len(), test.points().len(), test.skipped()), (15, 14, 0));
        assert_eq!(test.ended(), Ended::NotFinite { rate: rates[14] });
    }

    #[test]
    fn skipped_updates_are_counted_and_their_rates_passed_over() {
        let sweep = Sweep::default().updates(20);
        let mut sweeping = sweep.begin().unwrap();
        for i in 0..20 {
            if i < 3 { sweeping.skip() } else { sweeping.hear(1.0) }
        }
        assert_eq!(sweeping.rate(), None);
        let test = sweeping.finish();
        assert_eq!((test.points().len(), test.skipped(), test.ended()), (17, 3, Ended::Swept));
        assert_eq!(test.points()[0].rate, sweep.rate(3));
        assert_eq!(sweep.begin().unwrap().finish().ended(), Ended::Stopped);
    }

    /// fastai: `recorder.losses[num_it//10:-5]`. A straight fall of the smoothed losses is read from index 10
    /// to 94.
    #[test]
    fn rules_read_what_fastai_gives_them() {
        let test = Sweep::default().run(|rate| 1.0 - rate.log10()).unwrap();
        let sweep = test.sweep();
        assert_eq!(test.read(Rule::Minimum), Some(sweep.rate(94) / 10.0));
        // The longest valley is all 85 points: -1 of the first, 28 and 14 on.
        assert_eq!(test.read(Rule::Valley), Some(sweep.rate(10 - 1 + 28 + 14)));
    }

    #[test]
    fn it_is_read_back_as_it_was_written() {
        let test = Sweep::default().run(|rate| 1.0 / (1.0 + rate)).unwrap();
        let text = serde_json::to_string(&test).unwrap();
        assert_eq!(serde_json::from_str::<RangeTest>(&text).unwrap(), test);
    }
}
