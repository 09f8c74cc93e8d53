//! Files that are written whole or not at all.

use crate::error::Error;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Writes a file whole or not at all: beside its place, and there when it is done. What is no regular
/// file, such as a device, is written to as it is.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    // A link stays one.
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
        // It may not be there.
        let _ = fs::remove_file(&beside);
    })
}
