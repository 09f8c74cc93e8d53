//! The formats of the files as JSON Schemas, for editors and other programs.

use crate::Average;
use crate::average::AverageFile;
use crate::{GroupsConfig, LayerMap, LayerPattern, TrainingConfig};
use anneal_schedule::tidy_schema;
use schemars::{JsonSchema, Schema, SchemaGenerator, schema_for};
use serde_json::{Value, json};
use std::borrow::Cow;

/// The JSON Schema (draft 2020-12) of the files that [`TrainingConfig::load`] reads.
///
/// ```
/// let schema = anneal_config::json_schema();
/// assert_eq!(schema["properties"]["clip_global_norm"]["type"], "number");
/// ```
pub fn json_schema() -> Value {
    tidied(schema_for!(TrainingConfig))
}

/// The JSON Schema (draft 2020-12) of the files that [`GroupsConfig::load`] reads.
pub fn groups_json_schema() -> Value {
    tidied(schema_for!(GroupsConfig))
}

fn tidied(mut schema: Schema) -> Value {
    tidy_schema(&mut schema);
    schema.to_value()
}

/// Allows a text in place of the table.
pub(crate) fn table_or_text(schema: &mut Schema) {
    schema.insert("type".into(), json!(["object", "string"]));
}

impl JsonSchema for LayerMap {
    fn schema_name() -> Cow<'static, str> {
        "Layers".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let pattern = generator.subschema_for::<LayerPattern>();
        schemars::json_schema!({
            "description": "How layers are found: \"tree\", or a list of patterns.",
            "type": ["string", "array"],
            "pattern": "^tree$",
            "items": pattern,
        })
    }
}

impl JsonSchema for Average {
    fn schema_name() -> Cow<'static, str> {
        AverageFile::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        AverageFile::json_schema(generator)
    }
}
