//! Writes files completely or not at all.

use crate::error::Error;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Writes a file completely or not at all: to a temporary file next to it, which is then renamed. A
/// non-regular file, for example a device, is written directly.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    // Keep a link as a link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let written = match fs::metadata(&target) {
        Ok(found) if !found.is_file() => fs::write(&target, bytes),
        _ => replace(&target, bytes),
    };
    written.map_err(|error| Error::Usage(format!("{}: cannot be written: {error}", path.display())))
}

fn replace(target: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = target.as_os_str().to_owned();
    beside.push(format!(".{}.partial", std::process::id()));
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, target)
    };
    write().inspect_err(|_| {
        // It may not exist.
        let _ = fs::remove_file(&beside);
    })
}
