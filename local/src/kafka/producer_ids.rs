use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::journal::replace_file;

/// Ids that are reserved on disk at one time; a start skips what is left of them.
const BLOCK: i64 = 1000;

/// Hands out producer ids, none of them twice.
#[derive(Debug)]
pub(super) struct ProducerIds {
    path: PathBuf,
    range: Mutex<Range>,
}

#[derive(Debug)]
struct Range {
    next: i64,
    /// Ids below are reserved in the file.
    reserved: i64,
}

impl ProducerIds {
    pub(super) fn open(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join("producer-ids");
        let next = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|_| {
                io::Error::new(io::ErrorKind::InvalidData, "producer-ids holds no number")
            })?,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => 0,
            Err(cause) => return Err(cause),
        };
        Ok(Self {
            path,
            range: Mutex::new(Range {
                next,
                reserved: next,
            }),
        })
    }

    /// The next id. Now and then this writes a file.
    pub(super) fn next(&self) -> io::Result<i64> {
        let mut range = self.range.lock().unwrap_or_else(PoisonError::into_inner);
        if range.next == range.reserved {
            let reserved = range.reserved + BLOCK;
            replace_file(&self.path, format!("{reserved}\n").as_bytes())?;
            range.reserved = reserved;
        }
        let id = range.next;
        range.next += 1;
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_is_given_twice_across_starts() {
        let directory = tempfile::tempdir().unwrap();
        let mut last = -1;
        for _ in 0..3 {
            let ids = ProducerIds::open(directory.path()).unwrap();
            for _ in 0..1500 {
                let id = ids.next().unwrap();
                assert!(id > last);
                last = id;
            }
        }
    }
}
