//! An average in a file.
//!
//! ```toml
//! [[average]]
//! half_life = "2ep"
//! warmup = true
//!
//! [[average]]
//! mean_from = "75%"
//! every = "1ep"
//! group = "head"
//! ```

use super::{Average, AveragedPart, Kind};
use crate::groups::Selection;
use anneal_schedule::Span;
use serde::{Deserialize, Serialize};

/// An average of the weights of the run: exactly one of `ema`, `half_life`, `mean_from`, `latest` and `none`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Average"))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AverageFile {
    /// An exponential moving average with this decay; at least 0, below 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    ema: Option<f64>,
    /// An exponential moving average in which weights this far back count half.
    #[serde(skip_serializing_if = "Option::is_none")]
    half_life: Option<Span>,
    /// The mean of all weights from this position on.
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_from: Option<Span>,
    /// The mean of this many of the latest weights; at least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    latest: Option<usize>,
    /// No average for some parameters: their raw weights.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    none: bool,
    /// Lets the decay of a moving average grow with the number of weights taken.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    warmup: bool,
    /// Where the average starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<Span>,
    /// How often weights are taken; after each update by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    every: Option<Span>,
    /// Averages only the parameters of this selection.
    #[serde(skip_serializing_if = "Option::is_none")]
    select: Option<Selection>,
    /// Averages only the parameters of this group.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
}

impl TryFrom<AverageFile> for Average {
    type Error = String;

    fn try_from(file: AverageFile) -> Result<Self, String> {
        let kinds = [
            file.ema.map(|decay| Kind::Ema { decay, warmup: file.warmup }),
            file.half_life.map(|half_life| Kind::HalfLife { half_life, warmup: file.warmup }),
            file.mean_from.map(|_| Kind::Mean),
            file.latest.map(|count| Kind::Latest { count }),
            file.none.then_some(Kind::None),
        ];
        let mut given = kinds.into_iter().flatten();
        let (Some(kind), None) = (given.next(), given.next()) else {
            return Err(
                "average: give exactly one of ema, half_life, mean_from, latest and none".into()
            );
        };
        if file.warmup && !matches!(kind, Kind::Ema { .. } | Kind::HalfLife { .. }) {
            return Err("average: warmup is only for ema and half_life".into());
        }
        let start = match (file.mean_from, file.start) {
            (Some(_), Some(_)) => {
                return Err("average: mean_from already sets the start; remove start".into());
            }
            (from, start) => from.or(start),
        };
        let on = match (file.select, file.group) {
            (Some(_), Some(_)) => {
                return Err(
                    "average: select and group are both given; remove one of the two".into()
                );
            }
            (select, group) => {
                select.map(AveragedPart::Selection).or(group.map(AveragedPart::Group))
            }
        };
        Ok(Self { kind, start, every: file.every, on })
    }
}

impl From<Average> for AverageFile {
    fn from(average: Average) -> Self {
        let mut file = Self { start: average.start, every: average.every, ..Self::default() };
        match average.kind {
            Kind::None => file.none = true,
            Kind::Ema { decay, warmup } => (file.ema, file.warmup) = (Some(decay), warmup),
            Kind::HalfLife { half_life, warmup } => {
                (file.half_life, file.warmup) = (Some(half_life), warmup);
            }
            Kind::Mean => file.mean_from = file.start.take().or(Some(Span::Steps(0))),
            Kind::Latest { count } => file.latest = Some(count),
        }
        match average.on {
            Some(AveragedPart::Selection(selection)) => file.select = Some(selection),
            Some(AveragedPart::Group(group)) => file.group = Some(group),
            None => {}
        }
        file
    }
}
