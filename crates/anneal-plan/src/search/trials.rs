//! The trials, and the file that stores them.

use super::description::Search;
use super::error::SearchError;
use super::space::Values;
use crate::OutOfRange;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A trial of a [`Study`](crate::Study).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialRecord {
    /// Its number, counted from 0.
    pub number: usize,
    /// The values it tries.
    pub values: Values,
    /// Its reports at the rungs of [`Halving`](crate::Halving) it has reached; `None` for a non-finite one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rungs: Vec<Option<f64>>,
    /// Its status.
    pub status: Status,
}

/// The status of a trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Status {
    /// It has started. If it is read from a file, it is run again.
    Running,
    /// It ended with this value.
    Finished(f64),
    /// It was stopped early: its final value is unknown.
    Stopped {
        /// The resource at which it was stopped.
        at: u64,
        /// Its report at that point; `None` if it was not finite.
        value: Option<f64>,
    },
    /// It failed, with the reason: an error, a panic, or a non-finite value.
    Failed(String),
}

impl TrialRecord {
    /// Its value, if it has finished.
    pub fn value(&self) -> Option<f64> {
        match self.status {
            Status::Finished(value) => Some(value),
            _ => None,
        }
    }
}

/// The value, if it is finite.
pub(super) fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// The contents of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    search: Search,
    trials: Vec<TrialRecord>,
}

const VERSION: u32 = 1;

/// The file of a search. It is written to a temporary file and renamed, so that it is always complete.
#[derive(Debug)]
pub(super) struct TrialsFile {
    path: PathBuf,
    /// Its contents, if it exists.
    written: Option<Vec<u8>>,
}

impl TrialsFile {
    /// Opens the file and reads its trials; none if it does not exist.
    pub(super) fn open(
        path: &Path,
        search: &Search,
    ) -> Result<(Self, Vec<TrialRecord>), SearchError> {
        let written = read(path)?;
        let trials = match &written {
            Some(bytes) => trials_of(bytes, path, search)?,
            None => vec![],
        };
        Ok((Self { path: path.into(), written }, trials))
    }

    pub(super) fn save(
        &mut self,
        search: &Search,
        trials: &[TrialRecord],
    ) -> Result<(), SearchError> {
        let path = &self.path;
        if read(path)? != self.written {
            return Err(SearchError::Changed { path: path.clone() });
        }
        let stored =
            Stored { version: VERSION, search: search.identity(), trials: trials.to_vec() };
        let bytes = serde_json::to_vec_pretty(&stored)
            .map_err(io::Error::other)
            .and_then(|bytes| replace(path, &bytes).map(|()| bytes))
            .map_err(|error| SearchError::File { path: path.clone(), error })?;
        self.written = Some(bytes);
        Ok(())
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, SearchError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SearchError::File { path: path.into(), error }),
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(beside, path)
}

fn trials_of(bytes: &[u8], path: &Path, search: &Search) -> Result<Vec<TrialRecord>, SearchError> {
    let damaged = |why: String| SearchError::Damaged { path: path.into(), why };
    // The version first: a file of another version has other fields.
    let any: serde_json::Value =
        serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    if any["version"] != VERSION {
        return Err(damaged(format!("its version is {}, not {VERSION}", any["version"])));
    }
    let Stored { search: stored, trials, .. } =
        serde_json::from_value(any).map_err(|error| damaged(error.to_string()))?;
    if let Some((setting, stored, asked)) = stored.difference(search) {
        return Err(SearchError::OtherSearch { path: path.into(), setting, stored, asked });
    }
    for (i, trial) in trials.iter().enumerate() {
        check(trial, i, search).map_err(|error| damaged(format!("trial {i}: {error}")))?;
    }
    Ok(trials)
}

fn check(trial: &TrialRecord, number: usize, search: &Search) -> Result<(), OutOfRange> {
    OutOfRange::require("number", trial.number, trial.number == number, number.to_string())?;
    search.space.point(&trial.values)?;
    let rungs = search.halving.as_ref().map_or(0, |halving| halving.rungs().len());
    let passed = trial.rungs.len();
    OutOfRange::require("rungs", passed, passed <= rungs, format!("{rungs} at most"))
}
