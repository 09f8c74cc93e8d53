//! How samples pass during a run.

use crate::ramp::{Mark, Stages};
use serde::Serialize;

/// The samples of each update.
///
/// Samples are counted in rounds: a round is one batch on each device. An update takes a number of rounds, fewer
/// where an epoch ends, and an epoch begins with a new update.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Clock {
    /// Samples of a full round.
    pub unit: u64,
    /// Samples and rounds of an epoch; `None` without epochs.
    pub epoch: Option<Epoch>,
    /// Rounds of an update, without a ramp.
    pub full: u64,
    /// Its change.
    pub stages: Option<Stages>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Epoch {
    pub samples: u64,
    pub rounds: u64,
}

/// A point between two updates.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Point {
    /// Updates before it.
    updates: u128,
    /// Rounds before it.
    rounds: u128,
}

/// Points along a ramp, so that a walk need not begin at the start of the run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Landmarks {
    /// Updates from one to the next.
    apart: u64,
    points: Vec<Point>,
}

/// The maximum number of landmarks.
const LANDMARKS: u64 = 1_024;

/// When the number of rounds of an update may change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Until {
    Update(u64),
    /// The first update with at least as many rounds before it.
    Rounds(f64),
    Never,
}

/// Where a walk through the updates ends.
#[derive(Clone, Copy)]
enum Goal {
    Update(u64),
    Rounds(u128),
}

impl Clock {
    /// The position after `samples` samples, in updates, as a whole number and a fraction of the next update.
    pub fn update_after(&self, samples: f64) -> (u128, f64) {
        let (rounds, part) = self.rounds_of(samples.max(0.0));
        let (before, size) = self.walk(Point::default(), Goal::Rounds(rounds));
        let into = (rounds - before.rounds) as f64 + part;
        (before.updates, into / size as f64)
    }

    /// The updates of the first `epochs` epochs.
    pub fn updates_of_epochs(&self, epochs: u64) -> u128 {
        let rounds = self.epoch.map_or(0, |epoch| u128::from(epoch.rounds) * u128::from(epochs));
        self.walk(Point::default(), Goal::Rounds(rounds)).0.updates
    }

    /// The rounds before a sample, with a fraction.
    pub fn rounds_after(&self, samples: f64) -> f64 {
        let (whole, part) = self.rounds_of(samples);
        whole as f64 + part
    }

    /// The rounds before update `update`.
    pub fn rounds_before(&self, update: u64) -> u128 {
        self.walk(Point::default(), Goal::Update(update)).0.rounds
    }

    /// The samples before update `update`.
    pub fn samples_before(&self, update: u64) -> u64 {
        self.samples_of(self.rounds_before(update))
    }

    /// Landmarks from the start of the run to the end of its ramp.
    pub fn landmarks(&self) -> Landmarks {
        let end = match self.stages.map(|stages| stages.end()) {
            None => 0,
            Some(Mark::Update(update)) => update,
            Some(Mark::Rounds(rounds)) => {
                // No run is longer.
                let rounds = rounds.min(u64::MAX as f64) as u128;
                let last = self.walk(Point::default(), Goal::Rounds(rounds)).0;
                u64::try_from(last.updates).unwrap_or(u64::MAX).saturating_add(1)
            }
        };
        let apart = end.div_ceil(LANDMARKS).max(1);
        let mut points = vec![Point::default()];
        for number in 1..=end.div_ceil(apart) {
            let before = points[points.len() - 1];
            points.push(self.walk(before, Goal::Update(number.saturating_mul(apart))).0);
        }
        Landmarks { apart, points }
    }

    /// The same as [`samples_before`](Self::samples_before), sooner on a ramp of many sizes.
    pub fn samples_before_by(&self, landmarks: &Landmarks, update: u64) -> u64 {
        let Landmarks { apart, points } = landmarks;
        let passed = usize::try_from(update / apart).unwrap_or(usize::MAX);
        let last = points[passed.min(points.len() - 1)];
        self.samples_of(self.walk(last, Goal::Update(update)).0.rounds)
    }

