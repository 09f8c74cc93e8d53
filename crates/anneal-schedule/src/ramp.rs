//! Batch sizes and gradient accumulation that change during a run.

use crate::clock::Until;
use crate::run::{at_least_1, out_of_range};
use crate::{ScheduleError, Span};
use serde::Serialize;

/// A change of the batches of an update over the course of a run, as the user gives it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ramp {
    pub counts: Counts,
    pub shape: Shape,
}

/// What the numbers of a ramp count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counts {
    /// Batches of each device.
    Batches,
    /// Samples of all batches.
    Samples,
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a RunLength, which has one, is Copy")]
pub(crate) enum Shape {
    /// Linear, from one number to that of the run without a ramp.
    Line { from: u64, over: Span },
    /// Piecewise constant: each number applies from its position until the next.
    Steps(Steps),
}

/// Positions, and the numbers from each of them on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Steps {
    /// How many were given; more than fit are refused.
    given: usize,
    steps: [(Span, u64); MAX_STEPS],
}

/// The maximum number of steps; a run length is copied with all of them.
pub(crate) const MAX_STEPS: usize = 16;

/// The maximum number of different batch sizes on a linear ramp.
const MAX_SIZES: u64 = 1_000_000;

/// A position in a run, counted in what a ramp goes by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) enum Mark {
    Update(u64),
    Rounds(f64),
}

/// A ramp in rounds per update.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[expect(clippy::large_enum_variant, reason = "a Run, which has them, is Copy")]
pub(crate) enum Stages {
    Line { from: u64, to: u64, multiple: u64, over: Mark },
    Steps { first: u64, steps: [(Mark, u64); MAX_STEPS], count: usize },
}

/// What a ramp is resolved with.
pub(crate) struct Measures {
    /// Samples of a round; `None` if batches are not counted in samples.
    pub unit: Option<u64>,
    /// Rounds of an update without the ramp.
    pub full: u64,
    /// Samples of an epoch.
    pub epoch: Option<u64>,
    /// Samples of the whole run.
    pub total: Option<f64>,
    /// Tokens of a sample.
    pub tokens_per_sample: Option<u64>,
    /// The number of samples that every size on a line is a multiple of.
    pub multiple: Option<u64>,
}

impl Steps {
    pub fn new<S: Into<Span> + Copy>(given: &[(S, usize)]) -> Self {
        let mut steps = [(Span::Rest, 0); MAX_STEPS];
        for (step, &(at, number)) in steps.iter_mut().zip(given) {
            *step = (at.into(), number as u64);
        }
        Self { given: given.len(), steps }
    }

    pub fn steps(&self) -> &[(Span, u64)] {
        &self.steps[..self.given.min(MAX_STEPS)]
    }
}

impl Measures {
    /// The position at which a ramp changes. `rounds_of` converts samples to rounds.
    fn mark(
        &self,
        field: &str,
        span: Span,
        rounds_of: &impl Fn(f64) -> f64,
    ) -> Result<Mark, ScheduleError> {
        let samples = match span {
            Span::Steps(updates) => return Ok(Mark::Update(updates)),
            Span::Epochs(epochs) => self.epoch.map(|samples| epochs * samples as f64),
            Span::Samples(samples) => Some(samples),
            Span::Tokens(tokens) => self.tokens_per_sample.map(|each| tokens / each as f64),
            Span::Percent(percent) => self.total.map(|total| total * percent / 100.0),
            Span::Rest => None,
        };
        match samples {
            Some(samples) if self.unit.is_some() && samples >= 0.0 && samples.is_finite() => {
                Ok(Mark::Rounds(rounds_of(samples)))
            }
            _ => {
                let allowed = match span {
                    Span::Tokens(_) => {
                        "updates, or tokens in a run of samples with tokens_per_sample"
                    }
                    Span::Rest => "updates, epochs, samples, tokens or a percentage",
                    _ => {
                        "updates, or at least 0 of what the run counts: samples, epochs, a percentage"
                    }
                };
                Err(out_of_range(field, span, allowed))
            }
        }
    }

