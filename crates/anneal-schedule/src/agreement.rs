//! Checks that a stated run length matches the length of its training.

use crate::run::Count;
use crate::{OutOfRange, RunLength, ScheduleError};
use thiserror::Error;

/// A contradiction between a stated run and its training.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{what}: the run says {run}, but the training has {training}; remove it from RunLength, or change the training to \
     match"
)]
pub struct Contradiction {
    /// The quantity that differs, for example `epochs`.
    pub what: &'static str,
    /// The value stated by the run.
    pub run: u64,
    /// The value the training has.
    pub training: u64,
}

/// Why a run and its training do not match.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum AgreementError {
    /// They contradict each other.
    #[error(transparent)]
    Contradiction(#[from] Contradiction),
    /// One of them is not a valid run.
    #[error(transparent)]
    Run(#[from] ScheduleError),
}

impl RunLength {
    /// Merges this run with the length of its `training`, whose loop counts items, batches and epochs, if the
    /// two agree.
    ///
    /// ```
    /// use anneal_schedule::RunLength;
    /// let training = RunLength::from_items(60, 6).epochs(3);
    /// let run = RunLength::of_training().gradient_accumulation(2).agree(training)?;
    /// assert_eq!(run.resolve()?.updates(), Some(15));
    /// let error = RunLength::from_items(60, 6).epochs(5).agree(training).unwrap_err();
    /// assert!(error.to_string().starts_with("epochs: the run says 5, but the training has 3"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Contradiction`] names the first quantity that differs.
    pub fn agree(self, training: Self) -> Result<Self, AgreementError> {
        if self.done > 0 {
            let allowed = "0: training covers the whole run";
            return Err(
                ScheduleError::from(OutOfRange::new("run.after", self.done, allowed)).into()
            );
        }
        let both = Self {
            count: training.count,
            epochs: one("epochs", self.epochs, training.epochs)?,
            gradient_accumulation: one(
                "gradient accumulation",
                self.gradient_accumulation,
                training.gradient_accumulation,
            )?,
            devices: one("devices", self.devices, training.devices)?,
            ..self
        };
        match (self.count, training.count) {
            (Count::Unbounded, _) => {
                return Ok(Self { count: Count::Unbounded, epochs: None, ..both });
            }
            (Count::Training, _) => {}
            (
                Count::Items { items, batch_size },
                Count::Items { items: found, batch_size: found_size },
            ) => {
                one("items", Some(items), Some(found))?;
                one("batch size", Some(batch_size), Some(found_size))?;
            }
            (Count::UpdatesPerEpoch(updates), _) => {
                one("updates per epoch", Some(updates), both.resolve()?.updates_per_epoch())?;
            }
            (Count::Updates(updates), _) => {
                one("updates", Some(updates), both.resolve()?.updates())?;
            }
            (Count::Samples { samples, batch_size }, Count::Items { items, batch_size: found }) => {
                one("batch size", Some(batch_size), Some(found))?;
                let total = items.saturating_mul(both.epochs.unwrap_or(1));
                one("samples", Some(samples), Some(total))?;
            }
            (Count::Tokens { .. }, _) => {
                let count = self.count;
                let updates = Self { count, epochs: None, ..both }.resolve()?.updates();
                one("updates", updates, both.resolve()?.updates())?;
            }
            (Count::Items { .. } | Count::Samples { .. }, _) => {}
        }
        both.resolve()?;
        Ok(both)
    }
}

/// The value that one or both state.
fn one(
    what: &'static str,
    run: Option<u64>,
    training: Option<u64>,
) -> Result<Option<u64>, Contradiction> {
    match (run, training) {
        (Some(run), Some(training)) if run != training => {
            Err(Contradiction { what, run, training })
        }
        (run, training) => Ok(run.or(training)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAINING: fn() -> RunLength = || RunLength::from_items(61, 6).epochs(3).devices(1);

    #[test]
    fn what_one_does_not_say_the_other_does() {
        let run = RunLength::of_training().gradient_accumulation(2).agree(TRAINING()).unwrap();
        assert_eq!(run.resolve().unwrap().updates(), Some(18));
        let run = RunLength::from_items(61, 6).agree(TRAINING().gradient_accumulation(4)).unwrap();
        assert_eq!(run.resolve().unwrap().updates(), Some(9));
        let run = RunLength::updates(33).agree(TRAINING()).unwrap();
        assert_eq!(run.resolve().unwrap().updates_per_epoch(), Some(11));
        let run = RunLength::unbounded().agree(TRAINING()).unwrap();
        assert_eq!(run.resolve().unwrap().updates(), None);
    }

    #[test]
    fn every_contradiction_is_named_with_both_numbers() {
        let training = TRAINING().gradient_accumulation(2);
        for (run, what, said, found) in [
            (RunLength::from_items(60, 6), "items", 60, 61),
            (RunLength::from_items(61, 7), "batch size", 7, 6),
            (RunLength::from_items(61, 6).epochs(2), "epochs", 2, 3),
            (RunLength::of_training().gradient_accumulation(4), "gradient accumulation", 4, 2),
            (RunLength::of_training().devices(2), "devices", 2, 1),
            (RunLength::updates(11), "updates", 11, 18),
            (RunLength::samples(184, 6), "samples", 184, 183),
            (RunLength::samples(183, 7), "batch size", 7, 6),
            (RunLength::tokens(1_000, 6).tokens_per_sample(4), "updates", 21, 18),
            (RunLength::updates_per_epoch(11), "updates per epoch", 11, 6),
        ] {
            let expected = Contradiction { what, run: said, training: found };
            assert_eq!(run.agree(training), Err(expected.into()), "{what}");
        }
        assert!(matches!(TRAINING().after(1).agree(training), Err(AgreementError::Run(_))));
        let ramped = RunLength::of_training().gradient_accumulation_ramp(1, 0);
        assert!(matches!(ramped.agree(training), Err(AgreementError::Run(_))));
    }
}