    /// The rounds of update `update` if no epoch ended in it.
    pub fn accumulation(&self, update: u64) -> u64 {
        match &self.stages {
            None => self.full,
            Some(stages) if !stages.count_rounds() => stages.at(update, 0).0,
            Some(stages) => stages.at(update, self.rounds_before(update)).0,
        }
    }

    /// The rounds before a sample, with their fraction.
    fn rounds_of(&self, samples: f64) -> (u128, f64) {
        let (whole, rest) = match self.epoch {
            None => (0, samples),
            Some(epoch) => {
                let epochs = (samples / epoch.samples as f64).floor();
                (epochs as u128 * u128::from(epoch.rounds), samples - epochs * epoch.samples as f64)
            }
        };
        let rounds = rest / self.unit as f64;
        (whole + rounds.floor() as u128, rounds - rounds.floor())
    }

    /// The samples of the first `rounds` rounds.
    fn samples_of(&self, rounds: u128) -> u64 {
        let (epochs, rest, most) = match self.epoch {
            None => (0, rounds, u128::MAX),
            Some(Epoch { samples, rounds: each }) => {
                let (epochs, each) = (rounds / u128::from(each), u128::from(each));
                (epochs * u128::from(samples), rounds % each, u128::from(samples))
            }
        };
        let samples = epochs + rest.saturating_mul(self.unit.into()).min(most);
        u64::try_from(samples).unwrap_or(u64::MAX)
    }

