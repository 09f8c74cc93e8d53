//! Short runs of each experiment: checks files, arms and numbers.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs an experiment, and returns its table, with a line for each arm.
fn short(name: &str, folder: &Path, seeds: &str) -> Vec<String> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_experiments"));
    let done =
        program.args([name, "--short", "--seeds", seeds, "--out"]).arg(folder).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));

    let picture = fs::read_to_string(folder.join(format!("{name}.svg"))).unwrap();
    assert!(picture.starts_with("<svg") || picture.starts_with("<?xml"), "{}", &picture[..80]);
    let text = fs::read_to_string(folder.join(format!("{name}.md"))).unwrap();
    assert!(text.contains("Expected: ") && text.contains("Where it does not win: "), "{text}");
    let rows = text.lines().filter(|line| line.starts_with("| ")).skip(2);
    rows.map(str::to_owned).collect()
}

/// Checks that all arms have a line, in this order, and that the numbers of the `finite` arms are finite.
fn check(rows: &[String], arms: &[&str], finite: &[&str]) {
    let found: Vec<&str> = rows.iter().map(|row| row.split(" | ").next().unwrap()).collect();
    let expected: Vec<String> = arms.iter().map(|arm| format!("| {arm}")).collect();
    assert_eq!(found, expected);
    for arm in finite {
        let row = rows.iter().find(|row| row.starts_with(&format!("| {arm} |"))).unwrap();
        assert!(!row.contains("not finite"), "{row}");
    }
}

#[test]
fn averages() {
    let folder = tempfile::tempdir().unwrap();
    let arms = [
        "cosine",
        "trapezoid",
        "constant",
        "constant, EMA",
        "constant, SWA",
        "constant, merged",
        "schedule-free",
    ];
    check(&short("averages", folder.path(), "1"), &arms, &arms);
}

#[test]
fn gan() {
    let folder = tempfile::tempdir().unwrap();
    let rows = short("gan", folder.path(), "2");

    let arms = [
        "constant",
        "in phase, 50 %",
        "out of phase, 50 %",
        "in phase, 90 %",
        "out of phase, 90 %",
    ];
    check(&rows, &arms, &arms);
    let samples = fs::read(folder.path().join("gan_samples.png")).unwrap();
    assert!(samples.starts_with(b"\x89PNG"));
}

#[test]
fn continual() {
    let folder = tempfile::tempdir().unwrap();
    let arms = [
        "constant",
        "step",
        "cosine",
        "exponential",
        "rehearsed, constant",
        "rehearsed, half-life 3",
        "rehearsed, half-life R",
        "rehearsed, half-life 4R",
    ];
    let rows = short("continual", folder.path(), "1");

    check(&rows, &arms, &[]);
    // A short run does not show what is kept after much learning; everything else is known.
    assert!(rows.iter().all(|row| row.matches(" %").count() >= 3), "{rows:?}");
}

#[test]
fn curriculum() {
    let folder = tempfile::tempdir().unwrap();
    let arms = [
        "constant",
        "cosine",
        "by difficulty",
        "drops at the phases",
        "drops too early",
        "drops too late",
        "drops, spike to ½",
        "drops, spike to 1",
    ];
    check(&short("curriculum", folder.path(), "1"), &arms, &arms);
}

#[test]
fn curvature() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_experiments"));
    let arguments = ["curvature", "--short", "--seeds", "1", "--out"];
    let done = program.args(arguments).arg(folder.path()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = fs::read_to_string(folder.path().join("curvature.md")).unwrap();
    assert!(text.contains("| after 100 updates | ") && !text.contains("not win"), "{text}");
}

#[test]
fn federated() {
    let folder = tempfile::tempdir().unwrap();
    let arms = [
        "alike",
        "two classes",
        "rate 0.03",
        "rate 0.3",
        "5 steps",
        "80 steps",
        "80 steps, budget",
        "server rate 2",
        "rate 0.3, server rate 2",
        "server momentum",
        "drops at rounds",
        "drops in mid-round",
        "drops in turn",
    ];
    check(&short("federated", folder.path(), "1"), &arms, &arms[..3]);
}