    /// The rounds of an update of this size.
    fn rounds(&self, field: &str, counts: Counts, number: u64) -> Result<u64, ScheduleError> {
        at_least_1(field, number)?;
        match (counts, self.unit) {
            (Counts::Batches, _) => Ok(number),
            (Counts::Samples, Some(unit)) if number.is_multiple_of(unit) => Ok(number / unit),
            (Counts::Samples, Some(unit)) => {
                let allowed =
                    format!("multiples of {unit}, the samples of one batch on each device");
                Err(out_of_range(field, number, &allowed))
            }
            (Counts::Samples, None) => {
                let allowed = "only in a run that counts samples: from_items, samples or tokens";
                Err(out_of_range(field, number, allowed))
            }
        }
    }
}

impl Ramp {
    /// The name of its setting.
    pub fn field(&self) -> &'static str {
        match (self.counts, &self.shape) {
            (Counts::Batches, Shape::Line { .. }) => "gradient_accumulation_ramp",
            (Counts::Batches, Shape::Steps(_)) => "gradient_accumulation_steps",
            (Counts::Samples, Shape::Line { .. }) => "batch_size_ramp",
            (Counts::Samples, Shape::Steps(_)) => "batch_size_steps",
        }
    }

    /// Its stages in rounds.
    pub fn resolve(
        &self,
        measures: &Measures,
        rounds_of: impl Fn(f64) -> f64,
    ) -> Result<Stages, ScheduleError> {
        match &self.shape {
            Shape::Line { from, over } => {
                let from_field = format!("{}.from", self.field());
                let from = measures.rounds(&from_field, self.counts, *from)?;
                let field = format!("{}.over", self.field());
                let over = measures.mark(&field, *over, &rounds_of)?;
                if matches!(over, Mark::Update(0)) || matches!(over, Mark::Rounds(n) if n <= 0.0) {
                    return Err(out_of_range(&field, "0", "above 0"));
                }
                let multiple = measures.line_multiple(from)?;
                let sizes = from.abs_diff(measures.full) / multiple;
                if sizes > MAX_SIZES {
                    let allowed = "at most 1000000 different sizes: set batch_size_multiple";
                    return Err(out_of_range(self.field(), format!("{sizes} sizes"), allowed));
                }
                Ok(Stages::Line { from, to: measures.full, multiple, over })
            }
            Shape::Steps(steps) => {
                let field = self.field();
                if !(1..=MAX_STEPS).contains(&steps.given) {
                    let given = format!("{} steps", steps.given);
                    return Err(out_of_range(field, given, "1 to 16 steps"));
                }
                let mut resolved = [(Mark::Update(0), 0); MAX_STEPS];
                for (resolved, &(at, number)) in resolved.iter_mut().zip(steps.steps()) {
                    let mark = measures.mark(field, at, &rounds_of)?;
                    *resolved = (mark, measures.rounds(field, self.counts, number)?);
                }
                for (index, pair) in steps.steps().windows(2).enumerate() {
                    let (before, after) = (resolved[index].0, resolved[index + 1].0);
                    let allowed = match before.is_before(after) {
                        Some(true) => continue,
                        Some(false) => format!("above {}: positions must ascend", pair[0].0),
                        None => format!("the unit of {}: all in updates, or none", pair[0].0),
                    };
                    return Err(out_of_range(field, pair[1].0, &allowed));
                }
                Ok(Stages::Steps { first: measures.full, steps: resolved, count: steps.given })
            }
        }
    }
}

impl Measures {
    /// The rounds that every size on a line is a multiple of.
    fn line_multiple(&self, from: u64) -> Result<u64, ScheduleError> {
        let (Some(multiple), Some(unit)) = (self.multiple, self.unit) else { return Ok(1) };
        let ends_fit = |rounds: u64| (rounds * unit).is_multiple_of(multiple);
        if multiple == 0
            || !multiple.is_multiple_of(unit)
            || !ends_fit(from)
            || !ends_fit(self.full)
        {
            let (from, to) = (from * unit, self.full * unit);
            let allowed = format!(
                "a multiple of {unit} that divides both {from} and {to}, where the ramp begins and ends"
            );
            return Err(out_of_range("batch_size_multiple", multiple, &allowed));
        }
        Ok(multiple / unit)
    }
}

