use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::epochs::{EpochEnd, Epochs};
use super::producers::{Producers, Verdict};
use super::records::{Moment, RecordsError, first_at_or_after, without_key};
use super::recovery::{self, Trust};
use super::scan::ScanError;
use super::segment::{Extent, FirstBatch};
use super::segments::Segments;
use super::stability::Stability;
use super::transactions::Transactions;
use super::waiters::Waiters;
use crate::kafka::batch::{BatchError, BatchHeader, HEADER_LENGTH};
use crate::kafka::config::Fsync;
use crate::kafka::topic_config::{TimestampType, TopicConfig};
use crate::kafka::transactions::Outcome;

/// One partition of a topic.
#[derive(Debug)]
pub(in crate::kafka) struct Partition {
    log: Mutex<Log>,
    /// The offset after the last record that may be read.
    end_offset: AtomicI64,
    start_offset: AtomicI64,
    stability: Stability,
    /// Bytes appended since the start, by which a waiting reader tells whether it has enough.
    appended_bytes: AtomicU64,
    deleted: AtomicBool,
    /// How often segments have been removed or replaced, by which a reader tells whether what it
    /// has opened is what it looked for.
    removals: AtomicU64,
    /// Held while a checkpoint is taken and written, so that no older one replaces it.
    checkpointing: Mutex<()>,
    waiters: Waiters,
    fsync: Fsync,
    leader_epoch: i32,
}

#[derive(Debug)]
pub(super) struct Log {
    pub(super) segments: Segments,
    pub(super) producers: Producers,
    pub(super) transactions: Transactions,
    pub(super) start_offset: i64,
    pub(super) next_offset: i64,
    pub(super) unflushed_from: i64,
    /// The first offset that compaction has not seen.
    pub(super) compacted_until: i64,
    pub(super) epochs: Epochs,
    /// Whether the last checkpoint does not tell all.
    pub(super) changed: bool,
    /// Bytes appended since the last checkpoint.
    pub(super) since_checkpoint: u64,
    /// Appended to since the last fsync.
    pub(super) unsynced: bool,
}

/// What the partitions of a broker have in common.
#[derive(Debug, Clone)]
pub(in crate::kafka) struct Settings {
    pub(in crate::kafka) fsync: Fsync,
    /// Under which this process appends; it rises with each start.
    pub(in crate::kafka) leader_epoch: i32,
    /// One permit for each partition whose files stay open.
    pub(in crate::kafka) open_files: Arc<Semaphore>,
}

/// Where a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kafka) struct Appended {
    pub(in crate::kafka) base_offset: i64,
    /// The time of the append, where the topic's records carry that.
    pub(in crate::kafka) append_time: Option<i64>,
    pub(in crate::kafka) start_offset: i64,
}

/// Why a batch is not appended.
#[derive(Debug, thiserror::Error)]
pub(in crate::kafka) enum AppendError {
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("expected exactly one record batch")]
    NotOneBatch,
    #[error("record batch has {size} bytes, more than max.message.bytes = {limit}")]
    TooLarge { size: usize, limit: usize },
    #[error("record batch of {size} bytes is larger than segment.bytes = {limit}")]
    LargerThanSegment { size: usize, limit: u64 },
    #[error("timestamp {timestamp} is too far in the future")]
    Timestamp { timestamp: i64 },
    #[error("record batch uses an unknown compression")]
    Compression,
    #[error("clients may not write control records")]
    Control,
    #[error("compacted topics take no records without a key, and {} of this batch have none", .0.len())]
    WithoutKey(Vec<i32>),
    #[error("record batch of a compacted topic cannot be read")]
    Records(#[from] RecordsError),
    #[error(
        "the record batch belongs to no transaction that is open here, or to none while one is"
    )]
    NotInTransaction,
    #[error("producer {producer_id} sent sequence {sequence}, expected {expected}")]
    OutOfOrder {
        producer_id: i64,
        sequence: i32,
        expected: i32,
    },
    #[error("producer {producer_id} has epoch {epoch}, current is {current}")]
    StaleEpoch {
        producer_id: i64,
        epoch: i16,
        current: i16,
    },
    #[error("the topic is deleted")]
    Deleted,
    #[error("write to the log")]
    Io(#[from] io::Error),
}

