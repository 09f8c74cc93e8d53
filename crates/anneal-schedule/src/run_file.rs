//! The run length in a file.

use crate::ramp::{Counts, Ramp, Shape, Steps};
use crate::run::Count;
use crate::{RunLength, Span};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Omitted fields stay unset.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RunFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    samples: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updates_per_epoch: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updates: Option<u64>,
    #[serde(skip_serializing_if = "is_false")]
    unbounded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    epochs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gradient_accumulation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    devices: Option<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    after: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens_per_sample: Option<u64>,
    #[serde(skip_serializing_if = "is_false")]
    percent_of_samples: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_size_multiple: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gradient_accumulation_steps: Option<Vec<(Span, usize)>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gradient_accumulation_ramp: Option<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_size_steps: Option<Vec<(Span, usize)>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_size_ramp: Option<Line>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    from: u64,
    over: Span,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Serialize for RunLength {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut file = RunFile {
            epochs: self.epochs,
            gradient_accumulation: self.gradient_accumulation,
            devices: self.devices,
            after: self.done,
            tokens_per_sample: self.tokens_per_sample,
            percent_of_samples: self.percent_of_samples,
            batch_size_multiple: self.batch_size_multiple,
            ..RunFile::default()
        };
        match self.count {
            Count::Training => {}
            Count::Items { items, batch_size } => {
                (file.items, file.batch_size) = (Some(items), Some(batch_size));
            }
            Count::Samples { samples, batch_size } => {
                (file.samples, file.batch_size) = (Some(samples), Some(batch_size));
            }
            Count::Tokens { tokens, batch_size } => {
                (file.tokens, file.batch_size) = (Some(tokens), Some(batch_size));
            }
            Count::UpdatesPerEpoch(updates) => file.updates_per_epoch = Some(updates),
            Count::Updates(updates) => file.updates = Some(updates),
            Count::Unbounded => file.unbounded = true,
        }
        if let Some(Ramp { counts, shape }) = self.ramp {
            let (line, steps) = match counts {
                Counts::Batches => {
                    (&mut file.gradient_accumulation_ramp, &mut file.gradient_accumulation_steps)
                }
                Counts::Samples => (&mut file.batch_size_ramp, &mut file.batch_size_steps),
            };
            match shape {
                Shape::Line { from, over } => *line = Some(Line { from, over }),
                Shape::Steps(given) => {
                    let pairs = given.steps().iter().map(|&(at, number)| (at, number as usize));
                    *steps = Some(pairs.collect());
                }
            }
        }
        file.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RunLength {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let file = RunFile::deserialize(deserializer)?;
        let wrong = |message: &str| Err(de::Error::custom(message));
        let batch_size = file.batch_size.unwrap_or(0);
        let counts = [
            file.items.map(|items| Count::Items { items, batch_size }),
            file.samples.map(|samples| Count::Samples { samples, batch_size }),
            file.tokens.map(|tokens| Count::Tokens { tokens, batch_size }),
            file.updates_per_epoch.map(Count::UpdatesPerEpoch),
            file.updates.map(Count::Updates),
            file.unbounded.then_some(Count::Unbounded),
        ];
        let mut counts = counts.into_iter().flatten();
        let count = counts.next().unwrap_or(Count::Training);
        if counts.next().is_some() {
            return wrong(
                "the run is counted twice; give one of `items`, `samples` or `tokens` with `batch_size`, \
                 `updates_per_epoch`, `updates` and `unbounded`",
            );
        }
        let needs_size =
            matches!(count, Count::Items { .. } | Count::Samples { .. } | Count::Tokens { .. });
        if needs_size != file.batch_size.is_some() {
            return wrong(
                "`batch_size` and one of `items`, `samples` and `tokens` go together: give both",
            );
        }
        let line =
            |counts| move |Line { from, over }| Ramp { counts, shape: Shape::Line { from, over } };
        let steps = |counts| {
            move |steps: Vec<(Span, usize)>| Ramp {
                counts,
                shape: Shape::Steps(Steps::new(&steps)),
            }
        };
        let ramps = [
            file.gradient_accumulation_ramp.map(line(Counts::Batches)),
            file.batch_size_ramp.map(line(Counts::Samples)),
            file.gradient_accumulation_steps.map(steps(Counts::Batches)),
            file.batch_size_steps.map(steps(Counts::Samples)),
        ];
        let mut ramps = ramps.into_iter().flatten();
        let ramp = ramps.next();
        if ramps.next().is_some() {
            return wrong(
                "give one of `gradient_accumulation_ramp`, `gradient_accumulation_steps`, `batch_size_ramp` and \
                 `batch_size_steps`",
            );
        }
        Ok(Self {
            count,
            epochs: file.epochs,
            gradient_accumulation: file.gradient_accumulation,
            ramp,
            batch_size_multiple: file.batch_size_multiple,
            tokens_per_sample: file.tokens_per_sample,
            percent_of_samples: file.percent_of_samples,
            devices: file.devices,
            done: file.after,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_round_trips() {
        let items = RunLength::from_items(50_000, 64).epochs(10);
        for (run, json) in [
            (items, r#"{"items":50000,"batch_size":64,"epochs":10}"#),
            (RunLength::updates(500).devices(2), r#"{"updates":500,"devices":2}"#),
            (RunLength::updates_per_epoch(9).after(3), r#"{"updates_per_epoch":9,"after":3}"#),
            (RunLength::unbounded(), r#"{"unbounded":true}"#),
            (RunLength::of_training().gradient_accumulation(4), r#"{"gradient_accumulation":4}"#),
            (
                RunLength::updates(9).gradient_accumulation_steps(&[(2, 2), (4, 4)]),
                r#"{"updates":9,"gradient_accumulation_steps":[[2,2],[4,4]]}"#,
            ),
            (
                RunLength::updates(9).gradient_accumulation_ramp(1, 4),
                r#"{"updates":9,"gradient_accumulation_ramp":{"from":1,"over":4}}"#,
            ),
            (
                RunLength::samples(2_000_000, 64)
                    .batch_size_steps(&[(Span::samples(5e5), 128), (Span::percent(50), 256)])
                    .percent_of_samples(),
                r#"{"samples":2000000,"batch_size":64,"percent_of_samples":true,"batch_size_steps":[["500ksp",128],["50%",256]]}"#,
            ),
            (
                RunLength::tokens(300_000_000_000, 1_600)
                    .tokens_per_sample(2_048)
                    .batch_size_ramp(16, Span::tokens(12e9))
                    .batch_size_multiple(16),
                r#"{"tokens":300000000000,"batch_size":1600,"tokens_per_sample":2048,"batch_size_multiple":16,"batch_size_ramp":{"from":16,"over":"12Btok"}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&run).unwrap(), json);
            assert_eq!(serde_json::from_str::<RunLength>(json).unwrap(), run, "{json}");
        }
    }

    #[test]
    fn a_run_is_counted_once() {
        for (json, words) in [
            (r#"{"items": 5}"#, "go together"),
            (r#"{"updates": 5, "unbounded": true}"#, "counted twice"),
            (r#"{"items": 5, "samples": 5, "batch_size": 1}"#, "counted twice"),
            (r#"{"batch_size": 5}"#, "go together"),
            (r#"{"update": 5}"#, "unknown field `update`"),
            (
                r#"{"updates": 5, "batch_size_ramp": {"from": 1, "over": 2}, "batch_size_steps": []}"#,
                "give one of",
            ),
        ] {
            let error = serde_json::from_str::<RunLength>(json).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
