//! A description as a person would write it: schedules as text, and nothing that is the default.

use crate::TrainingConfig;
use anneal_schedule::ScheduleConfig;
use serde_json::{Map, Value};

/// The first keys of a file; the others follow in their alphabetical order.
const FIRST: &[&str] =
    &["name", "schedule", "momentum", "weight_decay", "no_weight_decay", "signal", "mode"];

/// The longest line that holds a table.
const WIDTH: usize = 100;

/// The TOML of `training`; `None` if it is not read back as the same description.
pub(crate) fn toml(training: &TrainingConfig) -> Option<String> {
    let mut value = serde_json::to_value(training).ok()?;
    let whole = value.clone();
    let is_same = |value: &Value| {
        let read = serde_json::from_value::<TrainingConfig>(value.clone());
        read.ok().and_then(|read| serde_json::to_value(read).ok()).as_ref() == Some(&whole)
    };
    in_text(&mut value);
    if !is_same(&value) {
        return None;
    }
    for place in places(&value, String::new()) {
        let mut without = value.clone();
        if remove(&mut without, &place) && is_same(&without) {
            value = without;
        }
    }
    let mut text = String::new();
    write_table(value.as_object()?, "", &mut text);
    let read = TrainingConfig::from_toml(&text).ok()?;
    (serde_json::to_value(read).ok()? == whole).then_some(text)
}

/// Writes each schedule, and each selection by one pattern, as its text.
fn in_text(value: &mut Value) {
    let is_node = value.as_object().is_some_and(|fields| fields.len() == 1);
    if is_node && let Ok(schedule) = serde_json::from_value::<ScheduleConfig>(value.clone()) {
        *value = schedule.to_string().into();
        return;
    }
    match value {
        Value::Object(fields) if is_node && fields.contains_key("regexes") => {
            if let Some([one]) = fields["regexes"].as_array().map(Vec::as_slice) {
                *value = one.clone();
            }
        }
        Value::Object(fields) => fields.values_mut().for_each(in_text),
        Value::Array(items) => items.iter_mut().for_each(in_text),
        _ => {}
    }
}

/// The places of all fields as JSON pointers, the innermost first.
fn places(value: &Value, place: String) -> Vec<String> {
    let inside = |(key, value): (String, &Value)| places(value, format!("{place}/{key}"));
    match value {
        Value::Object(fields) => {
            let keys = fields.keys().map(|key| format!("{place}/{key}"));
            let named = fields.iter().map(|(key, value)| (key.clone(), value));
            named.flat_map(inside).chain(keys).collect()
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(i, item)| (i.to_string(), item))
            .flat_map(inside)
            .collect(),
        _ => vec![],
    }
}

/// Removes the field at this place.
fn remove(value: &mut Value, place: &str) -> bool {
    let Some((table, key)) = place.rsplit_once('/') else { return false };
    let table = value.pointer_mut(table).and_then(Value::as_object_mut);
    table.is_some_and(|table| table.remove(key).is_some())
}

fn write_table(table: &Map<String, Value>, path: &str, text: &mut String) {
    let order = |key: &str| FIRST.iter().position(|first| *first == key).unwrap_or(FIRST.len());
    let mut entries: Vec<(&String, &Value)> = table.iter().collect();
    entries.sort_by_key(|(key, _)| order(key));
    let mut tables = vec![];
    for (key, value) in entries {
        // A table that holds one table gives it its own header.
        let is_lone = table.len() == 1 && value.is_object() && !path.is_empty();
        match in_line(key, value).filter(|_| !is_lone) {
            Some(line) => *text += &line,
            None => tables.push((key, value)),
        }
    }
    for (key, value) in tables {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let items = match value {
            Value::Array(items) => items.iter().map(|item| (format!("[[{path}]]"), item)).collect(),
            one => vec![(format!("[{path}]"), one)],
        };
        for (header, item) in items {
            let Some(inner) = item.as_object() else { continue };
            let mut inside = String::new();
            write_table(inner, &path, &mut inside);
            let is_only_tables = inside.starts_with('\n') && !header.starts_with("[[");
            *text += &match is_only_tables {
                true => inside,
                false => format!("\n{header}\n{inside}"),
            };
        }
    }
}

/// `key = value`, unless it is a table too large for a line, or a list of tables.
fn in_line(key: &str, value: &Value) -> Option<String> {
    let holds_tables =
        |value: &Value| value.as_array().is_some_and(|items| items.iter().any(Value::is_object));
    let is_table = match value {
        Value::Object(fields) => {
            fields.values().any(|value| value.is_object() || holds_tables(value))
        }
        value => holds_tables(value),
    };
    let line = format!("{key} = {}\n", written(value));
    (!is_table && (line.len() <= WIDTH || !value.is_object())).then_some(line)
}

fn written(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| format!("{key} = {}", written(value)));
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", "))
        }
        // A text without escapes is easier to read.
        Value::String(text) if text.contains(['\\', '"']) && !text.contains(['\'', '\n']) => {
            format!("'{text}'")
        }
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_no_default_is_written() {
        for text in [
            "schedule = \"cosine(0.0003).warmup(5%)\"\n",
            "schedule = \"cosine(0.1)\"\nweight_decay = { coupled = 0.01 }\nno_weight_decay = { biases = true, norms = true }\n\
             clip_global_norm = 1.0\nhalf_precision = \"bf16\"\n",
            "schedule = \"cosine(0.1)\"\n\n[[average]]\nhalf_life = \"2ep\"\n",
            "schedule = \"cosine(0.1)\"\nexpect_gradients_within = \"never\"\n",
            "schedule = \"constant(0.1)\"\n\n[[controller]]\nname = \"plateau\"\n\n[controller.rule.plateau]\n\
             signal = \"valid Loss\"\nmode = \"min\"\npatience = 3\n",
            "schedule = \"cosine(0.1)\"\n\n[groups]\nlayer_decay = 0.75\n\n[[groups.group]]\nname = \"head\"\n\
             schedule = \"constant(0.1)\"\nselect = '^head\\.(\\d+)'\n",
        ] {
            let training = TrainingConfig::from_toml(text).unwrap();
            assert_eq!(toml(&training).as_deref(), Some(text));
        }
    }

    #[test]
    fn what_is_written_in_full_becomes_short() {
        let full = TrainingConfig::from_toml("schedule = \"linear(0.1, 0.0).warmup(10)\"").unwrap();
        let read = TrainingConfig::from_toml(&full.to_toml().unwrap()).unwrap();
        assert_eq!(toml(&read).unwrap(), "schedule = \"linear(0.1, 0.0).warmup(10)\"\n");
    }
}
