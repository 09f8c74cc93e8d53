//! The `anneal` program as users run it.

mod analysis;
mod bad_files;
mod explain;
mod help;
mod lint;
mod list;
mod pages;
mod recipes;
mod reports;
mod sample;
mod schema;
mod show;
mod stdin;
mod translate;
mod warmups;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const VERBS: [&str; 10] = [
    "list",
    "show",
    "sample",
    "lint",
    "explain",
    "analyze",
    "match",
    "translate",
    "schema",
    "completions",
];

/// The output of a run of the program.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    /// The output of a run without errors or notes.
    fn fine(self) -> String {
        assert!(self.code == Some(0) && self.stderr.is_empty(), "{self:?}");
        self.stdout
    }

    /// The error of a run that ended with `code`: one line, or three with a caret.
    fn error(self, code: i32) -> String {
        let short = Self { stderr: self.stderr.chars().take(3_000).collect(), ..self };
        assert_eq!((short.code, short.stdout.as_str()), (Some(code), ""), "{short:?}");
        assert!(short.stderr.starts_with("error: "), "{short:?}");
        let lines: Vec<&str> = short.stderr.lines().collect();
        assert!(lines.len() == 1 || lines.len() == 3 && lines[2].trim() == "^", "{short:?}");
        short.stderr
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anneal"));
    command.env_remove("NO_COLOR").env_remove("COLUMNS").stdin(Stdio::null());
    command
}

fn anneal<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Ran {
    ran(program().args(arguments))
}

fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Runs the program with this text on stdin.
fn anneal_of(stdin: impl AsRef<[u8]>, arguments: &[&str]) -> Ran {
    let mut text = tempfile::tempfile().unwrap();
    text.write_all(stdin.as_ref()).unwrap();
    std::io::Seek::rewind(&mut text).unwrap();
    ran(program().args(arguments).stdin(text))
}

/// The repository's `docs` folder.
fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

#[test]
fn help_teaches() {
    let help = anneal(["--help"]).fine();
    for word in VERBS.iter().chain(&["Exit codes", "cosine("]) {
        assert!(help.contains(word), "{word}: {help}");
    }
    for verb in VERBS {
        let help = anneal([verb, "--help"]).fine();
        assert!(help.contains("Example") && help.contains(&format!("anneal {verb}")), "{help}");
    }
    assert!(anneal(["--version"]).fine().starts_with("anneal "));
}

#[test]
fn wrong_commands_are_one_line_and_exit_code_2() {
    for (arguments, words) in [
        (&["shw"] as &[&str], "'show'"),
        (&["show"], "SCHEDULE"),
        (&["show", "constant(1)", "--stps", "3"], "'--steps'"),
        (&["show", "constant(1)", "--epochs", "3"], "--steps-per-epoch"),
        (
            &["show", "constant(1)", "--steps", "3", "--epochs", "3", "--steps-per-epoch", "3"],
            "--epochs",
        ),
        (&["show", "constant(1)", "--steps", "-3"], "-3"),
        (&["completions", "basic"], "bash"),
    ] {
        let error = anneal(arguments.iter().copied()).error(2);
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
}

#[test]
fn without_a_verb_the_help_is_shown() {
    let Ran { code, stdout, stderr } = anneal([]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.lines().count() > 20 && stderr.contains("\n  show "), "{stderr}");
}

#[test]
fn completions_know_the_verbs() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = anneal(["completions", shell]).fine();
        assert!(script.contains("translate") && script.contains("steps-per-epoch"), "{shell}");
    }
}
