//! A schedule that moves with the samples rather than with the updates.

use crate::clock::{Clock, Landmarks};
use crate::curve::{Describe, Rate, pieces::leading, tail::Tail};
use crate::{Length, ScheduleConfig, ScheduleError, Span, scope::Scope};
use serde::{Deserialize, Serialize};

/// η(t) = inner(s), s the samples from its start to update t.
///
/// Under batches that grow, a curve over samples or tokens is another one than the same curve over updates: GPT-3's
/// cosine falls with the tokens, slowly while batches are small. Each rate is that of the samples before its update.
/// Lengths inside are in samples, tokens, epochs or percent, and may end within an update; a length in updates is
/// refused. With even batches the rates are those of the plain schedule, but for such ends.
///
/// The run must count samples: [`RunLength::from_items`](crate::RunLength::from_items),
/// [`samples`](crate::RunLength::samples) or [`tokens`](crate::RunLength::tokens). Lengths in tokens are rounded to
/// whole samples.
///
/// Source: Megatron-LM's `OptimizerParamScheduler` under `--rampup-batch-size`; Brown et al. 2020, "Language models
/// are few-shot learners", appendix B.
///
/// ```
/// use anneal_schedule::prelude::*;
/// let run = RunLength::samples(1_000, 100).batch_size_steps(&[(Span::samples(0), 25), (Span::samples(500), 100)]);
/// let schedule = linear(1.0, 0.0).by_samples().resolve(run)?;
/// // 0, 25, 50, …, 475, 500, 600 samples.
/// assert_eq!([0, 1, 2, 19, 20, 21].map(|step| schedule.rate(step)), [1.0, 0.975, 0.95, 0.525, 0.5, 0.4]);
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(bound = "L: crate::Length"))]
#[serde(deny_unknown_fields)]
#[serde(bound = "")]
pub struct BySamples<L: Length = Span> {
    /// The schedule over the samples.
    pub schedule: Box<ScheduleConfig<L>>,
    /// Once resolved: how they pass.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(skip))]
    passage: Option<Box<Passage>>,
}

/// The samples of the updates from one on.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Passage {
    clock: Clock,
    /// The update of the clock that is the first one here.
    first: u64,
    /// The samples before it, and the landmarks of the clock: worked out once.
    #[serde(skip)]
    before: u64,
    #[serde(skip)]
    landmarks: Landmarks,
}

impl BySamples {
    pub(super) fn new(schedule: ScheduleConfig) -> Self {
        Self { schedule: Box::new(schedule), passage: None }
    }
}

impl BySamples<u64> {
    /// The samples before update `step`.
    fn samples(&self, step: u64) -> u64 {
        self.passage.as_deref().map_or(step, |Passage { clock, first, before, landmarks }| {
            clock.samples_before_by(landmarks, first.saturating_add(step)) - before
        })
    }
}

impl Describe for BySamples {
    type Resolved = BySamples<u64>;

    fn resolve(&self, scope: &Scope<'_>) -> Result<BySamples<u64>, ScheduleError> {
        let run = scope.run();
        let (Some(clock), Some(samples)) = (run.clock(), run.in_samples()) else {
            let (field, span) = (scope.field("schedule"), self.schedule.to_string());
            return Err(ScheduleError::NeedsSamples { field, span });
        };
        let inside = scope.inside_samples("schedule", &samples)?;
        let schedule = Box::new(self.schedule.resolve_in(&inside)?);
        let first = run.done().saturating_add(scope.first());
        let (before, landmarks) = (clock.samples_before(first), clock.landmarks());
        let passage = Passage { clock, first, before, landmarks };
        Ok(BySamples { schedule, passage: Some(Box::new(passage)) })
    }
}

impl Rate for BySamples<u64> {
    fn rate(&self, step: u64) -> f64 {
        self.schedule.rate(self.samples(step))
    }

    fn end_rate(&self, step: u64) -> f64 {
        self.schedule.end_rate(self.samples(step))
    }

    fn peak(&self) -> f64 {
        self.schedule.peak()
    }

