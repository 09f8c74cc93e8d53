//! The position of a part of a description in the run, and the checks that depend on it.

use crate::Span;
use crate::position::Position;
use crate::run::Run;
use crate::{OutOfRange, ScheduleError};
use std::ops::RangeInclusive;

/// The maximum nesting depth of schedules.
///
/// Enough for every recipe, and few enough that a TOML or JSON reader accepts the written file.
pub const MAX_DEPTH: usize = 16;

/// The run as one part of a description sees it: the stretch it may fill, and its path for error messages.
pub(crate) struct Scope<'a> {
    run: &'a Run,
    path: String,
    start: Position,
    /// First update after the stretch, counted from the start of the run; `None` without an end.
    end: Option<u64>,
    depth: usize,
    /// Evaluations of this part per rate of the schedule.
    evaluations: u64,
    /// Whether the updates of the run are samples: see [`BySamples`](crate::BySamples).
    by_samples: bool,
    /// Whether an enclosing `truncate` searches for a run that is long enough.
    truncated: bool,
}

impl<'a> Scope<'a> {
    pub(crate) fn whole(run: &'a Run) -> Self {
        Self {
            run,
            path: String::new(),
            start: Position::default(),
            end: run.updates(),
            depth: 0,
            evaluations: 1,
            by_samples: false,
            truncated: false,
        }
    }

    /// The scope of a nested schedule that fills the same stretch.
    pub(crate) fn inside(&self, field: &str) -> Result<Self, ScheduleError> {
        self.child(field, self.start, self.end)
    }

    /// The scope of a nested schedule that starts later.
    pub(crate) fn inside_from(&self, field: &str, start: Position) -> Result<Self, ScheduleError> {
        self.child(field, start, self.end)
    }

    /// The scope of the part of a sequence that starts at `start` and lasts `length` updates.
    pub(crate) fn inside_part(
        &self,
        field: &str,
        start: Position,
        length: Option<u64>,
    ) -> Result<Self, ScheduleError> {
        let end = match length {
            Some(length) => Some(self.update(field, Span::Rest, start)?.saturating_add(length)),
            None => self.end,
        };
        self.child(field, start, end)
    }

    fn child(&self, field: &str, start: Position, end: Option<u64>) -> Result<Self, ScheduleError> {
        let depth = self.depth + 1;
        if depth > MAX_DEPTH {
            let field = self.path.chars().take(60).chain("…".chars()).collect();
            return Err(ScheduleError::TooDeep { field, depth });
        }
        Ok(Self { path: self.field(field), start, end, depth, ..*self })
    }

