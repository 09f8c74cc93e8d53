//! Errors of the program, their messages, and their exit codes.

use clap::error::ErrorKind;
use std::io::{self, Write};
use std::process::ExitCode;
use thiserror::Error;

/// Why a command failed.
#[derive(Debug, Error)]
pub enum Error {
    /// The schedule is wrong: exit code 1.
    #[error("{0}")]
    Schedule(String),
    /// The text of a schedule is wrong at a column, counted in characters from 1: exit code 1.
    #[error("column {column}: {message}")]
    Text {
        /// The whole text.
        text: String,
        /// The column of the error.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// The command is wrong, or a file cannot be read or written: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The output cannot be written: exit code 2, or success if the reader has closed it.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
}

impl Error {
    /// Prints the error to stderr and returns the exit code.
    pub fn report(&self) -> ExitCode {
        if matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        let mut lines = format!("error: {}\n", one_line(self.to_string()));
        if let Self::Text { text, column, .. } = self {
            lines += &caret(text, *column);
        }
        say(&lines);
        ExitCode::from(self.code())
    }

    /// The exit code of this error.
    pub fn code(&self) -> u8 {
        match self {
            Self::Schedule(_) | Self::Text { .. } => 1,
            Self::Usage(_) | Self::Output(_) => 2,
        }
    }
}

/// Reports clap's error about the arguments as one line; help and version go to stdout.
pub fn report_arguments(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // The reader may have closed it.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // The full help, on stderr.
        let _ = error.print();
        return ExitCode::from(2);
    }
    let text = error.to_string();
    let message: Vec<&str> =
        text.split("\n\n").filter(|part| !part.trim_start().starts_with("Usage:")).collect();
    let message = message.join("; ");
    say(&format!("{}\n", one_line(message.split_whitespace().collect::<Vec<_>>().join(" "))));
    ExitCode::from(2)
}

/// Prints a line to stderr that is not an error.
pub fn note(message: &str) {
    say(&format!("note: {}\n", one_line(message)));
}

fn say(lines: &str) {
    // If even stderr is closed, there is nowhere to report to.
    let _ = io::stderr().write_all(lines.as_bytes());
}

/// The number of characters shown from the start and the end of a long message.
const SHOWN: (usize, usize) = (1_200, 400);

/// A message without line breaks and terminal codes, and of limited length: it may quote any file.
fn one_line(message: impl AsRef<str>) -> String {
    let clean = without_control(message.as_ref());
    let length = clean.chars().count();
    if length <= SHOWN.0 + SHOWN.1 {
        return clean;
    }
    let (head, tail) = (clean.chars().take(SHOWN.0), clean.chars().skip(length - SHOWN.1));
    head.chain(" … ".chars()).chain(tail).collect()
}

/// A text without terminal control characters.
pub fn without_control(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

/// The part of `text` around `column`, and a caret below it.
fn caret(text: &str, column: usize) -> String {
    const BEFORE: usize = 50;
    const AFTER: usize = 20;
    let first = column.saturating_sub(1 + BEFORE);
    let part: String = text.chars().skip(first).take(BEFORE + AFTER).collect();
    let indent = " ".repeat(column - 1 - first);
    format!("  {}\n  {indent}^\n", without_control(&part))
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_short_line() {
        assert_eq!(one_line("a\nb\u{1b}[31m"), "a\u{FFFD}b\u{FFFD}[31m");
        let long = one_line("x".repeat(1_000_000) + "end");
        assert!(long.chars().count() < 2_000 && long.ends_with("end"));
    }

    #[test]
    fn the_caret_stands_below_its_column() {
        assert_eq!(
            caret("cosine(0.1).flor(1)", 13),
            format!("  cosine(0.1).flor(1)\n  {:12}^\n", "")
        );
        let long = caret(&"x".repeat(1_000), 500);
        assert!(long.lines().all(|line| line.chars().count() <= 72), "{long}");
        assert_eq!(caret("", 1), "  \n  ^\n");
    }
}
