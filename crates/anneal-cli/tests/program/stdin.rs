//! `-` for stdin

use crate::{anneal, anneal_of};

const TOML: &str = "# One of two ways.\nversion = 1\n[schedule.cosine]\npeak = 0.1\n";
const JSON: &str = r#"{"schedule": {"cosine": {"peak": 0.1}}}"#;
const TEXT: &str = "  cosine(0.1)\n";

#[test]
fn a_schedule_comes_from_stdin_in_any_form() {
    let run = ["--steps", "0..3", "--run-steps", "10"];
    let expected = anneal(["sample", "cosine(0.1)"].into_iter().chain(run)).fine();
    for text in [TOML, JSON, TEXT, &format!("\u{feff}{JSON}")] {
        let arguments: Vec<&str> = ["sample", "-"].into_iter().chain(run).collect();
        assert_eq!(anneal_of(text, &arguments).fine(), expected, "{text}");
    }
}

#[test]
fn all_verbs_that_take_a_schedule_take_it_from_stdin() {
    for arguments in [
        &["show", "-", "--steps", "10"] as &[&str],
        &["show", "constant(0.1)", "-", "--steps", "10"],
        &["lint", "-", "--steps", "10"],
        &["analyze", "-", "--steps", "10"],
    ] {
        for text in [TOML, JSON, TEXT] {
            anneal_of(text, arguments).fine();
        }
    }
    let step = ["match", "--step", "-", "--steps", "90"];
    assert!(anneal_of("step_decay(0.1, 30, 0.1)", &step).fine().contains("exponential(0.1"));
    // A text is its own name.
    let said = anneal_of(TEXT, &["lint", "-", "--steps", "10"]).fine();
    assert_eq!(said, "cosine(0.1): fine\n");
    assert_eq!(anneal_of(TOML, &["lint", "-", "--steps", "10"]).fine(), "stdin: fine\n");
}

#[test]
fn a_controller_is_left_out_with_a_note() {
    let plateau =
        ["translate", "--from", "torch", "--base-lr", "0.1", "--name", "ReduceLROnPlateau"];
    let toml = anneal(plateau.into_iter().chain(["{}"])).fine();
    let ran = anneal_of(toml, &["sample", "-", "--steps", "0..1"]);
    assert!(ran.code == Some(0) && ran.stdout.contains("0,0.1"), "{ran:?}");
    assert!(ran.stderr.contains("note: stdin: its controllers are ignored"), "{ran:?}");
}

#[test]
fn what_is_wrong_with_stdin_has_its_place() {
    for (text, code, words) in [
        ("[schedule.cosine]\npaek = 0.1\n".as_bytes(), 1, "stdin:2:1: unknown field `paek`"),
        (br#"{"schedule": {"cosin": {}}}"#, 1, "did you mean `cosine`?"),
        (b"cosine(0.1).flor(1)", 1, "column 13: unknown call `flor`"),
        (b"version = 9\n[schedule.constant]\nrate = 1\n", 1, "stdin: version: 9"),
        (b"", 2, "stdin: is empty; allowed: a schedule such as cosine(3e-4)"),
        (b"  \n", 2, "stdin: is empty"),
        (b"caf\xe9(", 2, "stdin: the text is not UTF-8"),
    ] {
        let error = anneal_of(text, &["show", "-", "--steps", "10"]).error(code);
        assert!(error.contains(words), "{words}: {error}");
    }
    let twice = anneal_of(TEXT, &["show", "-", "-", "--steps", "10"]).error(2);
    assert!(twice.contains("stdin: is empty"), "{twice}");
}

#[test]
fn arguments_of_a_peer_come_from_stdin_or_a_file() {
    let step = r#"{"name": "StepLR", "args": {"step_size": 30}, "base_lr": 0.1}"#;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("step.json");
    let path = path.to_str().unwrap();
    std::fs::write(path, step).unwrap();
    let at = format!("@{path}");
    let translate = |argument: &str| {
        let unit = ["--unit", "steps", argument];
        let arguments = ["translate", "--from", "torch", "--format", "text"];
        anneal_of(step, &[&arguments[..], &unit].concat())
    };
    for argument in [step, path, &at, "-"] {
        assert_eq!(translate(argument).fine(), "step_decay(0.1, 30, 0.1)\n", "{argument}");
    }
    std::fs::write(path, "{").unwrap();
    let error = translate(path).error(2);
    assert!(error.starts_with(&format!("error: {path}: not a JSON object: ")), "{error}");
    let missing = translate("@no.json").error(2);
    assert!(missing.contains("no.json: No such file"), "{missing}");
}
