//! Averages of the weights of a run, which are evaluated in their place.

mod error;
mod evaluate;
mod model;
mod statistics;

pub use error::AverageError;
pub(crate) use evaluate::evaluate_by;
pub use evaluate::{EvaluateError, Evaluation, evaluate};
pub use model::AveragedModel;
pub(crate) use model::with_averages;
pub use statistics::recompute_statistics;
pub(crate) use statistics::{Recompute, moved_by, recompute_over};

use crate::groups::{Groups, Parameter, Selection};
use crate::update::{Averaging, Rule, Timed};
use anneal_schedule::{Every, OutOfRange, Run, Span};
use serde::{Deserialize, Serialize};
use std::fmt;

/// An average of the weights that a run passes through: the description.
///
/// | average | value after n weights w | source |
/// | --- | --- | --- |
/// | [`ema(d)`](Self::ema) | e ← d e + (1 − d) w | Polyak and Juditsky 1992; Tarvainen and Valpola 2017 |
/// | [`half_life(h)`](Self::half_life) | the same, d = 2^(−1/h): weights of h updates ago count half | |
/// | [`mean_from(s)`](Self::mean_from) | the mean of all weights from s on | Izmailov et al. 2018 (SWA) |
/// | [`latest(k, s)`](Self::latest) | the mean of the last k, taken every s | Kaddour 2022 (LAWA) |
///
/// Each begins with the first weights that it takes, as torch's `AveragedModel` does. Weights are taken after each
/// update, or [`every`](Self::every) so many; an update that is skipped is left out, unless `every` is set. An average is in
/// f32 at least: in half precision it is that of the master weights. Frozen and integer parameters are copied from the model.
///
/// [`LearnerBuilder::average`](crate::LearnerBuilder::average) takes one for all parameters, or several, each
/// [`on`](Self::on) a selection. In a loop of Burn's own optimizers [`AveragedModel`] is all that is needed.
///
/// It takes the memory of one copy of the weights in f32, `latest` that of k copies; a checkpoint holds it beside the
/// weights.
///
/// ```
/// use burn_anneal::prelude::*;
/// let average = Average::ema(0.999).warmup();
/// let of_head = Average::half_life(Span::epochs(2)).on("^head");
/// let swa = Average::mean_from(Span::percent(75.0)).every(Span::epochs(1));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Average {
    kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    every: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on: Option<On>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Kind {
    /// The weights themselves.
    None,
    Ema {
        decay: f64,
        #[serde(default)]
        warmup: bool,
    },
    HalfLife {
        half_life: Span,
        #[serde(default)]
        warmup: bool,
    },
    Mean,
    Latest {
        count: usize,
    },
}

/// What is averaged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum On {
    Selection(Selection),
    Group(String),
}

/// Which weights of a run are evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weights {
    /// The averages, where there are some: until one begins, its weights are those that train.
    #[default]
    Average,
    /// Those that train.
    Raw,
}

impl Average {
    fn new(kind: Kind) -> Self {
        Self { kind, start: None, every: None, on: None }
    }

    /// The exponential moving average of this decay, at least 0 and below 1; the higher, the longer it remembers.
    #[must_use]
    pub fn ema(decay: f64) -> Self {
        Self::new(Kind::Ema { decay, warmup: false })
    }

    /// The exponential moving average in which weights that lie so far back count half: `Span::epochs(2)`. It stays
    /// what is meant where batch size, devices or [`every`](Self::every) change.
    #[must_use]
    pub fn half_life(half_life: impl Into<Span>) -> Self {
        Self::new(Kind::HalfLife { half_life: half_life.into(), warmup: false })
    }

    /// The mean of all weights from an update on: stochastic weight averaging. From 0 on it is that of the whole run.
    #[must_use]
    pub fn mean_from(start: impl Into<Span>) -> Self {
        Self::new(Kind::Mean).start(start)
    }

    /// The mean of the latest `count` weights, at least 1, taken [`every`](Self::every) so often.
    #[must_use]
    pub fn latest(count: usize, every: impl Into<Span>) -> Self {
        Self::new(Kind::Latest { count }).every(every)
    }

    /// None: the weights themselves, for a selection where all others are averaged.
    #[must_use]
    pub fn none() -> Self {
        Self::new(Kind::None)
    }

    /// Lets the decay of a moving average grow with the n weights that it has taken, so that it soon forgets those that
    /// it began with: min(d, (1 + n) / (10 + n)), as in TensorFlow's. No effect on others.
    #[must_use]
    pub fn warmup(mut self) -> Self {
        if let Kind::Ema { warmup, .. } | Kind::HalfLife { warmup, .. } = &mut self.kind {
            *warmup = true;
        }
        self
    }

