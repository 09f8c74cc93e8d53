//! Schedules and the lengths of runs, as a user gives them.

use crate::count::count;
use crate::error::{Error, note};
use anneal_control::peers::Translation;
use anneal_schedule::{
    FileError, RunLength, Schedule, ScheduleConfig, ScheduleError, ScheduleExt, Source, TextError,
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
    /// The text of the file.
    pub(crate) source: Option<Source>,
}

impl Input {
    /// Reads a file, which exists or ends in .toml or .json, a text such as `cosine(0.1)`, or either of
    /// them from stdin for `-`.
    pub fn read(argument: &str) -> Result<Self, Error> {
        if argument == "-" {
            return Self::from_stdin();
        }
        let path = Path::new(argument);
        let extension = path.extension().and_then(|extension| extension.to_str());
        let mut label = argument.to_string();
        let (config, source) = if path.is_dir() {
            return Err(Error::Usage(format!("{argument}: is a directory, not a schedule file")));
        } else if path.exists() || matches!(extension, Some("toml" | "json")) {
            label = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let loaded = load(path).map_err(|error| match error {
                FileError::Read { .. } | FileError::UnknownExtension { .. } => {
                    Error::Usage(error.to_string())
                }
                _ => Error::Schedule(error.to_string()),
            })?;
            (loaded.0, Some(loaded.1))
        } else if !argument.trim().is_empty() && !argument.contains('(') {
            return Err(Error::Usage(format!(
                "`{argument}` is neither a file nor a schedule such as cosine(3e-4).warmup(5%)"
            )));
        } else {
            let config = argument.parse().map_err(|error: TextError| Error::Text {
                text: argument.to_string(),
                column: error.column,
                message: error.message,
            })?;
            (config, None)
        };
        Ok(Self { name: argument.to_string(), label, config, source })
    }

    /// Resolves the schedule for a run.
    pub fn resolve(&self, run: &Run) -> Result<Schedule, Error> {
        run.config(self).resolve(run.length).map_err(|error| self.unresolved(run, &error))
    }

    /// Whether the run's length is known where the schedule needs it.
    pub fn check_length(&self, run: &Run) -> Result<(), Error> {
        match run.config(self).resolve(run.length) {
            Err(
                error @ (ScheduleError::NeedsRunLength { .. } | ScheduleError::NeedsEpochs { .. }),
            ) => Err(self.unresolved(run, &error)),
            _ => Ok(()),
        }
    }

    /// Its name for what is said of it in a run: with line and column, where a value in its file does
    /// not resolve.
    pub fn place(&self, run: &Run) -> String {
        match self.config.clone().resolve(run.length) {
            Ok(_) => self.name.clone(),
            Err(error) => self.place_of(&error),
        }
    }

    /// The file with line and column of the field that is wrong, or the text.
    fn place_of(&self, error: &ScheduleError) -> String {
        match &self.source {
            Some(source) => {
                let (line, column) = source.locate(&format!("schedule.{}", error.field()));
                format!("{}:{line}:{column}", self.name)
            }
            None => self.name.clone(),
        }
    }

    fn unresolved(&self, run: &Run, error: &ScheduleError) -> Error {
        match error {
            ScheduleError::NeedsRunLength { field, span } => Error::Usage(format!(
                "{}: {field}: {span} needs the length of the run; give {} N, or --epochs N \
                 --steps-per-epoch M",
                self.place_of(error),
                run.steps_flag
            )),
            ScheduleError::NeedsEpochs { field, span } => Error::Usage(format!(
                "{}: {field}: {span} needs the updates of an epoch; give --epochs N \
                 --steps-per-epoch M",
                self.place_of(error)
            )),
            ScheduleError::TooLong { .. } => Error::Schedule(format!(
                "{}: {error}; --truncate shows the beginning of the longer run",
                self.place_of(error)
            )),
            error => Error::Schedule(format!("{}: {error}", self.place_of(error))),
        }
    }
}

/// Reads a file: a schedule, or one with a controller, which answers to a training that is not there.
fn load(path: &Path) -> Result<(ScheduleConfig, Source), FileError> {
    let source = Source::read(path)?;
    let config = ScheduleConfig::from_source(&source)
        .or_else(|error| without_controller(source.origin(), error, source.parse()))?;
    Ok((config, source))
}

/// The schedule of what is none because it has a controller.
pub(crate) fn without_controller(
    name: &str,
    error: FileError,
    translation: Result<Translation, FileError>,
) -> Result<ScheduleConfig, FileError> {
    match translation {
        Ok(Translation { rate, controller: Some(_), .. }) => {
            note(&format!("{name}: its controller is left out, for it answers to training"));
            Ok(rate)
        }
        // What is wrong with a controller says more than that a schedule has none.
        Err(other) if error.to_string().contains("`controller`") => Err(other),
        _ => Err(error),
    }
}

/// The length of the run.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Length of the run in updates
    #[arg(
        long,
        value_name = "N",
        value_parser = count,
        allow_negative_numbers = true,
        conflicts_with = "epochs"
    )]
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
    #[arg(
        long,
        value_name = "N",
        value_parser = count,
        allow_negative_numbers = true,
        requires = "steps_per_epoch"
    )]
    epochs: Option<u64>,
    /// Updates in each epoch
    #[arg(
        long,
        value_name = "M",
        value_parser = count,
        allow_negative_numbers = true,
        requires = "epochs"
    )]
    steps_per_epoch: Option<u64>,
    /// Where the schedule is longer than the run, take the beginning of the longer run
    #[arg(long)]
    truncate: bool,
}

impl EpochArgs {
    /// The run that these flags say, else one of as many updates as `steps_flag` says, else one
    /// without an end.
    pub fn run_or(&self, steps_flag: &'static str, steps: Option<u64>) -> Result<Run, Error> {
        let length = match (self.epochs.zip(self.steps_per_epoch), steps) {
            (Some((epochs, updates)), _) => {
                let epochs = usize::try_from(epochs).unwrap_or(usize::MAX);
                RunLength::updates_per_epoch(updates).epochs(epochs)
            }
            (None, Some(steps)) => RunLength::updates(steps),
            (None, None) => RunLength::unbounded(),
        };
        length.resolve().map_err(|error| Error::Usage(error.to_string()))?;
        Ok(Run { length, truncate: self.truncate, steps_flag })
    }
}

/// The length of a run, and the flag that says it in updates.
#[derive(Debug)]
pub struct Run {
    /// The length.
    pub length: RunLength,
    truncate: bool,
    steps_flag: &'static str,
}

impl Run {
    /// The schedule of an input for this run.
    pub fn config(&self, input: &Input) -> ScheduleConfig {
        let config = input.config.clone();
        if self.truncate { config.truncate().into() } else { config }
    }
}
