//! What an example says on the terminal.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::error::ExampleError;

/// Prints a line. A reader who has closed the pipe, such as `head`, is no reason to stop a training.
pub fn say(text: impl Display) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Prints what a run has come to, or in one line why it has not, and gives the exit code.
pub fn conclude<T: Display>(outcome: Result<T, ExampleError>) -> ExitCode {
    match outcome {
        Ok(report) => {
            say(format_args!("\n{report}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}
