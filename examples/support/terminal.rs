//! The terminal output of an example.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use burn_anneal::prelude::{BuildError, CheckpointError};

use crate::error::ExampleError;

/// Prints a line. A closed pipe, for example to `head`, does not stop the training.
pub fn say(text: impl Display) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Prints the result of a run, or its error in one line, and returns the exit code.
pub fn conclude<T: Display>(outcome: Result<T, Box<dyn Error>>) -> ExitCode {
    match outcome {
        Ok(report) => {
            say(format_args!("\n{report}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}{}", flag_of_the_rule(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Names the flag for the library's rule about checkpoints of another schedule or other groups.
pub fn flag_of_the_rule(error: &(dyn Error + 'static)) -> &'static str {
    let build = match error.downcast_ref::<ExampleError>() {
        Some(ExampleError::Learner(error)) => Some(error),
        _ => error.downcast_ref::<BuildError>(),
    };
    match build {
        Some(BuildError::Checkpoint(
            CheckpointError::DifferentSchedule { .. }
            | CheckpointError::DifferentEpochs { .. }
            | CheckpointError::DifferentGroups { .. }
            | CheckpointError::ForeignScheduler { .. },
        )) => "; set it with --on-mismatch",
        _ => "",
    }
}
