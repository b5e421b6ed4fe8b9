//! Putting a compacted segment in the place of those it was made of, so that a crash at any moment
//! leaves the old ones or the new one.
//!
//! `BASE-END` in the names are the offsets that the segments cover, the end not included.
//!
//! | file | meaning |
//! |---|---|
//! | `BASE-END.compacting` | being written; removed at the next start |
//! | `BASE-END.compacted-index` | its index, whole before the rename that follows |
//! | `BASE-END.compacted` | whole and on the disk: it counts, and the old segments do not. Either this process or the next one finishes what is left: to remove those and to give it their first one's name |

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tracing::info;

use super::index::{self, Entry};
use super::segment::{Segment, base_offset_of, index_path, log_path};
use super::segments::entry;
use crate::kafka::batch::{BatchHeader, HEADER_LENGTH};
use crate::kafka::journal::sync_directory;

const WRITING: &str = "compacting";
const WHOLE: &str = "compacted";
const INDEX: &str = "compacted-index";

/// The offsets that a compacted segment covers, `end` not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) base_offset: i64,
    pub(super) end: i64,
}

impl Span {
    fn path(self, directory: &Path, extension: &str) -> PathBuf {
        let Self { base_offset, end } = self;
        directory.join(format!("{base_offset:020}-{end:020}.{extension}"))
    }

    fn of(path: &Path) -> Option<Self> {
        let (base_offset, end) = path.file_stem()?.to_str()?.split_once('-')?;
        Some(Self {
            base_offset: base_offset.parse().ok()?,
            end: end.parse().ok()?,
        })
    }
}

/// A segment that is being written beside the log.
pub(super) struct Replacement {
    span: Span,
    log: BufWriter<File>,
    index: BufWriter<File>,
    segment: Segment,
    since_index: u64,
}

impl Replacement {
    pub(super) fn create(directory: &Path, span: Span) -> io::Result<Self> {
        Ok(Self {
            span,
            log: BufWriter::new(File::create(span.path(directory, WRITING))?),
            index: BufWriter::new(File::create(span.path(directory, INDEX))?),
            segment: Segment::empty(span.base_offset),
            since_index: 0,
        })
    }

    pub(super) fn append(
        &mut self,
        header: &BatchHeader,
        encoded: &[u8; HEADER_LENGTH],
        records: &[u8],
    ) -> io::Result<()> {
        if self.since_index >= index::INTERVAL {
            self.write_entry(header.base_offset)?;
            self.since_index = 0;
        }
        self.log.write_all(encoded)?;
        self.log.write_all(records)?;
        let grown = header.size as u64;
        self.since_index += grown;
        self.segment.size += grown;
        let newest = header.newest_timestamp();
        self.segment.max_timestamp = self.segment.max_timestamp.max(newest);
        Ok(())
    }

    pub(super) fn size(&self) -> u64 {
        self.segment.size
    }

    /// Forces all of it to the disk. It does not yet count.
    pub(super) fn finish(mut self) -> io::Result<Written> {
        if self.since_index > 0 {
            self.write_entry(self.span.end)?;
        }
        for file in [self.log, self.index] {
            file.into_inner()?.sync_all()?;
        }
        Ok(Written {
            span: self.span,
            segment: self.segment,
        })
    }

    fn write_entry(&mut self, base_offset: i64) -> io::Result<()> {
        let entry: Entry = entry(&self.segment, base_offset, self.segment.size);
        self.index.write_all(&entry.encode())?;
        self.segment.index_entries += 1;
        Ok(())
    }
}

/// A segment that is on the disk beside the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    pub(super) span: Span,
    pub(super) segment: Segment,
}

impl Written {
    /// Makes it count in the place of the segments within its span.
    pub(super) fn put_in_place(self, directory: &Path) -> io::Result<()> {
        let whole = self.span.path(directory, WHOLE);
        fs::rename(self.span.path(directory, WRITING), whole)?;
        sync_directory(directory)?;
        finish(directory, self.span)
    }
}

/// Removes what was written for a span and is not wanted.
pub(super) fn discard(directory: &Path, span: Span) -> io::Result<()> {
    for extension in [WRITING, INDEX] {
        remove_if_there(&span.path(directory, extension))?;
    }
    Ok(())
}

/// Finishes or undoes what a crash has interrupted.
pub(super) fn recover(directory: &Path) -> io::Result<()> {
    let mut interrupted = Vec::new();
    let mut whole = Vec::new();
    for file in fs::read_dir(directory)? {
        let path = file?.path();
        let extension = path.extension().and_then(OsStr::to_str);
        match (extension, Span::of(&path)) {
            (Some(WHOLE), Some(span)) => whole.push(span),
            (Some(WRITING | INDEX), Some(span)) => interrupted.push(span),
            _ => {}
        }
    }
    for span in whole {
        info!(path = %directory.display(), ?span, "finish an interrupted compaction");
        finish(directory, span)?;
    }
    for span in interrupted {
        discard(directory, span)?;
    }
    Ok(())
}

/// May be interrupted anywhere and begun again.
fn finish(directory: &Path, span: Span) -> io::Result<()> {
    for file in fs::read_dir(directory)? {
        let path = file?.path();
        let Some(base_offset) = base_offset_of(&path) else {
            continue;
        };
        if (span.base_offset + 1..span.end).contains(&base_offset) {
            remove_if_there(&path)?;
            remove_if_there(&index_path(directory, base_offset))?;
        }
    }
    let index = span.path(directory, INDEX);
    match fs::rename(index, index_path(directory, span.base_offset)) {
        // Done by who was interrupted: the index is there before the log is.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
        renamed => renamed?,
    }
    let whole = span.path(directory, WHOLE);
    fs::rename(whole, log_path(directory, span.base_offset))?;
    sync_directory(directory)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
