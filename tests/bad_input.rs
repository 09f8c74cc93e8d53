//! Bad input to the examples gives one clear line, a non-zero exit code, and changes nothing.

use anneal_tests::Program;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Every folder and file below a folder, with its contents.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(snapshot(&path));
            files.insert(path, vec![]);
        } else {
            files.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    files
}

/// Runs `cifar_cosine`, which must fail with one line that contains all `words`, and change nothing.
fn refused(folder: &Path, arguments: &[&str], words: &[&str]) {
    let before = snapshot(folder);
    let outcome = Program::example("cifar_cosine").run(arguments);
    assert!(outcome.code.is_some_and(|code| code > 0), "{arguments:?}: {outcome:?}");
    let line = outcome.stderr.lines().find(|line| line.starts_with("error: "));
    let line = line.unwrap_or_else(|| panic!("{arguments:?}: {outcome:?}"));
    for word in words {
        assert!(line.contains(word), "{arguments:?}: no `{word}` in: {line}");
    }
    // After its line about a flag, clap adds one that points to --help.
    let most = if arguments.is_empty() || line.contains("invalid value") { 3 } else { 1 };
    assert!(outcome.stderr.lines().count() <= most, "{outcome:?}");
    assert_eq!(snapshot(folder), before, "{arguments:?} touched files");
}

#[test]
fn flags_are_checked_first() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let out = out.to_str().unwrap();
    for (flag, value) in [
        ("--batch-size", "0"),
        ("--epochs", "0"),
        ("--epochs", "-1"),
        ("--limit", "0"),
        ("--lr", "0"),
        ("--lr", "-0.1"),
        ("--lr", "NaN"),
    ] {
        refused(folder.path(), &["--out", out, flag, value], &[flag, value, "must be"]);
    }
}

#[test]
fn schedule_files_are_checked_before_training() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let file = folder.path().join("schedule.toml");
    let warmup = |length: &str| {
        format!(
            "[schedule.warmup]\nlength = {length}\n[schedule.warmup.schedule.cosine]\npeak = 0.1\n"
        )
    };
    let cosine = |line: &str| format!("[schedule.cosine]\npeak = 0.1\n{line}\n");
    for (text, words) in [
        (cosine("peek = 0.1"), vec!["schedule.toml:3:1", "unknown field `peek`", "`peak`"]),
        (cosine("length = 0"), vec!["cosine.length: 0", "at least 1"]),
        (cosine("length = -5"), vec!["schedule.toml:3:10", "-5", "at least 1"]),
        (cosine("length = \"-5%\""), vec!["cosine.length: -5%", "(0, 100]"]),
        (cosine("end = nan"), vec!["cosine.end: NaN", "[0.0, 0.1]"]),
        (cosine("end = 0.2"), vec!["cosine.end: 0.2", "[0.0, 0.1]"]),
        ("[schedule.cosine]\npeak = 0".into(), vec!["cosine.peak: 0.0", "above 0"]),
        ("[schedule.cosine]\npeak = -1".into(), vec!["cosine.peak: -1.0", "above 0"]),
        (
            "[schedule.floor]\nfloor = 0.2\n[schedule.floor.schedule.cosine]\npeak = 0.1".into(),
            vec!["floor.floor: 0.2", "at most the schedule's peak 0.1"],
        ),
        (warmup("\"21ep\""), vec!["warmup.length: 21ep", "2 updates", "left for it"]),
        (warmup("nan"), vec!["schedule.toml:2:10"]),
        ("[schedule".into(), vec!["schedule.toml:1:"]),
        ("".into(), vec!["schedule.toml", "missing field `schedule`"]),
    ] {
        std::fs::write(&file, text).unwrap();
        let arguments = [
            "--schedule",
            file.to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
            "--limit",
            "64",
            "--batch-size",
            "32",
            "--epochs",
            "1",
        ];
        refused(folder.path(), &arguments, &words);
    }
    let missing = folder.path().join("none.toml");
    refused(folder.path(), &["--schedule", missing.to_str().unwrap()], &["none.toml"]);
}

#[test]
fn other_peoples_folders_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.txt"), "mine").unwrap();
    let out = folder.path().to_str().unwrap();
    refused(folder.path(), &["--out", out], &["--out", "not empty"]);
    refused(folder.path(), &["--out", out, "--resume"], &["--resume", "no run"]);
}

#[test]
fn a_checkpoint_of_another_schedule_or_a_damaged_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let arguments = |epochs: &'static str| {
        ["--limit", "32", "--batch-size", "32", "--backend", "flex", "--epochs", epochs]
    };
    let out = ["--out", out.to_str().unwrap()];
    let first = [&arguments("1")[..], &out].concat();
    let outcome = Program::example("cifar_cosine").run(&first);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");

    // More epochs are another schedule, and the message tells so.
    let more = [&arguments("2")[..], &out, &["--resume"]].concat();
    refused(folder.path(), &more, &["epoch 1", "another schedule"]);
    let extended = [&more[..], &["--on-mismatch", "keep-step"]].concat();

    let model = folder.path().join("run/checkpoint/model-1.bpk");
    let whole = std::fs::read(&model).unwrap();
    std::fs::write(&model, &whole[..whole.len() / 2]).unwrap();
    refused(folder.path(), &extended, &["model-1.bpk", "truncated"]);

    // The run keeps its limit, and the summary has the rates used before and after.
    std::fs::write(&model, &whole).unwrap();
    let flags = ["--batch-size", "32", "--backend", "flex", "--epochs", "2"];
    let changed = ["--schedule", "constant(1e-3)", "--resume", "--on-mismatch", "keep-step"];
    let outcome =
        Program::example("cifar_cosine").run(&[&flags[..], &out[..], &changed[..]].concat());
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.stdout.contains("32 images to train on"), "{outcome:?}");
    let text = std::fs::read_to_string(folder.path().join("run/summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
    let rates = ["rate_first", "rate_peak", "rate_last"].map(|field| summary[field].clone());
    assert_eq!(rates, [4e-3, 4e-3, 1e-3]);
}
