//! The commands in the help examples run.

use crate::{VERBS, anneal, program, ran};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Creates the files that the examples name in `folder`.
fn files(folder: &Path) {
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schedules");
    fs::copy(recipes.join("nanogpt.toml"), folder.join("gpt.toml")).unwrap();
    fs::copy(recipes.join("resnet.toml"), folder.join("resnet.toml")).unwrap();
    let training = recipes.join("../trainings/finetune_vit.toml");
    fs::copy(training, folder.join("train.toml")).unwrap();
    fs::write(folder.join("step.json"), r#"{"step_size": 30}"#).unwrap();
    fs::write(folder.join("training_args.json"), r#"{"learning_rate": 2e-5}"#).unwrap();
    let optimizer = r#"{"optimizer": {"type": "AdamW", "params": {"lr": 1e-4}}}"#;
    fs::write(folder.join("ds_config.json"), optimizer).unwrap();
    let composer = "max_duration: 10ep\noptimizer: {name: adamw, lr: 1e-3}\n";
    fs::write(folder.join("config.yaml"), composer).unwrap();
    for home in [".local/share/bash-completion/completions", ".config/fish/completions"] {
        fs::create_dir_all(folder.join(home)).unwrap();
    }
    fs::create_dir(folder.join("bin")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_anneal"), folder.join("bin/anneal")).unwrap();
}

#[cfg(unix)]
#[test]
fn the_examples_run() {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path());
    let path = format!("{}:/usr/bin:/bin", folder.path().join("bin").display());
    let mut tried = 0;
    for verb in [""].iter().chain(&VERBS) {
        let arguments = [verb, "--help"].into_iter().filter(|argument| !argument.is_empty());
        let help = ran(program().args(arguments).env("COLUMNS", "100")).fine();
        let examples = help.lines().filter_map(|line| line.strip_prefix("  "));
        let is_command = |line: &&str| line.starts_with("anneal ") || line.contains("| anneal ");
        for example in examples.filter(is_command) {
            let mut shell = Command::new("sh");
            shell.args(["-c", example]).current_dir(folder.path());
            shell.env_clear().env("PATH", &path).env("HOME", folder.path());
            let ran = ran(&mut shell);
            // A lint may print a finding.
            let is_found = ran.code == Some(1) && ran.stdout.contains("warning[");
            assert!(ran.code == Some(0) || is_found, "{example}: {ran:?}");
            tried += 1;
        }
    }
    assert!(tried > 25, "{tried}");
}

#[test]
fn no_line_of_the_help_is_longer_than_a_page() {
    for verb in VERBS {
        let help = anneal([verb, "--help"]).fine();
        for line in help.lines() {
            assert!(line.chars().count() <= 110, "{verb}: {line}");
        }
    }
}
