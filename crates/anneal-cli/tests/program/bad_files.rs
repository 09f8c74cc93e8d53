//! Files that are not schedules.

use crate::{Ran, anneal};
use std::path::Path;
use std::time::{Duration, Instant};

/// The output of `anneal show` for a file with this name and content.
fn show(name: &str, content: impl AsRef<[u8]>) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    let start = Instant::now();
    let ran = anneal(["show", path.to_str().unwrap(), "--steps", "100"]);
    assert!(start.elapsed() < Duration::from_secs(20), "{name}: {:?}", start.elapsed());
    ran
}

/// Shows a wrong file, and checks the position and some words of the message.
fn wrong(name: &str, content: impl AsRef<[u8]>, position: &str, words: &str) {
    let error = show(name, content).error(1);
    let place = format!("{name}:{position}");
    assert!(error.contains(&place) && error.contains(words), "{name}: {error}");
}

#[test]
fn files_that_cannot_be_read_are_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    std::fs::write(path("a.yaml"), "x").unwrap();
    std::fs::create_dir(path("folder.toml")).unwrap();
    for (name, words) in [
        ("missing.toml", "No such file"),
        ("missing.json", "No such file"),
        ("missing.yaml", "neither a file nor a schedule"),
        ("a.yaml", "must end in .toml or .json"),
        ("folder.toml", "is a directory"),
        ("", "is a directory"),
    ] {
        let error = anneal(["show", &path(name), "--steps", "9"]).error(2);
        assert!(error.contains(words) && error.contains(&path(name)), "{name}: {error}");
    }
    assert!(Path::new(&path("a.yaml")).exists());
}

