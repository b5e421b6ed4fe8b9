//! Opening a partition: what the checkpoint vouches for is taken over, what follows is checked
//! batch by batch and cut where it is not whole.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tracing::{debug, warn};

use super::checkpoint::Checkpoint;
use super::epochs::Epochs;
use super::index::{self, Index};
use super::marker;
use super::partition::{Log, Settings};
use super::producers::Producers;
use super::replacement;
use super::scan::{Scan, ScanError};
use super::segment::{Files, Segment, base_offset_of, index_path, log_path};
use super::segments::{Segments, entry};
use super::start_offset;
use super::transactions::Transactions;
use crate::kafka::batch::BatchHeader;
use crate::kafka::config::Fsync;
use crate::kafka::transactions;

/// What of the files may be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kafka) enum Trust {
    /// Everything that the last process handed to the operating system is there: it stopped in
    /// order, or was killed while the machine went on. Only its very last write may be torn.
    Written,
    /// The machine restarted: only what was forced to the disk is there.
    Forced,
}

pub(super) fn open(directory: &Path, trust: Trust, settings: &Settings) -> io::Result<Log> {
    fs::create_dir_all(directory)?;
    replacement::recover(directory)?;
    let mut bases = segment_bases(directory)?;
    if bases.is_empty() {
        Files::open(directory, 0)?;
        bases.push(0);
    }
    let checkpoint = Checkpoint::read(directory);
    let from = starting_point(directory, trust, checkpoint.as_ref(), &bases);
    let mut recovered = Recovered::new(directory, checkpoint, &from);

    let mut bases = bases.into_iter().peekable();
    while let Some(base_offset) = bases.next() {
        let is_last = bases.peek().is_none();
        if base_offset < from.segment {
            let segment = finished_segment(directory, base_offset)?;
            recovered.segments.push(segment);
        } else if recovered.scan(base_offset, &from, is_last)? == Outcome::Cut {
            remove_segments(directory, bases.by_ref())?;
        }
    }
    remove_stray_indexes(directory, &recovered.segments)?;
    recovered.start_offset = recovered.start_offset.max(start_offset::read(directory)?);
    recovered.into_log(directory, settings)
}

/// From where the log is read again.
struct StartingPoint {
    segment: i64,
    position: u64,
    max_timestamp: i64,
    offset: i64,
}

fn starting_point(
    directory: &Path,
    trust: Trust,
    checkpoint: Option<&Checkpoint>,
    bases: &[i64],
) -> StartingPoint {
    let segment_start = |base: i64| StartingPoint {
        segment: base,
        position: 0,
        max_timestamp: index::NO_TIMESTAMP,
        offset: base,
    };
    let first = bases.first().copied().unwrap_or(0);
    let Some(checkpoint) = checkpoint.filter(|checkpoint| bases.contains(&checkpoint.segment))
    else {
        return segment_start(first);
    };
    // A transaction may have begun anywhere before a point that is not the checkpoint's own.
    let needs_whole_log = checkpoint.transactions.seen();
    match trust {
        Trust::Forced if needs_whole_log => segment_start(first),
        Trust::Forced => {
            let flushed = bases
                .iter()
                .copied()
                .filter(|base| *base <= checkpoint.unflushed_from);
            segment_start(flushed.max().unwrap_or(first))
        }
        Trust::Written => {
            let length = |path| fs::metadata(path).map(|meta| meta.len());
            let log = length(log_path(directory, checkpoint.segment));
            let index = length(index_path(directory, checkpoint.segment));
            if log.is_ok_and(|length| length >= checkpoint.position)
                && index.is_ok_and(|length| length >= index::byte_length(checkpoint.index_entries))
            {
                StartingPoint {
                    segment: checkpoint.segment,
                    position: checkpoint.position,
                    max_timestamp: checkpoint.max_timestamp,
                    offset: checkpoint.next_offset,
                }
            } else if needs_whole_log {
                segment_start(first)
            } else {
                segment_start(checkpoint.segment)
            }
        }
    }
}

#[derive(PartialEq, Eq)]
enum Outcome {
    Whole,
    Cut,
}

/// The log as far as it has been put together again.
struct Recovered<'a> {
    directory: &'a Path,
    segments: Vec<Segment>,
    producers: Producers,
    transactions: Transactions,
    start_offset: i64,
    next_offset: i64,
    unflushed_from: i64,
    compacted_until: i64,
    epochs: Epochs,
    since_index: u64,
    /// Whether anything was found that the checkpoint does not know.
    changed: bool,
}

