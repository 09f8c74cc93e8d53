//! Lengths of a peer that counts epochs.

use super::{Options, TranslationError};
use anneal_schedule::{ScheduleConfig, ScheduleExt};
use serde_json::Value;

/// A share in percent, without the digits that its product with 100 adds.
pub(super) fn percent(share: f64) -> f64 {
    (share * 1e14).round() / 1e12
}

/// How a schedule that a peer sets once per epoch is given.
#[derive(Debug)]
pub(super) enum PerEpoch {
    /// Exactly: its changes lie between epochs.
    Stairs,
    /// Exactly, as a stretched schedule: each of its updates lasts an epoch.
    Stretched,
    /// Its lengths in epochs, so that the rate changes with every update.
    Smooth,
}

impl PerEpoch {
    /// What it means, for a note.
    pub(super) fn note(&self) -> &'static str {
        match self {
            Self::Stairs => {
                "lengths are in epochs; the rate changes only between epochs, as the peer's does"
            }
            Self::Stretched => {
                "the peer sets the rate once per epoch, and so does this: .stretch(N) makes each of the N updates of \
                 an epoch use its rate"
            }
            Self::Smooth => {
                "lengths are in epochs; the rate changes with every update and equals the peer's at the beginning of \
                 each epoch; with the number of updates per epoch the translation keeps the peer's stairs"
            }
        }
    }
}

/// The schedule of a peer that counts `schedule`'s updates once per epoch.
pub(super) fn once_per_epoch(
    schedule: &ScheduleConfig,
    name: &str,
    options: &Options,
) -> Result<(ScheduleConfig, PerEpoch), TranslationError> {
    let in_epochs = in_epochs(schedule);
    match (in_epochs, options.updates_per_epoch) {
        (Some((config, true)), _) => Ok((config, PerEpoch::Stairs)),
        (_, Some(updates)) => {
            Ok((schedule.clone().stretch(updates as f64).into(), PerEpoch::Stretched))
        }
        (Some((config, false)), None) => Ok((config, PerEpoch::Smooth)),
        (None, None) => Err(TranslationError::NeedsUpdatesPerEpoch {
            name: name.to_string(),
            argument: schedule.to_string(),
            why: "no curve here takes them in epochs",
        }),
    }
}

/// Whether a schedule has a length in updates.
pub(super) fn has_lengths(schedule: &ScheduleConfig) -> bool {
    in_epochs(schedule).is_none_or(|(in_epochs, _)| in_epochs != *schedule)
}

/// Curves that change only where a length ends.
const STAIRS: &[&str] = &[
    "constant",
    "step_decay",
    "multi_step",
    "piecewise_constant",
    "sequence",
    "scale",
    "floor",
    "cap",
    "truncate",
];

/// The schedule with its lengths of n updates as n epochs, and whether it changes only between epochs. `None` if a
/// curve of a peer counts updates in another way.
fn in_epochs(schedule: &ScheduleConfig) -> Option<(ScheduleConfig, bool)> {
    let mut value = serde_json::to_value(schedule).ok()?;
    let mut names = vec![];
    curve_names(&value, &mut names);
    if names.iter().any(|name| is_of_a_peer(name)) {
        return None;
    }
    let stairs = names.iter().all(|name| STAIRS.contains(&name.as_str()));
    for place in numbers(&value, String::new()) {
        let number = value.pointer(&place).and_then(Value::as_u64)?;
        let mut other = value.clone();
        *other.pointer_mut(&place)? = format!("{number}ep").into();
        // Only a length may be a text.
        if serde_json::from_value::<ScheduleConfig>(other.clone()).is_ok() {
            value = other;
        }
    }
    Some((serde_json::from_value(value).ok()?, stairs))
}

fn is_of_a_peer(name: &str) -> bool {
    ["torch_", "fastai_", "optax_", "keras_", "peer_", "timm_", "transformers_"]
        .iter()
        .any(|beginning| name.starts_with(beginning))
}

/// The names of the curves and combinators: a schedule is an object with its name as its only key.
fn curve_names(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let inside = fields.values().next().is_some_and(Value::is_object);
            if let (1, true, Some(name)) = (fields.len(), inside, fields.keys().next()) {
                names.push(name.clone());
            }
            fields.values().for_each(|field| curve_names(field, names));
        }
        Value::Array(items) => items.iter().for_each(|item| curve_names(item, names)),
        _ => {}
    }
}

/// The places of all whole numbers, as JSON pointers.
fn numbers(value: &Value, place: String) -> Vec<String> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, field)| numbers(field, format!("{place}/{name}")))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .flat_map(|(i, item)| numbers(item, format!("{place}/{i}")))
            .collect(),
        Value::Number(number) if number.is_u64() => vec![place],
        _ => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lengths_become_epochs() {
        for (text, expected, is_stairs) in [
            ("step_decay(0.1, 30, 0.1)", "step_decay(0.1, 30ep, 0.1)", true),
            ("multi_step(0.1, [30, 80], 0.1)", "multi_step(0.1, [30ep, 80ep], 0.1)", true),
            (
                "linear(0.0, 2.0).then(5, cosine(2.0).length(95))",
                "linear(0.0, 2.0).then(5ep, cosine(2.0).length(95ep))",
                false,
            ),
            (
                "warm_restarts(0.1, 10).multiplier(2.0).limit(3)",
                "warm_restarts(0.1, 10ep).multiplier(2.0).limit(3)",
                false,
            ),
            (
                "exponential(0.1, factor(factor = 0.9, per = 1))",
                "exponential(0.1, factor(factor = 0.9, per = 1ep))",
                false,
            ),
        ] {
            let config: ScheduleConfig = text.parse().unwrap();
            let (found, stairs) = in_epochs(&config).unwrap();
            assert_eq!((found.to_string().as_str(), stairs), (expected, is_stairs));
        }
    }

    #[test]
    fn a_curve_of_a_peer_is_stretched() {
        let arguments = serde_json::json!({ "t_initial": 10, "warmup_t": 2 });
        let translation =
            anneal_schedule::peers::translate("timm", "cosine", &arguments, 0.1).unwrap();
        assert!(in_epochs(&translation.rate).is_none());
        let options = Options { updates_per_epoch: Some(7), ..Options::default() };
        let (config, _) = once_per_epoch(&translation.rate, "cosine", &options).unwrap();
        assert!(config.to_string().ends_with(".stretch(7.0)"), "{config}");
        let error = once_per_epoch(&translation.rate, "cosine", &Options::default()).unwrap_err();
        assert!(error.to_string().contains("updates per epoch"), "{error}");
    }
}
