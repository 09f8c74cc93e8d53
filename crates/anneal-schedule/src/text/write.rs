//! Writes a description, or what it resolved to, as text.

use super::{Fields, NAME, PARTS, SCHEDULE, SCHEDULES, alone, field, node, read};
use crate::node::{FUNCTIONS, METHODS, PEER_FUNCTIONS};
use crate::{ScheduleConfig, Span};
use ciborium::Value;
use serde::Serialize;

/// The text of a description. Fields with default values are omitted.
pub(crate) fn write(config: &ScheduleConfig) -> String {
    write_node(&serialized(config))
}

/// The text of a resolved description, with lengths in updates.
pub(crate) fn write_resolved(node: &ScheduleConfig<u64>) -> String {
    write_node(&with_rest(serialized(node)))
}

fn serialized(node: &impl Serialize) -> Value {
    // Plain data always converts to a value.
    Value::serialized(node).unwrap_or(Value::Null)
}

/// The field of a resolved [`BySamples`](crate::BySamples) that holds the samples of each update.
const PASSAGE: &str = "passage";

/// A resolved length without an end, like that of the last part of a sequence, is written as the rest of the
/// run; how samples pass is left out.
fn with_rest(value: Value) -> Value {
    match value {
        Value::Integer(length) if length == u64::MAX.into() => Span::Rest.to_string().into(),
        Value::Array(values) => Value::Array(values.into_iter().map(with_rest).collect()),
        Value::Map(fields) => {
            let said = fields.into_iter().filter(|(key, _)| key.as_text() != Some(PASSAGE));
            Value::Map(said.map(|(key, value)| (key, with_rest(value))).collect())
        }
        value => value,
    }
}

fn write_node(value: &Value) -> String {
    let Some((name, fields)) = name_and_fields(value) else {
        return String::new();
    };
    match chain(name, fields) {
        Some(text) => text,
        None => write_call(name, fields),
    }
}

fn name_and_fields(value: &Value) -> Option<(&str, &Fields)> {
    let (name, fields) = value.as_map()?.first()?;
    Some((name.as_text()?, fields.as_map()?))
}

/// `a.then(5ep, b)`, if a sequence can be written like this: its last part takes the rest, and its first is
/// not a sequence, which `then` would extend.
fn chain(name: &str, fields: &Fields) -> Option<String> {
    if name != "sequence" {
        return None;
    }
    let parts: Vec<(&Value, &Value)> = field(fields, PARTS)?
        .as_array()?
        .iter()
        .map(|part| {
            let part = part.as_map()?;
            Some((field(part, "length")?, field(part, SCHEDULE)?))
        })
        .collect::<Option<_>>()?;
    let (last, first) = (parts.last()?, parts.first()?);
    let nested = name_and_fields(first.1).is_some_and(|(name, _)| name == "sequence");
    if parts.len() < 2 || nested || write_value(last.0) != Span::Rest.to_string() {
        return None;
    }
    let mut text = write_node(first.1);
    for pair in parts.windows(2) {
        let (length, next) = (write_value(pair[0].0), write_node(pair[1].1));
        text += &format!(".then({length}, {next})");
    }
    Some(text)
}