impl Mark {
    /// Whether this position is before another; `None` if one counts updates and the other samples.
    fn is_before(self, other: Self) -> Option<bool> {
        match (self, other) {
            (Self::Update(one), Self::Update(other)) => Some(one < other),
            (Self::Rounds(one), Self::Rounds(other)) => Some(one < other),
            _ => None,
        }
    }

    /// Whether update `update`, with `rounds` rounds before it, is at or behind this position.
    fn is_reached(self, update: u64, rounds: u128) -> bool {
        match self {
            Self::Update(mark) => mark <= update,
            Self::Rounds(mark) => mark <= rounds as f64,
        }
    }

    fn until(self) -> Until {
        match self {
            Self::Update(update) => Until::Update(update),
            Self::Rounds(rounds) => Until::Rounds(rounds),
        }
    }
}

impl Stages {
    /// The rounds of update `update`, with `rounds` rounds before it, and until when later updates surely have as
    /// many.
    pub fn at(&self, update: u64, rounds: u128) -> (u64, Until) {
        match self {
            Self::Line { to, over, .. } if over.is_reached(update, rounds) => (*to, Until::Never),
            Self::Line { from, to, multiple, over } => {
                let (from, to, multiple) = (*from as f64, *to as f64, *multiple as f64);
                let (done, whole) = match over {
                    Mark::Update(whole) => (update as f64, *whole as f64),
                    Mark::Rounds(whole) => (rounds as f64, *whole),
                };
                let size = ((from + (to - from) * done / whole) / multiple).round() * multiple;
                // The next change, less what rounding might miss of it.
                let next = size + 0.5 * multiple * (to - from).signum();
                let change = (whole * (next - from) / (to - from)).min(whole) - 1.0;
                let until = match over {
                    _ if to == from => over.until(),
                    Mark::Update(_) => Until::Update(change.max(0.0) as u64),
                    Mark::Rounds(_) => Until::Rounds(change),
                };
                (size as u64, until)
            }
            Self::Steps { first, steps, count } => {
                let steps = &steps[..*count];
                let passed = steps.partition_point(|(mark, _)| mark.is_reached(update, rounds));
                let size = passed.checked_sub(1).map_or(*first, |last| steps[last].1);
                (size, steps.get(passed).map_or(Until::Never, |(mark, _)| mark.until()))
            }
        }
    }

    /// Whether it changes after a number of samples, not of updates.
    pub fn count_rounds(&self) -> bool {
        match self {
            Self::Line { over, .. } => matches!(over, Mark::Rounds(_)),
            Self::Steps { steps, .. } => matches!(steps[0].0, Mark::Rounds(_)),
        }
    }

    /// An upper bound on the rounds of an update; a short run may not reach it.
    pub fn most(&self) -> u64 {
        match self {
            Self::Line { from, to, .. } => *from.max(to),
            Self::Steps { first, steps, count } => {
                steps[..*count].iter().fold(*first, |most, step| most.max(step.1))
            }
        }
    }

    /// Where the last stage begins.
    pub fn end(&self) -> Mark {
        match self {
            Self::Line { over, .. } => *over,
            Self::Steps { steps, count, .. } => steps[count - 1].0,
        }
    }

    /// Whether the last stage begins by update `end`, with `rounds` rounds before it.
    pub fn ends_by(&self, end: u64, rounds: u128) -> bool {
        self.end().is_reached(end, rounds)
    }
}

#[cfg(test)]
mod tests {
    use crate::{OutOfRange, RunLength};

    /// A loop over all batches, as in training.
    fn looped(run: RunLength, items: usize, batch_size: usize, epochs: usize) -> u64 {
        let batches = items.div_ceil(batch_size);
        let (mut updates, mut summed) = (0, 0);
        for _ in 0..epochs {
            for batch in 1..=batches {
                summed += 1;
                if summed >= run.accumulation_of(updates) || batch == batches {
                    (updates, summed) = (updates + 1, 0);
                }
            }
        }
        updates
    }

