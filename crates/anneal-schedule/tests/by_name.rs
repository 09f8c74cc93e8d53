//! Compares schedules by name with the rates computed by transformers and timm: `tests/golden`.

use anneal_schedule::peers::schedule_by_name_with;
use anneal_schedule::prelude::*;
use serde_json::Value;

/// timm's `--sched` names, by scheduler class.
const TIMM: [(&str, &str); 6] = [
    ("CosineLRScheduler", "timm.cosine"),
    ("TanhLRScheduler", "tanh"),
    ("PolyLRScheduler", "poly"),
    ("StepLRScheduler", "step"),
    ("MultiStepLRScheduler", "multistep"),
    ("WSDLRScheduler", "wsd"),
];

#[test]
fn rates_are_those_of_the_peers() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/schedules.jsonl");
    let lines = std::fs::read_to_string(path).unwrap();
    let mut compared = 0;
    for line in lines.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let (id, class) = (&case["id"], case["name"].as_str().unwrap());
        let (name, warmup) = match case["peer"].as_str().unwrap() {
            "transformers" => (class, "num_warmup_steps"),
            "timm" => (TIMM.iter().find(|known| known.0 == class).unwrap().1, "warmup_t"),
            _ => continue,
        };
        let mut arguments = case["args"].as_object().unwrap().clone();
        let warmup = arguments.remove(warmup).unwrap().as_u64().unwrap();
        // The run provides this.
        arguments.remove("num_training_steps");
        if class == "MultiStepLRScheduler" {
            // The class has a warm-up before the curve, `--sched` one over it.
            arguments.insert("warmup_prefix".into(), true.into());
        }
        let rates = case["rates"].as_array().unwrap();
        let run = RunLength::updates(rates.len() as u64);
        let peak = case["base_lr"].as_f64().unwrap();
        let config =
            schedule_by_name_with(name, peak, Span::steps(warmup), run, &arguments.into()).unwrap();
        let schedule = config.resolve(run).unwrap_or_else(|error| panic!("{id}: {error}"));
        for (step, expected) in rates.iter().enumerate() {
            let (found, expected) = (schedule.rate(step as u64), expected.as_f64().unwrap());
            assert!((found - expected).abs() <= 1e-9 * peak, "{id} at {step}: {found}, {expected}");
        }
        compared += 1;
    }
    assert_eq!(compared, 54);
}
