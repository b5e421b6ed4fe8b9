//! What is done to a partition from time to time: retention, fsync and checkpoints.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use super::checkpoint::Checkpoint;
use super::partition::{Log, Partition};
use super::segment::{Files, Segment, log_path};
use super::start_offset;
use crate::kafka::topic_config::TopicConfig;

/// How long an idle producer is remembered; Kafka's `producer.id.expiration.ms`.
const PRODUCER_EXPIRATION_MS: i64 = 24 * 60 * 60 * 1000;

/// Why records are not deleted.
#[derive(Debug, thiserror::Error)]
pub(in crate::kafka) enum DeleteRecordsError {
    #[error("offset {offset} is not within 0 to {end}")]
    OutOfRange { offset: i64, end: i64 },
    #[error("write the offset at which the log starts")]
    Io(#[from] io::Error),
}

/// Bytes after which a checkpoint is due before its time: they are what a start reads again.
const LONG: u64 = 32 << 20;

impl Partition {
    /// Removes whole segments that are too old or too many, or hold deleted records only, and gives
    /// their number.
    pub(in crate::kafka) fn enforce_retention(
        &self,
        config: &TopicConfig,
        now_ms: i64,
    ) -> io::Result<usize> {
        let mut log = self.lock();
        let mut removed = 0;
        while !self.is_deleted() && log.first_is_due(config, now_ms)? {
            if log.segments.all().len() == 1 {
                log.roll()?;
            }
            self.removals().fetch_add(1, Ordering::AcqRel);
            log.segments.remove_first()?;
            let first = log.segments.first().base_offset;
            self.start_at(&mut log, first);
            removed += 1;
        }
        Ok(removed)
    }

    /// Makes `offset` the first that may be read, for good; `None` stands for the end of the log.
    /// Gives the first offset. Files go with the next look at retention.
    pub(in crate::kafka) fn delete_before(
        &self,
        offset: Option<i64>,
    ) -> Result<i64, DeleteRecordsError> {
        let mut log = self.lock();
        let end = log.next_offset;
        let offset = offset.unwrap_or(end);
        if !(0..=end).contains(&offset) {
            return Err(DeleteRecordsError::OutOfRange { offset, end });
        }
        if offset > log.start_offset {
            start_offset::write(log.segments.directory(), offset)?;
            self.start_at(&mut log, offset);
        }
        Ok(log.start_offset)
    }

    /// Writes down what the next start need not read, if anything changed.
    pub(in crate::kafka) fn checkpoint(&self, now_ms: i64) -> io::Result<()> {
        if !self.lock().changed {
            return Ok(());
        }
        self.write_checkpoint(now_ms, Checkpoint::write)
    }

    /// Does so when much was appended since the last time, whenever that was.
    pub(in crate::kafka) fn checkpoint_if_long(&self, now_ms: i64) -> io::Result<()> {
        if self.lock().since_checkpoint < LONG {
            return Ok(());
        }
        self.checkpoint(now_ms)
    }

    /// Writes down for good that a start need not look into finished segments, whatever ends this
    /// process.
    pub(super) fn checkpoint_durably(&self, now_ms: i64) -> io::Result<()> {
        self.flush_finished()?;
        self.write_checkpoint(now_ms, Checkpoint::write_durably)
    }