#[test]
fn mistakes_have_a_position_and_the_nearest_name() {
    wrong("a.toml", "[schedule.cosine]\npeak = 0.1\nflor = 1\n", "3:1", "unknown field `flor`");
    wrong("a.toml", "[schedule.cosine]\npaek = 0.1\n", "2:1", "did you mean `peak`?");
    wrong("a.toml", "[schedule.cosin]\npeak = 0.1\n", "1:11", "did you mean `cosine`?");
    wrong("a.json", r#"{"schedule": {"cosine": {"paek": 1}}}"#, "1:31", "did you mean `peak`?");
    wrong("a.toml", "[schedule.cosine]\npeak = 0.1\nlength = \"5 weeks\"\n", "3:10", "5 weeks");
    wrong("a.toml", "version = 99\n[schedule.constant]\nrate = 1.0\n", " version: 99", "1 to 1");
}

#[test]
fn text_that_is_no_toml_or_json_is_refused() {
    for name in ["a.toml", "a.json"] {
        wrong(name, "", "1:", "");
        wrong(name, "\u{feff}", "1:", "");
        wrong(name, "{{{{", "1:", "");
        wrong(name, b"# caf\xe9\n[schedule", "1:6", "not UTF-8");
        wrong(name, [0u8; 100], "1:", "");
    }
    wrong("a.toml", "[schedule.constant]\nrate = 1.0\nrate = 2.0\n", "3:1", "duplicate key");
    wrong("a.toml", "[schedule.constant]\n[schedule.constant]\n", "2:", "duplicate key");
    wrong(
        "a.json",
        r#"{"schedule": {"constant": {"rate": 1, "rate": 2}}}"#,
        "1:",
        "duplicate field",
    );
    wrong("a.json", r#"{"schedule": {"constant": {"rate": 1}}} {}"#, "1:41", "trailing");
}

#[test]
fn numbers_that_are_no_rates_are_refused() {
    for (rate, words) in [("nan", "NaN"), ("inf", "inf"), ("-1.0", "-1.0"), ("0.0", "0.0")] {
        let error = show("a.toml", format!("[schedule.constant]\nrate = {rate}\n")).error(1);
        let words = format!("constant.rate: {words} is not allowed");
        assert!(error.contains(&words), "{error}");
    }
    wrong("a.toml", "[schedule.constant]\nrate = 99999999999999999999\n", "2:", "");
    wrong("a.json", r#"{"schedule": {"constant": {"rate": 1e999}}}"#, "1:", "out of range");
    wrong("a.json", r#"{"schedule": {"constant": {"rate": NaN}}}"#, "1:", "");
    let length = r#"{"schedule": {"cosine": {"peak": 1, "length": 18446744073709551615}}}"#;
    assert!(show("a.json", length).error(1).contains("only 100 updates"));
    wrong("a.json", length.replace("615", "616"), "1:", "");
    for length in ["1e999%", "nan%", "inf ep", "-5ep", "1e400ep"] {
        let text = format!("[schedule.cosine]\npeak = 1.0\nlength = \"{length}\"\n");
        let error = show("a.toml", text).error(1);
        assert!(error.contains("length"), "{error}");
    }
}

/// A megabyte of `open`, and equally many `close`.
fn nested(open: &str, middle: &str, close: &str) -> String {
    let times = 1_000_000 / (open.len() + close.len());
    open.repeat(times) + middle + &close.repeat(times)
}

#[test]
fn a_megabyte_of_nesting_is_an_error_and_no_stack_overflow() {
    let toml = |value: &str| format!("[schedule.constant]\nrate = {value}\n");
    let path = "a.".repeat(500_000) + "a";
    let schedule = |open: &str, middle: &str, close: &str| {
        format!(r#"{{"schedule": {}}}"#, nested(open, middle, close))
    };
    for (name, content) in [
        ("a.toml", toml(&nested("[", "", "]"))),
        ("a.toml", toml(&nested("[", "", ""))),
        ("a.toml", toml(&nested("{a=", "1", "}"))),
        ("a.toml", toml(&nested("{a.a.a=", "1", "}"))),
        ("a.toml", format!("[{path}]\n")),
        ("a.toml", format!("[[{path}]]\n")),
        ("a.toml", format!("{path} = 1\n")),
        ("a.toml", format!("schedule = {{{path} = 1}}\n")),
        ("a.toml", "[schedule.scale.schedule]\n".repeat(40_000)),
        ("a.toml", format!("[{}]\n", "schedule.scale.".repeat(60_000) + "schedule")),
        ("a.toml", "[".repeat(1_000_000)),
        ("a.toml", "\"".repeat(1_000_000)),
        ("a.json", nested("[", "", "]")),
        ("a.json", nested("[", "", "")),
        ("a.json", nested("{\"a\":", "1", "}")),
        ("a.json", schedule("{\"scale\":{\"factor\":1,\"schedule\":", "1", "}}")),
        ("a.json", schedule("{\"sum\":{\"schedules\":[", "1", "]}}")),
        ("a.json", schedule("[", "1", "]")),
    ] {
        let start: String = content.chars().take(40).collect();
        let error = show(name, &content).error(1);
        assert!(error.contains(&format!("{name}:")), "{start}: {error}");
        assert!(error.chars().count() < 2_500, "{start}");
    }
}

#[test]
fn deep_files_that_can_be_read_are_refused_by_their_depth() {
    let levels = 20;
    let json = r#"{"scale": {"factor": 1, "schedule": "#.repeat(levels);
    let json =
        format!(r#"{{"schedule": {json}{{"constant": {{"rate": 1}}}}{}}}"#, "}}".repeat(levels));
    assert!(show("a.json", json).error(1).contains("at most 16 levels"));
}

/// A text is an argument, and Linux limits an argument to 128 KiB.
#[test]
fn a_long_text_is_an_error_and_no_stack_overflow() {
    for (open, close) in [
        ("sum([", "])"),
        ("constant(1).then(1, ", ")"),
        ("multi_step(1.0, [", ""),
        ("cosine(", ""),
        ("constant(1).scale(1).", ""),
        ("((((", ""),
        ("a(", ")"),
        ("cosine(0.1).after(a(b(", "))"),
        ("stable_decay(1.0, 10%).stable(rsqrt(a = ", "))"),
    ] {
        let times = 100_000 / (open.len() + close.len());
        let text = open.repeat(times) + "constant(1)" + &close.repeat(times);
        let error = anneal(["show", &text, "--steps", "9"]).error(1);
        assert!(error.contains("column "), "{open}: {error}");
    }
}

#[test]
fn long_names_and_lists_are_read_in_time() {
    let name = "x".repeat(1_000_000);
    let error = show("a.toml", format!("[schedule.cosine]\npeak = 1.0\n{name} = 1\n")).error(1);
    assert!(error.contains("a.toml:3:1: unknown field") && error.len() < 3_000, "{error}");
    let list = "1, ".repeat(300_000);
    let text = format!("[schedule.multi_step]\npeak = 1.0\ngamma = 0.999\nmilestones = [{list}]\n");
    assert!(show("a.toml", text).fine().contains("fingerprint"));
}

#[test]
fn a_file_that_never_ends_is_not_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.toml");
    std::fs::File::create(&path).unwrap().set_len((64 << 20) + 1).unwrap();
    let error = anneal(["show", path.to_str().unwrap(), "--steps", "9"]).error(2);
    assert!(error.contains("larger than the 64 MiB"), "{error}");
}

#[test]
fn values_out_of_range_have_a_position_in_every_verb() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.toml");
    let path = path.to_str().unwrap();
    let warmed = "[schedule.warmup]\nlength = 10\n[schedule.warmup.schedule.cosine]\n";
    std::fs::write(path, format!("{warmed}peak = -1\n")).unwrap();
    let place = format!("{path}:4:8: ");
    let words = "warmup.schedule.cosine.peak: -1.0 is not allowed";
    for (verb, run) in [("show", "--steps"), ("analyze", "--steps"), ("sample", "--run-steps")] {
        let steps = if verb == "sample" { &["--steps", "0..9"][..] } else { &[] };
        let command = [verb, path, run, "100"].into_iter().chain(steps.iter().copied());
        let error = anneal(command).error(1);
        assert!(error.starts_with(&format!("error: {place}{words}")), "{verb}: {error}");
    }
    let lint = anneal(["lint", path, "--steps", "100"]);
    assert!(lint.stdout.starts_with(&place) && lint.stdout.contains(words), "{lint:?}");
    // Too long for its run: the length, on its own line.
    std::fs::write(path, format!("{warmed}peak = 1\n")).unwrap();
    let error = anneal(["show", path, "--steps", "5"]).error(1);
    assert!(error.contains(&format!("{path}:2:10: warmup.length: 10")), "{error}");
    wrong("a.json", r#"{"schedule": {"cosine": {"peak": -1}}}"#, "1:34", "cosine.peak");
}
