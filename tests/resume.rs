//! A killed and resumed run equals the uninterrupted one, rate by rate and loss by loss.

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

/// When to kill a run.
#[derive(Clone, Copy, Debug)]
enum Kill {
    /// After this many milliseconds.
    After(u64),
    /// With the file of this name, or a later one.
    With(&'static str),
}

/// Starts or resumes a run, and kills it.
fn start_and_kill(program: &Program, run: &Path, more: &[&str], kill: Kill) {
    let mut child = program.spawn(&arguments(run, more));
    let started = Instant::now();
    let is_time = || match kill {
        Kill::After(milliseconds) => started.elapsed() >= Duration::from_millis(milliseconds),
        Kill::With(name) => run.join("checkpoint").join(name).exists(),
    };
    while !is_time() {
        assert!(started.elapsed() < Duration::from_secs(120), "{kill:?} did not come");
        if child.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_killed_run_goes_on_as_if_nothing_had_happened() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    let program = Program::example("cifar_cosine");
    let outcome = program.run(&arguments(&whole, &[]));
    assert_eq!(outcome.code, Some(0), "{outcome:?}");

    start_and_kill(&program, &killed, &[], Kill::With("scheduler-1.bpk"));
    let saved = Checkpoint::newest(&killed).unwrap().unwrap().epoch();
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

    killed_in_mid_epoch(&program, folder.path(), &whole);
}

/// Killed repeatedly, in mid-epoch, while files are written, and before the first file: the validation losses and
/// accuracies match the uninterrupted run bit for bit.
fn killed_in_mid_epoch(program: &Program, folder: &Path, whole: &Path) {
    let validated = |run: &Path| -> Vec<serde_json::Value> {
        let of = |epoch: &serde_json::Value| {
            ["epoch", "valid_loss", "valid_accuracy", "rate", "updates"]
                .map(|field| epoch[field].clone())
                .into()
        };
        history(run).iter().map(of).collect()
    };
    for (trial, kills) in [
        vec![
            Kill::After(100),
            Kill::With("scheduler-1+2.bpk"),
            Kill::With("optim-2+3.bpk.partial"),
        ],
        vec![Kill::With("model-0+2.bpk"), Kill::With("scheduler-3+4.bpk"), Kill::After(1_500)],
        vec![
            Kill::With("scheduler-0+4.bpk"),
            Kill::With("model-1.bpk.partial"),
            Kill::With("optim-4+1.bpk"),
        ],
    ]
    .into_iter()
    .enumerate()
    {
        let run = folder.join(format!("trial-{trial}"));
        for kill in &kills {
            start_and_kill(program, &run, &["--save-every", "1", "--resume"], *kill);
        }
        let outcome = program.run(&arguments(&run, &["--save-every", "1", "--resume"]));
        // A short-lived file may be missed, so the run may have finished.
        let is_finished = outcome.stderr.contains("already finished");
        assert!(outcome.code == Some(0) || is_finished, "{kills:?}: {outcome:?}");
        assert_eq!(validated(&run), validated(whole), "{kills:?}");
        let files = std::fs::read_dir(run.join("checkpoint")).unwrap();
        let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
        let half = |name: &&std::ffi::OsString| !name.to_string_lossy().ends_with(".bpk");
        assert_eq!(names.iter().find(half), None, "{names:?}");
    }
}
