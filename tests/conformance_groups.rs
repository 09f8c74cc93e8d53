//! Every model of `tests/golden/layer_groups.jsonl` gets the same layers, scales and decays as in timm.
//!
//! The environment variable `ANNEAL_GOLDEN` names another folder with a `layer_groups.jsonl`.

use anneal_tests::golden_lines;
use burn_anneal::groups::Parameter;
use burn_anneal::prelude::*;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::fmt;

#[derive(Deserialize)]
struct Line {
    model: String,
    matcher: Matcher,
    layer_decay: f64,
    weight_decay: f64,
    no_weight_decay: Vec<String>,
    params: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    name: String,
    shape: Vec<usize>,
    layer: usize,
    lr_scale: f64,
    weight_decay: f64,
}

/// The matcher as text again: its order counts, and a JSON value would sort it.
struct Matcher(String);

impl<'de> Deserialize<'de> for Matcher {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MatcherVisitor)
    }
}

struct MatcherVisitor;

impl<'de> Visitor<'de> for MatcherVisitor {
    type Value = Matcher;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a matcher")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Matcher, A::Error> {
        let mut entries = vec![];
        while let Some((name, entry)) = map.next_entry::<String, Value>()? {
            entries.push(format!("{}: {entry}", Value::from(name)));
        }
        Ok(Matcher(format!("{{{}}}", entries.join(", "))))
    }
}

/// Describes a difference in the groups of a line.
fn differences(line: &Line) -> Result<Vec<String>, GroupError> {
    let parameters: Vec<Parameter> =
        line.params.iter().map(|p| Parameter::new(&p.name, p.shape.clone())).collect();
    let run = RunLength::unbounded();
    let schedule = constant(1.0).resolve(run).unwrap();
    let groups = layer_decay(line.layer_decay)
        .layers(LayerMap::from_timm(&line.matcher.0)?)
        .weight_decay(line.weight_decay)
        .no_weight_decay(Selection::one_dimensional().globs_if_present(&line.no_weight_decay))
        .resolve_parameters(&parameters, &schedule, run)?;
    let explanation = groups.explain(0);
    // timm leaves the head out, and nothing else.
    let mut wrong = explanation.notes.clone();
    for expected in &line.params {
        let has =
            |group: &&burn_anneal::groups::ExplainedGroup| group.paths.contains(&expected.name);
        let in_groups: Vec<_> = explanation.groups.iter().filter(has).collect();
        let [group] = in_groups[..] else {
            wrong.push(format!("{} is in {} groups", expected.name, in_groups.len()));
            continue;
        };
        // The rate of the schedule is 1, so the group's rate is its scale.
        let scales =
            [group.multiplier, group.rate, groups.rate_of(&expected.name, 0).unwrap_or(0.0)];
        let close = scales.iter().all(|scale| (scale / expected.lr_scale - 1.0).abs() <= 1e-12);
        if !close
            || group.layer != Some(expected.layer)
            || group.weight_decay != expected.weight_decay
        {
            wrong.push(format!(
                "{}: layer {:?}, scale {}, decay {}; timm: {}, {}, {}",
                expected.name,
                group.layer,
                group.multiplier,
                group.weight_decay,
                expected.layer,
                expected.lr_scale,
                expected.weight_decay
            ));
        }
    }
    Ok(wrong)
}

/// A parameter as in a Burn module of the same structure: torch's lists are lists, and its norms are norms.
fn in_a_tree(expected: &Expected) -> Parameter {
    let mut parameter = Parameter::new(&expected.name, expected.shape.clone());
    let parts: Vec<&str> = expected.name.split('.').collect();
    let is_index = |part: &usize| parts[*part].parse::<usize>().is_ok();
    parameter.lists = (0..parts.len()).filter(is_index).collect();
    let module = parts[..parts.len() - 1].join(".");
    parameter.norm = ["norm", "bn", "downsample.1"].iter().any(|name| module.contains(name));
    parameter
}

/// The tree has the layers of timm's patterns, but for a token and an embedding next to the first convolution, which timm
/// puts into its layer.
#[test]
fn the_tree_gives_timms_scales() {
    let mut compared = 0;
    for line in golden_lines::<Line>("layer_groups.jsonl") {
        let parameters: Vec<Parameter> = line.params.iter().map(in_a_tree).collect();
        let run = RunLength::unbounded();
        let schedule = constant(1.0).resolve(run).unwrap();
        let groups = layer_decay(line.layer_decay).resolve_parameters(&parameters, &schedule, run);
        let groups = groups.unwrap();
        let apart = |expected: &&Expected| ["cls_token", "pos_embed"].contains(&&*expected.name);
        for expected in line.params.iter().filter(|expected| !apart(expected)) {
            let scale = groups.rate_of(&expected.name, 0).unwrap();
            let close = (scale / expected.lr_scale - 1.0).abs() <= 1e-12;
            assert!(close, "{}: {}: {scale}", line.model, expected.name);
            compared += 1;
        }
        let said = match line.model.as_str() {
            "vit_tiny_patch16_224" => "`norm` joins layer `blocks.11`",
            "resnet18" => "`bn1` joins layer `conv1`",
            model => panic!("{model}: what joins what?"),
        };
        assert_eq!(groups.explain(0).notes, [said]);
    }
    println!("{compared} scales as timm gives them");
    assert!(compared > 0, "there is nothing to compare with");
}

#[test]
fn timms_layers_scales_and_decays_are_reproduced() {
    let (mut rows, mut failures) = (0, vec![]);
    for line in golden_lines::<Line>("layer_groups.jsonl") {
        rows += line.params.len();
        match differences(&line) {
            Ok(wrong) => failures.extend(wrong.into_iter().map(|w| format!("{}: {w}", line.model))),
            Err(error) => failures.push(format!("{}: {error}", line.model)),
        }
    }
    println!("{} of {rows} rows as timm gives them", rows - failures.len());
    assert!(rows > 0, "there is nothing to compare with");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
