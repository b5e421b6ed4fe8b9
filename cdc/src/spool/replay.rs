use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use tokio::task::spawn_blocking;

use super::directory::Directory;
use super::error::SpoolError;
use super::record::{self, Incomplete, Record};
use crate::wire::Xid;

/// The messages of a committed transaction in the order in which they came, without those of the
/// subtransactions that were rolled back.
#[derive(Debug)]
pub struct Replay {
    xid: Xid,
    directory: PathBuf,
    aborted: HashSet<Xid>,
    /// What was read and not yet handed over.
    buffer: BytesMut,
    rest: Rest,
}

/// Where what was not read yet is.
#[derive(Debug)]
enum Rest {
    Disk(Disk),
    Memory(BytesMut),
    End,
    /// A read that was given up half way.
    Lost,
}

#[derive(Debug)]
struct Disk {
    /// Without a name already: its space is free once this is dropped.
    file: File,
    bytes: u64,
    /// What follows the file.
    tail: BytesMut,
}

/// How much is read at once.
const READ_BYTES: usize = 256 * 1024;

impl Replay {
    pub(super) fn from_memory(xid: Xid, aborted: HashSet<Xid>, buffer: BytesMut) -> Self {
        Self {
            xid,
            directory: PathBuf::new(),
            aborted,
            buffer,
            rest: Rest::End,
        }
    }

    /// `bytes` is the length of the file, and `tail` what follows it.
    pub(super) fn from_file(
        xid: Xid,
        aborted: HashSet<Xid>,
        directory: &Directory,
        bytes: u64,
        tail: BytesMut,
    ) -> Result<Self, SpoolError> {
        let path = directory.file(xid);
        let file = File::open(&path)
            .and_then(|file| fs::remove_file(&path).map(|()| file))
            .map_err(|source| SpoolError::io(directory.path(), source))?;
        Ok(Self {
            xid,
            directory: directory.path().to_owned(),
            aborted,
            buffer: BytesMut::new(),
            rest: Rest::Disk(Disk { file, bytes, tail }),
        })
    }

    /// The next message, `None` after the last one.
    ///
    /// Not cancel-safe: after a dropped future the replay fails rather than going on with a gap.
    pub async fn next(&mut self) -> Result<Option<Bytes>, SpoolError> {
        loop {
            match record::read(&mut self.buffer) {
                Ok(Record { subxid, .. }) if self.aborted.contains(&subxid) => {}
                Ok(Record { message, .. }) => return Ok(Some(message)),
                Err(incomplete) => {
                    if !self.fill(incomplete).await? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Reads on. False at the end.
    async fn fill(&mut self, Incomplete { needed }: Incomplete) -> Result<bool, SpoolError> {
        match std::mem::replace(&mut self.rest, Rest::Lost) {
            Rest::Disk(mut disk) => {
                let mut buffer = std::mem::take(&mut self.buffer);
                let wanted = needed.saturating_sub(buffer.len()).max(READ_BYTES);
                let read = spawn_blocking(move || {
                    disk.read(wanted, &mut buffer)?;
                    Ok((disk, buffer))
                });
                let (disk, buffer) = read
                    .await
                    .unwrap_or_else(|error| Err(io::Error::other(error)))
                    .map_err(|source| self.failed(source))?;
                self.buffer = buffer;
                self.rest = match disk.bytes {
                    0 => Rest::Memory(disk.tail),
                    _ => Rest::Disk(disk),
                };
                Ok(true)
            }
            // Files and buffers end with whole records: a rest of one is not the end.
            Rest::Memory(_) | Rest::End if !self.buffer.is_empty() => {
                Err(SpoolError::Damaged { xid: self.xid })
            }
            Rest::Memory(tail) => {
                self.buffer = tail;
                self.rest = Rest::End;
                Ok(true)
            }
            Rest::End => {
                self.rest = Rest::End;
                Ok(false)
            }
            Rest::Lost => Err(SpoolError::Damaged { xid: self.xid }),
        }
    }

    fn failed(&self, source: io::Error) -> SpoolError {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => SpoolError::Damaged { xid: self.xid },
            _ => SpoolError::io(&self.directory, source),
        }
    }
}

impl Disk {
    /// Reads `wanted` bytes or, where the file has less, those: a damaged length reserves no memory
    /// for what is not there.
    fn read(&mut self, wanted: usize, buffer: &mut BytesMut) -> io::Result<()> {
        let wanted = wanted.min(usize::try_from(self.bytes).unwrap_or(usize::MAX));
        let start = buffer.len();
        buffer.resize(start + wanted, 0);
        self.file.read_exact(&mut buffer[start..])?;
        self.bytes -= u64::try_from(wanted).unwrap_or(self.bytes);
        Ok(())
    }
}
