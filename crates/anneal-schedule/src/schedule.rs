//! The resolved schedule.

use crate::combine::untruncated;
use crate::curve::Rate;
use crate::curve::pieces::{Piece, Shape, cut};
use crate::scope::Scope;
use crate::{Run, ScheduleConfig, ScheduleError};
use std::fmt;
use xxhash_rust::xxh3::xxh3_64;

/// A learning-rate schedule: a checked and resolved pure function of the step.
///
/// [`resolve`](crate::ScheduleExt::resolve) makes it from a [`ScheduleConfig`] and the length of the run. It
/// depends on no clock and no history, so any step can be asked for in any order. Every rate is finite and
/// not negative. From its [`length`](Schedule::length) on it holds the rate it has reached: a cosine holds
/// its end, a step decay its last step, not the drop that would come next.
///
/// Two schedules are equal if all their resolved values are.
///
/// ```
/// use anneal_schedule::prelude::*;
/// let schedule = cosine(0.1).warmup(Span::epochs(1)).resolve(RunLength::from_items(640, 64).epochs(10))?;
/// assert_eq!(schedule.length(), Some(100));
/// assert_eq!(schedule.rate(10), 0.1);
/// assert_eq!(schedule.rate(u64::MAX), schedule.rate(100));
/// assert_eq!(schedule.to_string(), "cosine(0.1).length(90).warmup(10), 100 updates");
/// # Ok::<(), ScheduleError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Schedule {
    node: ScheduleConfig<u64>,
    run: Run,
}

impl Schedule {
    pub(crate) fn new(config: &ScheduleConfig, run: Run) -> Result<Self, ScheduleError> {
        Ok(Self { node: config.resolve_in(&Scope::whole(&run))?, run })
    }

    /// The rate of update `step`; from [`length`](Self::length) on, the last rate.
    pub fn rate(&self, step: u64) -> f64 {
        match self.run.updates() {
            Some(updates) if step >= updates => self.node.end_rate(updates),
            _ => self.node.rate(step),
        }
    }

    /// Fills `rates` with the rates of the updates from `first` on, as [`rate`](Self::rate) gives them;
    /// faster than one by one.
    ///
    /// ```
    /// use anneal_schedule::prelude::*;
    /// let schedule = linear(1.0, 0.0).resolve(RunLength::updates(4))?;
    /// let mut rates = [0.0; 3];
    /// schedule.fill(2, &mut rates);
    /// assert_eq!(rates, [0.5, 0.25, 0.0]);
    /// # Ok::<(), ScheduleError>(())
    /// ```
    pub fn fill(&self, first: u64, rates: &mut [f64]) {
        let inside = self.run.updates().unwrap_or(u64::MAX).saturating_sub(first);
        let inside = usize::try_from(inside).map_or(rates.len(), |inside| inside.min(rates.len()));
        let (inside, after) = rates.split_at_mut(inside);
        self.node.fill(first, inside);
        for rate in after {
            // Held: constant from the end on.
            *rate = self.rate(u64::MAX);
        }
    }

    /// The updates of the run it was resolved for; `None` for a run without an end.
    pub fn length(&self) -> Option<u64> {
        self.run.updates()
    }

