//! The description of averages of the weights.

mod error;
mod file;

pub use error::AverageError;
#[cfg(feature = "schema")]
pub(crate) use file::AverageFile;

use crate::groups::Selection;
use anneal_schedule::{Every, OutOfRange, Run, Span};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Describes an average of the weights of a run.
///
/// | average | value after n weights w | source |
/// | --- | --- | --- |
/// | [`ema(d)`](Self::ema) | e ← d e + (1 − d) w | Polyak and Juditsky 1992; Tarvainen and Valpola 2017 |
/// | [`half_life(h)`](Self::half_life) | the same with d = 2^(−1/h): weights from h updates ago count half | |
/// | [`mean_from(s)`](Self::mean_from) | the mean of all weights from s on | Izmailov et al. 2018 (SWA) |
/// | [`latest(k, s)`](Self::latest) | the mean of the last k weights, taken every s | Kaddour 2022 (LAWA) |
///
/// Each average starts with the first weights that it takes, like torch's `AveragedModel`. Weights are taken after each
/// update, or at the interval [`every`](Self::every); without `every`, skipped updates take no weights. An average is
/// kept in at least f32: in half precision it averages the master weights. Frozen and integer parameters are copied
/// from the model.
///
/// `LearnerBuilder::average` takes one for all parameters, or several, each [`on`](Self::on) a selection. In a loop
/// with Burn's own optimizers, `AveragedModel` is enough.
///
/// An average needs memory for one copy of the weights in f32, `latest` for k copies; a checkpoint stores it with the
/// weights.
///
/// ```
/// use anneal_config::Average;
/// use anneal_schedule::Span;
/// let average = Average::ema(0.999).warmup();
/// let of_head = Average::half_life(Span::epochs(2)).on("^head");
/// let swa = Average::mean_from(Span::percent(75.0)).every(Span::epochs(1));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "file::AverageFile", try_from = "file::AverageFile")]
pub struct Average {
    kind: Kind,
    start: Option<Span>,
    every: Option<Span>,
    on: Option<AveragedPart>,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// The weights themselves.
    None,
    Ema {
        decay: f64,
        warmup: bool,
    },
    HalfLife {
        half_life: Span,
        warmup: bool,
    },
    Mean,
    Latest {
        count: usize,
    },
}

/// The parameters that are averaged.
#[derive(Clone, Debug, PartialEq)]
pub enum AveragedPart {
    /// The parameters of a selection.
    Selection(Selection),
    /// The parameters of a group.
    Group(String),
}

/// An average resolved for a run: its rule, and when it takes weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimedAverage {
    /// How weights are averaged.
    pub rule: AverageRule,
    /// The first update that counts.
    pub start: u64,
    /// How often weights are taken; after each update if `None`.
    pub every: Option<Every>,
}

/// How weights are averaged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AverageRule {
    /// e ← d e + (1 − d) w, with d = min(decay, (1 + n) / (10 + n)) after n weights if it warms up.
    Ema {
        /// The decay d.
        decay: f64,
        /// Whether it warms up.
        warmup: bool,
    },
    /// The mean of all weights.
    Mean,
    /// The mean of this many of the latest weights.
    Latest(usize),
}

/// Which weights of a run are evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Weights {
    /// The averages, if there are any; the raw weights until an average starts.
    #[default]
    Average,
    /// The weights that are trained.
    Raw,
}

impl Average {
    fn new(kind: Kind) -> Self {
        Self { kind, start: None, every: None, on: None }
    }

    /// An exponential moving average with this decay, at least 0 and below 1; a higher decay remembers longer.
    #[must_use]
    pub fn ema(decay: f64) -> Self {
        Self::new(Kind::Ema { decay, warmup: false })
    }

    /// An exponential moving average in which weights this far back count half, for example `Span::epochs(2)`. It keeps
    /// its meaning if the batch size, the number of devices or [`every`](Self::every) changes.
    #[must_use]
    pub fn half_life(half_life: impl Into<Span>) -> Self {
        Self::new(Kind::HalfLife { half_life: half_life.into(), warmup: false })
    }

    /// The mean of all weights from this position on: stochastic weight averaging. From 0, the mean of the whole run.
    #[must_use]
    pub fn mean_from(start: impl Into<Span>) -> Self {
        Self::new(Kind::Mean).start(start)
    }

    /// The mean of the latest `count` weights, at least 1, taken at the interval [`every`](Self::every).
    #[must_use]
    pub fn latest(count: usize, every: impl Into<Span>) -> Self {
        Self::new(Kind::Latest { count }).every(every)
    }

    /// No average: the raw weights, for a selection if all other parameters are averaged.
    #[must_use]
    pub fn none() -> Self {
        Self::new(Kind::None)
    }

