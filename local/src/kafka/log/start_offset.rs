//! The offset before which a client had records deleted. Retention needs no such file: what it
//! leaves tells by itself where the log starts.

use std::fs;
use std::io;
use std::path::Path;

use crate::kafka::journal::replace_file;

const NAME: &str = "start-offset";

/// 0 when nothing was deleted.
pub(super) fn read(directory: &Path) -> io::Result<i64> {
    match fs::read_to_string(directory.join(NAME)) {
        Ok(text) => text.trim().parse().map_err(|_| {
            let text = format!("{} in {} holds no number", NAME, directory.display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        }),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(cause) => Err(cause),
    }
}

/// Keeps the offset, after a power failure too.
pub(super) fn write(directory: &Path, offset: i64) -> io::Result<()> {
    replace_file(&directory.join(NAME), format!("{offset}\n").as_bytes()).map(drop)
}