#[test]
fn local_sgd() {
    let folder = tempfile::tempdir().unwrap();
    let arms = [
        "every step",
        "every 4",
        "every 16",
        "every 64",
        "every 4, budget",
        "every 64, budget",
        "every 64, rate of 1",
        "every 16, momentum",
        "every 16, momentum forgotten",
    ];
    check(&short("local_sgd", folder.path(), "1"), &arms, &arms[..4]);
}

#[test]
fn range_test() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_experiments"));
    let arguments = ["range_test", "--short", "--seeds", "1", "--out"];
    let done = program.args(arguments).arg(folder.path()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));

    let text = fs::read_to_string(folder.path().join("range_test.md")).unwrap();
    for word in ["| MNIST | 0 |", "| CIFAR sample | 0 |", "needs `--weights FILE`", "- valley: "] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
    for name in ["range_test", "range_test_mnist", "range_test_cifar_sample"] {
        let picture = fs::read_to_string(folder.path().join(format!("{name}.svg"))).unwrap();
        assert!(picture.contains("<svg"), "{name}");
    }
}

#[test]
fn privacy() {
    let folder = tempfile::tempdir().unwrap();
    let arms = [
        "constant 0.1",
        "constant 0.2",
        "constant 0.4",
        "constant 0.8",
        "constant 1.6",
        "constant 3.2",
        "best rate, 1/L = 3",
        "best rate, 1/L = 10",
        "best rate, 1/L = 30",
        "best rate, 1/L = 100",
    ];
    check(&short("privacy", folder.path(), "1"), &arms, &arms);
}

#[test]
fn search() {
    let folder = tempfile::tempdir().unwrap();
    let arms = [
        "linear random",
        "log random",
        "grid",
        "Sobol",
        "Gaussian process",
        "halving, random",
        "halving, Gaussian process",
    ];
    check(&short("search", folder.path(), "1"), &arms, &arms[1..]);
}

#[test]
fn search_architectures() {
    let folder = tempfile::tempdir().unwrap();
    let arms = [
        "stress test, × 10",
        "stress test, × 3",
        "test at a constant rate",
        "equal shares",
        "random survivors",
    ];
    check(&short("search_architectures", folder.path(), "1"), &arms, &arms);
    let nets = fs::read_to_string(folder.path().join("search_architectures_nets.md")).unwrap();
    assert!(
        nets.contains("| convolutions | ")
            && !nets.contains("experiments -- search_architectures_nets")
    );
}

#[test]
fn contrastive() {
    let folder = tempfile::tempdir().unwrap();
    let arms = [
        "together",
        "together, in drops",
        "temperature alone",
        "rate alone",
        "apart",
        "constant, hot",
        "constant, cold",
    ];
    check(&short("contrastive", folder.path(), "1"), &arms, &arms);
}

#[test]
fn diffusion() {
    let folder = tempfile::tempdir().unwrap();
    let arms = [
        "one level, constant",
        "one level, 1/(1 + β)",
        "one level, 1/(1 + sum)",
        "one level, 1/curvature",
        "mixed, constant",
        "mixed, weights 1/(1 + β)",
        "mixed, weights 1/(1 + sum)",
        "mixed, weights 1/curvature",
    ];
    check(&short("diffusion", folder.path(), "1"), &arms, &arms);
    let shapes = fs::read_to_string(folder.path().join("diffusion_shapes.md")).unwrap();
    assert!(shapes.contains("| sharp, in order, cosine | "), "{shapes}");
}

#[test]
fn hypergradient() {
    let folder = tempfile::tempdir().unwrap();
    let arms = [
        "too low",
        "too low, additive",
        "too low, on its logarithm",
        "too high",
        "too high, additive",
        "too high, on its logarithm",
        "fitting",
    ];
    check(&short("hypergradient", folder.path(), "1"), &arms, &arms[..3]);
}

#[test]
fn merge() {
    let folder = tempfile::tempdir().unwrap();
    let arms = [
        "as it is",
        "merged, linear",
        "merged, cosine",
        "merged, 1 − √",
        "decayed, linear",
        "decayed, cosine",
        "decayed, 1 − √",
    ];
    check(&short("merge", folder.path(), "2"), &arms, &arms);
}

#[test]
fn multitask() {
    let folder = tempfile::tempdir().unwrap();
    let arms = ["smooth", "rule", "rule, trunk", "stepped", "stepped heads"];
    check(&short("multitask", folder.path(), "2"), &arms, &arms);
    check(&short("multitask_pixels", folder.path(), "1"), &arms, &arms);
}

