//! Explores with many candidates and continues the best.

mod explorer;

pub use explorer::{Dropped, Explorer, ExplorerState, NotItsTurn, Turn};

use crate::OutOfRange;
use anneal_schedule::{
    Decay, Level, RunLength, ScheduleConfig, ScheduleExt, Span, constant, exponential, multi_step,
};
use serde::{Deserialize, Serialize};

/// Exploration, then exploitation: each candidate trains briefly at a high, falling rate, and the best ones
/// train on.
///
/// A candidate is one of several trainings that differ in initial weights, optimizer or model. Each trains n
/// updates under an exponential from `high` to `end`. A candidate whose loss is not finite, or above
///
/// ```text
/// start + (m − 1) · |start|        m · start for positive losses
/// ```
///
/// with `start` the loss of its first update, is dropped, then and later. The k candidates with the lowest
/// mean loss over the last q of the n updates continue: each for ⌊(budget − n · candidates) / k⌋ updates
/// under a step decay from `end`.
///
/// | field | default | range |
/// | --- | --- | --- |
/// | `candidates` | | 1 to 10⁶ |
/// | `updates` n | | at least 1 |
/// | `high`, `end` | | finite, above 0; `end` at most `high` |
/// | `budget`, total updates | | at least n · `candidates` + k · (`drops` + 1) |
/// | `keep` k | 1 | 1 to `candidates` |
/// | `rise` m | 4, where fastai's `lr_find` stops | finite, above 1 |
/// | `factor`, `drops` of the step decay | 0.1, 2 | in (0, 1]; any |
/// | `mean_over` q | n / 10, rounded up | 1 to n |
///
/// **Order.** Candidates explore one after another, and then the best ones train on one after another, the
/// best first: until all have explored, no candidate depends on another, so it is enough to hold one in
/// memory and keep the others saved, as long as they [may go on](Explorer::may_go_on).
///
/// **The budget** is an upper bound. All train under one schedule, which is fixed before any starts, so the
/// updates that a dropped candidate leaves over are not used by others.
///
/// ```
/// use anneal_control::Exploration;
///
/// // w²/2 times a curvature, from w = 1, by gradient descent: too steep, good, flat.
/// let curvatures = [9.0, 0.8, 0.01];
/// let mut weights = [1.0; 3];
/// let mut explorer = Exploration::new(3, 20, 1.0, 0.1, 160).build()?;
/// while let Some(turn) = explorer.turn() {
///     let (curvature, w) = (curvatures[turn.candidate], &mut weights[turn.candidate]);
///     explorer.hear(turn.candidate, curvature * *w * *w / 2.0)?;
///     *w -= turn.rate * curvature * *w;
/// }
/// assert_eq!(explorer.best(), Some(1));
/// assert_eq!(explorer.ranking(), [1, 2]);
/// assert_eq!(
///     explorer.dropped().map(|(candidate, why)| format!("{candidate}: {why}")).collect::<Vec<_>>(),
///     ["0: its loss 288 at update 1 is above 18"],
/// );
/// assert_eq!(explorer.spent(), 2 + 20 + 20 + 100);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exploration {
    /// The number of trainings that start.
    pub candidates: usize,
    /// n: the updates of exploration per candidate.
    pub updates: u64,
    /// The rate of the first update.
    pub high: f64,
    /// The rate at the end of exploration, from which the step decay continues.
    pub end: f64,
    /// The total number of updates.
    pub budget: u64,
    /// k: the number of candidates that continue.
    #[serde(default = "one")]
    pub keep: usize,
    /// m: a loss this many times the first one drops a candidate.
    #[serde(default = "four")]
    pub rise: f64,
    /// The factor of each drop of the step decay.
    #[serde(default = "tenth")]
    pub factor: f64,
    /// The number of drops of the step decay, evenly spaced.
    #[serde(default = "two")]
    pub drops: u64,
    /// q: the number of updates whose mean loss ranks candidates; default a tenth of n.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_over: Option<u64>,
}

