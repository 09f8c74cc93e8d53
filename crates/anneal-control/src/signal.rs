//! The input of a controller: a single number of an update or an epoch.

use crate::{Event, MetricOf, Needs, OutOfRange, Split};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// A number observed in training.
///
/// | variant | text | comes with |
/// | --- | --- | --- |
/// | [`Metric`](Self::Metric) | `valid Loss`, `train Accuracy` | an epoch |
/// | [`Loss`](Self::Loss) | `loss` | an update |
/// | [`GradientNorm`](Self::GradientNorm) | `gradient_norm` | an update |
/// | [`GradientL1`](Self::GradientL1) | `gradient_l1` | an update |
/// | [`LargestGradient`](Self::LargestGradient) | `largest_gradient` | an update |
/// | [`UpdateNorm`](Self::UpdateNorm) | `update_norm` | an update |
/// | [`TaskCosine`](Self::TaskCosine) | `task_cosine` | an update |
/// | [`Announced`](Self::Announced) | `announced NAME` | an announcement |
///
/// ```
/// use anneal_control::{MetricOf, Signal};
/// assert_eq!("valid Loss".parse(), Ok(Signal::Metric(MetricOf::valid("Loss"))));
/// assert_eq!(Signal::GradientNorm.to_string(), "gradient_norm");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// A metric at the end of an epoch.
    Metric(MetricOf),
    /// The mean loss of the batches of an update.
    Loss,
    /// ‖g‖₂ of all gradients together.
    GradientNorm,
    /// ‖g‖₁ of all gradients together.
    GradientL1,
    /// The largest entry of the gradient of one batch.
    LargestGradient,
    /// ‖Δw‖₂: how far the previous update moved the weights.
    UpdateNorm,
    /// The mean cosine between pairs of task gradients.
    TaskCosine,
    /// A number that the loop announces under this name.
    Announced(String),
}

impl Signal {
    /// What must be measured for it.
    pub fn needs(&self) -> Needs {
        let none = Needs::default();
        match self {
            Self::Metric(_) | Self::Announced(_) => none,
            Self::Loss => Needs { loss: true, ..none },
            Self::GradientNorm => Needs { gradient_norm: true, ..none },
            Self::GradientL1 => Needs { gradient_l1: true, ..none },
            Self::LargestGradient => Needs { largest_gradient: true, ..none },
            Self::UpdateNorm => Needs { last_movement: true, ..none },
            Self::TaskCosine => Needs { task_cosine: true, ..none },
        }
    }

    /// Its epoch metric, if it is one.
    pub fn metrics(&self) -> Vec<MetricOf> {
        match self {
            Self::Metric(metric) => vec![metric.clone()],
            _ => vec![],
        }
    }

    /// Its announcement, if it is one.
    pub fn announcements(&self) -> Vec<String> {
        match self {
            Self::Announced(name) => vec![name.clone()],
            _ => vec![],
        }
    }

    /// Its value in an event that has one: NaN if it is missing.
    pub fn in_event(&self, event: &Event<'_>) -> Option<f64> {
        let of_update = match (self, event) {
            (Self::Metric(metric), Event::Epoch(seen)) => {
                return Some(seen.metrics.get(metric).unwrap_or(f64::NAN));
            }
            (Self::Announced(name), Event::Announced(said)) if said.name == name => {
                return Some(said.value.unwrap_or(f64::NAN));
            }
            (Self::Metric(_) | Self::Announced(_), _) => return None,
            (_, Event::Update(seen)) => seen.observation,
            _ => return None,
        };
        let value = match self {
            Self::Loss => of_update.loss,
            Self::GradientNorm => of_update.gradient_norm,
            Self::GradientL1 => of_update.gradient_l1,
            Self::LargestGradient => of_update.largest_gradient,
            Self::UpdateNorm => of_update.last_movement,
            Self::TaskCosine => of_update.task_cosine,
            Self::Metric(_) | Self::Announced(_) => None,
        };
        Some(value.unwrap_or(f64::NAN))
    }

