//! One segment: its files, and reads from a part of it that is known to be whole.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::index::{self, Index};
use super::scan::{Scan, ScanError};
use crate::kafka::batch::{BatchHeader, HEADER_LENGTH};

/// The index interval as a length in memory.
const INTERVAL_BYTES: usize = 4096;
const _: () = assert!(INTERVAL_BYTES as u64 == index::INTERVAL);

/// What is kept in memory of a segment, however many batches it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) base_offset: i64,
    pub(super) size: u64,
    /// [`index::NO_TIMESTAMP`] while it has no record.
    pub(super) max_timestamp: i64,
    pub(super) index_entries: u32,
}

impl Segment {
    pub(super) fn empty(base_offset: i64) -> Self {
        Self {
            base_offset,
            size: 0,
            max_timestamp: index::NO_TIMESTAMP,
            index_entries: 0,
        }
    }
}

pub(super) fn log_path(directory: &Path, base_offset: i64) -> PathBuf {
    directory.join(format!("{base_offset:020}.log"))
}

pub(super) fn index_path(directory: &Path, base_offset: i64) -> PathBuf {
    directory.join(format!("{base_offset:020}.index"))
}

/// The base offset that a segment's file name tells.
pub(super) fn base_offset_of(path: &Path) -> Option<i64> {
    if path.extension()? != "log" {
        return None;
    }
    path.file_stem()?.to_str()?.parse().ok()
}

/// The open files of a segment.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) log: File,
    pub(super) index: File,
    /// Held by files that stay open, of which there is a limited number.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

impl Files {
    /// Opens the files for reading and appending, created when missing.
    pub(super) fn open(directory: &Path, base_offset: i64) -> io::Result<Self> {
        let log = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(log_path(directory, base_offset))?;
        let index = index::open(&index_path(directory, base_offset))?;
        Ok(Self {
            log,
            index,
            permit: None,
        })
    }

    /// Opens the files of a segment that may have been removed meanwhile.
    pub(super) fn open_existing(directory: &Path, base_offset: i64) -> io::Result<Self> {
        let log = File::open(log_path(directory, base_offset))?;
        let index = File::open(index_path(directory, base_offset))?;
        Ok(Self {
            log,
            index,
            permit: None,
        })
    }

    /// Appends a batch. After an error the file may end in a part of it.
    pub(super) fn append(&self, header: &[u8; HEADER_LENGTH], records: &[u8]) -> io::Result<()> {
        let mut slices = [IoSlice::new(header), IoSlice::new(records)];
        let mut rest = slices.as_mut_slice();
        while !rest.is_empty() {
            match (&self.log).write_vectored(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut rest, written),
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }
}

/// The part of a segment that was complete when it was looked at. Later appends do not change it.
#[derive(Debug, Clone)]
pub(super) struct Extent {
    pub(super) directory: Arc<Path>,
    pub(super) segment: Segment,
    pub(super) files: Option<Arc<Files>>,
}

/// How a read ends that finds a first batch larger than it may return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kafka) enum FirstBatch {
    /// Returned all the same, so that a reader can get past it.
    Whole,
    WithinLimit,
}

impl Extent {
    /// Whole batches from the one that holds `offset`, or the first after it, on, up to `max_bytes`
    /// of them; `None` when there is no such batch here.
    pub(super) fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        first: FirstBatch,
    ) -> Result<Option<Bytes>, ScanError> {
        let files = self.files()?;
        let entry = self.index(&files).at_offset(self.relative(offset))?;
        let mut start = u64::from(entry.position);
        // The batch with `offset` starts less than an index interval behind the entry.
        let mut bytes = self.window(&files, start, max_bytes.saturating_add(INTERVAL_BYTES))?;
        let mut from = batch_with_offset(&bytes, offset)?;
        if from.is_none() {
            // Unless an entry could not be written, or compaction has left a gap there.
            let Some(position) = self.position_of(&files, start, offset)? else {
                return Ok(None);
            };
            start = position;
            bytes = self.window(&files, start, max_bytes)?;
            from = Some(0);
        }
        let from = from.unwrap_or_default();
        let until = end_of_whole_batches(&bytes[from..], max_bytes) + from;
        if until > from {
            return Ok(Some(Bytes::from(bytes).slice(from..until)));
        }
        if first == FirstBatch::WithinLimit {
            return Ok(Some(Bytes::new()));
        }
        let size = BatchHeader::parse(&bytes[from..])?.size;
        let whole = self.window(&files, start + from as u64, size)?;
        if whole.len() < size {
            return Err(ScanError::Torn);
        }
        Ok(Some(Bytes::from(whole)))
    }

    /// Up to `length` bytes of the log, but a header at least, if there is one.
    fn window(&self, files: &Files, start: u64, length: usize) -> io::Result<Vec<u8>> {
        let length = length.max(HEADER_LENGTH) as u64;
        let length = length.min(self.segment.size.saturating_sub(start));
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        files.log.read_exact_at(&mut bytes, start)?;
        Ok(bytes)
    }

    /// Where the batch that holds `offset`, or the first after it, starts.
    fn position_of(
        &self,
        files: &Files,
        start: u64,
        offset: i64,
    ) -> Result<Option<u64>, ScanError> {
        let mut scan = Scan::new(&files.log, start, self.segment.size);
        let mut position = start;
        while let Some(header) = scan.next_header()? {
            if header.last_offset() >= offset {
                return Ok(Some(position));
            }
            position = scan.position();
        }
        Ok(None)
    }

    /// The headers of the batches that may hold the first record at or after a time.
    pub(super) fn batches_from_time<T>(
        &self,
        timestamp: i64,
        mut visit: impl FnMut(&BatchHeader, &[u8]) -> Option<T>,
    ) -> Result<Option<T>, ScanError> {
        let files = self.files()?;
        let start = self.index(&files).before_timestamp(timestamp)?.position;
        let mut scan = Scan::new(&files.log, u64::from(start), self.segment.size);
        while let Some(header) = scan.next_header()? {
            if header.max_timestamp >= timestamp
                && let Some(found) = visit(&header, scan.batch(&header)?)
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn files(&self) -> io::Result<Arc<Files>> {
        match &self.files {
            Some(files) => Ok(Arc::clone(files)),
            None => Files::open_existing(&self.directory, self.segment.base_offset).map(Arc::new),
        }
    }

    fn index<'a>(&self, files: &'a Files) -> Index<'a> {
        Index::new(&files.index, self.segment.index_entries)
    }

    fn relative(&self, offset: i64) -> u32 {
        u32::try_from(offset - self.segment.base_offset).unwrap_or(0)
    }
}

/// Where the batch that holds `offset`, or the first after it, starts in a run of batches.
fn batch_with_offset(bytes: &[u8], offset: i64) -> Result<Option<usize>, ScanError> {
    let mut position = 0;
    while bytes.len() - position >= HEADER_LENGTH {
        let header = BatchHeader::parse(&bytes[position..])?;
        if header.last_offset() >= offset {
            return Ok(Some(position));
        }
        position += header.size;
        if position > bytes.len() {
            break;
        }
    }
    Ok(None)
}

/// How many of the first `max_bytes` are whole batches.
fn end_of_whole_batches(bytes: &[u8], max_bytes: usize) -> usize {
    let limit = max_bytes.min(bytes.len());
    let mut end = 0;
    while let Some(rest) = bytes.get(end..limit)
        && let Ok(header) = BatchHeader::parse(rest)
        && header.size <= rest.len()
    {
        end += header.size;
    }
    end
}