#[test]
fn noise_scale() {
    let folder = tempfile::tempdir().unwrap();
    let arms = ["16", "32", "64", "128", "256", "256, linear"];
    let rows = short("noise_scale", folder.path(), "1");

    check(&rows, &arms, &arms[..2]);
    let picture = fs::read_to_string(folder.path().join("noise_scale_over_training.svg")).unwrap();
    assert!(picture.contains("seed 0, low"));
}

#[test]
fn pid() {
    let folder = tempfile::tempdir().unwrap();
    let arms = [
        "constant, too high",
        "cosine, too high",
        "PI on the loss",
        "P on the loss",
        "PI on its change",
        "constant, fitting",
        "cosine, fitting",
    ];
    check(&short("pid", folder.path(), "1"), &arms, &[arms[2], arms[5]]);
}

#[test]
fn plateau_twice_is_the_same() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [rows, again] = folders.each_ref().map(|folder| short("plateau", folder.path(), "2"));

    let arms = ["constant", "step", "cosine", "plateau"];
    check(&rows, &arms, &arms);
    assert_eq!(rows, again);
}

#[test]
fn pruning() {
    let folder = tempfile::tempdir().unwrap();
    let arms = [
        "constant",
        "cosine",
        "steps at the shocks",
        "constant, restarts",
        "cosine, restarts",
        "steps, restarts",
    ];
    check(&short("pruning", folder.path(), "1"), &arms, &arms);
}

#[test]
fn snapshots() {
    let folder = tempfile::tempdir().unwrap();
    let arms = [
        "one cosine",
        "along one cosine",
        "3 cycles, low",
        "3 cycles",
        "3 cycles, high",
        "6 cycles, low",
        "6 cycles",
        "6 cycles, high",
    ];
    check(&short("snapshots", folder.path(), "1"), &arms, &arms);
}

#[test]
fn spikes() {
    let folder = tempfile::tempdir().unwrap();
    let arms = [
        "nothing",
        "clipping at 1",
        "clipping at 4",
        "guard that clips",
        "guard that cuts the rate",
        "guard that skips",
        "guard that cuts, momentum",
        "no broken batch",
    ];
    check(&short("spikes", folder.path(), "1"), &arms, &[arms[1], arms[3], arms[5], arms[7]]);
}

/// Checks that a resumable comparison on few images has these rows in its table.
fn compare(name: &str, more: &[&str], rows: &[&str], pictures: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut program = Command::new(env!("CARGO_BIN_EXE_experiments"));
    let few = ["--limit", "40", "--epochs", "1", "--batch-size", "20", "--out"];
    let done = program.arg(name).args(more).args(few).arg(&out).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));

    let text = fs::read_to_string(out.join("comparison.json")).unwrap();
    let table: serde_json::Value = serde_json::from_str(&text).unwrap();
    let found: Vec<_> = table.as_array().unwrap().iter().map(|row| &row["name"]).collect();
    assert_eq!(found, rows);
    for name in pictures {
        assert!(fs::read_to_string(out.join(name)).unwrap().contains("<svg"), "{name}");
    }
    assert!(out.join("summary.json").exists() && out.join(rows[0]).join("seed-0").exists());
}

#[test]
fn schedules() {
    let rows = ["constant", "step", "exponential", "cosine", "warmup-stable-decay", "from-file"];
    let pictures = ["accuracies.svg", "schedules.svg"];
    compare("schedules", &["--schedule", "linear(4e-3, 0)"], &rows, &pictures);
}

#[test]
fn weight_decay() {
    let rows = ["none", "coupled", "independent", "corrected", "cautious"];
    let more = ["--time-scale", "4"];
    compare("weight_decay", &more, &rows, &["accuracies.svg", "norms.svg"]);
}

#[test]
fn half_precision() {
    let rows = ["f32", "f16-scaled"];
    let more = ["--methods", "f32,f16-scaled"];
    compare("half_precision", &more, &rows, &["accuracies.svg", "precision.svg"]);
}

#[test]
fn a_short_run_needs_a_folder() {
    let done = Command::new(env!("CARGO_BIN_EXE_experiments")).args(["pid", "--short"]).output();
    let done = done.unwrap();

    assert!(!done.status.success());
    assert!(String::from_utf8_lossy(&done.stderr).contains("--out"));
}
