//! The run length in a file.

use crate::RunLength;
use crate::ramp::{Ramp, Steps};
use crate::run::Count;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Omitted fields stay unset.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RunFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<u64>,
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
    gradient_accumulation_steps: Option<Vec<(u64, usize)>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gradient_accumulation_ramp: Option<Line>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    from: u64,
    updates: u64,
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
            ..RunFile::default()
        };
        match self.count {
            Count::Training => {}
            Count::Items { items, batch_size } => {
                (file.items, file.batch_size) = (Some(items), Some(batch_size));
            }
            Count::UpdatesPerEpoch(updates) => file.updates_per_epoch = Some(updates),
            Count::Updates(updates) => file.updates = Some(updates),
            Count::Unbounded => file.unbounded = true,
        }
        match self.ramp {
            None => {}
            Some(Ramp::Line { from, updates }) => {
                file.gradient_accumulation_ramp = Some(Line { from, updates });
            }
            Some(Ramp::Steps(steps)) => {
                let pairs =
                    steps.steps().iter().map(|&(update, batches)| (update, batches as usize));
                file.gradient_accumulation_steps = Some(pairs.collect());
            }
        }
        file.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RunLength {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let file = RunFile::deserialize(deserializer)?;
        let wrong = |message: &str| Err(de::Error::custom(message));
        let items = match (file.items, file.batch_size) {
            (Some(items), Some(batch_size)) => Some(Count::Items { items, batch_size }),
            (None, None) => None,
            _ => return wrong("`items` and `batch_size` go together: give both"),
        };
        let mut counts = items
            .into_iter()
            .chain(file.updates_per_epoch.map(Count::UpdatesPerEpoch))
            .chain(file.updates.map(Count::Updates))
            .chain(file.unbounded.then_some(Count::Unbounded));
        let count = counts.next().unwrap_or(Count::Training);
        if counts.next().is_some() {
            return wrong(
                "the run is counted twice; give one of `items` with `batch_size`, `updates_per_epoch`, `updates` and \
                 `unbounded`",
            );
        }
        let ramp = match (file.gradient_accumulation_ramp, file.gradient_accumulation_steps) {
            (Some(_), Some(_)) => {
                return wrong(
                    "give one of `gradient_accumulation_ramp` and `gradient_accumulation_steps`",
                );
            }
            (Some(Line { from, updates }), None) => Some(Ramp::Line { from, updates }),
            (None, Some(steps)) => Some(Ramp::Steps(Steps::new(&steps))),
            (None, None) => None,
        };
        Ok(Self {
            count,
            epochs: file.epochs,
            gradient_accumulation: file.gradient_accumulation,
            ramp,
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
                r#"{"updates":9,"gradient_accumulation_ramp":{"from":1,"updates":4}}"#,
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
            (r#"{"update": 5}"#, "unknown field `update`"),
        ] {
            let error = serde_json::from_str::<RunLength>(json).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
