//! The log of a run's updates: its format and its reader.

use crate::Answer;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The log of a run: where it started or continued, and every update.
///
/// A file of lines, each a JSON object. A line with `version` marks where a run starts or continues; the
/// others are updates. Non-finite numbers are the texts `NaN`, `inf` and `-inf`; unknown values are absent.
///
/// ```
/// use anneal_control::UpdateLog;
///
/// let text = r#"{"version":1,"schedule":"constant(0.1)","groups":["all"],"controllers":["plateau"],"from":0}
/// {"update":0,"step":0,"epoch":1,"schedule_rate":0.1,"rates":[0.1],"loss":2.3,"gradient_norm":"inf"}
/// "#;
/// let log = UpdateLog::parse(text)?;
/// assert_eq!(log.updates[0].loss, Some(2.3));
/// assert_eq!(log.updates[0].gradient_norm, Some(f64::INFINITY));
/// # Ok::<(), anneal_control::LogError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpdateLog {
    /// Where the run started and continued.
    pub starts: Vec<LogStart>,
    /// The updates, in order.
    pub updates: Vec<LoggedUpdate>,
}

/// The version of the format.
const VERSION: u32 = 1;

/// A line where a run starts or continues.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogStart {
    /// The format version of the lines after it: 1.
    version: u32,
    /// The schedule of the run.
    pub schedule: String,
    /// The groups, in the order of the rates.
    pub groups: Vec<String>,
    /// The controllers, in the order in which they are called.
    pub controllers: Vec<String>,
    /// The number of the first update.
    pub from: u64,
}

impl LogStart {
    /// The line for a run that starts with update `from`.
    pub fn new(schedule: String, groups: Vec<String>, controllers: Vec<String>, from: u64) -> Self {
        Self { version: VERSION, schedule, groups, controllers, from }
    }
}

/// The line of an update.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoggedUpdate {
    /// Its number, counted from 0, including skipped ones.
    pub update: u64,
    /// Its step in the schedule.
    pub step: u64,
    /// Its epoch, counted from 1.
    pub epoch: u64,
    /// Its number of batches, over all devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batches: Option<u64>,
    /// The rate of the schedule.
    pub schedule_rate: f64,
    /// The rate used for each group: 0 if it is frozen or the update was skipped.
    pub rates: Vec<f64>,
    /// The mean loss of its batches, before it was scaled.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "number")]
    pub loss: Option<f64>,
    /// ‖g‖₂ of all gradients, before clipping.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "number")]
    pub gradient_norm: Option<f64>,
    /// ‖g‖₁ of all gradients, before clipping, if requested.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "number")]
    pub gradient_l1: Option<f64>,
    /// The root mean square of ‖g‖₂ of its batches, if a controller needs it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "number")]
    pub batch_gradient_norm: Option<f64>,
    /// ‖g‖₂ of the mean of its batches, before clipping, if a controller needs it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "number")]
    pub mean_gradient_norm: Option<f64>,
    /// The mean cosine between pairs of task gradients, if there are several tasks.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "number")]
    pub task_cosine: Option<f64>,
    /// ‖Δw‖₂: how far it moved all weights.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "number")]
    pub update_norm: Option<f64>,
    /// The factor of its losses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f64>,
    /// Why it was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// The answers of the controllers that gave one, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<String, LoggedAnswer>,
}

/// The answer of a controller: the parts of an [`Answer`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoggedAnswer {
    /// The factor of the rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// The floor below which factors could not lower the rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
    /// The safety factor on the rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// The maximum of the rate.
    #[serde(skip_serializing_if = "Option::is_none", with = "number")]
    pub cap: Option<f64>,
    /// The factor of the gradients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gradient_factor: Option<f64>,
    /// Why it skipped the update.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip: Option<String>,
    /// The scale of the next loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f64>,
}

impl From<Answer> for LoggedAnswer {
    fn from(answer: Answer) -> Self {
        Self {
            factor: answer.factor,
            floor: answer.floor,
            limit: answer.limit,
            cap: answer.cap,
            gradient_factor: answer.gradient_factor,
            skip: answer.skip.map(String::from),
            loss_scale: answer.loss_scale.map(|scale| scale.next),
        }
    }
}

/// Why a log cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LogError {
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: std::io::Error,
    },
    /// A line that is not part of a log.
    #[error("line {line} is not part of an update log: {reason}")]
    Line {
        /// Its number, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// The version in a line, if any.
#[derive(Deserialize)]
struct Of {
    version: u32,
}

/// A line of either kind.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Start(LogStart),
    Update(Box<LoggedUpdate>),
}

impl UpdateLog {
    /// The name of the file in the folder of a run.
    pub const FILE: &str = "updates.jsonl";