    #[test]
    fn they_count_as_a_loop_does() {
        for (items, epochs, steps) in [
            (100, 7, vec![(3, 2), (40, 5)]),
            (103, 3, vec![(4, 8)]),
            (10, 5, vec![(0, 3), (2, 1), (3, 64)]),
            (1, 9, vec![(2, 2), (5, 3)]),
            (1_000, 4, vec![(142, 2), (143, 1), (150, 1_000)]),
            (1_000, 4, vec![(143, 2), (286, 7)]),
            (12, 3, vec![(1_000, 2)]),
        ] {
            for full in [1, 3] {
                let run = RunLength::from_items(items, 7).epochs(epochs);
                let run = run.gradient_accumulation(full).gradient_accumulation_steps(&steps);
                let expected = Some(looped(run, items, 7, epochs));
                assert_eq!(run.resolve().unwrap().updates(), expected, "{run:?}");
            }
            let line = RunLength::from_items(items, 7).epochs(epochs).gradient_accumulation(5);
            let line = line.gradient_accumulation_ramp(1, steps[0].0 + 1);
            let expected = Some(looped(line, items, 7, epochs));
            assert_eq!(line.resolve().unwrap().updates(), expected, "{line:?}");
        }
    }

    #[test]
    fn long_runs_are_counted_at_once() {
        let run = RunLength::from_items(1_000, 1).epochs(1 << 40);
        let run = run.gradient_accumulation_steps(&[(1 << 45, 10), (1 << 46, 1_000)]);
        // 2⁴⁵ updates of 1 batch, ending at batch 832 of an epoch; 17 of 10 to the end of that epoch; 100 per
        // epoch up to batch 470 of one, and one update for the rest; then one per epoch.
        let whole = (1u64 << 45) / 1_000 + 1;
        let second = (1u64 << 45) - 17;
        let epochs = (1u64 << 40) - whole - second.div_ceil(100);
        assert_eq!(((1u64 << 45) % 1_000, second % 100), (832, 15));
        assert_eq!(run.resolve().unwrap().updates(), Some((1 << 46) + 1 + epochs));
        let endless = RunLength::from_items(usize::MAX, 1).epochs(usize::MAX);
        let error = endless.gradient_accumulation_steps(&[(5, 2)]).resolve().unwrap_err();
        assert!(error.to_string().starts_with("run.epochs: "), "{error}");
    }

    #[test]
    fn it_goes_with_its_training_and_its_epochs_are_unequal() {
        let steps = |run: RunLength| run.gradient_accumulation_steps(&[(2, 2), (4, 4)]);
        let training = RunLength::from_items(60, 6).epochs(3);
        let run = steps(RunLength::of_training()).agree(training).unwrap();
        assert_eq!(run, steps(training));
        assert!(run.has_ramp());
        let run_of = run.resolve().unwrap();
        // 2 of 1, 2 of 2 and one of 4; then twice 4, 4 and 2.
        assert_eq!((run_of.updates(), run_of.updates_per_epoch()), (Some(11), None));
        assert_eq!([0, 1, 2, 3, 4, 99].map(|t| run.accumulation_of(t)), [1, 1, 2, 2, 4, 4]);
        assert_eq!((run.batches_in_epoch(0), run.expects(0, 7)), (None, Ok(())));
        assert_eq!(run.after(4).resolve().unwrap().updates(), Some(7));
        assert_eq!(run.devices(2).batches_per_update(5), 8);
        assert!(steps(RunLength::updates(10)).agree(training).is_err());
        assert!(steps(RunLength::updates(11)).agree(training).is_ok());
    }

    #[test]
    fn wrong_steps_are_refused() {
        let many: Vec<(u64, usize)> = (0..17).map(|t| (t, 1)).collect();
        let run = RunLength::from_items(100, 1);
        assert!(run.gradient_accumulation_steps(&many[..16]).resolve().is_ok());
        for (steps, found, allowed) in [
            (&many[..], "17 steps", "1 to 16 steps"),
            (&[], "0 steps", "1 to 16 steps"),
            (&[(3, 0)], "0", "at least 1"),
            (&[(3, 1), (3, 2)], "3", "above 3: positions must ascend"),
            (&[(3, 1), (2, 2)], "2", "above 3: positions must ascend"),
        ] {
            let expected = OutOfRange::new("run.gradient_accumulation_steps", found, allowed);
            assert_eq!(run.gradient_accumulation_steps(steps).resolve(), Err(expected.into()));
        }
    }
}
