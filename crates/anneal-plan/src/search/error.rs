//! Why a search cannot go on.

use crate::OutOfRange;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a search cannot begin, or cannot go on.
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
    /// The file holds no search that could go on.
    #[error("{} cannot be resumed: {why}; move it away to begin anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The file holds a search with another setting.
    #[error(
        "{} holds another search: its {setting} is {stored}, not {asked}; set it so, or name another file",
        path.display()
    )]
    OtherSearch {
        /// The file.
        path: PathBuf,
        /// The setting that differs.
        setting: &'static str,
        /// What it is in the file, as JSON.
        stored: String,
        /// What it is here, as JSON.
        asked: String,
    },
    /// The file is no longer as this search left it.
    #[error("{} was changed by someone else; only one search may use it at a time", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The outcome of a trial came twice.
    #[error("trial {number} has ended already")]
    Ended {
        /// Its number.
        number: usize,
    },
}

/// What to do where the folder is not there. A file that is not there is no error.
fn folder_missing(path: &Path, error: &io::Error) -> String {
    match path.parent() {
        Some(folder) if error.kind() == io::ErrorKind::NotFound => {
            format!("; create the folder {} first", folder.display())
        }
        _ => String::new(),
    }
}
