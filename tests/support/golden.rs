//! Values computed by other libraries.

use serde::de::DeserializeOwned;
use std::path::PathBuf;

/// The text of a file in `tests/golden`, or in the folder that the environment variable
/// `ANNEAL_GOLDEN` names.
fn golden(name: &str) -> (PathBuf, String) {
    let own = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/golden"));
    let folder = std::env::var_os("ANNEAL_GOLDEN").map_or_else(own, PathBuf::from);
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (path, text)
}

/// The lines of a golden file with one JSON value per line.
pub fn golden_lines<T: DeserializeOwned>(name: &str) -> Vec<T> {
    let (path, text) = golden(name);
    let read = |(i, line)| {
        serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("{}, line {}: {error}", path.display(), i + 1))
    };
    text.lines().enumerate().map(read).collect()
}

/// A golden file that is one JSON value.
pub fn golden_file<T: DeserializeOwned>(name: &str) -> T {
    let (path, text) = golden(name);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
