use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Keeps other processes out of a data directory for as long as it lives.
///
/// The operating system drops the lock with the process, however it ends, so a lock file that is
/// left behind never needs removing.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _file: File,
}

#[derive(Debug)]
pub(super) enum LockError {
    /// Another process holds it; its process id, if it could be read.
    Held(Option<u32>),
    Io(io::Error),
}

impl DirectoryLock {
    pub(super) fn take(path: &Path) -> Result<Self, LockError> {
        let open = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        let mut file = open.map_err(LockError::Io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Held(holder(&mut file))),
            Err(TryLockError::Error(cause)) => return Err(LockError::Io(cause)),
        }
        write_holder(&mut file).map_err(LockError::Io)?;
        Ok(Self { _file: file })
    }
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{}", std::process::id())
}
