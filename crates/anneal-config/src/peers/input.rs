//! Reads the text of a configuration: JSON or YAML, without duplicate keys.

use super::TranslationError;
use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::collections::HashMap;
use std::fmt;

/// Reads JSON.
pub(super) fn json(text: &str, hint: &'static str) -> Result<Value, TranslationError> {
    serde_json::from_str(text).map(|Unique(value)| value).map_err(|error| {
        TranslationError::Syntax { format: "a JSON object", error: error.to_string(), hint }
    })
}

/// Whether a text can only be JSON.
pub(super) fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

/// JSON without duplicate keys; [`Value`] alone silently keeps the last one.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(truth.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = vec![];
        while let Some(Unique(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some((key, Unique(value))) = entries.next_entry::<String, Unique>()? {
            if values.contains_key(&key) {
                return Err(A::Error::custom(format!("`{key}` is given twice")));
            }
            values.insert(key, value);
        }
        Ok(values.into())
    }
}

/// Anchors may repeat each other; a document with more values than this is refused.
const MOST_VALUES: usize = 100_000;

/// Deeper documents are refused.
const DEEPEST: usize = 100;

/// Reads one YAML document, with anchors and merge keys. Numbers are those of YAML 1.2, so `1e-3` is one.
pub(super) fn yaml(text: &str) -> Result<Value, TranslationError> {
    let mut reader =
        YamlReader { parser: Parser::new_from_str(text), anchors: HashMap::new(), values: 0 };
    reader.document().map_err(|error| TranslationError::Syntax { format: "YAML", error, hint: "" })
}

struct YamlReader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    /// The values with an anchor, and how many values they contain.
    anchors: HashMap<usize, (Value, usize)>,
    values: usize,
}

type Read<T> = Result<T, String>;

impl<'a> YamlReader<'a> {
    fn next(&mut self) -> Read<(Event<'a>, Span)> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("the document ends early".into()),
        }
    }

    fn document(&mut self) -> Read<Value> {
        let mut document = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(document.unwrap_or(Value::Null)),
                Event::DocumentStart(_) if document.is_some() => {
                    return Err(format!("{}: a second document; allowed: one", place(&span)));
                }
                Event::Nothing
                | Event::StreamStart
                | Event::DocumentStart(_)
                | Event::DocumentEnd => {}
                event => document = Some(self.value(event, &span, 0)?),
            }
        }
    }

    fn value(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Read<Value> {
        self.values += 1;
        let before = self.values;
        if depth > DEEPEST {
            return Err(format!("{}: nested more than {DEEPEST} deep", place(span)));
        }
        let (value, anchor) = match event {
            Event::Alias(anchor) => {
                let (value, size) = self.anchors.get(&anchor).cloned().ok_or_else(|| {
                    format!("{}: an alias of a value that contains it", place(span))
                })?;
                self.values += size;
                (value, 0)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_text =
                    style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.suffix == "str");
                (if is_text { Value::String(text.into_owned()) } else { plain(&text) }, anchor)
            }
            Event::SequenceStart(anchor, _) => {
                let mut items = vec![];
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => items.push(self.value(event, &span, depth + 1)?),
                    }
                }
                (items.into(), anchor)
            }
            Event::MappingStart(anchor, _) => (self.mapping(depth)?, anchor),
            _ => return Err(format!("{}: a value is missing", place(span))),
        };
        if self.values > MOST_VALUES {
            return Err(format!("more than {MOST_VALUES} values, with those that anchors repeat"));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, (value.clone(), self.values - before));
        }
        Ok(value)
    }

    fn mapping(&mut self, depth: usize) -> Read<Value> {
        let (mut entries, mut merged) = (Map::new(), vec![]);
        loop {
            let (key, span) = match self.next()? {
                (Event::MappingEnd, _) => break,
                (Event::Scalar(key, ..), span) => (key.into_owned(), span),
                (_, span) => return Err(format!("{}: a key must be a text", place(&span))),
            };
            let (event, of_value) = self.next()?;
            let value = self.value(event, &of_value, depth + 1)?;
            if key == "<<" {
                merged.push((value, span));
            } else if entries.insert(key.clone(), value).is_some() {
                return Err(format!("{}: `{key}` is given twice", place(&span)));
            }
        }
        for (value, span) in merged {
            let from = match value {
                Value::Array(several) => several,
                one => vec![one],
            };
            for one in from {
                let Value::Object(one) = one else {
                    return Err(format!("{}: `<<` needs a table to merge", place(&span)));
                };
                for (key, value) in one {
                    entries.entry(key).or_insert(value);
                }
            }
        }
        Ok(entries.into())
    }
}

fn place(span: &Span) -> String {
    format!("line {} column {}", span.start.line(), span.start.col() + 1)
}

/// A plain scalar.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "on" | "On" => true.into(),
        "false" | "False" | "FALSE" | "no" | "No" | "off" | "Off" => false.into(),
        text => number(text).map_or_else(|| text.into(), Value::Number),
    }
}

/// A number as YAML and command lines write it.
pub(super) fn number(text: &str) -> Option<Number> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let is_number =
        digits.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if !is_number {
        return None;
    }
    let whole = digits.parse::<u64>().map(Number::from).ok();
    let whole = whole.or_else(|| digits.parse::<i64>().map(Number::from).ok());
    whole.or_else(|| digits.parse::<f64>().ok().and_then(Number::from_f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn yaml_is_read_with_anchors() {
        let text = "\
base: &base\n  lr: 1e-3\n  betas: &betas [0.9, 0.999]\nother:\n  <<: *base\n  lr: 5.0e-05\nagain: *betas\n\
name: 'null'\nnone: null\nempty:\nflag: true\nminus: -3\n";
        let expected = json!({
            "base": { "lr": 1e-3, "betas": [0.9, 0.999] },
            "other": { "lr": 5e-5, "betas": [0.9, 0.999] },
            "again": [0.9, 0.999], "name": "null", "none": null, "empty": null, "flag": true, "minus": -3,
        });
        assert_eq!(yaml(text), Ok(expected));
    }

    #[test]
    fn what_is_wrong_in_yaml_has_its_place() {
        let bomb =
            (1..12).fold("a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n".to_string(), |text, i| {
                let of = format!("*a{}, ", i - 1).repeat(10);
                format!("{text}a{i}: &a{i} [{}]\n", of.trim_end_matches(", "))
            });
        let deep = "[".repeat(5_000);
        for (text, words) in [
            ("lr: 1\nlr: 2\n", "line 2 column 1: `lr` is given twice"),
            ("lr: [1, 2\n", "line "),
            ("lr: *unknown\n", "unknown anchor"),
            ("lr: 1\n---\nlr: 2\n", "a second document"),
            ("a: &a [*a]\n", "contains it"),
            ("<<: 3\n", "needs a table"),
            ("[1, 2]: 3\n", "a key must be a text"),
            (bomb.as_str(), "more than 100000 values"),
            (deep.as_str(), ""),
        ] {
            let error = yaml(text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn json_has_each_key_once() {
        let error = json(r#"{"a": {"b": 1, "b": 2}}"#, "").unwrap_err().to_string();
        assert!(error.contains("`b` is given twice"), "{error}");
    }
}
