//! Positions in a run.

use crate::Span;
use crate::run::Run;

/// A point of the run as a sum of spans, kept per unit so that adding percentages, epochs and updates is rounded only
/// once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Position {
    /// In updates: a whole number and a fraction.
    steps: i128,
    part: f64,
    epochs: f64,
    percent: f64,
    /// Samples after what the other units give.
    samples: f64,
}

impl Position {
    /// The position of update `step`.
    pub fn at(step: u64) -> Self {
        Self { steps: step.into(), ..Self::default() }
    }

    /// This position plus `span`, which is not [`Span::Rest`].
    pub fn after(self, span: Span, run: &Run) -> Self {
        self.moved(span, 1.0, run)
    }

    /// This position minus `span`, which is not [`Span::Rest`].
    pub fn before(self, span: Span, run: &Run) -> Self {
        self.moved(span, -1.0, run)
    }

    fn moved(mut self, span: Span, sign: f64, run: &Run) -> Self {
        if let Some(samples) = run.samples_of(span) {
            self.samples += sign * samples;
            return self;
        }
        // Where batches grow, updates after samples are not samples after updates.
        if self.samples != 0.0
            && run.has_ramp()
            && let Some((steps, part)) = self.exactly(run)
        {
            self = Self { steps, part, ..Self::default() };
        }
        match span {
            Span::Steps(steps) => self.steps += sign as i128 * i128::from(steps),
            Span::Epochs(epochs) => self.epochs += sign * epochs,
            Span::Percent(percent) => self.percent += sign * percent,
            // The run does not count them.
            Span::Samples(_) | Span::Tokens(_) => self.samples = f64::NAN,
            Span::Rest => {}
        }
        self
    }

    /// The update at this position: the exact sum rounded half up. `None` if the run does not count one of its units.
    pub fn update(self, run: &Run) -> Option<u64> {
        let (whole, part) = self.exactly(run)?;
        // A sum such as 33.3 % + 16.7 % may miss a half by a rounding error; tolerate 2 ulp.
        let forgiven = (2.0 * f64::EPSILON * part.abs()).min(1e-6);
        let up = part - part.floor() + forgiven >= 0.5;
        let update = whole.saturating_add(part.floor() as i128 + i128::from(up));
        Some(u64::try_from(update.max(0)).unwrap_or(u64::MAX))
    }

    /// The unrounded position in updates.
    pub fn updates(self, run: &Run) -> Option<f64> {
        self.exactly(run).map(|(whole, part)| whole as f64 + part)
    }

    /// Whether this position, unrounded, is at or after update `end`.
    pub fn reaches(self, end: u64, run: &Run) -> bool {
        self.exactly(run)
            .is_some_and(|(whole, part)| (whole - i128::from(end)) as f64 + part >= 0.0)
    }

    /// The position in updates, as a whole number and a fraction.
    fn exactly(self, run: &Run) -> Option<(i128, f64)> {
        let (mut whole, mut part) = (self.steps, self.part);
        let mut add = |units: f64, count: u64, of: f64| {
            // Whole multiples use integers; multiply units × count before dividing, because 29 × 50 / 100 is
            // 14.5 exactly and 0.29 × 50 is not.
            let multiples = (units / of).trunc();
            whole = whole.saturating_add((multiples as i128).saturating_mul(count.into()));
            part += (units - multiples * of) * count as f64 / of;
        };
        if self.epochs != 0.0 {
            add(self.epochs, run.updates_per_epoch()?, 1.0);
        }
        if self.percent != 0.0 {
            add(self.percent, run.updates()?, 100.0);
        }
        match self.samples {
            0.0 => Some((whole, part)),
            samples if samples.is_nan() => None,
            samples => run.moved_by_samples((whole, part), samples),
        }
    }
}