    /// The last update of each cycle, in order, and the last of the run.
    ///
    /// A cycle ends with the last update before a part of the schedule restarts; a wave ends a cycle at its
    /// lowest point, before it rises:
    ///
    /// | schedule | its cycles end |
    /// | --- | --- |
    /// | [`WarmRestarts`](crate::WarmRestarts), [`Repeat`](crate::Repeat), restarts of peers | before each restart |
    /// | [`Cyclic`](crate::Cyclic) | at its lower rate |
    /// | [`Cosine`](crate::Cosine) of more than half a wave, or one that continues | at the bottom of each wave |
    /// | cyclic [`Polynomial`](crate::Polynomial) | at its end |
    /// | [`Sequence`](crate::Sequence) | after a part that has fallen, if the next one goes higher |
    ///
    /// A schedule inside a combinator keeps its own cycle ends, shifted with it; several schedules contribute
    /// all of theirs. A cycle without a successor, for example the last of a limited number, ends with the
    /// run. A schedule without cycles has one end, the end of the run; so do a [`Custom`](crate::Custom)
    /// curve, a [`Table`](crate::Table), and a rate that follows a batch size, noise or a momentum. A run
    /// without an end has no last update and may have infinitely many cycles.
    ///
    /// Each is computed arithmetically, not by scanning the rates.
    ///
    /// ```
    /// use anneal_schedule::prelude::*;
    /// let cycles = warm_restarts(0.1, Span::steps(20)).multiplier(2.0).warmup(Span::steps(5));
    /// let schedule = cycles.resolve(RunLength::updates(100))?;
    /// // Restarts at 5 + 20 and 5 + 60.
    /// assert_eq!(schedule.cycle_ends().collect::<Vec<_>>(), [24, 64, 99]);
    /// let plain = cosine(0.1).resolve(RunLength::updates(100))?;
    /// assert_eq!(plain.cycle_ends().collect::<Vec<_>>(), [99]);
    /// # Ok::<(), ScheduleError>(())
    /// ```
    pub fn cycle_ends(&self) -> impl Iterator<Item = u64> + '_ {
        let mut next = Some(0);
        std::iter::from_fn(move || {
            let end = self.cycle_end(next?)?;
            next = end.checked_add(1);
            Some(end)
        })
    }

    /// Whether update `step` is one of [`cycle_ends`](Self::cycle_ends).
    pub fn ends_cycle(&self, step: u64) -> bool {
        self.cycle_end(step) == Some(step)
    }

    /// The first cycle end at or after `from`.
    fn cycle_end(&self, from: u64) -> Option<u64> {
        let end = self.node.cycle_end(from);
        let Some(updates) = self.run.updates() else { return end };
        let last = updates.checked_sub(1).filter(|last| from <= *last)?;
        Some(end.map_or(last, |end| end.min(last)))
    }

    /// The length of the full run that a [`Truncate`](crate::Truncate) cuts off after
    /// [`length`](Self::length) updates; `None` if nothing is cut off.
    ///
    /// ```
    /// use anneal_schedule::prelude::*;
    /// let recipe = cosine(0.1).length(Span::steps(7_820)).truncate();
    /// assert_eq!(recipe.clone().resolve(RunLength::updates(64))?.truncated_from(), Some(7_820));
    /// assert_eq!(recipe.resolve(RunLength::updates(9_000))?.truncated_from(), None);
    /// # Ok::<(), ScheduleError>(())
    /// ```
    pub fn truncated_from(&self) -> Option<u64> {
        let updates = self.run.updates()?;
        untruncated(&self.node).filter(|long| *long > updates)
    }

    /// The run it was resolved for.
    pub fn run(&self) -> Run {
        self.run
    }

    /// An upper bound of the rate; the maximum if it is known in closed form.
    pub fn peak(&self) -> f64 {
        self.node.peak()
    }

    /// The curve it evaluates.
    pub(crate) fn node(&self) -> &ScheduleConfig<u64> {
        &self.node
    }

    /// Its first `steps` updates as pieces with known sums, if it has any.
    pub(crate) fn pieces(&self, steps: u64) -> Option<Vec<Piece>> {
        let within = self.run.updates().map_or(steps, |updates| updates.min(steps));
        let mut pieces = self.node.pieces(within)?;
        let after = steps - within;
        pieces.extend(cut([(after, Shape::Constant(self.rate(within)))], after));
        Some(pieces)
    }

    /// A hash of all resolved values, identical on every machine.
    pub fn fingerprint(&self) -> Fingerprint {
        // JSON writes every f64 as its shortest exact decimal and the fields in a fixed order, so equal
        // values give equal text. Going through a value reuses the code for the text form.
        let node = ciborium::Value::serialized(&self.node);
        let values = serde_json::to_string(&(self.run.updates(), node.expect("plain data")))
            .expect("numbers, strings and lists are always JSON");
        Fingerprint(xxh3_64(
            format!("anneal-schedule {}\n{values}", Fingerprint::VERSION).as_bytes(),
        ))
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        // The values that the fingerprint hashes; how the updates divide into epochs does not affect the
        // rate.
        self.node == other.node && self.run.updates() == other.run.updates()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.node)?;
        match self.run.updates() {
            Some(1) => write!(f, ", 1 update"),
            Some(updates) => write!(f, ", {updates} updates"),
            None => write!(f, ", no end"),
        }
    }
}

/// A versioned hash of a [`Schedule`]'s resolved values: XXH3-64 of their canonical JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// The version of the hashed form; it changes whenever a fingerprint would.
    pub const VERSION: u64 = 1;

    /// The hash.
    pub fn value(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}-{:016x}", Self::VERSION, self.0)
    }
}

