//! Descriptions in TOML and JSON files: schedules, and what other crates put around them.

use crate::{ScheduleConfig, suggest};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The version of the file format that this crate writes, and the newest that it reads.
const VERSION: u32 = 1;

/// The most bytes of a file that are read: enough for a table of a rate for each of a million updates.
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
    /// The schedule: a table named after its outermost curve or combinator.
    schedule: ScheduleConfig,
}

fn current_version() -> u32 {
    VERSION
}

/// Why a file gives no description.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The name ends neither in `.toml` nor in `.json`.
    #[error("{}: its name must end in .toml or .json", path.display())]
    UnknownExtension {
        /// The file.
        path: PathBuf,
    },
    /// The text is no description.
    #[error("{origin}:{line}:{column}: {message}")]
    Parse {
        /// The file, or the name of the format for a text.
        origin: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong, and what is allowed.
        message: String,
    },
    /// The file is of a version that this one does not know, such as a newer one.
    #[error(
        "{origin}: version: {found} is not allowed; allowed: 1 to {VERSION}{}",
        if *found > VERSION { "; update anneal-schedule to read this file" } else { "" }
    )]
    Version {
        /// The file, or the name of the format for a text.
        origin: String,
        /// The version found.
        found: u32,
    },
    /// The description cannot be written, such as a length above 2⁶³ in TOML or a NaN in JSON.
    #[error("cannot write the schedule: {0}")]
    Write(String),
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
    /// # Errors
    /// [`FileError`] with file, line and column; unknown fields are refused with the known ones.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref();
        checked(load(path)?, &path.display().to_string())
    }

    /// Reads a description from TOML text; see [`load`](Self::load).
    pub fn from_toml(text: &str) -> Result<Self, FileError> {
        checked(from_toml(text, "toml")?, "toml")
    }

    /// Reads a description from JSON text; see [`load`](Self::load).
    pub fn from_json(text: &str) -> Result<Self, FileError> {
        checked(from_json(text, "json")?, "json")
    }

    /// Writes this description as TOML.
    pub fn to_toml(&self) -> Result<String, FileError> {
        to_toml(&self.in_file())
    }

    /// Writes this description as JSON.
    pub fn to_json(&self) -> Result<String, FileError> {
        let text = to_json(&self.in_file())?;
        // JSON has no NaN and no infinity; they would be written as null.
        match Self::from_json(&text) {
            Ok(back) if back == *self => Ok(text),
            _ => Err(FileError::Write(
                "JSON can hold neither its NaN or infinity, nor its depth".into(),
            )),
        }
    }

    fn in_file(&self) -> ScheduleFile {
        ScheduleFile { version: VERSION, schedule: self.clone() }
    }
}

/// Reads any description from a `.toml` or `.json` file.
///
/// # Errors
/// [`FileError`] with file, line and column; unknown fields with the nearest known one, where the
/// type denies them.
pub fn load<T: DeserializeOwned>(path: impl AsRef<Path>) -> Result<T, FileError> {
    let path = path.as_ref();
    let parse = match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => from_toml,
        Some("json") => from_json,
        _ => return Err(FileError::UnknownExtension { path: path.into() }),
    };
    let origin = path.display().to_string();
    let bytes = read(path).map_err(|source| FileError::Read { path: path.into(), source })?;
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        parse_error(&origin, &valid, "the text is not UTF-8".into())
    })?;
    parse(text, &origin)
}

/// Writes any description as TOML.
///
/// # Errors
/// [`FileError::Write`] for what TOML cannot hold.
pub fn to_toml(description: &impl Serialize) -> Result<String, FileError> {
    toml::to_string(description).map_err(|error| FileError::Write(error.to_string()))
}

/// Writes any description as JSON, in which NaN and infinity become null.
///
/// # Errors
/// [`FileError::Write`] for what JSON cannot hold.
pub fn to_json(description: &impl Serialize) -> Result<String, FileError> {
    serde_json::to_string_pretty(description).map_err(|error| FileError::Write(error.to_string()))
}

/// What a file holds, where that is not more than a description can be.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![];
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(std::io::Error::other("larger than 64 MiB, which no schedule is"));
    }
    Ok(bytes)
}

/// Reads any description from TOML text; `origin` stands for the file in errors.
pub fn from_toml<T: DeserializeOwned>(text: &str, origin: &str) -> Result<T, FileError> {
    toml::from_str(text).map_err(|error| {
        let before = &text[..error.span().map_or(0, |span| span.start.min(text.len()))];
        parse_error(origin, before, explained(error.message()))
    })
}

/// An error at the end of the text `before` it.
fn parse_error(origin: &str, before: &str, message: String) -> FileError {
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    FileError::Parse {
        origin: origin.to_string(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        message,
    }
}

/// Reads any description from JSON text; `origin` stands for the file in errors.
pub fn from_json<T: DeserializeOwned>(text: &str, origin: &str) -> Result<T, FileError> {
    // Some editors begin a file with a byte order mark; TOML allows it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_json::from_str(text).map_err(|error| FileError::Parse {
        origin: origin.to_string(),
        line: error.line(),
        // An empty file ends in column 0.
        column: error.column().max(1),
        message: explained(without_position(&error.to_string())),
    })
}

/// serde_json ends its messages with the position, which stands before them here.
fn without_position(message: &str) -> &str {
    message.rfind(" at line ").map_or(message, |end| &message[..end])
}

fn checked(file: ScheduleFile, origin: &str) -> Result<ScheduleConfig, FileError> {
    if (1..=VERSION).contains(&file.version) {
        Ok(file.schedule)
    } else {
        Err(FileError::Version { origin: origin.to_string(), found: file.version })
    }
}

/// A parser's message in one line and in the words of a schedule file.
fn explained(message: &str) -> String {
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if message.starts_with("wanted exactly 1 element") {
        return "a schedule is one table, named after its curve or combinator; put several into a \
                sequence, product or sum"
            .into();
    }
    if message.starts_with("invalid type: unit variant") {
        return "a schedule is a table with its fields, such as [schedule.cosine]".into();
    }
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
        assert!(curve.contains("unknown variant `cosin`"), "{curve}");
        let missing = message("[schedule.cosine]\nend = 0.1\n");
        assert!(missing.contains("missing field `peak`"), "{missing}");
        let negative = message("[schedule.cosine]\npeak = 0.1\nlength = -3\n");
        assert!(negative.starts_with("toml:3:10") && negative.contains("at least 1"), "{negative}");
        let two = message("[schedule.cosine]\npeak = 0.1\n[schedule.constant]\nrate = 0.1\n");
        assert!(two.contains("one table") && two.contains("sequence"), "{two}");
        let name = message("schedule = \"cosine\"\n");
        assert!(name.contains("[schedule.cosine]"), "{name}");
        let marked = "\u{feff}{\"schedule\": {\"constant\": {\"rate\": 1}}}";
        assert_eq!(ScheduleConfig::from_json(marked).unwrap(), constant(1.0).into());
        assert!(ScheduleConfig::from_json("").unwrap_err().to_string().starts_with("json:1:1: "));
        let json = ScheduleConfig::from_json("{\"schedule\": {\"cosine\": {\"peek\": 1}}}");
        assert!(json.unwrap_err().to_string().starts_with("json:1:"));
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
        let none = message("version = 0\n[schedule.constant]\nrate = 1.0\n");
        assert!(none.contains("version: 0") && !none.contains("update"), "{none}");
    }
}
