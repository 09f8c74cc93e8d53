//! Reads schedules and run lengths from user input.

use crate::error::{Error, note};
use crate::run_arguments::Run;
use anneal_config::TrainingConfig;
use anneal_schedule::{
    FileError, Schedule, ScheduleConfig, ScheduleError, ScheduleExt, Source, TextError,
};
use std::path::Path;

/// A schedule, or a whole training, given by the user.
#[derive(Debug)]
pub struct Input {
    /// The file, or the text.
    pub name: String,
    /// The file name without folder and extension, or the text.
    pub label: String,
    /// The schedule.
    pub config: ScheduleConfig,
    /// The whole training of the file; `None` for a text.
    pub training: Option<TrainingConfig>,
}

impl Input {
    /// Reads a schedule for a verb that uses nothing else, and notes that it ignores controllers.
    pub fn read(argument: &str) -> Result<Self, Error> {
        let input = Self::read_whole(argument)?;
        if input.training.as_ref().is_some_and(|training| !training.controllers.is_empty()) {
            note(&format!(
                "{}: its controllers are ignored, because they react to training",
                input.name
            ));
        }
        Ok(input)
    }

    /// Reads a file, which exists or ends in .toml or .json, a text such as `cosine(0.1)`, or either of
    /// them from stdin for `-`.
    pub fn read_whole(argument: &str) -> Result<Self, Error> {
        if argument == "-" {
            return Self::from_stdin();
        }
        let path = Path::new(argument);
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() {
            return Err(Error::Usage(format!("{argument}: is a directory, not a schedule file")));
        }
        if path.exists() || matches!(extension, Some("toml" | "json")) {
            let label = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let source = Source::read(path).map_err(|error| match error {
                FileError::Parse { .. } => Error::Schedule(error.to_string()),
                _ => Error::Usage(error.to_string()),
            })?;
            return Self::from_source(argument.to_string(), label, source);
        }
        if !argument.trim().is_empty() && !argument.contains('(') {
            return Err(Error::Usage(format!(
                "`{argument}` is neither a file nor a schedule such as cosine(3e-4).warmup(5%)"
            )));
        }
        let config = argument.parse().map_err(|error: TextError| Error::Text {
            text: argument.to_string(),
            column: error.column,
            message: error.message,
        })?;
        let (name, label) = (argument.to_string(), argument.to_string());
        Ok(Self { name, label, config, training: None })
    }

    /// Reads the text of a file.
    pub(crate) fn from_source(name: String, label: String, source: Source) -> Result<Self, Error> {
        let training = TrainingConfig::from_source(source);
        let training = training.map_err(|error| Error::Schedule(error.to_string()))?;
        Ok(Self { name, label, config: training.schedule.clone(), training: Some(training) })
    }

    /// Resolves the schedule for a run.
    pub fn resolve(&self, run: &Run) -> Result<Schedule, Error> {
        run.config(self).resolve(run.length).map_err(|error| self.unresolved(run, &error))
    }

    /// Checks that the length of the run is known if the schedule needs it.
    pub fn check_length(&self, run: &Run) -> Result<(), Error> {
        match run.config(self).resolve(run.length) {
            Err(
                error @ (ScheduleError::NeedsRunLength { .. }
                | ScheduleError::NeedsEpochs { .. }
                | ScheduleError::NeedsSamples { .. }),
            ) => Err(self.unresolved(run, &error)),
            _ => Ok(()),
        }
    }

    /// Checks everything for a run except what needs a model.
    pub fn check(&self, run: &Run) -> Result<(), Error> {
        self.resolve(run)?;
        let Some(training) = &self.training else { return Ok(()) };
        let mut training = training.clone();
        training.schedule = run.config(self);
        training.check(run.length).map_err(|error| {
            Error::Schedule(format!("{}: {error}", self.place_of_field(&error.field())))
        })
    }

    /// Its name in messages about a run: with line and column if a value in its file does not resolve.
    pub fn place(&self, run: &Run) -> String {
        match self.config.clone().resolve(run.length) {
            Ok(_) => self.name.clone(),
            Err(error) => self.place_of(&error),
        }
    }

    /// The file with line and column of the wrong field, or the text.
    fn place_of(&self, error: &ScheduleError) -> String {
        self.place_of_field(&format!("schedule.{}", error.field()))
    }

    /// The file with line and column of a field, or the text.
    pub fn place_of_field(&self, field: &str) -> String {
        let place = self.training.as_ref().and_then(|training| training.locate(field));
        place.unwrap_or_else(|| self.name.clone())
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
                "{}: {field}: {span} needs the number of updates per epoch; give --epochs N \
                 --steps-per-epoch M",
                self.place_of(error)
            )),
            ScheduleError::NeedsSamples { field, span } => Error::Usage(format!(
                "{}: {field}: {span} needs the {} of each update; give --batch-size B{}, and the length of the run",
                self.place_of(error),
                if span.ends_with("tok") { "tokens" } else { "samples" },
                if span.ends_with("tok") { " --tokens-per-sample K" } else { "" }
            )),
            ScheduleError::TooLong { .. } => Error::Schedule(format!(
                "{}: {error}; --truncate shows the beginning of the longer run",
                self.place_of(error)
            )),
            error => Error::Schedule(format!("{}: {error}", self.place_of(error))),
        }
    }
}
