//! Compaction: of the records with one key only the last stays (`cleanup.policy=compact`).
//!
//! A pass reads the finished segments that no pass has seen, notes the newest offset of each key
//! in them, and then writes all segments up to there anew without what is older. Segments that
//! have become small are written into one. The last segment, which grows, is never touched.
//!
//! Nobody waits for a pass: it reads and writes beside the log, and only puts a new segment in the
//! place of old ones while the log is locked.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::keys::{KEYS_MAX, Keys};
use super::partition::{Log, Partition};
use super::records::{RecordsError, pass_all};
use super::replacement::{Replacement, Span, discard};
use super::scan::{Scan, ScanError};
use super::segment::{Files, Segment};
use super::sweep::{Fate, Sweep};
use crate::kafka::batch::{BatchHeader, HEADER_LENGTH};
use crate::kafka::topic_config::TopicConfig;

/// What a pass has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kafka) struct Compacted {
    pub(in crate::kafka) bytes_before: u64,
    pub(in crate::kafka) bytes_after: u64,
    /// The offset up to which each key is there once.
    pub(in crate::kafka) until: i64,
}

/// Why a pass ended early. The log is as sound as before.
#[derive(Debug, thiserror::Error)]
pub(in crate::kafka) enum CompactError {
    #[error("read the log")]
    Scan(#[from] ScanError),
    #[error("read the records of the batch at offset {offset}")]
    Records { offset: i64, source: RecordsError },
    #[error("write a compacted segment")]
    Write(#[from] io::Error),
}

impl CompactError {
    /// Whether a later pass may get further.
    pub(in crate::kafka) fn is_transient(&self) -> bool {
        match self {
            Self::Scan(ScanError::Io(_)) | Self::Write(_) => true,
            Self::Scan(_) | Self::Records { .. } => false,
        }
    }

    fn is_not_found(&self) -> bool {
        match self {
            Self::Scan(ScanError::Io(cause)) | Self::Write(cause) => {
                cause.kind() == io::ErrorKind::NotFound
            }
            Self::Scan(_) | Self::Records { .. } => false,
        }
    }
}

/// What could be compacted.
struct Plan {
    directory: Arc<Path>,
    finished: Vec<Finished>,
    /// The first offset that no pass has seen.
    from: i64,
    /// The first offset that must not be compacted yet.
    until: i64,
    last_of_producers: HashMap<i64, i64>,
}

/// A finished segment, and where the next one begins.
#[derive(Clone, Copy)]
struct Finished {
    segment: Segment,
    end: i64,
}

/// Whether a pass is to go on.
pub(in crate::kafka) type GoOn<'a> = &'a dyn Fn() -> bool;

impl Partition {
    /// Makes a pass if one is due, which it is when the part that no pass has seen is large, or
    /// old. Gives `None` when there was none, or `go_on` ended it.
    pub(in crate::kafka) fn compact(
        &self,
        config: &TopicConfig,
        now_ms: i64,
        go_on: GoOn<'_>,
    ) -> Result<Option<Compacted>, CompactError> {
        self.compact_with(Keys::with_limit(KEYS_MAX), config, now_ms, go_on)
    }

    pub(super) fn compact_with(
        &self,
        keys: Keys,
        config: &TopicConfig,
        now_ms: i64,
        go_on: GoOn<'_>,
    ) -> Result<Option<Compacted>, CompactError> {
        if !config.compacts() || self.is_deleted() {
            return Ok(None);
        }
        let removals = self.removals().load(Ordering::Acquire);
        match self.pass(keys, config, now_ms, go_on) {
            // Retention has removed segments meanwhile.
            Err(cause)
                if cause.is_not_found() && self.removals().load(Ordering::Acquire) > removals =>
            {
                Ok(None)
            }
            passed => passed,
        }
    }

    fn pass(
        &self,
        keys: Keys,
        config: &TopicConfig,
        now_ms: i64,
        go_on: GoOn<'_>,
    ) -> Result<Option<Compacted>, CompactError> {
        let plan = self.lock().plan_compaction(config, now_ms);
        if !plan.is_due(config, now_ms)? {
            return Ok(None);
        }
        // From here on the start must not look into the segments that are about to change.
        self.checkpoint_durably(now_ms)?;
        let Some(sweep) = plan.note_keys(keys, config, now_ms, go_on)? else {
            return Ok(None);
        };
        let mut done = Compacted {
            bytes_before: 0,
            bytes_after: 0,
            until: sweep.until,
        };
        for group in plan.groups(sweep.until, config) {
            if !self.rewrite(&plan.directory, &group, &sweep, &mut done, go_on)? {
                return Ok(None);
            }
        }
        let mut log = self.lock();
        log.compacted_until = sweep.until;
        log.changed = true;
        Ok(Some(done))
    }

    /// Writes a group of segments into one; false when they were removed meanwhile, or `go_on` ended
    /// it.
    fn rewrite(
        &self,
        directory: &Path,
        group: &[Finished],
        sweep: &Sweep,
        done: &mut Compacted,
        go_on: GoOn<'_>,
    ) -> Result<bool, CompactError> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else {
            return Ok(true);
        };
        let span = Span {
            base_offset: first.segment.base_offset,
            end: last.end,
        };
        let replaced = self.write_and_replace(directory, group, span, sweep, done, go_on);
        if !matches!(replaced, Ok(true)) {
            discard(directory, span)?;
        }
        replaced
    }

    fn write_and_replace(
        &self,
        directory: &Path,
        group: &[Finished],
        span: Span,
        sweep: &Sweep,
        done: &mut Compacted,
        go_on: GoOn<'_>,
    ) -> Result<bool, CompactError> {
        let mut replacement = Replacement::create(directory, span)?;
        let mut changed = group.len() > 1;
        for finished in group {
            match copy_what_stays(directory, finished, sweep, &mut replacement, go_on)? {
                Copied::AsItWas => {}
                Copied::Changed => changed = true,
                Copied::Stopped => return Ok(false),
            }
        }
        done.bytes_before += group.iter().map(|one| one.segment.size).sum::<u64>();
        done.bytes_after += replacement.size();
        if !changed {
            drop(replacement);
            discard(directory, span)?;
            return Ok(true);
        }
        let written = replacement.finish()?;
        let mut log = self.lock();
        if self.is_deleted() || !log.segments.holds(group.iter().map(|one| &one.segment)) {
            return Ok(false);
        }
        // Who has looked into the segments and not yet opened them looks again.
        self.removals().fetch_add(1, Ordering::AcqRel);
        log.segments.replace(group.len(), written)?;
        Ok(true)
    }
}

impl Log {
    fn plan_compaction(&self, config: &TopicConfig, now_ms: i64) -> Plan {
        let segments = self.segments.all();
        let from = self.compacted_until.max(self.start_offset);
        let too_young = now_ms.saturating_sub(config.min_compaction_lag_ms);
        let mut until = self.segments.active().base_offset;
        let mut finished = Vec::new();
        for (segment, next) in segments.iter().zip(segments.iter().skip(1)) {
            let end = next.base_offset;
            if config.min_compaction_lag_ms > 0 && end > from && segment.max_timestamp > too_young {
                until = segment.base_offset;
                break;
            }
            let segment = *segment;
            finished.push(Finished { segment, end });
        }
        Plan {
            directory: Arc::clone(self.segments.directory()),
            finished,
            from,
            until,
            last_of_producers: self.producers.last_offsets(),
        }
    }
}

impl Plan {
    fn is_due(&self, config: &TopicConfig, now_ms: i64) -> Result<bool, ScanError> {
        let size = |finished: &Finished| finished.segment.size;
        let total: u64 = self.finished.iter().map(size).sum();
        let dirty: u64 = self.dirty().map(size).sum();
        if dirty == 0 {
            return Ok(false);
        }
        let millionths = u128::from(dirty) * 1_000_000 / u128::from(total);
        let ratio = f64::from(u32::try_from(millionths).unwrap_or(u32::MAX)) / 1e6;
        if ratio > config.min_cleanable_dirty_ratio {
            return Ok(true);
        }
        if config.max_compaction_lag_ms == i64::MAX {
            return Ok(false);
        }
        let overdue = now_ms.saturating_sub(config.max_compaction_lag_ms);
        for finished in self.dirty() {
            let first = first_timestamp(&self.directory, &finished.segment)?;
            if first.is_some_and(|first| first > 0 && first < overdue) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn dirty(&self) -> impl Iterator<Item = &Finished> {
        self.finished.iter().filter(|one| one.end > self.from)
    }

    /// Notes the newest offset of each key in what no pass has seen, as far as there is room.
    fn note_keys(
        &self,
        mut keys: Keys,
        config: &TopicConfig,
        now_ms: i64,
        go_on: GoOn<'_>,
    ) -> Result<Option<Sweep>, CompactError> {
        let hasher = keys.hasher().clone();
        let mut until = self.until;
        'segments: for finished in self.dirty() {
            let base_offset = finished.segment.base_offset;
            let files = Files::open_existing(&self.directory, base_offset)?;
            let mut scan = Scan::new(&files.log, 0, finished.segment.size);
            while let Some(header) = scan.next_header()? {
                if !go_on() {
                    return Ok(None);
                }
                if header.last_offset() < self.from {
                    continue;
                }
                if keys.is_full() {
                    until = header.base_offset;
                    break 'segments;
                }
                if !replaces_others(&header) {
                    continue;
                }
                let unreadable = |source| CompactError::Records {
                    offset: header.base_offset,
                    source,
                };
                let batch = scan.batch(&header)?;
                let passed = pass_all(&header, batch, &hasher, |record| {
                    if let Some(key) = record.key {
                        let offset = header.base_offset.saturating_add(record.offset_delta);
                        keys.note(key, offset);
                    }
                });
                passed.map_err(unreadable)?;
            }
        }
        Ok(Some(Sweep {
            keys,
            until,
            last_of_producers: self.last_of_producers.clone(),
            now_ms,
            horizon_ms: now_ms.saturating_add(config.delete_retention_ms),
        }))
    }

    /// Neighbours that fit into one segment together.
    fn groups(&self, until: i64, config: &TopicConfig) -> Vec<Vec<Finished>> {
        let mut groups: Vec<Vec<Finished>> = Vec::new();
        let mut size = 0;
        let affected = |one: &&Finished| one.segment.base_offset < until;
        for finished in self.finished.iter().filter(affected) {
            let fits = groups
                .last()
                .and_then(|group| group.first())
                .is_some_and(|first| {
                    let offsets = finished.end - first.segment.base_offset;
                    size + finished.segment.size <= config.segment_bytes
                        && offsets <= i64::from(i32::MAX)
                });
            match groups.last_mut().filter(|_| fits) {
                Some(group) => {
                    size += finished.segment.size;
                    group.push(*finished);
                }
                None => {
                    size = finished.segment.size;
                    groups.push(vec![*finished]);
                }
            }
        }
        groups
    }
}

/// Whether the records of a batch take the place of older ones. What belongs to a transaction may
/// have been aborted, so it does not.
fn replaces_others(header: &BatchHeader) -> bool {
    !header.is_control() && !header.is_transactional()
}

/// How a segment was copied.
enum Copied {
    AsItWas,
    Changed,
    Stopped,
}

fn copy_what_stays(
    directory: &Path,
    finished: &Finished,
    sweep: &Sweep,
    replacement: &mut Replacement,
    go_on: GoOn<'_>,
) -> Result<Copied, CompactError> {
    let files = Files::open_existing(directory, finished.segment.base_offset)?;
    let mut scan = Scan::new(&files.log, 0, finished.segment.size);
    let mut copied = Copied::AsItWas;
    while let Some(header) = scan.next_header()? {
        if !go_on() {
            return Ok(Copied::Stopped);
        }
        let batch = scan.batch(&header)?;
        let unreadable = |source| CompactError::Records {
            offset: header.base_offset,
            source,
        };
        match sweep.judge(&header, batch).map_err(unreadable)? {
            Fate::Stays => {
                let records = batch.get(HEADER_LENGTH..);
                let records = records.unwrap_or_default();
                replacement.append(&header, &header.encode(), records)?;
            }
            Fate::Goes => copied = Copied::Changed,
            Fate::Shrinks(left, records) => {
                copied = Copied::Changed;
                replacement.append(&left, &left.encode(), &records)?;
            }
        }
    }
    Ok(copied)
}

/// When the first batch of a segment was written.
fn first_timestamp(directory: &Path, segment: &Segment) -> Result<Option<i64>, ScanError> {
    let files = Files::open_existing(directory, segment.base_offset)?;
    let first = Scan::new(&files.log, 0, segment.size).next_header()?;
    Ok(first.map(|batch| batch.max_timestamp))
}

#[cfg(test)]
mod tests;