/// Why records are not read.
#[derive(Debug, thiserror::Error)]
pub(in crate::kafka) enum ReadError {
    #[error("offset {offset} is not within {start} to {end}")]
    OutOfRange { offset: i64, start: i64, end: i64 },
    #[error("read the log")]
    Scan(#[from] ScanError),
}

/// Records of a partition, and its ends as they were then.
#[derive(Debug)]
pub(in crate::kafka) struct Records {
    pub(in crate::kafka) bytes: Bytes,
    pub(in crate::kafka) end_offset: i64,
    pub(in crate::kafka) stable_offset: i64,
    pub(in crate::kafka) start_offset: i64,
}

impl Partition {
    /// Opens the partition in a directory, created when missing, after cutting what is not whole.
    pub(in crate::kafka) fn open(
        directory: &Path,
        trust: Trust,
        settings: &Settings,
    ) -> io::Result<Self> {
        let log = recovery::open(directory, trust, settings)?;
        Ok(Self {
            end_offset: AtomicI64::new(log.next_offset),
            start_offset: AtomicI64::new(log.start_offset),
            stability: Stability::of(&log.transactions, log.next_offset),
            appended_bytes: AtomicU64::new(0),
            deleted: AtomicBool::new(false),
            removals: AtomicU64::new(0),
            checkpointing: Mutex::new(()),
            waiters: Waiters::default(),
            fsync: settings.fsync,
            leader_epoch: settings.leader_epoch,
            log: Mutex::new(log),
        })
    }

    pub(in crate::kafka) fn end_offset(&self) -> i64 {
        self.end_offset.load(Ordering::Acquire)
    }

    pub(in crate::kafka) fn start_offset(&self) -> i64 {
        self.start_offset.load(Ordering::Acquire)
    }

    pub(in crate::kafka) fn appended_bytes(&self) -> u64 {
        self.appended_bytes.load(Ordering::Acquire)
    }

    pub(in crate::kafka) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    pub(in crate::kafka) fn leader_epoch(&self) -> i32 {
        self.leader_epoch
    }

    /// The epoch that appended the record at an offset, or the current one at the end of the log.
    pub(in crate::kafka) fn epoch_at(&self, offset: i64) -> Option<i32> {
        self.lock().epochs.at(offset)
    }

    /// Where the records of a leader epoch end; `None` when it is not known.
    pub(in crate::kafka) fn end_of_epoch(&self, epoch: i32) -> Option<EpochEnd> {
        let log = self.lock();
        log.epochs.end_of(epoch, log.next_offset)
    }

    pub(super) fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    /// Appends one batch, unless it is there already.
    pub(in crate::kafka) fn append(
        &self,
        bytes: &[u8],
        config: &TopicConfig,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        let mut batch = check_batch(bytes, config, now_ms)?;
        if config.compacts() {
            check_keys(&batch, bytes)?;
        }
        let records = &bytes[HEADER_LENGTH..];
        let mut log = self.lock();
        if self.is_deleted() {
            return Err(AppendError::Deleted);
        }
        let before = log.appended_before(&batch, config)?;
        log.transactions.check(&batch)?;
        if let Some(before) = before {
            return Ok(before);
        }
        batch.base_offset = log.next_offset;
        batch.leader_epoch = self.leader_epoch;
        if config.timestamp_type == TimestampType::LogAppendTime {
            batch.stamp_append_time(now_ms, records);
        }
        log.append(&batch, records, None, config, now_ms)?;
        self.publish(&mut log, batch.size)?;
        let appended = log.appended(batch.base_offset, now_ms, config);
        drop(log);
        self.waiters.wake();
        Ok(appended)
    }

    /// Makes what was just appended readable.
    pub(super) fn publish(&self, log: &mut Log, size: usize) -> io::Result<()> {
        if self.fsync == Fsync::EachRequest {
            log.sync_appended()?;
        }
        // Before the end: whoever reads a record knows what is decided of it.
        self.stability.publish(&log.transactions, log.next_offset);
        self.end_offset.store(log.next_offset, Ordering::Release);
        self.appended_bytes
            .fetch_add(size as u64, Ordering::Release);
        Ok(())
    }

    pub(super) fn stability(&self) -> &Stability {
        &self.stability
    }

