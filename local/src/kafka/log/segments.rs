//! The segments of one partition, the last of which grows.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tracing::warn;

use super::index::{self, Entry};
use super::replacement::Written;
use super::segment::{Extent, Files, Segment, index_path, log_path};
use crate::kafka::batch::BatchHeader;
use crate::kafka::journal::sync_directory;

#[derive(Debug)]
pub(super) struct Segments {
    directory: Arc<Path>,
    /// By base offset; never empty.
    list: Vec<Segment>,
    /// Of the last segment, while it is in use.
    files: Option<Arc<Files>>,
    /// Whether `files` was used since the last look.
    used: bool,
    /// The timestamp of the last segment's first batch.
    first_timestamp: Option<i64>,
    /// Appended since the last index entry.
    since_index: u64,
    /// Set when a failed write could not be undone: what is on disk is then unknown until recovery.
    broken: bool,
    open_files: Arc<Semaphore>,
    durable_names: bool,
}

impl Segments {
    /// Takes over the segments that recovery found.
    pub(super) fn new(
        directory: Arc<Path>,
        list: Vec<Segment>,
        since_index: u64,
        first_timestamp: Option<i64>,
        open_files: Arc<Semaphore>,
        durable_names: bool,
    ) -> Self {
        assert!(!list.is_empty(), "a partition has at least one segment");
        Self {
            directory,
            list,
            files: None,
            used: false,
            first_timestamp,
            since_index,
            broken: false,
            open_files,
            durable_names,
        }
    }

    pub(super) fn directory(&self) -> &Arc<Path> {
        &self.directory
    }

    /// Whether created files must be found again after a power failure.
    pub(super) fn keeps_names_durable(&self) -> bool {
        self.durable_names
    }

    pub(super) fn first_timestamp(&self) -> Option<i64> {
        self.first_timestamp
    }

    /// Takes no more appends: it is not known what is on the disk.
    pub(super) fn give_up(&mut self) {
        self.broken = true;
    }

    pub(super) fn active(&self) -> &Segment {
        self.list
            .last()
            .expect("a partition has at least one segment")
    }

    pub(super) fn first(&self) -> &Segment {
        self.list
            .first()
            .expect("a partition has at least one segment")
    }

    pub(super) fn all(&self) -> &[Segment] {
        &self.list
    }

    pub(super) fn size(&self) -> u64 {
        self.list.iter().map(|segment| segment.size).sum()
    }

