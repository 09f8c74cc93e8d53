//! The comparison of half precision on real digits: plain f16, loss scaling, and a run that is killed and resumed.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A metric of each update of an epoch.
fn log(run: &Path, epoch: usize, metric: &str) -> Vec<f64> {
    let path = run.join(format!("train/epoch-{epoch}/{metric}.log"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let values = text.lines().filter(|line| !line.ends_with("final"));
    values.map(|line| line.split(',').next().unwrap().parse().unwrap()).collect()
}

/// Losses and accuracies of each epoch, on the test images too.
fn history(run: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(run.join("history.json")).unwrap();
    let mut history: serde_json::Value = serde_json::from_str(&text).unwrap();
    let epochs = history["epochs"].as_array_mut().unwrap();
    for epoch in epochs.iter_mut() {
        epoch.as_object_mut().unwrap().remove("seconds");
    }
    epochs.clone()
}

/// The comparison, with these arguments.
fn program(arguments: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_experiments"));
    program.arg("half_precision").args(arguments);
    program
}

/// Plain f16 learns nothing; with loss scaling and master weights, with or without the cap, the accuracy is within 1 %
/// of f32.
#[test]
fn plain_f16_fails_on_mnist_and_loss_scaling_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let done = program(&["--out", out.to_str().unwrap(), "--backend", "flex"]).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    println!("{}", String::from_utf8_lossy(&done.stdout));
    let text = std::fs::read_to_string(out.join("comparison.json")).unwrap();
    let rows: serde_json::Value = serde_json::from_str(&text).unwrap();
    let accuracy = |name: &str| {
        let row = rows.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap();
        row["final_accuracy"]["mean"].as_f64().unwrap()
    };
    let exact = accuracy("f32");
    assert!(exact > 0.95, "{exact}");
    assert!(accuracy("f16-plain") < 0.5, "{}", accuracy("f16-plain"));
    for name in ["f16-scaled", "f16-capped"] {
        assert!((accuracy(name) - exact).abs() <= 0.01, "{name}: {}, f32 {exact}", accuracy(name));
    }
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    let last_loss = |name: &str| mean(log(&out.join(name).join("seed-0"), 10, "Loss"));
    // It dies with NaN or stalls near log 10.
    let plain = last_loss("f16-plain");
    assert!(plain.is_nan() || plain > 1.0, "{plain}");
    assert!(last_loss("f16-scaled") < 1.2 * last_loss("f32"));
    let cut = mean(log(&out.join("f16-capped/seed-0"), 10, "Factor_overflow_cap"));
    assert!(cut > 0.98, "a healthy run keeps its rate: {cut}");
    let picture = std::fs::read_to_string(out.join("precision.svg")).unwrap();
    for word in ["loss scale", "learning rate", "f16-plain"] {
        assert!(picture.contains(word), "{word}");
    }
}

const RESUMED: [&str; 12] = [
    "--epochs",
    "4",
    "--limit",
    "400",
    "--batch-size",
    "20",
    "--methods",
    "f16-scaled,f16-capped",
    "--backend",
    "flex",
    "--seed",
    "3",
];

#[test]
fn a_killed_run_in_half_precision_goes_on_as_if_nothing_had_happened() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = |out: &Path, more: &[&'static str]| -> Vec<String> {
        let mut all: Vec<String> = RESUMED.iter().map(|word| (*word).to_owned()).collect();
        all.extend(["--out".to_owned(), out.to_str().unwrap().to_owned()]);
        all.extend(more.iter().map(|word| (*word).to_owned()));
        all
    };
    let run = |arguments: Vec<String>| {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let done = program(&words).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    run(arguments(&whole, &[]));
    // Killed in the middle of each of both runs.
    for method in ["f16-scaled", "f16-capped"] {
        let more: &[&'static str] = if method == "f16-scaled" { &[] } else { &["--resume"] };
        let arguments = arguments(&killed, more);
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (out, err) = (Stdio::null(), Stdio::null());
        let mut child = program(&words).stdout(out).stderr(err).spawn().unwrap();
        let started = Instant::now();
        let member = killed.join(method).join("seed-3");
        let saved = |file| member.join("checkpoint").join(file).exists();
        while !["model-2.bpk", "optim-2.bpk", "scheduler-2.bpk"].into_iter().all(saved) {
            assert!(started.elapsed() < Duration::from_secs(120), "no epoch was saved");
            assert!(child.try_wait().unwrap().is_none(), "the run ended before it saved an epoch");
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!member.join("summary.json").exists(), "the run was not interrupted");
    }
    run(arguments(&killed, &["--resume"]));
    let mut changes = 0;
    for method in ["f16-scaled", "f16-capped"] {
        let of = |run: &Path| run.join(method).join("seed-3");
        for epoch in 1..=4 {
            let metrics = ["Loss", "Loss_Scale", "Skipped", "Learning_Rate", "Accuracy"];
            for metric in
                metrics.iter().chain((method == "f16-capped").then_some(&"Factor_overflow_cap"))
            {
                let (expected, found) =
                    (log(&of(&whole), epoch, metric), log(&of(&killed), epoch, metric));
                assert_eq!(expected.len(), 20);
                assert_eq!(found, expected, "{method}: {metric} of epoch {epoch}");
            }
            let scales = log(&of(&whole), epoch, "Loss_Scale");
            changes += scales.windows(2).filter(|pair| pair[0] != pair[1]).count();
        }
        assert_eq!(history(&of(&killed)), history(&of(&whole)), "{method}");
    }
    assert!(changes > 0, "the scale must move for this to show anything");
}
