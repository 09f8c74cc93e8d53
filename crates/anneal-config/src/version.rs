//! The version of the file format.

use anneal_schedule::{FileError, Source};

/// The version that this crate writes, and the newest that it reads.
pub(crate) const VERSION: u32 = 1;

pub(crate) fn check_version(found: u32, source: &Source) -> Result<(), FileError> {
    match (1..=VERSION).contains(&found) {
        true => Ok(()),
        false => Err(FileError::Version { origin: source.origin().to_string(), found }),
    }
}