    /// Lets the decay of a moving average grow with the number n of weights taken, so that it soon forgets the first
    /// ones: min(d, (1 + n) / (10 + n)), as in TensorFlow. Has no effect on other averages.
    #[must_use]
    pub fn warmup(mut self) -> Self {
        if let Kind::Ema { warmup, .. } | Kind::HalfLife { warmup, .. } = &mut self.kind {
            *warmup = true;
        }
        self
    }

    /// Starts at this position of the run, for example `Span::percent(50.0)`.
    #[must_use]
    pub fn start(mut self, start: impl Into<Span>) -> Self {
        self.start = Some(start.into());
        self
    }

    /// Takes weights at this interval of the run: with `Span::epochs(1)`, at the end of each epoch from its start on.
    #[must_use]
    pub fn every(mut self, every: impl Into<Span>) -> Self {
        self.every = Some(every.into());
        self
    }

    /// Averages only the parameters of a selection. If several averages select a parameter, the last one counts.
    #[must_use]
    pub fn on(mut self, selection: impl Into<Selection>) -> Self {
        self.on = Some(AveragedPart::Selection(selection.into()));
        self
    }

    /// Averages only the parameters of a group: with all its parts, or of one by its own name (`head, no decay`).
    #[must_use]
    pub fn on_group(mut self, name: impl Into<String>) -> Self {
        self.on = Some(AveragedPart::Group(name.into()));
        self
    }

    /// The parameters that it averages; all of them if `None`.
    pub fn part(&self) -> Option<&AveragedPart> {
        self.on.as_ref()
    }

    /// Checks and resolves it for a run; `None` for [`none`](Self::none).
    ///
    /// # Errors
    /// [`AverageError`] names the field, the value, and what is allowed.
    pub fn resolve(&self, run: &Run) -> Result<Option<TimedAverage>, AverageError> {
        if let Some(AveragedPart::Selection(selection)) = &self.on {
            selection.check("average.select")?;
        }
        let out_of = |field: &str, value: String, allowed: &str| {
            AverageError::OutOfRange(OutOfRange::new(field, value, allowed))
        };
        let every = |field, span: Span| {
            Every::new(span, *run).map_err(|allowed| out_of(field, span.to_string(), allowed))
        };
        let start = self.start.map_or(Some(0), |start| start.update_in(run));
        let start = start.ok_or_else(|| {
            let start = self.start.map_or_else(String::new, |start| start.to_string());
            let allowed = "updates, epochs of a known length, or a percentage of a run that ends";
            out_of("start", start, allowed)
        })?;
        let often = self.every.map(|span| every("every", span)).transpose()?;
        // An interval of one update is the default.
        let often = often.filter(|every| every.length() > 1.0);
        let distance = often.map_or(1.0, |every| every.length());
        let rule = match self.kind {
            Kind::None => None,
            Kind::Ema { decay, warmup } if (0.0..1.0).contains(&decay) => {
                Some(AverageRule::Ema { decay, warmup })
            }
            Kind::Ema { decay, .. } => {
                return Err(out_of("decay", decay.to_string(), "at least 0, below 1"));
            }
            Kind::HalfLife { half_life, warmup } => {
                let decay = (-distance / every("half_life", half_life)?.length()).exp2();
                if decay == 1.0 {
                    let allowed = "so short that 2^(−1/h) is below 1 in f64";
                    return Err(out_of("half_life", half_life.to_string(), allowed));
                }
                Some(AverageRule::Ema { decay, warmup })
            }
            Kind::Mean => Some(AverageRule::Mean),
            Kind::Latest { count: 0 } => return Err(out_of("latest", "0".into(), "at least 1")),
            Kind::Latest { count } => Some(AverageRule::Latest(count)),
        };
        let Some(rule) = rule else { return Ok(None) };
        let first = start.saturating_add(1);
        let first = often.map_or(first, |every| every.first_from(first));
        if let Some(updates) = run.updates().filter(|end| first > *end) {
            return Err(AverageError::Never { average: self.to_string(), updates });
        }
        Ok(Some(TimedAverage { rule, start, every: often }))
    }
}

impl fmt::Display for Average {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::None => write!(f, "none()")?,
            Kind::Ema { decay, .. } => write!(f, "ema({decay})")?,
            Kind::HalfLife { half_life, .. } => write!(f, "half_life({half_life})")?,
            Kind::Mean => write!(f, "mean()")?,
            Kind::Latest { count } => write!(f, "latest({count})")?,
        }
        if let Kind::Ema { warmup: true, .. } | Kind::HalfLife { warmup: true, .. } = self.kind {
            write!(f, ".warmup()")?;
        }
        self.start.map_or(Ok(()), |start| write!(f, ".start({start})"))?;
        self.every.map_or(Ok(()), |every| write!(f, ".every({every})"))?;
        match &self.on {
            None => Ok(()),
            Some(AveragedPart::Selection(selection)) => write!(f, ".on({selection})"),
            Some(AveragedPart::Group(name)) => write!(f, ".on_group({name})"),
        }
    }
}
