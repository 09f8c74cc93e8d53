//! The folder of a run.
//!
//! A new run never touches the files of an old one: it uses a new numbered folder in `runs/`, or an empty one that the
//! user names. Only `--resume` continues in a folder that holds a run.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::ExampleError;
use crate::settings::Settings;

/// The folder of all runs, in the current directory.
const RUNS: &str = "runs";

/// The folder of a new run: `out`, or the first free one of `runs/<example>`, `runs/<example>-2`, …
///
/// Nothing is created yet.
///
/// # Errors
/// If `out` is not empty or cannot be read.
pub(crate) fn new_run(example: &str, out: Option<&Path>) -> Result<PathBuf, ExampleError> {
    match out {
        Some(out) if is_free(out)? => Ok(out.to_owned()),
        Some(out) => Err(ExampleError::FolderInUse { path: out.to_owned() }),
        None => first_free(Path::new(RUNS), example),
    }
}

/// The folder of the run to continue: `out`, or the example's newest in `runs/`, or a new one if the run was killed
/// before it wrote anything.
///
/// # Errors
/// If `out` holds something else.
pub(crate) fn old_run(example: &str, out: Option<&Path>) -> Result<PathBuf, ExampleError> {
    match out {
        Some(out) if Settings::exist_in(out) || is_free(out)? => Ok(out.to_owned()),
        Some(out) => Err(ExampleError::NothingToResume { path: out.to_owned() }),
        None => newest(Path::new(RUNS), example).map_or_else(|| new_run(example, None), Ok),
    }
}

fn numbered(runs: &Path, example: &str, number: usize) -> PathBuf {
    match number {
        1 => runs.join(example),
        number => runs.join(format!("{example}-{number}")),
    }
}

fn first_free(runs: &Path, example: &str) -> Result<PathBuf, ExampleError> {
    let mut number = 1;
    loop {
        let folder = numbered(runs, example, number);
        if is_free(&folder)? {
            return Ok(folder);
        }
        number += 1;
    }
}

fn newest(runs: &Path, example: &str) -> Option<PathBuf> {
    (1..)
        .map(|number| numbered(runs, example, number))
        .take_while(|folder| folder.exists())
        .filter(|folder| Settings::exist_in(folder))
        .last()
}

/// Whether a folder is empty or does not exist.
fn is_free(folder: &Path) -> Result<bool, ExampleError> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(ExampleError::file(folder, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(Settings::FILE), "{}").unwrap();
    }

    #[test]
    fn a_folder_that_holds_anything_is_not_used_for_a_new_run() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path();
        assert_eq!(new_run("a", Some(out)).unwrap(), out);
        assert_eq!(new_run("a", Some(&out.join("new"))).unwrap(), out.join("new"));

        fs::write(out.join("thesis.txt"), "mine").unwrap();

        let error = new_run("a", Some(out)).unwrap_err();
        assert!(matches!(error, ExampleError::FolderInUse { .. }));
    }

    #[test]
    fn new_runs_are_numbered_and_the_newest_is_resumed() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path();
        assert_eq!(first_free(runs, "a").unwrap(), runs.join("a"));
        assert_eq!(newest(runs, "a"), None);

        settings(&runs.join("a"));
        assert_eq!(first_free(runs, "a").unwrap(), runs.join("a-2"));
        assert_eq!(newest(runs, "a"), Some(runs.join("a")));

        settings(&runs.join("a-2"));
        assert_eq!(first_free(runs, "a").unwrap(), runs.join("a-3"));
        assert_eq!(newest(runs, "a"), Some(runs.join("a-2")));
    }

    #[test]
    fn an_empty_folder_is_begun_and_one_of_something_else_cannot_be_resumed() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("run");
        for empty in [folder.path(), &missing] {
            assert_eq!(old_run("a", Some(empty)).unwrap(), empty);
        }

        std::fs::write(folder.path().join("thesis.txt"), "mine").unwrap();
        let error = old_run("a", Some(folder.path())).unwrap_err();

        assert!(matches!(error, ExampleError::NothingToResume { .. }));
    }
}
