//! `anneal lint`, `anneal analyze` and `anneal match`

use crate::anneal;
use serde_json::Value;

fn json(arguments: &[&str], code: i32) -> Value {
    let ran = anneal(arguments.iter().copied().chain(["--format", "json"]));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(code), ""), "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn curvature_and_weight_decay_are_asked_for() {
    let steep = ["lint", "constant(0.1)", "--steps", "100", "--curvature"];
    // SGD is stable below curvature 2/η = 20, heavy ball with momentum 0.9 below 38.
    let on = |curvature, more: &[&'static str]| {
        anneal(steep.iter().chain([&curvature]).chain(more).copied()).code
    };
    assert_eq!((on("19", &[]), on("21", &[])), (Some(0), Some(1)));
    let heavy_ball = ["--optimizer", "heavy-ball", "--momentum", "0.9"];
    assert_eq!((on("37", &heavy_ball), on("39", &heavy_ball)), (Some(0), Some(1)));
    let decay = json(&["lint", "constant(0.1)", "--steps", "100", "--weight-decay", "1e-6"], 0);
    assert_eq!(decay[0]["findings"][0]["code"], "vanishing-decay");
}

#[test]
fn an_analysis_is_a_report_and_json() {
    let arguments = ["analyze", "linear(1.0, 0.0)", "--steps", "4", "--weight-decay", "0.1"];
    let report = anneal(arguments).fine();
    for words in ["total variation", "Robbins–Monro", "half-life", "closed form", "weights left"]
    {
        assert!(report.contains(words), "{words}: {report}");
    }
    // Rates 1, ¾, ½, ¼.
    let analysis = json(&arguments, 0);
    assert_eq!(analysis["travel"]["travel"], 2.5);
    assert_eq!(analysis["travel"]["noise"], 1.875);
    assert_eq!(analysis["flatness"]["total_variation"], 0.75);
    let left = 0.9 * 0.925 * 0.95 * 0.975;
    let product = analysis["weight_decay"]["product"].as_f64().unwrap();
    assert!((product / left - 1.0).abs() < 1e-12, "{product}");
}

#[test]
fn a_power_law_obeys_robbins_and_monro_between_a_half_and_one() {
    for (power, answer) in [("0.5", "no"), ("0.75", "yes"), ("1.0", "yes"), ("1.5", "no")] {
        let text = format!("power_law(0.1, 10, {power})");
        let analysis = json(&["analyze", &text, "--steps", "100"], 0);
        assert_eq!(analysis["robbins_monro"]["answer"], answer, "{power}");
    }
}

#[test]
fn step_and_exponential_decays_find_each_other() {
    let step = json(&["match", "--step", "step_decay(0.1, 30, 0.1)", "--steps", "90"], 0);
    let kappa = step["kappa"].as_f64().unwrap();
    assert!((kappa - 10f64.ln() / 30.0).abs() < 1e-15, "{kappa}");
    let half = anneal(["match", "--exponential", "exponential(0.1, half_life(50))"]).fine();
    assert!(half.contains("step_decay(0.1, 50, 0.5)"), "{half}");
    let exponential = "exponential(0.1, kappa(0.01))";
    let every = json(&["match", "--exponential", exponential, "--every", "100"], 0);
    assert_eq!(every["step_decay"]["gamma"], (-1f64).exp());
}

#[test]
fn what_cannot_be_answered_says_what_to_do() {
    for (arguments, code, words) in [
        (&["lint", "cosine(0.1)"] as &[&str], 2, "give --steps N"),
        (&["lint", "constant(0.1)"], 2, "give --steps N"),
        (&["analyze", "constant(0.1)"], 2, "give --steps N"),
        (&["analyze", "constant(0.1)", "--steps", "9", "--curvature", "-3"], 2, "above 0"),
        (&["lint", "constant(0.1)", "--steps", "9", "--weight-decay", "-0.5"], 2, "at least 0"),
        (&["analyze", "constant(0.1)", "--steps", "9", "--frozen-below", "2"], 2, "(0, 1]"),
        (&["analyze", "constant(0)", "--steps", "9"], 1, "above 0"),
        (&["lint", "constant(1)", "--steps", "9", "--optimizer", "adam"], 2, "--curvature"),
        (&["match", "--step", "step_decay(0.1, 30, 0.1)"], 2, "give --steps N"),
        (&["match", "--exponential", "cosine(0.1)", "--steps", "9"], 1, "no partner"),
        (&["match", "--exponential", "step_decay(0.1, 10, 0.5)"], 2, "pass it to --step"),
        (&["match", "--step", "exponential(0.1, kappa(0.1))"], 2, "pass it to --exponential"),
        (&["match"], 2, "--step"),
    ] {
        let error = anneal(arguments.iter().copied()).error(code);
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
}