    /// Reads whole batches from `offset` on.
    pub(in crate::kafka) fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        first: FirstBatch,
    ) -> Result<Records, ReadError> {
        loop {
            let log = self.lock();
            let (start, end) = (log.start_offset, self.end_offset());
            if !(start..=end).contains(&offset) {
                return Err(ReadError::OutOfRange { offset, start, end });
            }
            let removals = self.removals.load(Ordering::Acquire);
            let extent = log.segments.extent_at(offset);
            drop(log);
            let read = if offset == end {
                Ok(Bytes::new())
            } else {
                self.read_from(extent, offset, max_bytes, first)
            };
            if self.removals.load(Ordering::Acquire) != removals {
                continue;
            }
            let bytes = read?;
            return Ok(Records {
                bytes,
                end_offset: end,
                stable_offset: self.last_stable_offset().min(end),
                start_offset: start,
            });
        }
    }

    /// Reads where there is a batch at or after `offset`: compaction leaves gaps, and finished
    /// segments that end before the next one begins.
    fn read_from(
        &self,
        mut extent: Extent,
        offset: i64,
        max_bytes: usize,
        first: FirstBatch,
    ) -> Result<Bytes, ReadError> {
        loop {
            if let Some(bytes) = extent.read(offset, max_bytes, first)? {
                return Ok(bytes);
            }
            let next = self
                .lock()
                .segments
                .extent_after(extent.segment.base_offset);
            match next {
                Some(next) => extent = next,
                None => return Ok(Bytes::new()),
            }
        }
    }

    /// The first record at or after a time.
    pub(in crate::kafka) fn first_at_time(
        &self,
        timestamp: i64,
    ) -> Result<Option<Moment>, ReadError> {
        loop {
            let (extents, start, removals) = {
                let log = self.lock();
                let removals = self.removals.load(Ordering::Acquire);
                let extents = log.segments.extents_from_time(timestamp);
                (extents, log.start_offset, removals)
            };
            let search = |extent: Extent| {
                extent.batches_from_time(timestamp, |header, batch| {
                    first_at_or_after(header, batch, timestamp)
                        .filter(|moment| moment.offset >= start)
                })
            };
            let found = extents
                .into_iter()
                .find_map(|extent| search(extent).transpose())
                .transpose();
            if self.removals.load(Ordering::Acquire) == removals {
                return Ok(found?);
            }
        }
    }

    /// The first of the records with the largest timestamp.
    pub(in crate::kafka) fn newest_by_time(&self) -> Result<Option<Moment>, ReadError> {
        let newest = {
            let log = self.lock();
            log.segments
                .all()
                .iter()
                .map(|segment| segment.max_timestamp)
                .max()
        };
        match newest {
            Some(timestamp) if timestamp >= 0 => self.first_at_time(timestamp),
            _ => Ok(None),
        }
    }

    /// Ends all waiting for this partition; nothing can be appended any more.
    pub(in crate::kafka) fn delete(&self) {
        let log = self.lock();
        self.deleted.store(true, Ordering::Release);
        drop(log);
        self.waiters.wake();
    }

    pub(super) fn start_offset_cell(&self) -> &AtomicI64 {
        &self.start_offset
    }

    pub(super) fn removals(&self) -> &AtomicU64 {
        &self.removals
    }

    pub(super) fn lock_checkpoint(&self) -> MutexGuard<'_, ()> {
        self.checkpointing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    /// Where an idempotent producer's batch is, if it was appended before.
    fn appended_before(
        &self,
        batch: &BatchHeader,
        config: &TopicConfig,
    ) -> Result<Option<Appended>, AppendError> {
        if !batch.is_idempotent() {
            return Ok(None);
        }
        let producer_id = batch.producer_id;
        match self.producers.judge(batch) {
            Verdict::Append => Ok(None),
            Verdict::Duplicate {
                base_offset,
                timestamp,
            } => Ok(Some(self.appended(base_offset, timestamp, config))),
            Verdict::OutOfOrder { expected } => {
                let sequence = batch.base_sequence;
                Err(AppendError::OutOfOrder {
                    producer_id,
                    sequence,
                    expected,
                })
            }
            Verdict::StaleEpoch { current } => {
                let epoch = batch.producer_epoch;
                Err(AppendError::StaleEpoch {
                    producer_id,
                    epoch,
                    current,
                })
            }
        }
    }

