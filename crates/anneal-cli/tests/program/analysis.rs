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

/// Four updates at 0.1 on λ = 2 with noise 3/√9.
#[test]
fn predictions_follow_their_formulas() {
    let arguments =
        ["analyze", "constant(0.1)", "--steps", "4", "--curvature", "2", "--noise", "3"];
    let with = |more: &[&'static str]| json(&[&arguments, more].concat(), 0)["predictions"].take();
    let found = with(&["--batch", "9"]);
    let number = |name: &str| found["quadratic"][name].as_f64().unwrap();
    let close = |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 1e-12);
    close(number("noise"), 1.0);
    // ½ · 2 · 0.1/(2(2 − 0.2))
    close(number("stationary_loss"), 0.1 / 3.6);
    // ½ · 2 · 0.1²(1 + 0.8² + 0.8⁴ + 0.8⁶)
    close(number("noise_loss"), 0.01 * (1.0 + 0.64 + 0.4096 + 0.262144));
    // 0.8²⁰ = 0.0115, 0.8²¹ = 0.0092
    assert_eq!(found["quadratic"]["updates_to_1_percent"], 21);
    close(number("scaled_travel"), 0.8);
    let escape = &found["escape"];
    assert_eq!((&escape["is_peak"], &escape["first_tenth"]), (&true.into(), &1.into()));
    assert_eq!((&escape["barrier"], &escape["share_of_first_tenth"]), (&0.1.into(), &0.25.into()));
    // The run's own batches: 3 samples, three times.
    let of_run = with(&["--batch-size", "3", "--accumulation", "3"]);
    assert_eq!(of_run["quadratic"], found["quadratic"]);
    assert_eq!(with(&[])["quadratic"]["noise"], 3.0);
}

#[test]
fn predictions_name_their_formulas() {
    let cosine = ["analyze", "cosine(0.1)", "--steps", "1000"];
    let report = |more: &[&'static str]| anneal([&cosine, more].concat()).fine();
    assert!(!report(&["--curvature", "3"]).contains("predictions"));
    let report_of_noise = report(&["--curvature", "3", "--noise", "2", "--batch", "16"]);
    for words in [
        "predictions for plain SGD on ½λw²: λ = 3, noise σ/√B = 0.5 for B = 16",
        // ½ · 2.467e-7 · ¼/2
        "stationary loss       1.542e-8",
        "½λ · ησ²/(Bλ(2 − ηλ)) at the last rate η = 2.467e-7",
        "v ← (1 − ηλ)²v + η²σ²/B",
        "updates to 1 %        13",
        "|1 − ηλ|ⁿ ≤ 0.01 at the peak rate η = 0.1, ηλ = 0.3",
        "λΣη",
        "for a barrier b = 0.1, the peak rate",
    ] {
        assert!(report_of_noise.contains(words), "{words}: {report_of_noise}");
    }
    let report_of_barrier = report(&["--barrier", "1"]);
    assert!(report_of_barrier.contains("early escapes         54.01 %"), "{report_of_barrier}");
    assert!(!report_of_barrier.contains("stationary loss"), "{report_of_barrier}");
    // ηλ = 2.5 at the peak; at the last rate it is stable again.
    let steep = report(&["--curvature", "25", "--noise", "2"]);
    assert!(steep.contains("updates to 1 %        none"), "{steep}");
    assert!(steep.contains("at the peak rate η = 0.1, ηλ = 2.5: SGD diverges"), "{steep}");
    assert!(steep.contains("ηλ = 6.168e-6\n"), "{steep}");
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
        (&["analyze", "constant(1)", "--steps", "9", "--noise", "1"], 2, "--curvature"),
        (&["analyze", "constant(1)", "--steps", "9", "--batch", "1"], 2, "--noise"),
        (&["analyze", "constant(1)", "--steps", "9", "--barrier", "0"], 2, "barrier: 0.0"),
        (&["analyze", "constant(1)", "--steps", "9", "--barrier", "-1"], 2, "above 0"),
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
    let noisy = ["analyze", "constant(1)", "--steps", "9", "--curvature", "1", "--noise"];
    for (more, words) in [
        (&["-1"] as &[&str], "noise: -1.0 is not allowed; allowed: at least 0"),
        (&["NaN"], "noise: NaN"),
        (&["inf"], "noise: inf"),
        (&["1", "--batch", "0"], "batch: 0 is not allowed; allowed: at least 1"),
        (&["1", "--batch", "-4"], "is not a whole number"),
        (&["1", "--optimizer", "adam"], "plain SGD"),
    ] {
        let error = anneal(noisy.iter().chain(more).copied()).error(2);
        assert!(error.contains(words), "{more:?}: {error}");
    }
}