impl<'a> Recovered<'a> {
    fn new(directory: &'a Path, checkpoint: Option<Checkpoint>, from: &StartingPoint) -> Self {
        let changed = checkpoint.is_none();
        let known = checkpoint.unwrap_or_else(|| Checkpoint::none(from.offset, from.segment));
        let Checkpoint {
            mut producers,
            mut epochs,
            mut transactions,
            ..
        } = known;
        // The whole log is then read again, if it has any transactions.
        if from.offset != known.next_offset {
            transactions = Transactions::default();
        }
        producers.forget_from(from.offset);
        epochs.forget_from(from.offset);
        Self {
            directory,
            segments: Vec::new(),
            producers,
            transactions,
            start_offset: known.start_offset,
            next_offset: from.offset,
            unflushed_from: known.unflushed_from,
            compacted_until: known.compacted_until,
            epochs,
            since_index: 0,
            changed,
        }
    }

    /// Reads a segment from the starting point on, cuts what is not whole and completes its index.
    fn scan(
        &mut self,
        base_offset: i64,
        from: &StartingPoint,
        is_last: bool,
    ) -> io::Result<Outcome> {
        let files = Files::open(self.directory, base_offset)?;
        let end = files.log.metadata()?.len();
        let mut segment = Segment::empty(base_offset);
        if base_offset == from.segment {
            segment.size = from.position;
            segment.max_timestamp = from.max_timestamp;
        }
        self.next_offset = self.next_offset.max(base_offset);
        self.since_index = resume_index(&files, &mut segment)?;

        let cut = self.scan_batches(&files, &mut segment, end)?;
        if let Some(cause) = &cut {
            warn!(
                path = %log_path(self.directory, base_offset).display(),
                bytes = end - segment.size, offset = self.next_offset, %cause,
                "cut the end of a segment that is not whole"
            );
            files.log.set_len(segment.size)?;
        }
        if !is_last && cut.is_none() {
            close_index(&files, &mut segment, self.next_offset, self.since_index)?;
        }
        self.segments.push(segment);
        Ok(if cut.is_some() {
            Outcome::Cut
        } else {
            Outcome::Whole
        })
    }

    /// Gives the reason when the batches end before the file does.
    fn scan_batches(
        &mut self,
        files: &Files,
        segment: &mut Segment,
        end: u64,
    ) -> io::Result<Option<ScanError>> {
        let mut scan = Scan::new(&files.log, segment.size, end);
        loop {
            let (batch, marker) = match next_whole_batch(&mut scan) {
                Ok(None) => return Ok(None),
                Ok(Some(found)) => found,
                Err(ScanError::Io(cause)) => return Err(cause),
                Err(cause) => return Ok(Some(cause)),
            };
            if batch.base_offset < self.next_offset {
                return Ok(Some(ScanError::OffsetGoesBack));
            }
            if self.since_index >= index::INTERVAL {
                index::append(
                    &files.index,
                    entry(segment, batch.base_offset, segment.size),
                )?;
                segment.index_entries += 1;
                self.since_index = 0;
            }
            self.since_index += batch.size as u64;
            segment.size = scan.position();
            segment.max_timestamp = segment.max_timestamp.max(batch.newest_timestamp());
            self.next_offset = batch.next_offset();
            self.epochs.begin(batch.leader_epoch, batch.base_offset);
            self.producers.record(&batch, batch.max_timestamp);
            self.transactions.record(&batch, marker);
            self.changed = true;
        }
    }

    fn into_log(mut self, directory: &Path, settings: &Settings) -> io::Result<Log> {
        let first = self
            .segments
            .first()
            .map_or(0, |segment| segment.base_offset);
        debug!(path = %directory.display(), next_offset = self.next_offset, "opened partition");
        let durable_names = settings.fsync != Fsync::OperatingSystem;
        let start_offset = self.start_offset.max(first);
        // A power failure may have taken the end of what a client had deleted. Its offsets are not
        // used again: the next start would take the records there for deleted ones.
        let next_offset = self.next_offset.max(start_offset);
        self.epochs.begin(settings.leader_epoch, next_offset);
        self.epochs.forget_before(start_offset);
        let first_timestamp = first_timestamp(directory, self.segments.last())?;
        Ok(Log {
            start_offset,
            next_offset,
            unflushed_from: self.unflushed_from,
            compacted_until: self.compacted_until.min(next_offset),
            epochs: self.epochs,
            producers: self.producers,
            transactions: self.transactions,
            changed: self.changed,
            since_checkpoint: 0,
            unsynced: self.changed,
            segments: Segments::new(
                Arc::from(directory),
                self.segments,
                self.since_index,
                first_timestamp,
                Arc::clone(&settings.open_files),
                durable_names,
            ),
        })
    }
}

