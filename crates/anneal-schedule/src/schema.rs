//! The file format as a JSON Schema, for editors and other programs.

use crate::file::ScheduleFile;
use crate::node::PEER_FUNCTIONS;
use crate::{Level, Span};
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema as schema, schema_for};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// The JSON Schema (draft 2020-12) of the files that [`ScheduleConfig::load`] reads.
///
/// ```
/// let schema = anneal_schedule::json_schema();
/// assert_eq!(schema["$defs"]["Cosine"]["properties"]["peak"]["type"], "number");
/// ```
///
/// [`ScheduleConfig::load`]: crate::ScheduleConfig::load
pub fn json_schema() -> Value {
    let mut schema = schema_for!(ScheduleFile);
    tidy(&mut schema);
    schema.to_value()
}

/// Makes a schema useful in editors: documentation for the reader of a file, and a single error for a wrong
/// key, at its place.
pub fn tidy(schema: &mut Schema) {
    Descriptions.transform(schema);
    NoNull.transform(schema);
    Choices.transform(schema);
}

/// A schedule is a table or a text.
pub(crate) fn table_or_text(schema: &mut Schema) {
    Choices.transform(schema);
    // A curve's own definition has its description; do not repeat it here.
    if let Some(tables) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for table in tables.values_mut().filter_map(Value::as_object_mut) {
            table.remove("description");
        }
    }
    // Curves that only `anneal translate` writes.
    let peers: Vec<&str> = PEER_FUNCTIONS.iter().map(|known| known.0).collect();
    let peers = json!({ format!("^({})$", peers.join("|")): { "type": "object" } });
    schema.insert("patternProperties".into(), peers);
    schema.insert("type".into(), json!(["object", "string"]));
    let description = "A schedule: a table named after its curve or combinator, or a text such as \
                       \"cosine(3e-4).warmup(5%)\".";
    schema.insert("description".into(), description.into());
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema!({
            "description":
                "A length: a number of updates (500), of epochs (\"5ep\"), samples (\"2Msp\") or tokens (\"260Btok\"), a \
                 share of the whole run (\"10%\"), or the rest of it (\"rest\").",
            // JSON Schema, too, treats 1e6 as an integer.
            "type": ["integer", "string"],
            "minimum": 0,
            "maximum": u64::MAX,
            "pattern": span_pattern(),
        })
    }
}

impl JsonSchema for Level {
    fn schema_name() -> Cow<'static, str> {
        "Level".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema!({
            "description": "A rate (3e-5), or a share of the peak (\"10%\").",
            "type": ["number", "string"],
            "minimum": 0,
            "pattern": format!(r"^\s*\+?{}\s*%?\s*$", decimal_pattern()),
        })
    }
}

/// The pattern of a length as a text: `500`, `10_000`, `1e6`, `10k`, `5ep`, `2Msp`, `10 %`, `rest`.
fn span_pattern() -> String {
    let digits = "[0-9]+(_[0-9]+)*";
    let whole = format!(r"{digits}([eE]\+?[0-9]+)?");
    let decimal = decimal_pattern();
    format!(
        r"^\s*(\+?{whole}|\+?{decimal}\s*[kMBGT]|\+?{decimal}\s*[kMBGT]?\s*(ep|sp|img|tok|%)|rest)\s*$"
    )
}

/// The pattern of a number that is not negative.
fn decimal_pattern() -> String {
    let digits = "[0-9]+(_[0-9]+)*";
    format!(r"({digits}\.?({digits})?|\.{digits})([eE][+-]?[0-9]+)?")
}

/// Drops `null` from optional fields: TOML has none, and for two alternatives a validator reports only that neither
/// fits.
struct NoNull;

impl Transform for NoNull {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let null = json!("null");
        if let Some(Value::Array(types)) = schema.get_mut("type") {
            types.retain(|it| *it != null);
            if let [only] = &types[..] {
                *schema.get_mut("type").expect("it is there") = only.clone();
            }
        }
        let alternatives = schema.get("anyOf").and_then(Value::as_array);
        let Some([inner, nothing]) = alternatives.map(Vec::as_slice) else { return };
        if nothing["type"] == null
            && let Some(inner) = inner.as_object().cloned()
        {
            schema.remove("anyOf");
            for (key, value) in inner {
                schema.insert(key, value);
            }
        }
    }
}

