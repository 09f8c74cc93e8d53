//! A run that is killed and resumed equals the uninterrupted one, rate for rate and loss for loss.

use anneal_tests::Program;
use burn_anneal::prelude::*;
use std::path::Path;
use std::time::{Duration, Instant};

const EPOCHS: usize = 6;
const ARGUMENTS: [&str; 8] =
    ["--epochs", "6", "--limit", "160", "--batch-size", "32", "--backend", "flex"];

fn arguments<'a>(out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let mut all = ARGUMENTS.to_vec();
    all.extend(["--out", out.to_str().unwrap()]);
    all.extend(more);
    all
}

/// Burn's log of a metric in an epoch: a line for each batch, and one for the whole.
fn log(run: &Path, epoch: usize, metric: &str) -> String {
    let path = run.join(format!("train/epoch-{epoch}/{metric}.log"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The epochs of `history.json` without their times.
fn history(run: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(run.join("history.json")).unwrap();
    let mut history: serde_json::Value = serde_json::from_str(&text).unwrap();
    let epochs = history["epochs"].as_array_mut().unwrap();
    for epoch in epochs.iter_mut() {
        epoch.as_object_mut().unwrap().remove("seconds");
    }
    epochs.clone()
}

fn kill_after_the_first_saved_epoch(program: &Program, run: &Path) -> usize {
    let mut child = program.spawn(&arguments(run, &[]));
    let started = Instant::now();
    // A half-written checkpoint is an error here, and worth another look.
    while !matches!(SavedEpoch::newest(run), Ok(Some(_))) {
        assert!(started.elapsed() < Duration::from_secs(120), "no epoch was saved");
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it saved an epoch");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    SavedEpoch::newest(run).unwrap().unwrap().epoch()
}

#[test]
fn a_killed_run_goes_on_as_if_nothing_had_happened() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    let program = Program::example("cifar_cosine");
    let outcome = program.run(&arguments(&whole, &[]));
    assert_eq!(outcome.code, Some(0), "{outcome:?}");

    let saved = kill_after_the_first_saved_epoch(&program, &killed);
    assert!(saved < EPOCHS, "the run was not interrupted");
    assert!(!killed.join("summary.json").exists(), "the run was not interrupted");
    let outcome = program.run(&arguments(&killed, &["--resume"]));
    assert_eq!(outcome.code, Some(0), "{outcome:?}");

    for epoch in saved + 1..=EPOCHS {
        for metric in ["Learning_Rate", "Loss", "Accuracy"] {
            let (expected, found) = (log(&whole, epoch, metric), log(&killed, epoch, metric));
            assert_eq!(expected.lines().count(), 6, "5 batches and the mean: {expected}");
            assert_eq!(found, expected, "{metric} of epoch {epoch}");
        }
    }
    assert_eq!(history(&killed), history(&whole));

    let outcome = program.run(&arguments(&killed, &["--resume"]));
    assert_eq!(outcome.code, Some(1), "a finished run is not resumed: {outcome:?}");
    assert!(outcome.stderr.contains("already finished 6 epochs"), "{outcome:?}");
}
