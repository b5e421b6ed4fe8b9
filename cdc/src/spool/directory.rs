use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::error::SpoolError;
use crate::wire::Xid;

/// The directory, ours alone for as long as this lives.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Locked; the lock ends with the process, however that ends.
    _lock: File,
}

/// Ends the name of every file that may be removed: the directory may have others.
const SUFFIX: &str = "spool";

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self, SpoolError> {
        let lock = create(path).map_err(|source| SpoolError::io(path, source))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => SpoolError::InUse {
                directory: path.to_owned(),
            },
            TryLockError::Error(source) => SpoolError::io(path, source),
        })?;
        let directory = Self {
            path: path.to_owned(),
            _lock: lock,
        };
        remove_files(path).map_err(|source| SpoolError::io(path, source))?;
        Ok(directory)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self, xid: Xid) -> PathBuf {
        self.path.join(format!("{xid}.{SUFFIX}"))
    }
}

/// Makes the directory, and the file in it that is locked.
fn create(directory: &Path) -> io::Result<File> {
    fs::create_dir_all(directory)?;
    File::create(directory.join("lock"))
}

fn remove_files(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == SUFFIX)
        {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
