//! Recurring events in a run.

use crate::run::Run;
use crate::span::Span;

/// A span that recurs throughout a run.
///
/// The n-th event is at n times the span, rounded to a whole update: every third of an epoch of ten updates
/// means
/// after 3, 7, 10, 13, … updates.
///
/// ```
/// use anneal_schedule::{Every, RunLength, Span};
/// let run = RunLength::updates_per_epoch(10).epochs(3).resolve()?;
/// let third = Every::new(Span::epochs(1.0 / 3.0), run).expect("above 0");
/// let due: Vec<u64> = (1..=14).filter(|updates| third.is_after(*updates)).collect();
/// assert_eq!(due, [3, 7, 10, 13]);
/// # Ok::<(), anneal_schedule::ScheduleError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Every {
    span: Span,
    run: Run,
}

impl Every {
    /// Checks the span against a run.
    ///
    /// # Errors
    /// What is allowed instead, if the span is not above 0 or the run cannot resolve it.
    pub fn new(span: Span, run: Run) -> Result<Self, &'static str> {
        let is_known = match span {
            Span::Steps(1..) => true,
            Span::Epochs(epochs) if epochs > 0.0 && epochs.is_finite() => {
                match run.updates_per_epoch() {
                    Some(_) => true,
                    None => {
                        return Err("updates or a percentage: the run has no fixed epoch length");
                    }
                }
            }
            Span::Percent(percent) if percent > 0.0 && percent <= 100.0 => match run.updates() {
                Some(_) => true,
                None => return Err("updates or epochs: the run has no end"),
            },
            _ => false,
        };
        match is_known {
            true => Ok(Self { span, run }),
            false => {
                Err("at least 1 update, more than 0 epochs, or above 0 and at most 100 percent")
            }
        }
    }

    /// The unrounded span in updates.
    pub fn length(&self) -> f64 {
        match self.span {
            Span::Steps(steps) => steps as f64,
            Span::Epochs(epochs) => epochs * self.run.updates_per_epoch().unwrap_or(1) as f64,
            Span::Percent(percent) => percent / 100.0 * self.run.updates().unwrap_or(1) as f64,
            Span::Rest => f64::INFINITY,
        }
    }

    /// Whether a multiple of the span falls due after `updates` updates.
    pub fn is_after(&self, updates: u64) -> bool {
        self.first_from(updates) == updates
    }

    /// The first due multiple of the span that is at least `updates`.
    pub fn first_from(&self, updates: u64) -> u64 {
        let updates = updates.max(1);
        if let Span::Steps(steps) = self.span {
            return updates.div_ceil(steps).saturating_mul(steps);
        }
        // The nearest multiple, or a neighbour because of rounding.
        let near = (updates as f64 / self.length()).round() as u64;
        let multiples = near.saturating_sub(1).max(1)..=near.saturating_add(1);
        let mut found = multiples.filter_map(|count| self.span.times(count).update_in(&self.run));
        found.find(|found| *found >= updates).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RunLength;

    /// The counts up to n after which the span falls due.
    fn due(span: Span, run: RunLength, updates: u64) -> Vec<u64> {
        let every = Every::new(span, run.resolve().unwrap()).unwrap();
        (1..=updates).filter(|updates| every.is_after(*updates)).collect()
    }

    #[test]
    fn positions_are_rounded_and_not_lengths() {
        let epochs = RunLength::updates_per_epoch(10).epochs(3);
        assert_eq!(due(Span::steps(4), epochs, 13), [4, 8, 12]);
        assert_eq!(due(Span::epochs(1), epochs, 30), [10, 20, 30]);
        assert_eq!(due(Span::epochs(1.0 / 3.0), epochs, 14), [3, 7, 10, 13]);
        assert_eq!(due(Span::epochs(0.25), epochs, 10), [3, 5, 8, 10]);
        assert_eq!(due(Span::percent(33.3), RunLength::updates(100), 100), [33, 67, 100]);
        assert_eq!(due(Span::percent(10), RunLength::updates(95), 95).len(), 10);
        // More often than once per update: due after each update.
        assert_eq!(due(Span::epochs(0.01), epochs, 5), [1, 2, 3, 4, 5]);
        assert_eq!(due(Span::epochs(4), epochs, 30), [0; 0]);
    }

    #[test]
    fn the_first_is_there_or_later() {
        let run = RunLength::updates_per_epoch(10).epochs(3).resolve().unwrap();
        let first = |span, updates| Every::new(span, run).unwrap().first_from(updates);
        assert_eq!([0, 1, 4, 5, 8].map(|updates| first(Span::steps(4), updates)), [4, 4, 4, 8, 8]);
        let third = Span::epochs(1.0 / 3.0);
        assert_eq!(
            [1, 3, 4, 8, 10, 11].map(|updates| first(third, updates)),
            [3, 3, 7, 10, 10, 13]
        );
        assert_eq!(first(Span::epochs(2), 21), 40);
    }

    #[test]
    fn what_has_no_length_is_refused() {
        let endless = RunLength::unbounded().resolve().unwrap();
        let plain = RunLength::updates(10).resolve().unwrap();
        for (span, run, allowed) in [
            (Span::steps(0), plain, "at least 1 update"),
            (Span::Rest, plain, "at least 1 update"),
            (Span::epochs(0), endless, "more than 0 epochs"),
            (Span::epochs(f64::NAN), endless, "more than 0 epochs"),
            (Span::percent(101), plain, "at most 100 percent"),
            (Span::epochs(1), plain, "no fixed epoch length"),
            (Span::percent(10), endless, "has no end"),
        ] {
            let refused = Every::new(span, run).unwrap_err();
            assert!(refused.contains(allowed), "{span}: {refused}");
        }
    }
}