    pub(super) fn append(
        &mut self,
        batch: &BatchHeader,
        records: &[u8],
        marker: Option<Outcome>,
        config: &TopicConfig,
        now_ms: i64,
    ) -> io::Result<()> {
        if self.needs_roll(batch, config) {
            self.roll()?;
        }
        self.segments.append(batch, records)?;
        self.next_offset = batch.next_offset();
        self.producers.record(batch, now_ms);
        self.transactions.record(batch, marker);
        self.changed = true;
        self.since_checkpoint += batch.size as u64;
        self.unsynced = true;
        Ok(())
    }

    /// Forces the last segment to the disk. A failure leaves open what of it is there, and the next
    /// attempt would not tell, so it is the last thing this partition does before it is opened again.
    fn sync_appended(&mut self) -> io::Result<()> {
        let synced = self
            .segments
            .files()
            .and_then(|files| files.log.sync_data());
        match synced {
            Ok(()) => self.unsynced = false,
            Err(_) => self.segments.give_up(),
        }
        synced
    }

    fn needs_roll(&self, batch: &BatchHeader, config: &TopicConfig) -> bool {
        let active = self.segments.active();
        let relative = batch.last_offset() - active.base_offset;
        let first = self
            .segments
            .first_timestamp()
            .unwrap_or(batch.max_timestamp);
        active.size > 0
            && (active.size + batch.size as u64 > config.segment_bytes
                || relative > i64::from(i32::MAX)
                || batch.max_timestamp.saturating_sub(first) > config.segment_age_max_ms())
    }

    pub(super) fn roll(&mut self) -> io::Result<()> {
        if self.unsynced && self.segments.keeps_names_durable() {
            self.sync_appended()?;
        }
        self.changed = true;
        self.segments.roll(self.next_offset)
    }

    fn appended(&self, base_offset: i64, timestamp: i64, config: &TopicConfig) -> Appended {
        let append_time = match config.timestamp_type {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(timestamp),
        };
        Appended {
            base_offset,
            append_time,
            start_offset: self.start_offset,
        }
    }
}

/// Checks what can be checked without the log.
fn check_batch(
    bytes: &[u8],
    config: &TopicConfig,
    now_ms: i64,
) -> Result<BatchHeader, AppendError> {
    let batch = BatchHeader::parse(bytes)?;
    if batch.size > bytes.len() {
        return Err(BatchError::Truncated.into());
    }
    if batch.size < bytes.len() {
        return Err(AppendError::NotOneBatch);
    }
    if batch.size > config.max_message_bytes {
        let limit = config.max_message_bytes;
        return Err(AppendError::TooLarge {
            size: batch.size,
            limit,
        });
    }
    if batch.size as u64 > config.segment_bytes {
        let limit = config.segment_bytes;
        return Err(AppendError::LargerThanSegment {
            size: batch.size,
            limit,
        });
    }
    batch.verify(bytes)?;
    if batch.record_count < 1 || batch.last_offset_delta != batch.record_count - 1 {
        return Err(BatchError::RecordCount.into());
    }
    if batch.is_transactional() && !batch.is_idempotent() {
        return Err(AppendError::NotInTransaction);
    }
    if batch.is_idempotent() && (batch.producer_epoch < 0 || batch.base_sequence < 0) {
        return Err(BatchError::RecordCount.into());
    }
    if batch.is_control() {
        return Err(AppendError::Control);
    }
    if batch.compression().is_none() {
        return Err(AppendError::Compression);
    }
    let latest = now_ms.saturating_add(config.timestamp_after_max_ms);
    if config.timestamp_type == TimestampType::CreateTime && batch.max_timestamp > latest {
        return Err(AppendError::Timestamp {
            timestamp: batch.max_timestamp,
        });
    }
    Ok(batch)
}

/// Checks that compaction will find a key in each record.
fn check_keys(batch: &BatchHeader, bytes: &[u8]) -> Result<(), AppendError> {
    match without_key(batch, bytes)? {
        without if without.is_empty() => Ok(()),
        without => Err(AppendError::WithoutKey(without)),
    }
}