    /// Begins at this update: `Span::percent(50.0)`.
    #[must_use]
    pub fn start(mut self, start: impl Into<Span>) -> Self {
        self.start = Some(start.into());
        self
    }

    /// Takes weights after every so many updates of the run, from its start on: `Span::epochs(1)`, at the end of each.
    #[must_use]
    pub fn every(mut self, every: impl Into<Span>) -> Self {
        self.every = Some(every.into());
        self
    }

    /// Of the parameters of a selection alone. Where several averages select a parameter, the last counts.
    #[must_use]
    pub fn on(mut self, selection: impl Into<Selection>) -> Self {
        self.on = Some(On::Selection(selection.into()));
        self
    }

    /// Of the parameters of a group alone.
    #[must_use]
    pub fn on_group(mut self, name: impl Into<String>) -> Self {
        self.on = Some(On::Group(name.into()));
        self
    }

    /// Checks it for a run; `None` for [`none`](Self::none).
    fn resolve(&self, run: &Run) -> Result<Option<Timed>, AverageError> {
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
        // Each update is no distance.
        let often = often.filter(|every| every.length() > 1.0);
        let distance = often.map_or(1.0, |every| every.length());
        let rule = match self.kind {
            Kind::None => None,
            Kind::Ema { decay, warmup } if (0.0..1.0).contains(&decay) => {
                Some(Rule::Ema { decay, warmup })
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
                Some(Rule::Ema { decay, warmup })
            }
            Kind::Mean => Some(Rule::Mean),
            Kind::Latest { count: 0 } => return Err(out_of("latest", "0".into(), "at least 1")),
            Kind::Latest { count } => Some(Rule::Latest(count)),
        };
        let Some(rule) = rule else { return Ok(None) };
        let first = start.saturating_add(1);
        let first = often.map_or(first, |every| every.first_from(first));
        if let Some(updates) = run.updates().filter(|end| first > *end) {
            return Err(AverageError::Never { average: self.to_string(), updates });
        }
        Ok(Some(Timed { rule, start, every: often }))
    }

    /// For each trained parameter, whether it is of this average.
    fn selects(&self, all: &[Parameter], groups: &Groups) -> Result<Vec<bool>, AverageError> {
        match &self.on {
            None => Ok(vec![true; all.len()]),
            Some(On::Selection(selection)) => Ok(selection.named("average", all)?),
            Some(On::Group(name)) => {
                groups.check_group("average.on_group", name)?;
                let of = |parameter: &Parameter| groups.group_of(&parameter.path) == Some(name);
                Ok(all.iter().map(of).collect())
            }
        }
    }
}

/// What is averaged in a run, of the parameters of these groups.
pub(crate) fn averaging(
    averages: &[Average],
    statistics: bool,
    all: &[Parameter],
    groups: &Groups,
    run: &Run,
) -> Result<Averaging, AverageError> {
    let all: Vec<Parameter> =
        all.iter().filter(|found| groups.group_of(&found.path).is_some()).cloned().collect();
    let mut of = vec![None; all.len()];
    let mut resolved = vec![];
    for (index, average) in averages.iter().enumerate() {
        resolved.push(average.resolve(run)?);
        let selected = average.selects(&all, groups)?;
        of.iter_mut().zip(selected).filter(|(_, is)| *is).for_each(|(of, _)| *of = Some(index));
    }
    let none = all.iter().map(|parameter| (parameter.path.clone(), None));
    let mut found = Averaging { of_path: none.collect(), ..Averaging::default() };
    for (index, average) in averages.iter().enumerate() {
        if !of.contains(&Some(index)) {
            return Err(AverageError::Unused { average: average.to_string() });
        }
        let Some(timed) = resolved[index] else { continue };
        let place = found.averages.len();
        found.averages.push(timed);
        found.described.push(format!("`{average}`"));
        let paths = all.iter().zip(&of).filter(|(_, of)| **of == Some(index));
        found.of_path.extend(paths.map(|(parameter, _)| (parameter.path.clone(), Some(place))));
        if average.on.is_none() {
            found.of_others = Some(place);
        }
    }
    if statistics {
        found.of_statistics = Some(found.of_others.unwrap_or(0));
    }
    Ok(found)
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
            Some(On::Selection(selection)) => write!(f, ".on({selection})"),
            Some(On::Group(name)) => write!(f, ".on_group({name})"),
        }
    }
}
