//! Schedules and the lengths of runs, as a user gives them.

use crate::error::{Error, note};
use anneal_control::peers::Translation;
use anneal_schedule::{
    FileError, RunLength, Schedule, ScheduleConfig, ScheduleError, ScheduleExt, file,
};
use clap::Args;
use std::path::Path;

/// A schedule as the user named it.
#[derive(Debug)]
pub struct Input {
    /// The file, or the text.
    pub name: String,
    /// The file's name without folder and ending, or the text.
    pub label: String,
    /// What it says.
    pub config: ScheduleConfig,
}

impl Input {
    /// Reads a file, which exists or ends in .toml or .json, or a text such as `cosine(0.1)`.
    pub fn read(argument: &str) -> Result<Self, Error> {
        let path = Path::new(argument);
        let extension = path.extension().and_then(|extension| extension.to_str());
        let mut label = argument.to_string();
        let config = if path.is_dir() {
            return Err(Error::Usage(format!("{argument}: is a directory, not a schedule file")));
        } else if path.exists() || matches!(extension, Some("toml" | "json")) {
            label = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            load(path).map_err(|error| match error {
                FileError::Read { .. } | FileError::UnknownExtension { .. } => {
                    Error::Usage(error.to_string())
                }
                _ => Error::Schedule(error.to_string()),
            })?
        } else if !argument.trim().is_empty() && !argument.contains('(') {
            return Err(Error::Usage(format!(
                "`{argument}` is neither a file nor a schedule such as cosine(3e-4).warmup(5%)"
            )));
        } else {
            argument.parse::<ScheduleConfig>().map_err(|error| Error::Text {
                text: argument.to_string(),
                column: error.column,
                message: error.message,
            })?
        };
        Ok(Self { name: argument.to_string(), label, config })
    }

    /// Resolves the schedule for a run.
    pub fn resolve(&self, run: &Run) -> Result<Schedule, Error> {
        self.config.clone().resolve(run.length).map_err(|error| self.unresolved(run, &error))
    }

    /// Whether the run's length is known where the schedule needs it.
    pub fn check_length(&self, run: &Run) -> Result<(), Error> {
        match self.config.clone().resolve(run.length) {
            Err(error @ ScheduleError::NeedsRunLength { .. }) => Err(self.unresolved(run, &error)),
            _ => Ok(()),
        }
    }

    fn unresolved(&self, run: &Run, error: &ScheduleError) -> Error {
        match error {
            ScheduleError::NeedsRunLength { field, span } => {
                let flags = if span.ends_with("ep") {
                    "--epochs N --steps-per-epoch M".to_string()
                } else {
                    format!("{} N, or --epochs N --steps-per-epoch M", run.steps_flag)
                };
                Error::Usage(format!(
                    "{}: {field}: {span} needs the length of the run; give {flags}",
                    self.name
                ))
            }
            error => Error::Schedule(format!("{}: {error}", self.name)),
        }
    }
}

/// Reads a file: a schedule, or one with a controller, which answers to a training that is not there.
fn load(path: &Path) -> Result<ScheduleConfig, FileError> {
    ScheduleConfig::load(path).or_else(|error| match file::load::<Translation>(path) {
        Ok(Translation { rate, controller: Some(_), .. }) => {
            note(&format!(
                "{}: its controller is left out, for it answers to training",
                path.display()
            ));
            Ok(rate)
        }
        // What is wrong with a controller says more than that a schedule has none.
        Err(other) if error.to_string().contains("`controller`") => Err(other),
        _ => Err(error),
    })
}

/// The length of the run.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Length of the run in updates
    #[arg(long, value_name = "N", allow_negative_numbers = true, conflicts_with = "epochs")]
    steps: Option<u64>,
    #[command(flatten)]
    epochs: EpochArgs,
}

impl RunArgs {
    /// The run that the flags say, which may be one without an end.
    pub fn run(&self) -> Result<Run, Error> {
        self.epochs.run_or("--steps", self.steps)
    }
}

/// The length of the run in epochs.
#[derive(Debug, Args)]
pub struct EpochArgs {
    /// Length of the run in epochs
    #[arg(long, value_name = "N", allow_negative_numbers = true, requires = "steps_per_epoch")]
    epochs: Option<usize>,
    /// Updates in each epoch
    #[arg(long, value_name = "M", allow_negative_numbers = true, requires = "epochs")]
    steps_per_epoch: Option<u64>,
}

impl EpochArgs {
    /// The run that these flags say, else one of as many updates as `steps_flag` says, else one
    /// without an end.
    pub fn run_or(&self, steps_flag: &'static str, steps: Option<u64>) -> Result<Run, Error> {
        let length = match (self.epochs.zip(self.steps_per_epoch), steps) {
            (Some((epochs, updates)), _) => RunLength::updates_per_epoch(updates).epochs(epochs),
            (None, Some(steps)) => RunLength::updates(steps),
            (None, None) => RunLength::unbounded(),
        };
        length.resolve().map_err(|error| Error::Usage(error.to_string()))?;
        Ok(Run { length, steps_flag })
    }
}

/// The length of a run, and the flag that says it in updates.
#[derive(Debug)]
pub struct Run {
    /// The length.
    pub length: RunLength,
    steps_flag: &'static str,
}