    /// Writes a batch behind the last one. When this fails nothing was appended.
    pub(super) fn append(&mut self, batch: &BatchHeader, records: &[u8]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other(
                "an earlier write failed; a restart checks the log",
            ));
        }
        let files = self.files()?;
        let segment = *self.active();
        if let Err(cause) = files.append(&batch.encode(), records) {
            self.broken = files.log.set_len(segment.size).is_err();
            return Err(cause);
        }
        let indexed = self.since_index >= index::INTERVAL && self.index(&files, batch);
        let grown = batch.size as u64;
        self.since_index = if indexed {
            grown
        } else {
            self.since_index + grown
        };
        self.first_timestamp.get_or_insert(batch.max_timestamp);
        let active = self.active_mut();
        active.size += grown;
        active.max_timestamp = active.max_timestamp.max(batch.newest_timestamp());
        active.index_entries += u32::from(indexed);
        Ok(())
    }

    /// Finishes the last segment and starts one at `base_offset`.
    pub(super) fn roll(&mut self, base_offset: i64) -> io::Result<()> {
        let files = self.files()?;
        let finished = *self.active();
        let closing = entry(&finished, base_offset, finished.size);
        if self.since_index > 0 && self.write_entry(&files, closing) {
            self.active_mut().index_entries += 1;
        }
        drop(files);
        self.files = None;
        Files::open(&self.directory, base_offset)?;
        if self.durable_names {
            sync_directory(&self.directory)?;
        }
        self.list.push(Segment::empty(base_offset));
        self.first_timestamp = None;
        self.since_index = 0;
        Ok(())
    }

    /// The part of the log that holds `offset` or what follows it.
    pub(super) fn extent_at(&self, offset: i64) -> Extent {
        let after = self
            .list
            .partition_point(|segment| segment.base_offset <= offset);
        self.extent(after.saturating_sub(1))
    }

    /// The part of the log that follows the segment with a base offset.
    pub(super) fn extent_after(&self, base_offset: i64) -> Option<Extent> {
        let after = self
            .list
            .partition_point(|segment| segment.base_offset <= base_offset);
        (after < self.list.len()).then(|| self.extent(after))
    }

    /// The segments that may hold a record at or after a time.
    pub(super) fn extents_from_time(&self, timestamp: i64) -> Vec<Extent> {
        let may_hold = |number: &usize| self.list[*number].max_timestamp >= timestamp;
        (0..self.list.len())
            .filter(may_hold)
            .map(|number| self.extent(number))
            .collect()
    }

    fn extent(&self, number: usize) -> Extent {
        let is_active = number + 1 == self.list.len();
        Extent {
            directory: Arc::clone(&self.directory),
            segment: self.list[number],
            files: if is_active { self.files.clone() } else { None },
        }
    }

    /// Removes the oldest segment, which must not be the last.
    pub(super) fn remove_first(&mut self) -> io::Result<()> {
        assert!(self.list.len() > 1, "the last segment stays");
        let base_offset = self.first().base_offset;
        fs::remove_file(log_path(&self.directory, base_offset))?;
        self.list.remove(0);
        match fs::remove_file(index_path(&self.directory, base_offset)) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
            _ => Ok(()),
        }
    }

    /// Whether these neighbours are still there, before the last segment.
    pub(super) fn holds<'a>(&self, mut neighbours: impl Iterator<Item = &'a Segment>) -> bool {
        let Some(first) = neighbours.next() else {
            return false;
        };
        let finished = &self.list[..self.list.len() - 1];
        let at = finished.partition_point(|segment| segment.base_offset < first.base_offset);
        let mut there = finished[at..].iter();
        std::iter::once(first)
            .chain(neighbours)
            .all(|segment| there.next() == Some(segment))
    }

    /// Puts a compacted segment in the place of as many as it was made of.
    pub(super) fn replace(&mut self, count: usize, written: Written) -> io::Result<()> {
        // What a failure leaves is in order again after a restart.
        let was_broken = std::mem::replace(&mut self.broken, true);
        written.put_in_place(&self.directory)?;
        self.broken = was_broken;
        let base_offset = written.span.base_offset;
        let at = self
            .list
            .partition_point(|segment| segment.base_offset < base_offset);
        self.list.splice(at..at + count, [written.segment]);
        Ok(())
    }

    /// The last segment's files. They stay open while few enough others are.
    pub(super) fn files(&mut self) -> io::Result<Arc<Files>> {
        self.used = true;
        if let Some(files) = &self.files {
            return Ok(Arc::clone(files));
        }
        let mut files = Files::open(&self.directory, self.active().base_offset)?;
        files.permit = Arc::clone(&self.open_files).try_acquire_owned().ok();
        let files = Arc::new(files);
        if files.permit.is_some() {
            self.files = Some(Arc::clone(&files));
        }
        Ok(files)
    }

    /// Closes the files when they were not used since the last call.
    pub(super) fn close_unused(&mut self) {
        if !std::mem::take(&mut self.used) {
            self.files = None;
        }
    }

    fn active_mut(&mut self) -> &mut Segment {
        self.list
            .last_mut()
            .expect("a partition has at least one segment")
    }

    fn index(&mut self, files: &Files, batch: &BatchHeader) -> bool {
        let segment = *self.active();
        let entry = entry(&segment, batch.base_offset, segment.size);
        self.write_entry(files, entry)
    }

    /// Adds an index entry. The index is sparse, so one that cannot be written is only missing.
    fn write_entry(&mut self, files: &Files, entry: Entry) -> bool {
        let Err(cause) = index::append(&files.index, entry) else {
            return true;
        };
        warn!(path = %self.directory.display(), %cause, "write index entry");
        self.broken |= index::truncate(&files.index, self.active().index_entries).is_err();
        false
    }
}

/// The index entry for a batch that starts at `position` of a segment.
pub(super) fn entry(segment: &Segment, base_offset: i64, position: u64) -> Entry {
    Entry {
        relative_offset: u32::try_from(base_offset - segment.base_offset).unwrap_or(u32::MAX),
        position: u32::try_from(position).unwrap_or(u32::MAX),
        max_timestamp: segment.max_timestamp,
    }
}
