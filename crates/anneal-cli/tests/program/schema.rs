//! `anneal schema`

use crate::{anneal, docs};
use serde_json::Value;

#[test]
fn the_schema_in_the_repository_is_the_programs() {
    let printed: Value = serde_json::from_str(&anneal(["schema"]).fine()).unwrap();
    let text = std::fs::read_to_string(docs().join("schedule.schema.json")).unwrap();
    let stored: Value = serde_json::from_str(&text).unwrap();
    // Not the text: the order of keys depends on what else is built.
    assert!(
        printed == stored,
        "docs/schedule.schema.json is stale; \
         run: cargo run -p anneal-cli -- schema > docs/schedule.schema.json"
    );
}

#[test]
fn a_length_is_a_number_or_a_text_with_a_unit() {
    let schema: Value = serde_json::from_str(&anneal(["schema"]).fine()).unwrap();
    let span = &schema["$defs"]["Span"];
    assert_eq!(span["type"], serde_json::json!(["integer", "string"]));
    assert!(span["pattern"].as_str().unwrap().contains("(ep|%)"));
    assert_eq!(schema["$defs"]["Cosine"]["properties"]["length"]["$ref"], "#/$defs/Span");
}