fn one() -> usize {
    1
}

fn four() -> f64 {
    4.0
}

fn tenth() -> f64 {
    0.1
}

fn two() -> u64 {
    2
}

/// The maximum number of candidates; each turn examines all of them.
const MAX_CANDIDATES: usize = 1_000_000;

impl Exploration {
    /// `candidates` candidates that each explore for `updates` updates at a rate from `high` to `end`; the
    /// budget is the total number of updates.
    pub fn new(candidates: usize, updates: u64, high: f64, end: f64, budget: u64) -> Self {
        Self {
            candidates,
            updates,
            high,
            end,
            budget,
            keep: one(),
            rise: four(),
            factor: tenth(),
            drops: two(),
            mean_over: None,
        }
    }

    /// Sets how many candidates continue.
    #[must_use]
    pub fn keep(self, candidates: usize) -> Self {
        Self { keep: candidates, ..self }
    }

    /// Sets the multiple of the first loss above which a candidate is dropped.
    #[must_use]
    pub fn rise(self, rise: f64) -> Self {
        Self { rise, ..self }
    }

    /// Sets the factor and the number of evenly spaced drops for those that continue.
    #[must_use]
    pub fn step_decay(self, factor: f64, drops: u64) -> Self {
        Self { factor, drops, ..self }
    }

    /// Ranks candidates by the mean loss of this many last updates.
    #[must_use]
    pub fn mean_over(self, updates: u64) -> Self {
        Self { mean_over: Some(updates), ..self }
    }

    /// The updates of each continuing candidate after exploration.
    pub fn share(&self) -> u64 {
        let explored = self.updates.saturating_mul(self.candidates as u64);
        self.budget.saturating_sub(explored) / (self.keep as u64).max(1)
    }

    /// The updates of a continuing candidate: the run length of every candidate.
    pub fn length(&self) -> RunLength {
        RunLength::updates(self.updates.saturating_add(self.share()))
    }

    /// The schedule under which every candidate trains, over [`length`](Self::length).
    pub fn schedule(&self) -> ScheduleConfig {
        let toward =
            Decay::Toward { end: Level::Rate(self.end), length: Span::steps(self.updates) };
        let milestone = |drop: u64| {
            let (share, levels) = (u128::from(self.share()), u128::from(self.drops) + 1);
            Span::steps((share * u128::from(drop) / levels) as u64)
        };
        let steps: ScheduleConfig = match self.drops {
            0 => constant(self.end).into(),
            drops => {
                let milestones: Vec<Span> = (1..=drops).map(milestone).collect();
                multi_step(self.end, milestones, self.factor).into()
            }
        };
        exponential(self.high, toward).then(Span::steps(self.updates), steps).into()
    }

