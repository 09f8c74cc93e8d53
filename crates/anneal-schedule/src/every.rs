//! Recurring events in a run.

use crate::position::Position;
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
        let (is_above_0, otherwise) = match span {
            Span::Steps(steps) => (steps > 0, ""),
            Span::Epochs(n) => {
                (is_positive(n), "updates or a percentage: the run has no fixed epoch length")
            }
            Span::Samples(n) | Span::Tokens(n) => {
                (is_positive(n), "updates, epochs or a percentage: the run does not count them")
            }
            Span::Percent(n) => (n > 0.0 && n <= 100.0, "updates or epochs: the run has no end"),
            Span::Rest => (false, ""),
        };
        match (is_above_0, span.update_in(&run)) {
            (true, Some(_)) => Ok(Self { span, run }),
            (true, None) => Err(otherwise),
            (false, _) => Err(
                "at least 1 update, more than 0 epochs, samples or tokens, or above 0 and at most 100 percent",
            ),
        }
    }

    /// The span in updates, unrounded; where batches grow, that of the first one.
    pub fn length(&self) -> f64 {
        Position::default().after(self.span, &self.run).updates(&self.run).unwrap_or(f64::INFINITY)
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
        // The first multiple that is late enough, by halving.
        let at = |count| self.span.times(count).update_in(&self.run).unwrap_or(u64::MAX);
        let mut late = 1_u64;
        while at(late) < updates && late < u64::MAX / 2 {
            late *= 2;
        }
        let mut early = late / 2;
        while late - early > 1 {
            let middle = early + (late - early) / 2;
            if at(middle) < updates { early = middle } else { late = middle }
        }
        at(late)
    }
}

fn is_positive(number: f64) -> bool {
    number > 0.0 && number.is_finite()
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