    /// The last point between two updates that is not behind the goal, and the rounds of the update after it; the
    /// point `at` is not behind the goal.
    fn walk(&self, mut at: Point, goal: Goal) -> (Point, u64) {
        loop {
            let (size, until) = match &self.stages {
                None => (self.full, Until::Never),
                Some(stages) => {
                    let update = u64::try_from(at.updates).unwrap_or(u64::MAX);
                    stages.at(update, at.rounds)
                }
            };
            // The updates up to the next change, at least one; and those up to the goal.
            let to_change = match until {
                Until::Never => u128::MAX,
                Until::Update(update) => u128::from(update).saturating_sub(at.updates).max(1),
                Until::Rounds(rounds) => {
                    ((rounds - at.rounds as f64) / size as f64).ceil().max(1.0) as u128
                }
            };
            let size = u128::from(size);
            let (same, left) = match self.epoch {
                None => (to_change, u128::MAX),
                Some(epoch) => {
                    let rounds = u128::from(epoch.rounds);
                    let begun = at.rounds % rounds;
                    if begun == 0 {
                        // Whole epochs at once.
                        let each = rounds.div_ceil(size);
                        let before_change = match until {
                            Until::Rounds(until) => {
                                ((until - at.rounds as f64) / rounds as f64).floor().max(0.0)
                                    as u128
                            }
                            _ => to_change / each,
                        };
                        let before_goal = match goal {
                            Goal::Update(update) => (u128::from(update) - at.updates) / each,
                            Goal::Rounds(goal) => (goal - at.rounds) / rounds,
                        };
                        let epochs = before_change.min(before_goal);
                        at.updates += epochs * each;
                        at.rounds += epochs * rounds;
                        if epochs > 0 {
                            continue;
                        }
                    }
                    let left = rounds - begun;
                    (to_change.min(left.div_ceil(size)), left)
                }
            };
            // Within the epoch.
            let to_goal = match goal {
                Goal::Update(update) => u128::from(update) - at.updates,
                Goal::Rounds(goal) if goal - at.rounds >= left => same,
                Goal::Rounds(goal) => (goal - at.rounds) / size,
            };
            let step = same.min(to_goal);
            let size_of_next = |at: Point, left: u128| {
                debug_assert!(at.rounds < u128::MAX);
                u64::try_from(size.min(left)).unwrap_or(u64::MAX)
            };
            if step == 0 {
                return (at, size_of_next(at, left));
            }
            at.updates += step;
            at.rounds += step.saturating_mul(size).min(left);
            if step < same {
                let left = left.saturating_sub(step.saturating_mul(size));
                return (at, size_of_next(at, left));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{RunLength, Span};

    /// A training of samples one after the other: the samples before each update, and at the end.
    fn looped(
        (epochs, items, batch): (usize, usize, usize),
        rounds: impl Fn(usize, usize) -> usize,
    ) -> Vec<usize> {
        let (mut before, mut seen) = (vec![0], 0);
        for _ in 0..epochs {
            let end = seen + items;
            while seen < end {
                let update = before.len() - 1;
                seen = end.min(seen + batch * rounds(update, seen));
                before.push(seen);
            }
        }
        before
    }

    #[track_caller]
    fn check(run: RunLength, before: &[usize]) {
        let resolved = run.resolve().unwrap();
        let updates = before.len() - 1;
        assert_eq!(resolved.updates(), Some(updates as u64), "{run:?}");
        let clock = resolved.clock().unwrap();
        let landmarks = clock.landmarks();
        for (update, pair) in before.windows(2).enumerate() {
            let t = update as u64;
            assert_eq!(resolved.samples_before(t), Some(pair[0] as u64), "{run:?} {t}");
            assert_eq!(clock.samples_before_by(&landmarks, t), pair[0] as u64, "{run:?} {t}");
            assert_eq!(resolved.batch_of(t), Some((pair[1] - pair[0]) as u64), "{run:?} {t}");
            // Every sample belongs to the nearer end of its update.
            for sample in pair[0]..pair[1] {
                let later = 2 * (sample - pair[0]) >= pair[1] - pair[0];
                let found = Span::samples(sample as u32).update_in(&resolved);
                assert_eq!(found, Some(t + u64::from(later)), "{run:?} {sample}");
            }
        }
    }

    type Ramp = fn(RunLength) -> RunLength;
    type Rounds = fn(usize, usize) -> usize;

    /// The run without its ramp has 4 rounds an update.
    #[test]
    fn every_position_is_that_of_a_loop_over_the_samples() {
        let cases: [(Ramp, Rounds); 8] = [
            (|run| run, |_, _| 4),
            (
                |run| run.gradient_accumulation_ramp(1, 6),
                |t, _| (1.0 + 3.0 * (t as f64 / 6.0).min(1.0)).round() as usize,
            ),
            (
                |run| run.gradient_accumulation_ramp(9, Span::samples(700)),
                |_, s| (9.0 - 5.0 * (s as f64 / 700.0).min(1.0)).round() as usize,
            ),
            (
                |run| run.batch_size_ramp(10, Span::samples(333)),
                |_, s| (1.0 + 3.0 * (s as f64 / 333.0).min(1.0)).round() as usize,
            ),
            (
                |run| run.batch_size_ramp(20, 7).batch_size_multiple(20),
                |t, _| 2 * ((2.0 + 2.0 * (t as f64 / 7.0).min(1.0)) / 2.0).round() as usize,
            ),
            (
                |run| run.gradient_accumulation_steps(&[(3, 2), (9, 7)]),
                |t, _| match t {
                    0..3 => 4,
                    3..9 => 2,
                    _ => 7,
                },
            ),
            (
                |run| run.batch_size_steps(&[(Span::samples(95), 10), (Span::samples(300), 60)]),
                |_, s| match s {
                    0..95 => 4,
                    95..300 => 1,
                    _ => 6,
                },
            ),
            (
                |run| run.tokens_per_sample(8).batch_size_steps(&[(Span::tokens(2_000), 10)]),
                |_, s| {
                    if s < 250 { 4 } else { 1 }
                },
            ),
        ];
        for (epochs, items) in [(1, 1_000), (7, 240), (5, 60), (9, 30), (4, 10), (1, 10)] {
            for (ramp, rounds) in cases {
                let run = RunLength::from_items(items, 10).epochs(epochs).gradient_accumulation(4);
                let before = looped((epochs, items, 10), rounds);
                check(ramp(run), &before);
                let run = ramp(run);
                for (update, seen) in before[..before.len() - 1].iter().enumerate() {
                    assert_eq!(
                        run.accumulation_of(update as u64),
                        rounds(update, *seen) as u64,
                        "{run:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_short_last_batch_ends_an_epoch() {
        let run = RunLength::from_items(64, 10).epochs(3).gradient_accumulation(2);
        let run = run.gradient_accumulation_steps(&[(5, 3)]);
        let before = looped((3, 64, 10), |t, _| if t < 5 { 2 } else { 3 });
        let resolved = run.resolve().unwrap();
        assert_eq!(resolved.updates(), Some(before.len() as u64 - 1));
        for (t, seen) in before.iter().enumerate() {
            assert_eq!(resolved.samples_before(t as u64), Some(*seen as u64), "{t}");
        }
        // Epochs are exact, though each has its own number of updates.
        let ends = [1, 2, 3].map(|epoch| Span::epochs(epoch).update_in(&resolved));
        assert_eq!(ends, [Some(4), Some(7), Some(10)]);
        assert_eq!(ends.map(|end| before[end.unwrap() as usize]), [64, 128, 192]);
    }

    /// Samples without epochs: the batch grows one by one.
    #[test]
    fn a_run_of_tokens_counts_its_samples() {
        let run = RunLength::tokens(80_000, 40).tokens_per_sample(10);
        let run = run.batch_size_ramp(10, Span::tokens(30_000));
        let mut before = vec![0];
        while before[before.len() - 1] < 8_000 {
            let seen = before[before.len() - 1];
            let size = (10.0 + 30.0 * (f64::from(seen) / 3_000.0).min(1.0)).round() as i32;
            before.push(seen + size);
        }
        let resolved = run.resolve().unwrap();
        assert_eq!(resolved.updates(), Some(before.len() as u64 - 1));
        for (t, seen) in before.iter().enumerate() {
            assert_eq!(resolved.samples_before(t as u64), Some(*seen as u64), "{t}");
        }
        assert_eq!(Span::tokens(before[70] * 10).update_in(&resolved), Some(70));
        assert_eq!(run.accumulation_of(70), 1);
    }

    /// What is left of a run counts from where it begins.
    #[test]
    fn the_rest_of_a_run_goes_on_where_it_was() {
        let run = RunLength::samples(10_000, 100).batch_size_steps(&[(10, 200), (30, 400)]);
        let rest = run.after(20).resolve().unwrap();
        assert_eq!(rest.batch_of(0), Some(200));
        assert_eq!(rest.samples_before(12), Some(10 * 200 + 2 * 400));
        assert_eq!(Span::samples(2_800).update_in(&rest), Some(12));
    }

    /// Updates after samples are not samples after updates.
    #[test]
    fn positions_add_up_in_their_order() {
        let run = RunLength::samples(10_000, 10).batch_size_steps(&[(Span::samples(1_000), 100)]);
        let resolved = run.resolve().unwrap();
        use crate::position::Position;
        let at = |spans: [Span; 2]| {
            let sum =
                spans.iter().fold(Position::default(), |sum, span| sum.after(*span, &resolved));
            sum.update(&resolved).unwrap()
        };
        // 50 updates of 10; 500 more to the change, and 5 updates of 100.
        assert_eq!(at([Span::steps(50), Span::samples(1_000)]), 105);
        // 1,000 samples are 100 updates; 50 more.
        assert_eq!(at([Span::samples(1_000), Span::steps(50)]), 150);
        assert_eq!(at([Span::samples(500), Span::samples(1_000)]), 105);
    }
}
