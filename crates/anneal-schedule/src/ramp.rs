//! Gradient accumulation that changes during a run.

use crate::ScheduleError;
use crate::run::{at_least_1, out_of_range};

/// The number of batches per update over the course of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a RunLength, which has one, is Copy")]
pub(crate) enum Ramp {
    /// Linear, from one number to the [full](crate::RunLength::gradient_accumulation) accumulation.
    Line { from: u64, updates: u64 },
    /// Piecewise constant: each number applies from its update until the next.
    Steps(Steps),
}

/// Updates, and the accumulation from each of them on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Steps {
    /// How many were given; more than fit are refused.
    given: usize,
    steps: [(u64, u64); MAX_STEPS],
}

/// The longest linear ramp; its updates are counted one by one.
const LONGEST_LINE: u64 = 1_000_000;

/// The maximum number of steps; a run length is copied with all of them.
pub(crate) const MAX_STEPS: usize = 16;

impl Steps {
    pub fn new(given: &[(u64, usize)]) -> Self {
        let mut steps = [(0, 0); MAX_STEPS];
        for (step, &(update, batches)) in steps.iter_mut().zip(given) {
            *step = (update, batches as u64);
        }
        Self { given: given.len(), steps }
    }

    pub fn steps(&self) -> &[(u64, u64)] {
        &self.steps[..self.given.min(MAX_STEPS)]
    }

    fn check(&self) -> Result<(), ScheduleError> {
        let field = "gradient_accumulation_steps";
        if !(1..=MAX_STEPS).contains(&self.given) {
            return Err(out_of_range(field, format!("{} steps", self.given), "1 to 16 steps"));
        }
        for &(_, batches) in self.steps() {
            at_least_1(field, batches)?;
        }
        match self.steps().windows(2).find(|pair| pair[0].0 >= pair[1].0) {
            Some(pair) => {
                let allowed = format!("above {}: updates must ascend", pair[0].0);
                Err(out_of_range(field, pair[1].0, &allowed))
            }
            None => Ok(()),
        }
    }
}

impl Ramp {
    /// The batches of update `number`, and the next update that may have a different number. `full` is the
    /// accumulation without a ramp.
    pub fn at(&self, number: u64, full: u64) -> (u64, Option<u64>) {
        match self {
            Self::Line { from, updates } if number < *updates => {
                let way = number as f64 / *updates as f64;
                let batches = *from as f64 + (full as f64 - *from as f64) * way;
                (batches.round() as u64, Some(number + 1))
            }
            Self::Line { .. } => (full, None),
            Self::Steps(steps) => {
                let steps = steps.steps();
                let passed = steps.partition_point(|(first, _)| *first <= number);
                let batches = passed.checked_sub(1).map_or(full, |last| steps[last].1);
                (batches, steps.get(passed).map(|(first, _)| *first))
            }
        }
    }

    /// An upper bound on the batches of an update; a short run may not reach it.
    pub fn most(&self, full: u64) -> u64 {
        match self {
            Self::Line { from, .. } => full.max(*from),
            Self::Steps(steps) => steps.steps().iter().fold(full, |most, step| most.max(step.1)),
        }
    }

    pub fn check(&self) -> Result<(), ScheduleError> {
        match self {
            Self::Line { from, updates } => {
                at_least_1("gradient_accumulation_ramp.from", *from)?;
                match (1..=LONGEST_LINE).contains(updates) {
                    true => Ok(()),
                    false => {
                        let field = "gradient_accumulation_ramp.updates";
                        Err(out_of_range(field, updates, "1 to 1000000"))
                    }
                }
            }
            Self::Steps(steps) => steps.check(),
        }
    }

    /// The updates in `epochs` epochs of `batches` batches each; accumulation restarts in every epoch.
    pub fn updates(&self, epochs: u64, batches: u64, full: u64) -> u128 {
        let (mut epochs, mut updates) = (u128::from(epochs), 0);
        let at = |updates: u128| {
            let (batches, until) = self.at(u64::try_from(updates).unwrap_or(u64::MAX), full);
            (batches, until.map_or(u128::MAX, u128::from) - updates)
        };
        loop {
            // Whole epochs without a change,
            let (accumulation, before_next) = at(updates);
            let in_epoch = u128::from(batches.div_ceil(accumulation));
            let equal = epochs.min(before_next / in_epoch);
            updates += equal * in_epoch;
            epochs -= equal;
            if epochs == 0 {
                return updates;
            }
            // then the next one, which has a change.
            let mut left = u128::from(batches);
            while left > 0 {
                let (accumulation, before_next) = at(updates);
                let accumulation = u128::from(accumulation);
                let same = left.div_ceil(accumulation).min(before_next);
                updates += same;
                left = left.saturating_sub(same * accumulation);
            }
            epochs -= 1;
        }
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
            (&[(3, 1), (3, 2)], "3", "above 3: updates must ascend"),
            (&[(3, 1), (2, 2)], "2", "above 3: updates must ascend"),
        ] {
            let expected = OutOfRange::new("run.gradient_accumulation_steps", found, allowed);
            assert_eq!(run.gradient_accumulation_steps(steps).resolve(), Err(expected.into()));
        }
    }
}
