//! Descriptions in TOML and JSON files: schedules, and what other crates add to them.

use crate::source::position;
use crate::text::{place_in, string_that_ends};
use crate::{RunLength, Schedule, ScheduleConfig, ScheduleError, Source, suggest};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The file format version that this crate writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// The largest file that is read, in bytes: room for a table with a rate for each of a million updates.
const MAX_BYTES: u64 = 64 << 20;

/// A learning-rate schedule of anneal-schedule.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct ScheduleFile {
    /// The version of the file format.
    #[serde(default = "current_version")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = VERSION)))]
    version: u32,
    /// The schedule: a table named after its outermost curve or combinator, or a text such as
    /// "cosine(3e-4).warmup(5%)".
    schedule: ScheduleConfig,
}

fn current_version() -> u32 {
    VERSION
}

/// Why a file does not give a description.
#[derive(Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: std::io::Error,
    },
    /// The name does not end in `.toml` or `.json`.
    #[error("{}: its name must end in .toml or .json", path.display())]
    UnknownExtension {
        /// The file.
        path: PathBuf,
    },
    /// The text is not a valid description.
    #[error("{origin}:{line}:{column}: {message}")]
    Parse {
        /// The file, or the name of the format if it was a text.
        origin: String,
        /// Line, counted from 1.
        line: usize,
        /// Column, counted from 1.
        column: usize,
        /// What is wrong and what is allowed.
        message: String,
    },
    /// The file has an unknown version, for example a newer one.
    #[error(
        "{origin}: version: {found} is not allowed; allowed: 1 to {VERSION}{}",
        if *found > VERSION { "; update anneal-schedule to read this file" } else { "" }
    )]
    Version {
        /// The file, or the name of the format if it was a text.
        origin: String,
        /// The version found.
        found: u32,
    },
    /// The description does not resolve to a schedule.
    #[error("{origin}:{line}:{column}: {error}")]
    Schedule {
        /// The file, or the name of the format if it was a text.
        origin: String,
        /// Line of the wrong field, counted from 1.
        line: usize,
        /// Its column, counted from 1.
        column: usize,
        /// What is wrong.
        error: ScheduleError,
    },
    /// The length of the run is wrong.
    #[error(transparent)]
    Run(ScheduleError),
    /// The description cannot be written, for example a length above 2⁶³ in TOML or a NaN in JSON.
    #[error("cannot write the schedule: {0}")]
    Write(String),
}

/// The message, so that `unwrap` and a `main` that returns it print what to do.
impl fmt::Debug for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl ScheduleConfig {
    /// Reads a description from a `.toml` or `.json` file.
    ///
    /// ```toml
    /// [schedule.warmup]
    /// length = "5%"
    /// [schedule.warmup.schedule.cosine]
    /// peak = 3e-4
    /// end = 1e-6
    /// ```
    ///
    /// or the same as a text, which can also replace any nested schedule:
    ///
    /// ```toml
    /// schedule = "cosine(3e-4).end(1e-6).warmup(5%)"
    /// ```
    ///
    /// # Errors
    /// [`FileError`] with file, line and column; for an unknown field it lists the known ones.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, FileError> {
        Self::from_source(&Source::read(path)?)
    }

    /// Reads a description from a `.toml` or `.json` file and resolves it, so that range errors also have a
    /// position in the file.
    ///
    /// ```no_run
    /// use anneal_schedule::prelude::*;
    /// let run = RunLength::from_items(50_000, 64).epochs(10);
    /// let schedule = ScheduleConfig::load_for("recipe.toml", run)?;
    /// # Ok::<(), FileError>(())
    /// ```
    ///
    /// # Errors
    /// As [`load`](Self::load), and [`FileError::Schedule`], for example `recipe.toml:4:8:
    /// warmup.schedule.cosine.peak: -1.0 is not allowed; allowed: a finite number above 0`.
    pub fn load_for(path: impl AsRef<Path>, run: RunLength) -> Result<Schedule, FileError> {
        let source = Source::read(path)?;
        let run = run.resolve().map_err(FileError::Run)?;
        Schedule::new(&Self::from_source(&source)?, run).map_err(|error| {
            let (line, column) = source.locate(&format!("schedule.{}", error.field()));
            FileError::Schedule { origin: source.origin().to_string(), line, column, error }
        })
    }

    /// Reads a description from the text of a file; see [`load`](Self::load).
    pub fn from_source(source: &Source) -> Result<Self, FileError> {
        let ScheduleFile { schedule, .. } = source.parse_versioned()?;
        Ok(schedule)
    }

    /// Reads a description from TOML text; see [`load`](Self::load).
    pub fn from_toml(text: &str) -> Result<Self, FileError> {
        Self::from_source(&Source::toml("toml", text))
    }

    /// Reads a description from JSON text; see [`load`](Self::load).
    pub fn from_json(text: &str) -> Result<Self, FileError> {
        Self::from_source(&Source::json("json", text))
    }

    /// Writes this description as TOML.
    pub fn to_toml(&self) -> Result<String, FileError> {
        to_toml(&self.in_file())
    }

    /// Writes this description as JSON.
    pub fn to_json(&self) -> Result<String, FileError> {
        let text = to_json(&self.in_file())?;
        // JSON has no NaN or infinity; they would be written as null.
        match Self::from_json(&text) {
            Ok(back) if back == *self => Ok(text),
            _ => {
                Err(FileError::Write("JSON cannot hold its NaN, infinity or nesting depth".into()))
            }
        }
    }

    fn in_file(&self) -> ScheduleFile {
        ScheduleFile { version: VERSION, schedule: self.clone() }
    }
}