#[cfg(test)]
mod tests {
    use crate::prelude::*;
    use crate::{MAX_DEPTH, sequence};

    #[test]
    fn holds_its_last_rate_beyond_its_length() {
        let schedule = step_decay(1.0, Span::steps(4), 0.5).resolve(RunLength::updates(8)).unwrap();
        assert_eq!([7, 8, 9, 100, u64::MAX].map(|t| schedule.rate(t)), [0.5; 5]);
    }

    #[test]
    fn runs_without_an_end_resolve_what_needs_none() {
        let run = RunLength::unbounded();
        let schedule = step_decay(1.0, Span::steps(4), 0.5).resolve(run).unwrap();
        assert_eq!((schedule.length(), schedule.rate(400)), (None, 0.5f64.powi(100)));
        let error = cosine(1.0).resolve(run).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cosine.length: rest needs a run of known length; give the length in updates, or bound the run"
        );
        assert!(constant(1.0).warmup(Span::percent(5)).resolve(run).is_err());
    }

    #[test]
    fn its_text_leaves_out_what_goes_without_saying() {
        let line = |config: ScheduleConfig, updates| {
            config.resolve(RunLength::updates(updates)).unwrap().to_string()
        };
        let warmed: ScheduleConfig = cosine(0.1).warmup(Span::percent(10)).into();
        assert_eq!(line(warmed.clone(), 100), "cosine(0.1).length(90).warmup(10), 100 updates");
        // A tenth of two updates rounds to 0.
        assert_eq!(line(warmed, 2), "cosine(0.1).length(2).warmup(0), 2 updates");
        let endless = constant(0.1).then(Span::steps(5), constant(0.2));
        let endless = endless.resolve(RunLength::unbounded()).unwrap();
        assert_eq!(endless.to_string(), "constant(0.1).then(5, constant(0.2)), no end");
    }

    #[test]
    fn equality_and_fingerprint_follow_the_resolved_values() {
        let run = RunLength::from_items(100, 10).epochs(10);
        let epochs = cosine(0.1).warmup(Span::epochs(1)).resolve(run).unwrap();
        let percent = cosine(0.1).warmup(Span::percent(10)).resolve(run).unwrap();
        let steps = cosine(0.1).warmup(Span::steps(11)).resolve(run).unwrap();
        assert_eq!(epochs, percent);
        assert_eq!(epochs.fingerprint(), percent.fingerprint());
        let counted = cosine(0.1).warmup(Span::steps(10)).resolve(RunLength::updates(100)).unwrap();
        assert_eq!(epochs, counted);
        assert_ne!(epochs.fingerprint(), steps.fingerprint());
        let longer = cosine(0.1).warmup(Span::epochs(1)).resolve(run.epochs(20)).unwrap();
        assert_ne!(epochs.fingerprint(), longer.fingerprint());
    }

    /// The expected hash was computed outside this crate: XXH3-64 of the text that the format describes, by
    /// the reference library. If it changes, [`super::Fingerprint::VERSION`] must change too.
    #[test]
    fn the_fingerprint_is_the_same_on_every_machine() {
        // [100,{"warmup":{"length":10,"ramp":"linear","start":0.0,"overlay":false,"schedule":
        // {"cosine":{"peak":0.1,"end":1e-6,"length":90,"exponent":1.0,"k":1.0,"cycles":0.5,
        // "after":"hold"}}}}] without the line breaks, after "anneal-schedule 1\n"
        let config = cosine(0.1).end(1e-6).warmup(Span::steps(10));
        let schedule = config.resolve(RunLength::updates(100)).unwrap();
        assert_eq!(schedule.fingerprint().to_string(), "v1-67f8ad7237da1cd4");
    }

    #[test]
    fn nesting_is_limited() {
        let mut config: ScheduleConfig = constant(1.0).into();
        for _ in 0..MAX_DEPTH {
            // The deepest in a file: each level of a sequence adds a list and a table.
            config = sequence([(Span::Rest, config)]).into();
        }
        assert!(config.clone().resolve(RunLength::updates(1)).is_ok());
        assert_eq!(ScheduleConfig::from_toml(&config.to_toml().unwrap()).unwrap(), config);
        assert_eq!(ScheduleConfig::from_json(&config.to_json().unwrap()).unwrap(), config);
        let error = config.scale(1.0).resolve(RunLength::updates(1)).unwrap_err().to_string();
        assert!(error.contains("at most 16 levels"), "{error}");
    }
}