    /// Whether a higher value is better, if its name tells.
    pub(crate) fn higher_is_better(&self) -> Option<bool> {
        let Self::Metric(MetricOf { name, .. }) = self else {
            return matches!(self, Self::Loss).then_some(false);
        };
        let name = name.to_lowercase();
        let words: Vec<&str> = name.split(|c: char| !c.is_alphanumeric()).collect();
        let has = |known: &[&str]| words.iter().any(|word| known.contains(word));
        match (
            has(&["loss", "error", "perplexity", "cer", "wer"]),
            has(&["accuracy", "precision", "recall", "auroc", "f1", "fbetascore"]),
        ) {
            (true, false) => Some(false),
            (false, true) => Some(true),
            _ => None,
        }
    }

    /// Refuses to maximize a loss or minimize an accuracy.
    pub(crate) fn check_best(&self, highest: bool) -> Result<(), OutOfRange> {
        let ok = self.higher_is_better().is_none_or(|higher| higher == highest);
        let (field, allowed) = match highest {
            true => ("max", "a signal for which higher is better; use min"),
            false => ("min", "a signal for which lower is better; use max"),
        };
        match ok {
            true => Ok(()),
            false => Err(OutOfRange::new(field, format_args!("`{self}`"), allowed)),
        }
    }
}

impl From<MetricOf> for Signal {
    fn from(metric: MetricOf) -> Self {
        Self::Metric(metric)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metric(metric) => metric.fmt(f),
            Self::Loss => f.write_str("loss"),
            Self::GradientNorm => f.write_str("gradient_norm"),
            Self::GradientL1 => f.write_str("gradient_l1"),
            Self::LargestGradient => f.write_str("largest_gradient"),
            Self::UpdateNorm => f.write_str("update_norm"),
            Self::TaskCosine => f.write_str("task_cosine"),
            Self::Announced(name) => write!(f, "announced {name}"),
        }
    }
}

impl FromStr for Signal {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        let of = |split: Split, name: &str| MetricOf { split, name: name.to_string() };
        Ok(match text.split_once(' ') {
            Some(("valid", name)) => Self::Metric(of(Split::Valid, name)),
            Some(("train", name)) => Self::Metric(of(Split::Train, name)),
            Some(("announced", name)) => Self::Announced(name.to_string()),
            _ => match text {
                "loss" => Self::Loss,
                "gradient_norm" => Self::GradientNorm,
                "gradient_l1" => Self::GradientL1,
                "largest_gradient" => Self::LargestGradient,
                "update_norm" => Self::UpdateNorm,
                "task_cosine" => Self::TaskCosine,
                _ => {
                    let allowed = "`valid NAME`, `train NAME`, `announced NAME`, `loss`, `gradient_norm`, \
                                   `gradient_l1`, `largest_gradient`, `update_norm` or `task_cosine`";
                    let value = format!("`{text}`");
                    return Err(OutOfRange::new("signal", value, allowed));
                }
            },
        })
    }
}

impl Serialize for Signal {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'a> Deserialize<'a> for Signal {
    fn deserialize<D: Deserializer<'a>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Signal {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Signal".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "What a controller listens to: a metric of an epoch, such as \"valid Loss\" or \"train Accuracy\", \
                            an announced number, or a measurement of each update.",
            "type": "string",
            "pattern": "^(((valid|train|announced) .+)|loss|gradient_norm|gradient_l1|largest_gradient|update_norm|task_cosine)$",
        })
    }
}

/// Means of a signal over a fixed number of values, or each value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Heard {
    /// The mean of the finite values since the last output; not a sum, which may overflow.
    mean: f64,
    finite: u64,
    /// The number of values since the last output.
    since: u64,
    /// The number of values in the whole run that were missing, infinite or NaN.
    pub not_finite: u64,
}

