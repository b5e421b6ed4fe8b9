use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::kafka::batch::{BatchError, BatchHeader, HEADER_LENGTH};

/// Read at one time. Batches are usually smaller; a larger one is read whole.
const WINDOW: usize = 256 << 10;

/// Why batches could not be read from a segment.
#[derive(Debug, thiserror::Error)]
pub(in crate::kafka) enum ScanError {
    #[error("read segment")]
    Io(#[from] io::Error),
    #[error("segment is damaged")]
    Damaged(#[from] BatchError),
    #[error("segment ends within a batch")]
    Torn,
    #[error("offsets go back")]
    OffsetGoesBack,
}

/// Reads the batches of a file one after the other.
pub(super) struct Scan<'a> {
    file: &'a File,
    /// Of the next batch.
    position: u64,
    end: u64,
    window: Vec<u8>,
    window_start: u64,
    current: u64,
}

impl<'a> Scan<'a> {
    pub(super) fn new(file: &'a File, position: u64, end: u64) -> Self {
        Self {
            file,
            position,
            end,
            window: Vec::new(),
            window_start: position,
            current: position,
        }
    }

    /// The end of the batches seen so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next batch's header, or `None` at the end. The whole batch is there.
    pub(super) fn next_header(&mut self) -> Result<Option<BatchHeader>, ScanError> {
        if self.position == self.end {
            return Ok(None);
        }
        if self.end - self.position < HEADER_LENGTH as u64 {
            return Err(ScanError::Torn);
        }
        let header = BatchHeader::parse(self.bytes(self.position, HEADER_LENGTH)?)?;
        let next = self.position + header.size as u64;
        if next > self.end {
            return Err(ScanError::Torn);
        }
        self.current = self.position;
        self.position = next;
        Ok(Some(header))
    }

    /// All bytes of the batch whose header was just given.
    pub(super) fn batch(&mut self, header: &BatchHeader) -> Result<&[u8], ScanError> {
        self.bytes(self.current, header.size)
    }

    fn bytes(&mut self, position: u64, length: usize) -> Result<&[u8], ScanError> {
        let window_end = self.window_start + self.window.len() as u64;
        if position < self.window_start || position + length as u64 > window_end {
            let available = usize::try_from(self.end - position).map_err(io::Error::other)?;
            self.window.resize(WINDOW.max(length).min(available), 0);
            self.file.read_exact_at(&mut self.window, position)?;
            self.window_start = position;
        }
        let from = usize::try_from(position - self.window_start).map_err(io::Error::other)?;
        self.window.get(from..from + length).ok_or(ScanError::Torn)
    }
}