/// Turns a choice of single-key tables into one table that has exactly one of these keys. A validator then
/// points at the wrong key instead of at all variants.
struct Choices;

impl Transform for Choices {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(variants) = schema.get("oneOf").and_then(Value::as_array).cloned() else { return };
        let (tables, words): (Vec<Value>, Vec<Value>) =
            variants.into_iter().partition(|variant| variant["type"] == "object");
        let keys: Option<Vec<_>> = tables.iter().map(only_key).collect();
        let Some(keys) = keys.filter(|keys| !keys.is_empty()) else { return };
        schema.remove("oneOf");
        if words.is_empty() {
            schema.insert("type".into(), "object".into());
        } else {
            schema.insert("type".into(), json!(["object", "string"]));
            schema.insert("if".into(), json!({ "type": "string" }));
            schema.insert("then".into(), json!({ "oneOf": words }));
        }
        schema.insert("properties".into(), keys.into_iter().collect::<Map<_, _>>().into());
        schema.insert("additionalProperties".into(), false.into());
        schema.insert("minProperties".into(), 1.into());
        schema.insert("maxProperties".into(), 1.into());
    }
}

/// The single key of a variant and its value, with the variant's description.
fn only_key(variant: &Value) -> Option<(String, Value)> {
    let properties = variant["properties"].as_object()?;
    let (key, value) = properties.iter().next().filter(|_| properties.len() == 1)?;
    let mut value = value.clone();
    if let Some(description) = variant.get("description") {
        value["description"] = description.clone();
    }
    Some((key.clone(), value))
}

/// Documentation for the reader of a file: without Rust examples, links between items, and the tables of
/// fields, which the schema already covers.
struct Descriptions;

impl Transform for Descriptions {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(Value::String(text)) = schema.get_mut("description") {
            *text = for_files(text);
        }
        transform_subschemas(self, schema);
    }
}

fn for_files(documentation: &str) -> String {
    let (mut text, mut example) = (String::new(), false);
    for line in documentation.lines() {
        if line == "```" && (example || text.matches("```").count().is_multiple_of(2)) {
            example = !example;
        } else if !example && !line.starts_with('|') {
            text += &line.replace("[`", "`").replace("`]", "`");
            text.push('\n');
        }
    }
    while text.contains("\n\n\n") {
        text = text.replace("\n\n\n", "\n\n");
    }
    text.trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{FUNCTIONS, METHODS};

    #[test]
    fn every_curve_and_combinator_is_described() {
        let schema = json_schema();
        let node = &schema["$defs"]["ScheduleConfig"];
        assert_eq!(
            (&node["maxProperties"], &node["additionalProperties"]),
            (&json!(1), &json!(false))
        );
        for (name, _) in FUNCTIONS.iter().chain(METHODS) {
            let definition = node["properties"][name]["$ref"].as_str().unwrap();
            let definition = schema.pointer(&definition[1..]).unwrap();
            assert!(definition["description"].as_str().unwrap().len() > 10, "{definition}");
        }
        for definition in schema["$defs"].as_object().unwrap().values() {
            assert!(definition["description"].is_string(), "{definition}");
        }
    }

    #[test]
    fn a_choice_is_one_table_of_which_one_key_is_given() {
        let decay = &json_schema()["$defs"]["Decay"];
        assert!(decay["properties"]["half_life"]["description"].is_string(), "{decay}");
        assert_eq!(decay["properties"]["factor"]["required"], json!(["factor", "per"]));
        assert!(decay.get("oneOf").is_none(), "{decay}");
        let stable = &json_schema()["$defs"]["Stable"];
        assert_eq!(stable["then"]["oneOf"][0]["const"], "constant");
        assert_eq!(stable["type"], json!(["object", "string"]));
    }

    #[test]
    fn descriptions_are_for_readers_of_files() {
        let documentation = "A [`Cosine`].\n\n```text\nη = 1\n```\n\n| field |\n| --- |\n\n\
                             Source.\n\n```\nuse anneal;\n```";
        assert_eq!(for_files(documentation), "A `Cosine`.\n\n```text\nη = 1\n```\n\nSource.");
    }
}