    fn cycle_end(&self, from: u64) -> Option<u64> {
        let end = self.schedule.cycle_end(self.samples(from))?;
        // The last update that begins by then.
        let until = leading(u64::MAX - from, |step| self.samples(from + step) <= end);
        Some(from + until.saturating_sub(1))
    }

    fn tail(&self) -> Tail {
        // In the end batches have one size, and a constant factor in time does not change the tail.
        self.schedule.tail()
    }
}

#[cfg(test)]
mod tests {
    use crate::combine::ScheduleExt;
    use crate::curve::{constant, cosine, linear, step_decay};
    use crate::{RunLength, Schedule, Span};

    /// Batches of 8, growing by 4 every 60 samples up to 20, as Megatron's `--rampup-batch-size 8 4 180`.
    fn grown(run: RunLength) -> RunLength {
        run.batch_size_steps(&[
            (Span::samples(0), 8),
            (Span::samples(60), 12),
            (Span::samples(120), 16),
            (Span::samples(180), 20),
        ])
    }

    /// The samples before each update of such a run, one update after the other; `after` of them are made already.
    fn samples(total: u64, after: usize) -> Vec<u64> {
        let mut before = vec![0];
        while before[before.len() - 1] < total {
            let seen = before[before.len() - 1];
            before.push(seen + (8 + 4 * (seen / 60)).min(20));
        }
        before[after..].iter().map(|seen| seen - before[after]).collect()
    }

    #[track_caller]
    fn check(schedule: &Schedule, samples: &[u64], expected: impl Fn(f64) -> f64) {
        assert_eq!(schedule.length(), Some(samples.len() as u64 - 1));
        for (step, seen) in samples.iter().enumerate() {
            let (found, expected) = (schedule.rate(step as u64), expected(*seen as f64));
            let close = (found - expected).abs() <= 1e-12 * expected;
            assert!(close, "{found} at update {step}, {seen} samples, not {expected}");
        }
    }

    /// Megatron's `get_lr` with `lr_warmup_samples` and `lr_decay_samples`.
    fn megatron(seen: f64, peak: f64, warmup: f64, decay: f64) -> f64 {
        if seen <= warmup {
            return peak * seen / warmup;
        }
        let share = (seen - warmup) / (decay - warmup);
        let cosine = 0.5 * ((std::f64::consts::PI * share.min(1.0)).cos() + 1.0);
        0.1 * peak + cosine * 0.9 * peak
    }

    #[test]
    fn it_has_the_rates_of_a_loop_over_the_samples() {
        let run = grown(RunLength::samples(1_000, 20));
        let decay = cosine(0.3).end(crate::Level::percent(10)).length(Span::samples(703));
        let schedule = decay.warmup(Span::samples(97)).include_start().by_samples();
        let schedule = schedule.resolve(run).unwrap();
        check(&schedule, &samples(1_000, 0), |seen| megatron(seen, 0.3, 97.0, 800.0));
    }

    #[test]
    fn tokens_epochs_and_percent_end_within_an_update() {
        let run = grown(RunLength::tokens(10_000, 20).tokens_per_sample(10));
        let seen = samples(1_000, 0);
        let all = seen[seen.len() - 1] as f64;
        for length in [Span::tokens(7_030), Span::samples(703), Span::percent(70_300.0 / all)] {
            let schedule = linear(1.0, 0.5).length(length).by_samples().resolve(run).unwrap();
            check(&schedule, &seen, |seen| 1.0 - 0.5 * (seen / 703.0).min(1.0));
        }
        // Each epoch of 25 samples ends with a batch of 5.
        let run = RunLength::from_items(25, 10).epochs(4);
        let schedule = linear(1.0, 0.0).length(Span::epochs(2)).by_samples().resolve(run).unwrap();
        let seen = [0, 10, 20, 25, 35, 45, 50, 60, 70, 75, 85, 95, 100];
        check(&schedule, &seen, |seen| 1.0 - (seen / 50.0).min(1.0));
    }