    /// Reads the log in the folder of a run, or a file.
    ///
    /// # Errors
    /// [`LogError`] for a file that cannot be read, or a line that is not part of a log.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, LogError> {
        let path = path.as_ref();
        let file = if path.is_dir() { path.join(Self::FILE) } else { path.to_path_buf() };
        let text = std::fs::read_to_string(&file);
        Self::parse(&text.map_err(|error| LogError::File { path: file, error })?)
    }

    /// Reads the lines of a log. An incomplete last line, left by a killed process, is ignored.
    ///
    /// # Errors
    /// [`LogError::Line`] for a line that is not part of a log.
    pub fn parse(text: &str) -> Result<Self, LogError> {
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut log = Self::default();
        for (index, line) in whole.lines().enumerate() {
            let error = |reason: String| LogError::Line { line: index + 1, reason };
            if let Ok(Of { version }) = serde_json::from_str(line)
                && version != VERSION
            {
                return Err(error(format!("version {version}; this program reads {VERSION}")));
            }
            match serde_json::from_str(line).map_err(|_| error(reason(line)))? {
                Line::Start(start) => log.starts.push(start),
                Line::Update(update) => log.updates.push(*update),
            }
        }
        Ok(log)
    }

    /// The lines of the log before this update.
    pub fn lines_before(&self, update: u64) -> Vec<String> {
        let starts = self.starts.iter().filter(|start| start.from < update);
        let starts = starts.map(|start| (start.from, 0, serde_json::to_string(start)));
        let updates = self.updates.iter().filter(|logged| logged.update < update);
        let updates = updates.map(|logged| (logged.update, 1, serde_json::to_string(logged)));
        let mut lines: Vec<_> = starts.chain(updates).collect();
        lines.sort_by_key(|(at, kind, _)| (*at, *kind));
        lines.into_iter().filter_map(|(_, _, line)| line.ok()).collect()
    }
}

/// Why a line is not part of a log.
fn reason(line: &str) -> String {
    let error = match line.contains("\"version\"") {
        true => serde_json::from_str::<LogStart>(line).err(),
        false => serde_json::from_str::<LoggedUpdate>(line).err(),
    };
    error.map(|error| error.to_string()).unwrap_or_default()
}

/// Numbers that may be non-finite, which JSON does not support.
mod number {
    use super::{Deserialize, Deserializer, Serialize, Serializer, de};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Number {
        Finite(f64),
        Text(String),
    }

    pub fn serialize<S: Serializer>(value: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
        let number = value.map(|value| match value.is_finite() {
            true => Number::Finite(value),
            false => Number::Text(value.to_string()),
        });
        number.serialize(to)
    }

    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Option<f64>, D::Error> {
        match Option::<Number>::deserialize(from)? {
            None => Ok(None),
            Some(Number::Finite(value)) => Ok(Some(value)),
            Some(Number::Text(text)) => text.parse().map(Some).map_err(de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(from: u64) -> LogStart {
        LogStart::new("constant(0.1)".into(), vec!["all".into()], vec![], from)
    }

    fn update(update: u64) -> LoggedUpdate {
        LoggedUpdate {
            update,
            epoch: 1,
            rates: vec![0.1],
            loss: Some(f64::NAN),
            update_norm: Some(f64::NEG_INFINITY),
            skipped: Some("enough".into()),
            answers: BTreeMap::from([("it".into(), Answer::factor(0.5).into())]),
            ..LoggedUpdate::default()
        }
    }

    #[test]
    fn a_log_is_read_as_it_was_written() {
        let lines = [serde_json::to_string(&start(0)).unwrap()];
        let lines =
            lines.into_iter().chain((0..3).map(|i| serde_json::to_string(&update(i)).unwrap()));
        let text: String = lines.map(|line| line + "\n").collect();
        let log = UpdateLog::parse(&text).unwrap();
        assert_eq!((log.starts.len(), log.updates.len()), (1, 3));
        let read = &log.updates[1];
        assert!(read.loss.is_some_and(f64::is_nan));
        assert_eq!(
            LoggedUpdate { loss: None, ..read.clone() },
            LoggedUpdate { loss: None, ..update(1) }
        );
        // From a process that was killed while writing the last line.
        let killed = UpdateLog::parse(&text[..text.len() - 9]).unwrap();
        assert_eq!(killed.updates.len(), 2);
        let kept: Vec<String> = text.lines().take(3).map(String::from).collect();
        assert_eq!(log.lines_before(2), kept);
        assert!(log.lines_before(0).is_empty());
    }

    #[test]
    fn a_line_of_something_else_is_named() {
        let error = |text: &str| UpdateLog::parse(text).unwrap_err().to_string();
        let good = serde_json::to_string(&start(0)).unwrap();
        let other = good.replace("\"version\":1", "\"version\":9,\"device\":\"gpu\"");
        assert!(error(&format!("{other}\n")).contains("version 9"));
        let text = error(&format!("{good}\n{{\"update\": 0, \"los\": 1}}\n"));
        assert!(text.starts_with("line 2") && text.contains("los"), "{text}");
    }
}
