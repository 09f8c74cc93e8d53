//! Why a search cannot continue.

use crate::OutOfRange;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a search cannot start or continue.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SearchError {
    /// A setting, or a value of the search, is out of its range.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// The file of the search cannot be read or written.
    #[error("{}: {error}{}", path.display(), folder_missing(path, error))]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// The file does not contain a search that can be resumed.
    #[error("{} cannot be resumed: {why}; move it away to start a new search", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The file contains a search with a different setting.
    #[error(
        "{} contains another search: its {setting} is {stored}, not {asked}; use that setting, or another file",
        path.display()
    )]
    OtherSearch {
        /// The file.
        path: PathBuf,
        /// The setting that differs.
        setting: &'static str,
        /// Its value in the file, as JSON.
        stored: String,
        /// Its value here, as JSON.
        asked: String,
    },
    /// The file changed since this search wrote it.
    #[error("{} was changed by another program; only one search may use it at a time", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The outcome of a trial was reported twice.
    #[error("trial {number} has already ended")]
    Ended {
        /// Its number.
        number: usize,
    },
}

/// Advice for a missing folder. A missing file is not an error.
fn folder_missing(path: &Path, error: &io::Error) -> String {
    match path.parent() {
        Some(folder) if error.kind() == io::ErrorKind::NotFound => {
            format!("; create the folder {} first", folder.display())
        }
        _ => String::new(),
    }
}