    /// Inside another combinator, and in what is left of a run, samples count from where it starts.
    #[test]
    fn it_counts_from_its_start() {
        let schedule = constant(1.0).then(Span::steps(12), linear(1.0, 0.0).by_samples());
        let schedule = schedule.resolve(grown(RunLength::samples(1_000, 20))).unwrap();
        let seen = samples(1_000, 0);
        let (start, end) = (seen[12], seen[seen.len() - 1]);
        check(&schedule, &seen, |seen| 1.0 - (seen - start as f64).max(0.0) / (end - start) as f64);
        let rest = grown(RunLength::samples(1_000, 20)).after(5);
        let seen = samples(1_000, 5);
        let end = seen[seen.len() - 1] as f64;
        check(&linear(1.0, 0.0).by_samples().resolve(rest).unwrap(), &seen, |seen| {
            1.0 - seen / end
        });
    }

    #[test]
    fn equality_and_fingerprint_see_the_batches() {
        let schedule = |run: RunLength| linear(1.0, 0.0).by_samples().resolve(run).unwrap();
        let [even, other] = [RunLength::samples(80, 10), RunLength::samples(160, 20)].map(schedule);
        let [ramp, late] = [30, 40].map(|at| {
            schedule(
                RunLength::samples(80, 10)
                    .batch_size_steps(&[(Span::samples(10), 15), (Span::samples(at), 5)]),
            )
        });
        assert_eq!(even.fingerprint(), schedule(RunLength::samples(80, 10)).fingerprint());
        for (a, b) in [(&even, &other), (&ramp, &late)] {
            assert_eq!(a.length(), b.length());
            assert_ne!(a, b);
            assert_ne!(a.fingerprint(), b.fingerprint());
        }
        assert_eq!(ramp.to_string(), "linear(1.0, 0.0).length(80).by_samples(), 11 updates");
    }

    #[test]
    fn cycles_end_with_the_last_update_before_a_restart() {
        let cycles = linear(1.0, 0.5).repeat_every(Span::samples(50)).by_samples();
        let schedule = cycles.resolve(grown(RunLength::samples(150, 20))).unwrap();
        // 0 8 16 24 32 40 48 56 64 76 88 100 112 124 140 156
        assert_eq!(schedule.cycle_ends().collect::<Vec<_>>(), [6, 10, 14]);
    }

    /// The long run is as many updates as its samples take, so that shares of it have the right length.
    #[test]
    fn a_run_cut_off_is_the_beginning_of_one_of_as_many_samples() {
        let long =
            linear(1.0, 0.0).length(Span::samples(1_800)).warmup(Span::percent(10)).by_samples();
        let (short, whole) = [1_000, 2_000].map(|samples| RunLength::samples(samples, 10)).into();
        let (cut, long) =
            (long.clone().truncate().resolve(short).unwrap(), long.resolve(whole).unwrap());
        assert_eq!(cut.truncated_from(), Some(200));
        for step in 0..100 {
            assert_eq!(cut.rate(step), long.rate(step), "{step}");
        }
    }

    #[test]
    fn it_asks_for_a_run_of_samples_and_lengths_in_samples() {
        let error = constant(1.0).by_samples().resolve(RunLength::updates(9)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "by_samples.schedule: constant(1.0) needs a run that counts samples, such as RunLength::from_items, \
             samples or tokens"
        );
        let run = RunLength::samples(900, 10);
        let steps = step_decay(1.0, Span::steps(5), 0.5).by_samples().resolve(run).unwrap_err();
        assert_eq!(
            steps.to_string(),
            "by_samples.schedule.step_decay.every: 5 is not allowed; allowed: samples, tokens, epochs or percent, \
             as it counts by_samples"
        );
        let long = cosine(1.0).length(Span::samples(901)).by_samples().resolve(run).unwrap_err();
        assert_eq!(
            long.to_string(),
            "by_samples.schedule.cosine.length: 901sp is 901 samples, but only 900 samples of the run are left for it; \
             allowed: at most 900 samples: shorten it, lengthen the run, or cut the schedule off with .truncate()"
        );
    }
}