    /// The scope of a nested schedule resolved for a run of its own.
    pub(crate) fn inside_run<'b>(
        &self,
        field: &str,
        run: &'b Run,
    ) -> Result<Scope<'b>, ScheduleError> {
        let Self { path, depth, evaluations, by_samples, .. } = self.inside(field)?;
        Ok(Scope { path, depth, evaluations, by_samples, truncated: true, ..Scope::whole(run) })
    }

    /// The scope of a nested schedule that fills the same stretch of `samples`, this run with each sample as an update.
    pub(crate) fn inside_samples<'b>(
        &self,
        field: &str,
        samples: &'b Run,
    ) -> Result<Scope<'b>, ScheduleError> {
        let Self { path, depth, evaluations, truncated, .. } = self.inside(field)?;
        let before = |update| self.run.samples_before(update).unwrap_or(update);
        let start = Position::at(before(self.first()));
        let (end, run) = (self.end.map(before), samples);
        Ok(Scope { path, start, end, depth, evaluations, truncated, by_samples: true, run })
    }

    /// Whether an enclosing `truncate` searches for a run that is long enough.
    pub(crate) fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// The run, possibly the full one inside a `truncate`.
    pub(crate) fn run(&self) -> &'a Run {
        self.run
    }

    /// The scope of a nested schedule that is evaluated `times` times for each rate here.
    pub(crate) fn inside_times(&self, field: &str, times: u64) -> Result<Self, ScheduleError> {
        let evaluations = self.evaluations.saturating_mul(times);
        Ok(Self { evaluations, ..self.inside(field)? })
    }

    /// Evaluations of this part per rate of the schedule.
    pub(crate) fn evaluations(&self) -> u64 {
        self.evaluations
    }

    /// The first update of this part.
    pub(crate) fn first(&self) -> u64 {
        self.start.update(self.run).unwrap_or(0)
    }

    /// The updates left for this part; `None` without an end.
    pub(crate) fn left(&self) -> Option<u64> {
        self.end.map(|end| end.saturating_sub(self.first()))
    }

    /// Refuses "what is left of the run" where an explicit length is required.
    pub(crate) fn stated(&self, field: &str, span: Span) -> Result<Span, ScheduleError> {
        match span {
            Span::Rest => Err(self.out_of_range(
                field,
                span.to_string(),
                "updates, epochs, samples, tokens or a percentage",
            )),
            stated => Ok(stated),
        }
    }

    /// This scope with the name of a curve added to its path.
    pub(crate) fn named(&self, name: &str) -> Self {
        Self { path: self.field(name), ..*self }
    }

    pub(crate) fn field(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_string(),
            path => format!("{path}.{name}"),
        }
    }

    /// Where this scope starts.
    pub(crate) fn start(&self) -> Position {
        self.start
    }

    /// The updates of a curve that starts here and fits into what is left of the run; at least 1, even if a
    /// share of a tiny run rounds to 0.
    pub(crate) fn length(&self, field: &str, span: Span) -> Result<u64, ScheduleError> {
        Ok(self.rounded_length(field, span)?.max(1))
    }

    /// Like [`length`](Self::length), but 0 if it rounds to 0.
    pub(crate) fn rounded_length(&self, field: &str, span: Span) -> Result<u64, ScheduleError> {
        self.length_at(field, span, self.start)
    }

    /// The updates of a stretch from `start` on that fits into what is left of the run.
    pub(crate) fn length_at(
        &self,
        field: &str,
        span: Span,
        start: Position,
    ) -> Result<u64, ScheduleError> {
        self.check_span(field, span)?;
        let first = self.update(field, span, start)?;
        let left = self.end.map(|end| end.saturating_sub(first));
        if span == Span::Rest {
            return left.ok_or_else(|| self.needs_run_length(field, span));
        }
        let updates = self.update(field, span, start.after(span, self.run))? - first;
        self.check_fits(field, span, updates, left)?;
        Ok(updates)
    }

    /// The updates of a prefix and where it ends. It leaves at least one update for the rest: a span that
    /// merely rounds to all that is left is cut; an explicit one is refused.
    pub(crate) fn prefix(&self, field: &str, span: Span) -> Result<(u64, Position), ScheduleError> {
        let updates = self.rounded_length(field, span).map_err(|error| match error {
            // Leaves one update for the rest.
            ScheduleError::TooLong { field, span, updates, left, unit } => {
                ScheduleError::TooLong { field, span, updates, left: left.saturating_sub(1), unit }
            }
            error => error,
        })?;
        let first = self.update(field, span, self.start)?;
        let after = self.start.after(span, self.run);
        match self.end.filter(|&end| first + updates >= end) {
            None => Ok((updates, after)),
            Some(end) => {
                let most = (end - first).saturating_sub(1);
                if after.reaches(end, self.run) {
                    self.check_fits(field, span, updates.max(1), Some(most))?;
                }
                Ok((most, Position::at(first + most)))
            }
        }
    }

    /// The start of the last `span` of a stretch of `length`, relative to the start of both; as everywhere,
    /// the position is rounded, not the span.
    pub(crate) fn turn(&self, field: &str, span: Span, length: Span) -> Result<u64, ScheduleError> {
        let first = self.update(field, span, self.start)?;
        let end = match (length, self.end) {
            (Span::Rest, Some(end)) => Position::at(end),
            _ => self.start.after(length, self.run),
        };
        Ok(self.update(field, span, end.before(span, self.run))?.saturating_sub(first))
    }

    /// The update at distance `span` from the start of this scope; 0 and the end of the stretch are allowed.
    pub(crate) fn milestone(&self, field: &str, span: Span) -> Result<u64, ScheduleError> {
        if span.is_zero() { Ok(0) } else { self.rounded_length(field, span) }
    }

    /// The updates of a time constant, at least 1; it may exceed the run.
    pub(crate) fn time_constant(&self, field: &str, span: Span) -> Result<u64, ScheduleError> {
        if span == Span::Rest {
            return self.length(field, span);
        }
        self.check_span_up_to(field, span, f64::MAX)?;
        Ok(self.update(field, span, Position::default().after(span, self.run))?.max(1))
    }

    fn update(&self, field: &str, span: Span, position: Position) -> Result<u64, ScheduleError> {
        position.update(self.run).ok_or_else(|| self.needs_run_length(field, span))
    }

    fn needs_run_length(&self, field: &str, span: Span) -> ScheduleError {
        let (field, span_text) = (self.field(field), span.to_string());
        match span {
            Span::Epochs(_) => ScheduleError::NeedsEpochs { field, span: span_text },
            Span::Samples(_) | Span::Tokens(_) => {
                ScheduleError::NeedsSamples { field, span: span_text }
            }
            _ => ScheduleError::NeedsRunLength { field, span: span_text },
        }
    }

    fn check_span(&self, field: &str, span: Span) -> Result<(), ScheduleError> {
        self.check_span_up_to(field, span, 100.0)
    }

    fn check_span_up_to(&self, field: &str, span: Span, most: f64) -> Result<(), ScheduleError> {
        let (ok, allowed) = match span {
            Span::Steps(_) if self.by_samples => {
                (false, "samples, tokens, epochs or percent, as it counts by_samples")
            }
            Span::Steps(steps) => (steps > 0, "at least 1 update"),
            Span::Epochs(epochs) => (epochs > 0.0 && epochs.is_finite(), "more than 0 epochs"),
            Span::Samples(samples) => (samples > 0.0 && samples.is_finite(), "more than 0 samples"),
            Span::Tokens(tokens) => (tokens > 0.0 && tokens.is_finite(), "more than 0 tokens"),
            Span::Percent(percent) => (
                percent > 0.0 && percent <= most,
                if most == 100.0 { "in (0, 100] percent" } else { "more than 0 percent" },
            ),
            Span::Rest => (true, ""),
        };
        if ok { Ok(()) } else { Err(self.out_of_range(field, span.to_string(), allowed)) }
    }

    /// Refuses a length of `updates` updates if only `left` are left.
    pub(crate) fn check_fits(
        &self,
        field: &str,
        span: Span,
        updates: u64,
        left: Option<u64>,
    ) -> Result<(), ScheduleError> {
        match left {
            Some(left) if updates > left => Err(ScheduleError::TooLong {
                field: self.field(field),
                span: span.to_string(),
                updates,
                left,
                unit: if self.by_samples { "samples" } else { "updates" },
            }),
            _ => Ok(()),
        }
    }

    /// A finite number above 0.
    pub(crate) fn positive(&self, field: &str, value: f64) -> Result<f64, ScheduleError> {
        self.require(field, value, value > 0.0 && value.is_finite(), "a finite number above 0")
    }

    /// A finite number in `range`.
    pub(crate) fn within(
        &self,
        field: &str,
        value: f64,
        range: RangeInclusive<f64>,
    ) -> Result<f64, ScheduleError> {
        let allowed = format!("in [{:?}, {:?}]", range.start(), range.end());
        // Adding 0 turns −0 into 0, so that equal schedules have equal fingerprints.
        Ok(self.require(field, value, range.contains(&value), &allowed)? + 0.0)
    }

    /// A decay factor: in (0, 1].
    pub(crate) fn factor(&self, field: &str, value: f64) -> Result<f64, ScheduleError> {
        self.require(field, value, value > 0.0 && value <= 1.0, "in (0, 1]")
    }

    /// Returns `value` if `ok`, else an error with the `allowed` range.
    pub(crate) fn require(
        &self,
        field: &str,
        value: f64,
        ok: bool,
        allowed: &str,
    ) -> Result<f64, ScheduleError> {
        if ok { Ok(value) } else { Err(self.out_of_range(field, format!("{value:?}"), allowed)) }
    }

    /// An [`OutOfRange`](ScheduleError::OutOfRange) error for a field of this scope.
    pub(crate) fn out_of_range(
        &self,
        field: &str,
        value: String,
        allowed: impl Into<String>,
    ) -> ScheduleError {
        OutOfRange::new(self.field(field), value, allowed).into()
    }
}