impl Heard {
    /// The mean of the last `every` values, if this event completes it. Non-finite values are counted and
    /// left out; the mean is NaN if none was finite.
    pub fn hear(&mut self, signal: &Signal, every: u64, event: &Event<'_>) -> Option<f64> {
        let value = signal.in_event(event)?;
        self.since = self.since.saturating_add(1);
        match value.is_finite() {
            true => {
                self.finite = self.finite.saturating_add(1);
                let count = self.finite as f64;
                self.mean += value / count - self.mean / count;
            }
            false => self.not_finite = self.not_finite.saturating_add(1),
        }
        if self.since < every {
            return None;
        }
        let mean = if self.finite == 0 { f64::NAN } else { self.mean };
        *self = Self { not_finite: self.not_finite, ..Self::default() };
        Some(mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Announcement, Answer, EpochMetrics, EpochSeen, Observation, Seen};

    #[test]
    fn texts_are_read_back() {
        let all = [
            Signal::Metric(MetricOf::valid("Loss")),
            Signal::Metric(MetricOf::train("Top 5 Accuracy")),
            Signal::Loss,
            Signal::GradientNorm,
            Signal::GradientL1,
            Signal::LargestGradient,
            Signal::UpdateNorm,
            Signal::TaskCosine,
            Signal::Announced("temperature".into()),
        ];
        for signal in all {
            assert_eq!(signal.to_string().parse(), Ok(signal.clone()));
            let json = serde_json::to_string(&signal).unwrap();
            assert_eq!(serde_json::from_str::<Signal>(&json).unwrap(), signal);
        }
        let error = "los".parse::<Signal>().unwrap_err().to_string();
        assert!(error.contains("`los`") && error.contains("`valid NAME`"), "{error}");
    }

    #[test]
    fn a_highest_loss_is_refused() {
        for name in ["Loss", "Top-5 Error", "Perplexity"] {
            assert!(Signal::from(MetricOf::valid(name)).check_best(true).is_err());
            assert!(Signal::from(MetricOf::valid(name)).check_best(false).is_ok());
        }
        assert!(Signal::from(MetricOf::valid("Accuracy")).check_best(false).is_err());
        for name in ["BLEU", "Answer Match", "Certainty", "Lossless Ratio"] {
            assert!(Signal::from(MetricOf::valid(name)).check_best(true).is_ok());
            assert!(Signal::from(MetricOf::valid(name)).check_best(false).is_ok());
        }
        assert!(Signal::Loss.check_best(true).is_err());
    }

    #[test]
    fn a_mean_leaves_out_what_is_not_finite_and_counts_it() {
        let mut heard = Heard::default();
        let mut hear = |loss: Option<f64>| {
            let observation = Observation { loss, ..Observation::default() };
            let seen = Seen {
                number: 0,
                step: 0,
                rate: 1.0,
                observation: &observation,
                loss_scale: 1.0,
                answered: &Answer::default(),
                decision: &crate::Decision::default(),
                due: crate::Due::default(),
            };
            heard.hear(&Signal::Loss, 3, &Event::Update(seen))
        };
        let means = [Some(1.0), None, Some(3.0), Some(f64::NAN), Some(f64::INFINITY), None];
        let means = means.map(&mut hear);
        assert_eq!(means[..5], [None, None, Some(2.0), None, None]);
        assert!(means[5].is_some_and(f64::is_nan));
        assert_eq!(heard.not_finite, 4);
    }

    #[test]
    fn each_signal_is_heard_where_it_comes() {
        let metrics = EpochMetrics::from_iter([(MetricOf::valid("Loss"), 0.5)]);
        let epoch = Event::Epoch(EpochSeen { epoch: 1, metrics: &metrics });
        assert_eq!(Signal::from(MetricOf::valid("Loss")).in_event(&epoch), Some(0.5));
        assert!(Signal::from(MetricOf::train("Loss")).in_event(&epoch).is_some_and(f64::is_nan));
        assert_eq!(Signal::Loss.in_event(&epoch), None);
        let said = Event::Announced(Announcement { name: "temperature", value: Some(0.1) });
        assert_eq!(Signal::Announced("temperature".into()).in_event(&said), Some(0.1));
        assert_eq!(Signal::Announced("difficulty".into()).in_event(&said), None);
    }
}
