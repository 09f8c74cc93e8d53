//! Reads and writes the small files of a run.

use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::ExampleError;

/// Reads a JSON file.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, ExampleError> {
    let text = fs::read_to_string(path).map_err(|source| ExampleError::file(path, source))?;
    serde_json::from_str(&text)
        .map_err(|source| ExampleError::DamagedFile { path: path.to_owned(), source })
}

/// Reads a number that JSON writes as null when it is NaN or infinite: the loss of a run that
/// diverged.
pub fn number_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Option::deserialize(deserializer).map(|number| number.unwrap_or(f64::NAN))
}

/// Writes a JSON file, like [`write()`].
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), ExampleError> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|source| ExampleError::DamagedFile { path: path.to_owned(), source })?;
    write(path, &(text + "\n"))
}

/// Writes a file atomically: a process that dies halfway leaves the old file, not half a new one.
pub fn write(path: &Path, text: &str) -> Result<(), ExampleError> {
    let unfinished = path.with_extension("unfinished");
    fs::write(&unfinished, text)
        .and_then(|()| fs::rename(&unfinished, path))
        .map_err(|source| ExampleError::file(path, source))
}