    fn write_checkpoint(
        &self,
        now_ms: i64,
        write: fn(&Checkpoint, &Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let _alone = self.lock_checkpoint();
        let (directory, checkpoint) = {
            let mut log = self.lock();
            if self.is_deleted() {
                return Ok(());
            }
            log.producers.expire(now_ms - PRODUCER_EXPIRATION_MS);
            let start_offset = log.start_offset;
            log.transactions.forget_before(start_offset);
            log.changed = false;
            log.since_checkpoint = 0;
            (Arc::clone(log.segments.directory()), log.checkpoint())
        };
        let written = write(&checkpoint, &directory);
        if written.is_err() {
            self.lock().changed = true;
        }
        written
    }

    /// Forces finished segments to the disk, so that a start after a power failure need not read
    /// them. The next checkpoint says so. This may take long, and nothing waits for it.
    pub(in crate::kafka) fn flush_finished(&self) -> io::Result<()> {
        let (directory, finished) = self.lock().finished_since_flush();
        if finished.len() < 2 {
            return Ok(());
        }
        let unflushed_from = flush_finished(&directory, &finished)?;
        let mut log = self.lock();
        log.unflushed_from = log.unflushed_from.max(unflushed_from);
        log.changed = true;
        Ok(())
    }

    /// Forces everything appended so far to the disk.
    pub(in crate::kafka) fn sync(&self) -> io::Result<()> {
        let files = {
            let mut log = self.lock();
            if self.is_deleted() || !std::mem::take(&mut log.unsynced) {
                return Ok(());
            }
            log.segments.files()?
        };
        let synced = files.log.sync_data().and_then(|()| files.index.sync_data());
        if synced.is_err() {
            self.lock().unsynced = true;
        }
        synced
    }

    /// Closes files that were not used since the last call.
    pub(in crate::kafka) fn close_unused_files(&self) {
        self.lock().segments.close_unused();
    }

    fn start_at(&self, log: &mut Log, offset: i64) {
        log.start_offset = log.start_offset.max(offset);
        log.epochs.forget_before(log.start_offset);
        log.changed = true;
        self.start_offset_cell()
            .store(log.start_offset, Ordering::Release);
    }
}

impl Log {
    fn first_is_due(&self, config: &TopicConfig, now_ms: i64) -> io::Result<bool> {
        let first = self.segments.first();
        let next = self.segments.all().get(1);
        if next.is_some_and(|next| next.base_offset <= self.start_offset) {
            return Ok(true);
        }
        if !config.deletes() {
            return Ok(false);
        }
        if first.size == 0 {
            // One that compaction has emptied must not keep those behind it.
            return Ok(next.is_some());
        }
        if let Some(limit) = config.retention_bytes
            && self.segments.size() - first.size >= limit
        {
            return Ok(true);
        }
        let Some(retention) = config.retention else {
            return Ok(false);
        };
        let newest = newest_time(self.segments.directory(), first)?;
        Ok(now_ms.saturating_sub(newest) > millis(retention))
    }

    /// The segments to force to the disk, and the last one.
    fn finished_since_flush(&self) -> (Arc<Path>, Vec<Segment>) {
        let finished = |segment: &&Segment| segment.base_offset >= self.unflushed_from;
        let segments = self
            .segments
            .all()
            .iter()
            .filter(finished)
            .copied()
            .collect();
        (Arc::clone(self.segments.directory()), segments)
    }

    fn checkpoint(&self) -> Checkpoint {
        let active = self.segments.active();
        Checkpoint {
            start_offset: self.start_offset,
            next_offset: self.next_offset,
            segment: active.base_offset,
            position: active.size,
            index_entries: active.index_entries,
            max_timestamp: active.max_timestamp,
            unflushed_from: self.unflushed_from,
            compacted_until: self.compacted_until,
            epochs: self.epochs.clone(),
            producers: self.producers.clone(),
            transactions: self.transactions.clone(),
        }
    }
}

/// Forces all but the last of the segments to the disk and gives the base offset of the last.
fn flush_finished(directory: &Path, segments: &[Segment]) -> io::Result<i64> {
    let Some((last, finished)) = segments.split_last() else {
        return Ok(0);
    };
    for segment in finished {
        match Files::open_existing(directory, segment.base_offset) {
            Ok(files) => files
                .log
                .sync_data()
                .and_then(|()| files.index.sync_data())?,
            // Retention was here meanwhile.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(last.base_offset)
}

/// The largest timestamp of a segment's records, or when the file was written if they have none.
fn newest_time(directory: &Path, segment: &Segment) -> io::Result<i64> {
    if segment.max_timestamp >= 0 {
        return Ok(segment.max_timestamp);
    }
    let written = fs::metadata(log_path(directory, segment.base_offset))?.modified()?;
    Ok(millis(
        written.duration_since(UNIX_EPOCH).unwrap_or_default(),
    ))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