/// Reads any description from a `.toml` or `.json` file.
///
/// # Errors
/// [`FileError`] with file, line and column; for an unknown field it suggests the nearest known one, if the
/// type denies unknown fields.
pub fn load<T: DeserializeOwned>(path: impl AsRef<Path>) -> Result<T, FileError> {
    Source::read(path)?.parse()
}

/// Writes any description as TOML.
///
/// # Errors
/// [`FileError::Write`] for values that TOML cannot hold.
pub fn to_toml(description: &impl Serialize) -> Result<String, FileError> {
    toml::to_string(description).map_err(|error| FileError::Write(error.to_string()))
}

/// Writes any description as JSON; NaN and infinity become null.
///
/// # Errors
/// [`FileError::Write`] for values that JSON cannot hold.
pub fn to_json(description: &impl Serialize) -> Result<String, FileError> {
    serde_json::to_string_pretty(description).map_err(|error| FileError::Write(error.to_string()))
}

/// The contents of a file, unless it is too large for a description.
pub(crate) fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![];
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(std::io::Error::other("larger than the 64 MiB allowed for a schedule"));
    }
    Ok(bytes)
}

/// Reads any description from TOML text; errors name `origin` as the file.
pub fn from_toml<T: DeserializeOwned>(text: &str, origin: &str) -> Result<T, FileError> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let (start, message) = place_in(text, start, error.message());
        parse_error(origin, &text[..start], explained(message))
    })
}

/// An error at the position after the text `before`.
pub(crate) fn parse_error(origin: &str, before: &str, message: String) -> FileError {
    let (line, column) = position(before);
    FileError::Parse { origin: origin.to_string(), line, column, message }
}

/// Reads any description from JSON text; errors name `origin` as the file.
pub fn from_json<T: DeserializeOwned>(text: &str, origin: &str) -> Result<T, FileError> {
    // Some editors start a file with a byte order mark; TOML allows it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_json::from_str(text).map_err(|error| {
        let whole = error.to_string();
        let message = without_position(&whole);
        if let Some(start) = string_that_ends(text, byte_of(text, error.line(), error.column())) {
            let (place, message) = place_in(text, start, message);
            if place > start {
                return parse_error(origin, &text[..place], explained(message));
            }
        }
        FileError::Parse {
            origin: origin.to_string(),
            line: error.line(),
            // An empty file ends in column 0.
            column: error.column().max(1),
            message: explained(message),
        }
    })
}

/// The byte offset of a line and column as serde_json counts them: from 1, in bytes.
fn byte_of(text: &str, line: usize, column: usize) -> usize {
    let lines = text.split_inclusive('\n').take(line.saturating_sub(1));
    lines.map(str::len).sum::<usize>() + column
}

/// serde_json appends the position to its messages; here it is stated in front of them.
fn without_position(message: &str) -> &str {
    message.rfind(" at line ").map_or(message, |end| &message[..end])
}

/// A parser's message on one line, in the terms of a schedule file.
fn explained(message: &str) -> String {
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    suggest::improve(&message)
}

#[cfg(test)]
mod tests {
    use crate::prelude::*;

    fn message(text: &str) -> String {
        ScheduleConfig::from_toml(text).unwrap_err().to_string()
    }

    #[test]
    fn toml_and_json_round_trip() {
        let config: ScheduleConfig = cosine(3e-4)
            .end(1e-6)
            .warmup(Span::percent(5.0))
            .then(Span::epochs(2.5), exponential(1e-4, Decay::HalfLife(Span::steps(100))))
            .into();
        let toml = config.to_toml().unwrap();
        assert_eq!(ScheduleConfig::from_toml(&toml).unwrap(), config, "{toml}");
        let json = config.to_json().unwrap();
        assert_eq!(ScheduleConfig::from_json(&json).unwrap(), config, "{json}");
    }