/// The next batch, and how it ends a transaction if it is a marker.
fn next_whole_batch(
    scan: &mut Scan<'_>,
) -> Result<Option<(BatchHeader, Option<transactions::Outcome>)>, ScanError> {
    let Some(header) = scan.next_header()? else {
        return Ok(None);
    };
    let batch = scan.batch(&header)?;
    header.verify(batch)?;
    let marker = header
        .is_control()
        .then(|| marker::outcome(batch))
        .flatten();
    Ok(Some((header, marker)))
}

/// Cuts an index to the entries before the end of the segment, and tells how much log follows the
/// last of them.
fn resume_index(files: &Files, segment: &mut Segment) -> io::Result<u64> {
    let found = index::entries(&files.index)?;
    let (last, kept) = match segment.size {
        0 => (index::Entry::START, 0),
        size => Index::new(&files.index, found).at_position(size)?,
    };
    index::truncate(&files.index, kept)?;
    segment.index_entries = kept;
    Ok(segment.size.saturating_sub(u64::from(last.position)))
}

fn close_index(
    files: &Files,
    segment: &mut Segment,
    next_offset: i64,
    since_index: u64,
) -> io::Result<()> {
    if since_index > 0 {
        index::append(&files.index, entry(segment, next_offset, segment.size))?;
        segment.index_entries += 1;
    }
    Ok(())
}

/// A segment that was finished before: its index tells the rest, or is made again.
fn finished_segment(directory: &Path, base_offset: i64) -> io::Result<Segment> {
    let files = Files::open(directory, base_offset)?;
    let size = files.log.metadata()?.len();
    let entries = index::entries(&files.index)?;
    let last = Index::new(&files.index, entries).last()?;
    if u64::from(last.position) == size {
        let max_timestamp = last.max_timestamp;
        return Ok(Segment {
            base_offset,
            size,
            max_timestamp,
            index_entries: entries,
        });
    }
    warn!(path = %index_path(directory, base_offset).display(), "make the index of a segment again");
    let from = StartingPoint {
        segment: base_offset,
        position: 0,
        max_timestamp: index::NO_TIMESTAMP,
        offset: base_offset,
    };
    let mut alone = Recovered::new(directory, None, &from);
    alone.scan(base_offset, &from, false)?;
    alone
        .segments
        .pop()
        .ok_or_else(|| io::Error::other("segment was not scanned"))
}

/// When the first batch of the last segment was written.
fn first_timestamp(directory: &Path, last: Option<&Segment>) -> io::Result<Option<i64>> {
    let Some(last) = last.filter(|last| last.size > 0) else {
        return Ok(None);
    };
    let files = Files::open(directory, last.base_offset)?;
    let first = Scan::new(&files.log, 0, last.size)
        .next_header()
        .map_err(io::Error::other)?;
    Ok(first.map(|batch| batch.max_timestamp))
}

/// Removes indexes whose segment went without them.
fn remove_stray_indexes(directory: &Path, segments: &[Segment]) -> io::Result<()> {
    for file in fs::read_dir(directory)? {
        let path = file?.path();
        let known = |segment: &Segment| index_path(directory, segment.base_offset) == path;
        if path
            .extension()
            .is_some_and(|extension| extension == "index")
            && !segments.iter().any(known)
        {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn segment_bases(directory: &Path) -> io::Result<Vec<i64>> {
    let mut bases = Vec::new();
    for file in fs::read_dir(directory)? {
        bases.extend(base_offset_of(&file?.path()));
    }
    bases.sort_unstable();
    Ok(bases)
}

/// Removes what follows a cut: it cannot be reached from there.
fn remove_segments(directory: &Path, bases: impl Iterator<Item = i64>) -> io::Result<()> {
    for base_offset in bases {
        let path = log_path(directory, base_offset);
        warn!(path = %path.display(), "remove a segment behind a cut");
        fs::remove_file(path)?;
        let _ = fs::remove_file(index_path(directory, base_offset));
    }
    Ok(())
}
