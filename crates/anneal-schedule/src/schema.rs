//! The file format as a JSON Schema, for editors and other programs.

use crate::Span;
use crate::file::ScheduleFile;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema as schema, schema_for};
use serde_json::Value;
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
    Descriptions.transform(&mut schema);
    schema.to_value()
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema!({
            "description":
                "A length: a number of updates (500), of epochs (\"5ep\"), a share of the whole run \
                 (\"10%\"), or what is left of it (\"rest\").",
            "anyOf": [
                { "type": "integer", "minimum": 0, "maximum": u64::MAX },
                {
                    "type": "string",
                    "pattern": "^([0-9]+|([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?(ep|%)|rest)$",
                },
            ],
        })
    }
}

/// Documentation as a reader of a file wants it: without examples in Rust, the tables of fields,
/// which the schema says itself, and links between items.
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
        let variants = schema["$defs"]["Node"]["oneOf"].as_array().unwrap();
        let names: Vec<&str> =
            variants.iter().map(|variant| variant["required"][0].as_str().unwrap()).collect();
        let listed: Vec<&str> = FUNCTIONS.iter().chain(METHODS).map(|known| known.0).collect();
        assert_eq!(names, listed);
        for definition in schema["$defs"].as_object().unwrap().values() {
            assert!(definition["description"].is_string(), "{definition}");
        }
    }

    #[test]
    fn descriptions_are_for_readers_of_files() {
        let documentation = "A [`Cosine`].\n\n```text\nη = 1\n```\n\n| field |\n| --- |\n\n\
                             Source.\n\n```\nuse anneal;\n```";
        assert_eq!(for_files(documentation), "A `Cosine`.\n\n```text\nη = 1\n```\n\nSource.");
    }
}
