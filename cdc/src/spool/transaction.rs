use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use bytes::BytesMut;
use tokio::task::spawn_blocking;

use super::directory::Directory;
use super::error::SpoolError;
use super::record;
use super::replay::Replay;
use crate::wire::Xid;

/// What one transaction wrote so far: the beginning in its file, the end in the buffer.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    buffer: BytesMut,
    disk_bytes: u64,
    /// Their messages stay where they are and are passed over later.
    aborted: HashSet<Xid>,
    /// A write that has not come back, or failed: the file may lack a part, or have half of it.
    writing: bool,
}

impl Transaction {
    /// Returns by how much the buffer grew.
    pub(super) fn append(&mut self, subxid: Xid, message: &[u8]) -> Result<usize, SpoolError> {
        record::write(subxid, message, &mut self.buffer)
    }

    pub(super) fn abort(&mut self, subxid: Xid) {
        self.aborted.insert(subxid);
    }

    pub(super) fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        self.disk_bytes
    }

    /// Writes the buffer to the file.
    ///
    /// The file is opened for each write: so the number of transactions in progress is not limited
    /// by the number of open files.
    pub(super) async fn spill(
        &mut self,
        directory: &Directory,
        xid: Xid,
    ) -> Result<(), SpoolError> {
        self.check(xid)?;
        let path = directory.file(xid);
        let buffer = std::mem::take(&mut self.buffer);
        let written = buffer.len();
        self.writing = true;
        spawn_blocking(move || append_to_file(&path, &buffer))
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|source| SpoolError::io(directory.path(), source))?;
        self.writing = false;
        self.disk_bytes += u64::try_from(written).unwrap_or(u64::MAX);
        Ok(())
    }

    pub(super) fn replay(self, directory: &Directory, xid: Xid) -> Result<Replay, SpoolError> {
        self.check(xid)?;
        match self.disk_bytes {
            0 => Ok(Replay::from_memory(xid, self.aborted, self.buffer)),
            bytes => Replay::from_file(xid, self.aborted, directory, bytes, self.buffer),
        }
    }

    pub(super) fn discard(self, directory: &Directory, xid: Xid) -> Result<(), SpoolError> {
        match fs::remove_file(directory.file(xid)) {
            // Nothing was written, or a write has failed before it made the file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(|source| SpoolError::io(directory.path(), source)),
        }
    }

    fn check(&self, xid: Xid) -> Result<(), SpoolError> {
        match self.writing {
            false => Ok(()),
            true => Err(SpoolError::Damaged { xid }),
        }
    }
}

fn append_to_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(bytes)
}
