//! What an example says on the terminal.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use burn_anneal::prelude::{BuildError, CheckpointError};

use crate::error::ExampleError;

/// Prints a line. A reader who has closed the pipe, such as `head`, is no reason to stop a training.
pub fn say(text: impl Display) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Prints what a run has come to, or in one line why it has not, and gives the exit code.
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

/// The library has a rule for checkpoints of another schedule, or of other groups; the command line has a flag for it.
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
        )) => "; the rule is the flag --on-mismatch",
        _ => "",
    }
}