    /// Checks the description.
    ///
    /// # Errors
    /// [`OutOfRange`] with the field, the value, and what is allowed.
    pub fn build(&self) -> Result<Explorer, OutOfRange> {
        let positive = |rate: f64| rate > 0.0 && rate.is_finite();
        let some = (1..=MAX_CANDIDATES).contains(&self.candidates);
        OutOfRange::require("candidates", self.candidates, some, "1 to 1,000,000")?;
        OutOfRange::require("updates", self.updates, self.updates >= 1, "at least 1")?;
        OutOfRange::require("high", self.high, positive(self.high), "finite, above 0")?;
        let below = positive(self.end) && self.end <= self.high;
        OutOfRange::require("end", self.end, below, "above 0, at most `high`")?;
        let some = (1..=self.candidates).contains(&self.keep);
        OutOfRange::require("keep", self.keep, some, "1 to the number of candidates")?;
        let above = self.rise > 1.0 && self.rise.is_finite();
        OutOfRange::require("rise", self.rise, above, "finite, above 1")?;
        let falls = self.factor > 0.0 && self.factor <= 1.0;
        OutOfRange::require("factor", self.factor, falls, "in (0, 1]")?;
        let mean_over = self.mean_over.unwrap_or(self.updates.div_ceil(10));
        let within = (1..=self.updates).contains(&mean_over);
        OutOfRange::require("mean_over", mean_over, within, "1 to the updates of exploration")?;
        let least = u128::from(self.updates) * self.candidates as u128
            + self.keep as u128 * (u128::from(self.drops) + 1);
        let enough = u128::from(self.budget) >= least;
        let allowed = "updates · candidates + keep · (drops + 1), or more";
        OutOfRange::require("budget", self.budget, enough, allowed)?;
        let schedule = self
            .schedule()
            .resolve(self.length())
            .map_err(|error| OutOfRange::new("schedule", error, "a schedule that fits the run"))?;
        Ok(Explorer::new(self.clone(), mean_over, schedule))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> Exploration {
        Exploration::new(4, 10, 1.0, 0.01, 100).keep(2).mean_over(3)
    }

    #[test]
    fn the_schedule_is_an_exponential_and_then_steps() {
        let rule = rule().step_decay(0.5, 3); // 30 updates: drops after 7, 15 and 22 of them
        let schedule = rule.schedule().resolve(rule.length()).unwrap();
        assert_eq!(schedule.length(), Some(40));
        for update in 0..40 {
            let expected = match update {
                0..10 => 0.01f64.powf(update as f64 / 10.0),
                10..17 => 0.01,
                17..25 => 0.005,
                25..32 => 0.0025,
                _ => 0.00125,
            };
            assert!((schedule.rate(update) / expected - 1.0).abs() < 1e-12, "{update}");
        }
        let mut explorer = rule.build().unwrap();
        for update in 0..10 {
            let turn = explorer.turn().unwrap();
            assert_eq!((turn.update, turn.rate), (update, schedule.rate(update)));
            explorer.hear(0, 1.0).unwrap();
        }
        assert_eq!(explorer.turn().unwrap().candidate, 1);
        let flat = rule.step_decay(0.5, 0);
        assert_eq!(flat.schedule().resolve(flat.length()).unwrap().rate(39), 0.01);
    }

    #[test]
    fn refuses_each_field_and_another_ones_loss() {
        let field = |rule: Exploration| rule.build().unwrap_err().field;
        assert_eq!(field(Exploration { candidates: 0, ..rule() }), "candidates");
        assert_eq!(field(Exploration { updates: 0, ..rule() }), "updates");
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(field(Exploration { high: rate, ..rule() }), "high");
            assert_eq!(field(Exploration { end: rate, ..rule() }), "end");
            assert_eq!(field(rule().rise(rate)), "rise");
        }
        assert_eq!(field(Exploration { end: 1.1, ..rule() }), "end");
        assert_eq!([0, 5].map(|keep| field(rule().keep(keep))), ["keep"; 2]);
        assert_eq!([0.0, 1.1, f64::NAN].map(|a| field(rule().step_decay(a, 1))), ["factor"; 3]);
        assert_eq!([0, 11].map(|q| field(rule().mean_over(q))), ["mean_over"; 2]);
        assert_eq!(
            [0, 45, u64::MAX].map(|least| field(rule().step_decay(0.5, least.max(30)))),
            ["budget"; 3]
        );
        assert_eq!(field(Exploration { budget: 45, ..rule() }), "budget");
        assert!(Exploration { budget: 46, ..rule() }.build().is_ok());
        assert_eq!(field(Exploration { updates: u64::MAX, ..rule() }), "budget");
        let mut explorer = rule().build().unwrap();
        let error = explorer.hear(1, 0.5).unwrap_err().to_string();
        assert_eq!(error, "candidate 1 reported a loss, but it is the turn of candidate 0");
        assert_eq!(explorer.spent(), 0);
    }
}