fn write_call(name: &str, fields: &Fields) -> String {
    let mut known = FUNCTIONS.iter().chain(METHODS).chain(PEER_FUNCTIONS);
    let positional = known.find(|known| known.0 == name).map_or(&[][..], |known| known.1);
    let essential = essential(name, fields);
    // Curves with a name of their own: a straight line, and the two ways to repeat.
    let (name, positional) = match name {
        "polynomial" if field(&essential, "power").is_none() => ("linear", &positional[..2]),
        "repeat" if field(&essential, "every").is_some() => ("repeat_every", &["every"][..]),
        "repeat" => ("repeat_times", &["count"][..]),
        _ => (name, positional),
    };
    let receiver = field(fields, SCHEDULE).map(|inner| write_node(inner) + ".");
    let arguments = positional.iter().filter_map(|key| {
        // Positional arguments of a curve are written even if they have the default value.
        let said = field(fields, key).filter(|_| receiver.is_none());
        Some(write_field(key, field(&essential, key).or(said)?))
    });
    let calls = essential.iter().filter_map(|(key, value)| {
        let key = key.as_text().filter(|&key| key != SCHEDULE && !positional.contains(&key))?;
        Some(match value {
            Value::Bool(true) => format!(".{key}()"),
            value => format!(".{key}({})", write_field(key, value)),
        })
    });
    format!(
        "{}{name}({}){}",
        receiver.as_deref().unwrap_or_default(),
        arguments.collect::<Vec<_>>().join(", "),
        calls.collect::<String>()
    )
}

/// The fields that differ from their defaults.
fn essential(name: &str, fields: &Fields) -> Fields {
    let read = |fields: &Fields| {
        let mut fields = alone(fields);
        let found = read(&node(name, fields.clone()));
        // A share of a short run may resolve to no updates, which no description can express.
        fields.iter_mut().filter(|field| field.1 == 0.into()).for_each(|field| field.1 = 1.into());
        found.or_else(|_| read(&node(name, fields))).ok()
    };
    let whole = read(fields);
    let mut kept = fields.clone();
    let mut place = 0;
    while place < kept.len() {
        let mut without = kept.clone();
        let (key, value) = without.remove(place);
        let inside = matches!(key.as_text(), Some(SCHEDULE | SCHEDULES | PARTS));
        if !inside && whole.is_some() && read(&without) == whole {
            kept = without;
            continue;
        }
        if let Some((variant, details)) = name_and_fields(&value).filter(|_| !inside) {
            for detail in details {
                let rest = details.iter().filter(|other| *other != detail).cloned().collect();
                let mut without = kept.clone();
                without[place].1 = node(variant, rest);
                if whole.is_some() && read(&without) == whole {
                    kept = without;
                    break;
                }
            }
        }
        place += 1;
    }
    kept
}

fn write_field(key: &str, value: &Value) -> String {
    match (key, value) {
        (SCHEDULES, Value::Array(schedules)) => {
            let schedules: Vec<String> = schedules.iter().map(write_node).collect();
            format!("[{}]", schedules.join(", "))
        }
        (PARTS, Value::Array(parts)) => {
            let part = |part: &Value| {
                let part = part.as_map()?;
                let length = write_value(field(part, "length")?);
                Some(format!("({length}, {})", write_node(field(part, SCHEDULE)?)))
            };
            let parts: Vec<String> = parts.iter().filter_map(part).collect();
            format!("[{}]", parts.join(", "))
        }
        // A name is quoted even if it looks like a choice or a length.
        (NAME, Value::Text(name)) => format!("{name:?}"),
        _ => write_value(value),
    }
}

fn write_value(value: &Value) -> String {
    match value {
        Value::Bool(truth) => truth.to_string(),
        Value::Integer(number) => i128::from(*number).to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Text(text) if is_word(text) || text.parse::<Span>().is_ok() => text.clone(),
        Value::Text(text) => format!("{text:?}"),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(write_value).collect();
            format!("[{}]", values.join(", "))
        }
        Value::Map(_) => match value.as_map().and_then(|map| map.first()) {
            Some((variant, Value::Map(fields))) => {
                let fields: Vec<String> = fields
                    .iter()
                    .filter_map(|(key, value)| {
                        Some(format!("{} = {}", key.as_text()?, write_value(value)))
                    })
                    .collect();
                format!("{}({})", variant.as_text().unwrap_or_default(), fields.join(", "))
            }
            Some((variant, value)) => {
                format!("{}({})", variant.as_text().unwrap_or_default(), write_value(value))
            }
            None => String::new(),
        },
        _ => String::new(),
    }
}

/// Whether a text needs no quotes: it is the name of a choice.
pub(super) fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}