    #[test]
    fn defaults_may_be_left_out() {
        let config = ScheduleConfig::from_toml("[schedule.cosine]\npeak = 0.1\n").unwrap();
        assert_eq!(config, cosine(0.1).into());
    }

    #[test]
    fn errors_have_a_position_and_the_known_names() {
        let unknown = message("[schedule.cosine]\npeak = 0.1\n  flor = 1.0\n");
        assert!(unknown.starts_with("toml:3:3: unknown field `flor`"), "{unknown}");
        assert!(unknown.contains("`end`") && !unknown.contains('\n'), "{unknown}");
        let curve = message("[schedule.cosin]\npeak = 0.1\n");
        assert!(
            curve.starts_with("toml:1:11: unknown curve `cosin`; did you mean `cosine`?"),
            "{curve}"
        );
        let linear = message("[schedule.linear]\nstart = 0.1\n");
        assert!(linear.contains("write it as a text, such as \"linear(0.1, 0.0)\""), "{linear}");
        let decay = message("[schedule.exponential]\npeak = 0.1\ndecay = 0.99\n");
        assert!(decay.contains("such as half_life"), "{decay}");
        let wsd = message("[schedule.wsd]\npeak = 0.1\n");
        assert!(wsd.contains("such as \"warmup_stable_decay(0.1, 5%, 20%)\""), "{wsd}");
        assert!(curve.contains("one_cycle") && !curve.contains("torch_chain"), "{curve}");
        let missing = message("[schedule.cosine]\nend = 0.1\n");
        assert!(missing.contains("missing field `peak`"), "{missing}");
        let negative = message("[schedule.cosine]\npeak = 0.1\nlength = -3\n");
        assert!(negative.starts_with("toml:3:10") && negative.contains("at least 1"), "{negative}");
        let two = message("[schedule.cosine]\npeak = 0.1\n[schedule.constant]\nrate = 0.1\n");
        assert!(two.contains("single table") && two.contains("sequence"), "{two}");
        let marked = "\u{feff}{\"schedule\": {\"constant\": {\"rate\": 1}}}";
        assert_eq!(ScheduleConfig::from_json(marked).unwrap(), constant(1.0).into());
        assert!(ScheduleConfig::from_json("").unwrap_err().to_string().starts_with("json:1:1: "));
        let json = ScheduleConfig::from_json("{\"schedule\": {\"cosine\": {\"peek\": 1}}}");
        assert!(json.unwrap_err().to_string().starts_with("json:1:"));
    }

    #[test]
    fn a_level_is_a_number_or_a_share() {
        let with_end = |end| format!("[schedule.cosine]\npeak = 0.1\nend = {end}\n");
        for (end, level) in [
            ("1e-3", Level::Rate(1e-3)),
            ("0", Level::Rate(0.0)),
            ("\"10%\"", Level::percent(10)),
            ("'1 %'", Level::percent(1)),
            ("\"1e-3\"", Level::Rate(1e-3)),
        ] {
            let read = ScheduleConfig::from_toml(&with_end(end)).unwrap();
            assert_eq!(read, cosine(0.1).end(level).into(), "{end}");
        }
        for (text, words) in [
            (
                with_end("\"ten\""),
                "toml:3:7: `ten` is not a rate; allowed: a rate (3e-5), or a share",
            ),
            (
                with_end("true"),
                "toml:3:7: invalid type: boolean `true`, expected a rate (3e-5), or",
            ),
            (
                "[schedule.cosine]\npeak = \"10%\"\n".into(),
                "toml:2:8: invalid type: string \"10%\"",
            ),
            ("[schedule.constant]\nrate = \"10%\"\n".into(), "but not the peak itself"),
        ] {
            assert!(message(&text).contains(words), "{}", message(&text));
        }
    }

    #[test]
    fn json_refuses_what_it_cannot_hold() {
        let nan: ScheduleConfig = constant(f64::NAN).into();
        assert!(nan.to_json().unwrap_err().to_string().contains("NaN"));
    }

    #[test]
    fn newer_files_are_refused() {
        let newer = message("version = 2\n[schedule.constant]\nrate = 1.0\n");
        assert!(newer.contains("version: 2") && newer.contains("update"), "{newer}");
        let keys = message("version = 2\npeak = 0.1\n");
        assert!(keys.starts_with("toml: version: 2"), "{keys}");
        let none = message("version = 0\n[schedule.constant]\nrate = 1.0\n");
        assert!(none.contains("version: 0") && !none.contains("update"), "{none}");
    }
}
