//! The schedules of `docs/schedules`.

use crate::{anneal, docs};
use std::path::PathBuf;

fn recipes() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(docs().join("schedules")).unwrap();
    let mut recipes: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    recipes.sort();
    recipes
}

/// The flags at the end of a recipe's line `# Run:`.
fn run(text: &str) -> Vec<String> {
    let line = text.lines().find(|line| line.starts_with("# Run:")).expect("a line `# Run:`");
    let flags = &line[line.find("--").expect("flags")..];
    flags.split_whitespace().map(str::to_string).collect()
}

#[test]
fn each_recipe_names_its_source_and_shows() {
    let recipes = recipes();
    assert!(recipes.len() >= 8, "{recipes:?}");
    for recipe in &recipes {
        let text = std::fs::read_to_string(recipe).unwrap();
        assert!(text.lines().any(|line| line.starts_with("# Source: ")), "{recipe:?}");
        let flags = run(&text);
        let arguments = ["show", recipe.to_str().unwrap()];
        let shown = anneal(arguments.into_iter().chain(flags.iter().map(String::as_str))).fine();
        assert!(shown.contains("fingerprint"), "{shown}");
    }
}

/// With the published weight decay of each; a note about its fading is not an alarm.
#[test]
fn no_recipe_raises_an_alarm() {
    let decays =
        [("bert_linear", "0.01"), ("gpt_cosine", "0.1"), ("resnet_step", "1e-4"), ("sgdr", "5e-4")];
    for recipe in recipes() {
        let flags = run(&std::fs::read_to_string(&recipe).unwrap());
        let name = recipe.file_stem().unwrap().to_str().unwrap();
        let decay = decays.iter().find(|(known, _)| *known == name).map_or("0.0", |found| found.1);
        let arguments = ["lint", recipe.to_str().unwrap(), "--weight-decay", decay];
        let said = anneal(arguments.into_iter().chain(flags.iter().map(String::as_str))).fine();
        assert!(
            said.lines().all(|line| line.ends_with(": fine") || line.contains("note[fading")),
            "{said}"
        );
    }
}

/// Chains from the README and the examples, in runs of several lengths.
#[test]
fn no_schedule_of_the_readme_raises_an_alarm() {
    for schedule in [
        "cosine(3e-4).floor(1e-6).warmup(5%)",
        "cosine(3e-4).warmup(5%)",
        "cosine(1e-3).warmup(10%)",
        "constant(0.1).warmup(2ep)",
        "cosine(4e-3).warmup(10%)",
    ] {
        for run in [["10", "391"], ["90", "5005"], ["5", "40"]] {
            let [epochs, updates] = run;
            let arguments = ["lint", schedule, "--epochs", epochs, "--steps-per-epoch", updates];
            let said = anneal(arguments).fine();
            assert!(!said.contains("warning"), "{said}");
        }
    }
}

/// The rate that `anneal sample` prints at `step` of the recipe's run.
fn rate(name: &str, step: u64) -> f64 {
    let path = docs().join("schedules").join(name).with_extension("toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let flags = run(&text).into_iter().map(|flag| match flag.as_str() {
        "--steps" => "--run-steps".to_string(),
        _ => flag,
    });
    let flags: Vec<String> = flags.collect();
    let range = format!("{step}..{}", step + 1);
    let arguments = ["sample", path.to_str().unwrap(), "--steps", &range];
    let printed = anneal(arguments.into_iter().chain(flags.iter().map(String::as_str))).fine();
    printed.lines().nth(1).unwrap().split_once(',').unwrap().1.parse().unwrap()
}

#[test]
fn recipes_give_the_rates_of_their_sources() {
    for (name, step, expected) in [
        // Divided by 10 after epochs of 5,005 updates.
        ("resnet_step", 30 * 5_005 - 1, 0.1),
        ("resnet_step", 30 * 5_005, 0.01),
        ("resnet_step", 60 * 5_005, 0.001),
        ("bert_linear", 5_000, 0.5e-4),
        ("bert_linear", 10_000, 0.99e-4),
        ("bert_linear", 505_000, 0.495e-4),
        ("gpt_cosine", 117, 0.6e-4),
        ("gpt_cosine", 81_250, 0.6e-5),
        ("gpt_cosine", 93_749, 0.6e-5),
        ("one_cycle", 0, 0.1),
        ("one_cycle", 4_500, 3.0),
        ("one_cycle", 9_000, 0.1),
        ("wsd", 1_000, 0.01),
        ("wsd", 90_000, 0.01),
        ("vit_finetune", 500, 0.03),
        // The middle of the part after the warm-up.
        ("vit_finetune", 10_250, 0.015),
        // 1/√(512 · 4000) and 1/√(512 · 64000).
        ("transformer_noam", 3_999, 6.987712e-4),
        ("transformer_noam", 63_999, 1.746928e-4),
        ("sgdr", 10 * 391, 0.05),
        ("sgdr", 30 * 391, 0.05),
        ("sgdr", 50 * 391, 0.025),
        ("sgdr", 70 * 391, 0.05),
    ] {
        let found = rate(name, step);
        assert!((found / expected - 1.0).abs() < 1e-3, "{name} at {step}: {found}, not {expected}");
    }
}
