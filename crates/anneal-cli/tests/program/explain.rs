//! `anneal explain`, and `anneal lint` of whole trainings

use crate::{anneal, anneal_of, docs};

const TRAINING: &str = r#"
schedule = "cosine(3e-4).warmup(5%)"
weight_decay = 0.05
half_precision = "bf16"

[groups]
layer_decay = 0.75

[[groups.group]]
name = "head"
select = "^head"
schedule = "step_decay(0.1, 30, 0.1)"

[[controller]]
name = "plateau"
[controller.rule.plateau]
signal = "valid Loss"
mode = "min"
"#;

const RUN: [&str; 4] = ["--epochs", "10", "--steps-per-epoch", "500"];

fn with_run(verb: &'static str) -> Vec<&'static str> {
    [verb, "-"].into_iter().chain(RUN).collect()
}

#[test]
fn a_training_is_explained() {
    let words = anneal_of(TRAINING, &["explain", "-"]).fine();
    for line in [
        "schedule    cosine(0.0003).warmup(5%)",
        "decay       coupled(0.05)",
        "precision   bf16",
        "groups      layer decay 0.75",
        "            head (^head): rate step_decay(0.1, 30, 0.1)",
        "controller  plateau: plateau(",
    ] {
        assert!(words.contains(line), "{line}: {words}");
    }
    // A warm-up of 250 of 5,000 updates.
    let rates = "rates       1.195e-6 at first, 3e-4 at update 250, 3.281e-11 at the last of 5000 updates\n";
    assert_eq!(anneal_of(TRAINING, &with_run("explain")).fine(), words + rates);
    assert_eq!(anneal(["explain", "cosine(0.1)"]).fine(), "schedule    cosine(0.1)\n");
}

#[test]
fn what_is_wrong_has_its_place() {
    let decay = TRAINING.replace("0.75", "1.75");
    // Without a run nothing is checked but the form.
    anneal_of(&decay, &["explain", "-"]).fine();
    for verb in ["explain", "lint"] {
        let error = anneal_of(&decay, &with_run(verb));
        assert_eq!(error.code, Some(1), "{error:?}");
        let expected =
            "error: stdin:7:15: layer_decay: 1.75 is not allowed; allowed: above 0, at most 1\n";
        assert_eq!(error.stderr, expected);
    }
    let key = anneal_of(TRAINING.replace("layer_decay", "layer_dcay"), &["explain", "-"]).error(1);
    assert!(key.contains("stdin:7:1: ") && key.contains("did you mean `layer_decay`"), "{key}");
    let long = TRAINING.replace("5%)\"", "5%).then(6000, constant(1e-5))\"");
    let long = anneal_of(&long, &with_run("explain")).error(1);
    assert!(long.contains("stdin:2:12: ") && long.contains("--truncate"), "{long}");
    let truncated = TRAINING.replace("5%)\"", "5%).length(6000)\"");
    let _ = anneal_of(truncated, &with_run("explain"));
}

/// The rates of a group are judged as the run's are, and the decay of the file as one of `--weight-decay`.
#[test]
fn the_schedules_of_groups_are_linted_too() {
    let linted = anneal_of(TRAINING, &with_run("lint"));
    assert_eq!((linted.code, linted.stderr.as_str()), (Some(1), ""), "{linted:?}");
    let lines: Vec<&str> = linted.stdout.lines().collect();
    assert!(lines[0].starts_with("stdin: note[fading-decay]"), "{linted:?}");
    assert!(
        lines.iter().any(|line| line.starts_with("stdin:12:12: warning[ends-early]")),
        "{linted:?}"
    );
    let allowed: Vec<&str> =
        with_run("lint").into_iter().chain(["--allow", "fading-decay,ends-early"]).collect();
    assert_eq!(anneal_of(TRAINING, &allowed).fine(), "stdin: fine\nstdin:12:12: fine\n");
}

#[test]
fn other_verbs_take_the_schedule_of_a_training() {
    let ran = anneal_of(TRAINING, &with_run("analyze"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("note: stdin: its controllers are ignored"), "{ran:?}");
}

#[test]
fn a_run_that_is_cut_short_is_noted() {
    let cut = ["lint", "cosine(0.1).length(5000).truncate()", "--steps", "1000"];
    let linted = anneal(cut).fine();
    assert!(
        linted.contains("note[cut-short]: the run ends after 1000 of the 5000 updates"),
        "{linted}"
    );
    let flag = ["lint", "cosine(0.1).length(5000)", "--steps", "1000", "--truncate"];
    assert!(anneal(flag).fine().contains("note[cut-short]"));
}

#[test]
fn the_trainings_of_the_documentation_are_right() {
    let folder = docs().join("trainings");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let path = path.to_str().unwrap();
        if path.ends_with(".toml") {
            anneal(["explain", path].into_iter().chain(RUN)).fine();
            count += 1;
        }
    }
    assert!(count >= 3, "{count}");
}

/// The page shows a file, and what the program says of it.
#[test]
fn the_page_shows_what_is_said() {
    let page = std::fs::read_to_string(docs().join("files.md")).unwrap();
    let between = |start: &str, end: &str| {
        let rest = page.split_once(start).unwrap_or_else(|| panic!("{start}")).1;
        rest.split_once(end).unwrap().0.to_string()
    };
    let training = between("```toml\n# train.toml\n", "```");
    let command = "$ anneal explain train.toml --epochs 20 --steps-per-epoch 391\n";
    let arguments = ["explain", "-", "--epochs", "20", "--steps-per-epoch", "391"];
    assert_eq!(anneal_of(training, &arguments).fine(), between(command, "```"));
}
