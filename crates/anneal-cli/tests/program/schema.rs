//! `anneal schema`

use crate::{anneal, docs};
use serde_json::Value;

fn printed(of: &str) -> Value {
    serde_json::from_str(&anneal(["schema", of]).fine()).unwrap()
}

#[test]
fn the_schemas_in_the_repository_are_the_programs() {
    for of in ["schedule", "training", "groups"] {
        let file = format!("{of}.schema.json");
        let text = std::fs::read_to_string(docs().join(&file)).unwrap();
        let stored: Value = serde_json::from_str(&text).unwrap();
        // Compares values, not text: the order of keys depends on the build.
        assert!(
            printed(of) == stored,
            "docs/{file} is stale; run: cargo run -p anneal-cli -- schema {of} > docs/{file}"
        );
    }
    let default: Value = serde_json::from_str(&anneal(["schema"]).fine()).unwrap();
    assert_eq!(default, printed("schedule"));
}

#[test]
fn a_length_is_a_number_or_a_text_with_a_unit() {
    let schema = printed("schedule");
    let span = &schema["$defs"]["Span"];
    assert_eq!(span["type"], serde_json::json!(["integer", "string"]));
    assert!(span["pattern"].as_str().unwrap().contains("(ep|sp|img|tok|%)"));
    assert_eq!(schema["$defs"]["Cosine"]["properties"]["length"]["$ref"], "#/$defs/Span");
}

#[test]
fn a_level_is_a_number_or_a_share() {
    let schema = printed("schedule");
    let level = &schema["$defs"]["Level"];
    assert_eq!(level["type"], serde_json::json!(["number", "string"]));
    assert!(level["pattern"].as_str().unwrap().ends_with(r"\s*%?\s*$"));
    for (curve, field) in [
        ("Cosine", "end"),
        ("Polynomial", "end"),
        ("OneCycle", "start"),
        ("Cyclic", "base"),
        ("Floor", "floor"),
        ("Cap", "cap"),
        ("Warmup", "start"),
    ] {
        let reference = &schema["$defs"][curve]["properties"][field]["$ref"];
        assert_eq!(reference, "#/$defs/Level", "{curve}.{field}");
    }
    assert_eq!(schema["$defs"]["Cosine"]["properties"]["peak"]["type"], "number");
}

/// The keys of a training, each with what an editor shows for it.
#[test]
fn a_training_and_groups_are_described_key_by_key() {
    for (of, keys) in [
        (
            "training",
            &["schedule", "groups", "clip_global_norm", "half_precision", "controller", "average"]
                [..],
        ),
        ("groups", &["layer_decay", "group", "no_weight_decay", "caps", "layers"]),
    ] {
        let schema = printed(of);
        assert_eq!(schema["additionalProperties"], false, "{of}");
        let properties = schema["properties"].as_object().unwrap();
        for key in keys {
            assert!(properties.contains_key(*key), "{of}: {key}");
        }
        for (key, property) in properties {
            assert!(property["description"].is_string(), "{of}: {key}: {property}");
        }
    }
}
