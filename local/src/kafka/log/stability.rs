//! A partition as transactions and readers of committed records see it.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use super::marker::marker;
use super::partition::{Partition, ReadError, Records};
use super::producers::ActiveProducer;
use super::scan::ScanError;
use super::segment::FirstBatch;
use super::transactions::{Aborted, Transactions};
use crate::kafka::batch::BatchHeader;
use crate::kafka::topic_config::TopicConfig;
use crate::kafka::transactions::Outcome;

/// What is decided of a log, for readers that do not lock it.
#[derive(Debug)]
pub(super) struct Stability {
    /// The offset before which every record belongs to no transaction or to one that has ended.
    offset: AtomicI64,
    /// Whether the log has or had records of transactions, so that readers need not look for them.
    transactional: AtomicBool,
    ended: AtomicU64,
}

impl Stability {
    pub(super) fn of(transactions: &Transactions, next_offset: i64) -> Self {
        Self {
            offset: AtomicI64::new(transactions.stable_offset(next_offset)),
            transactional: AtomicBool::new(transactions.seen()),
            ended: AtomicU64::new(0),
        }
    }

    /// Follows an append.
    pub(super) fn publish(&self, transactions: &Transactions, next_offset: i64) {
        if transactions.seen() {
            self.transactional.store(true, Ordering::Release);
        }
        let offset = transactions.stable_offset(next_offset);
        self.offset.store(offset, Ordering::Release);
    }
}

impl Partition {
    /// The offset up to which a reader of committed records may read.
    pub(in crate::kafka) fn last_stable_offset(&self) -> i64 {
        let stable_offset = self.stability().offset.load(Ordering::Acquire);
        // What a transaction had before the start of the log is gone.
        stable_offset
            .max(self.start_offset())
            .min(self.end_offset())
    }

    /// Transactions that have ended since the start, by which a waiting reader tells whether more
    /// is decided than when it looked.
    pub(in crate::kafka) fn ended_transactions(&self) -> u64 {
        self.stability().ended.load(Ordering::Acquire)
    }

    /// Lets a producer append records of its transaction, which the coordinator knows of.
    pub(in crate::kafka) fn admit(&self, producer_id: i64, epoch: i16) {
        self.lock().transactions.admit(producer_id, epoch);
    }

    /// Ends the producer's transaction by a marker in the log.
    pub(in crate::kafka) fn end_transaction(
        &self,
        producer: (i64, i16),
        outcome: Outcome,
        config: &TopicConfig,
        now_ms: i64,
    ) -> io::Result<()> {
        let (mut header, record) = marker(producer, outcome, now_ms);
        let mut log = self.lock();
        if self.is_deleted() {
            return Ok(());
        }
        header.base_offset = log.next_offset;
        header.leader_epoch = self.leader_epoch();
        log.append(&header, &record, Some(outcome), config, now_ms)?;
        self.publish(&mut log, header.size)?;
        self.stability().ended.fetch_add(1, Ordering::Release);
        drop(log);
        self.waiters().wake();
        Ok(())
    }

    /// Ids and epochs of the producers with an open transaction here.
    pub(in crate::kafka) fn open_transactions(&self) -> Vec<(i64, i16)> {
        self.lock().transactions.open()
    }

    /// The producers that have appended, with what they have open.
    pub(in crate::kafka) fn producers(&self) -> Vec<ActiveProducer> {
        let log = self.lock();
        let with_transaction = |producer: ActiveProducer| ActiveProducer {
            transaction_from: log.transactions.first_offset_of(producer.producer_id),
            ..producer
        };
        log.producers.all().map(with_transaction).collect()
    }

    /// Reads whole batches from `offset` on, up to the last stable offset, with the parts among
    /// them that were aborted.
    pub(in crate::kafka) fn read_committed(
        &self,
        offset: i64,
        max_bytes: usize,
        first: FirstBatch,
    ) -> Result<(Records, Vec<Aborted>), ReadError> {
        // Looked up first: what is decided now is decided when it is read, too.
        let stable_offset = self.last_stable_offset();
        let mut records = self.read(offset, max_bytes, first)?;
        if !self.stability().transactional.load(Ordering::Acquire) {
            return Ok((records, Vec::new()));
        }
        records.stable_offset = stable_offset;
        let (length, until) = decided_part(&records.bytes, stable_offset)?;
        records.bytes.truncate(length);
        let aborted = self.lock().transactions.aborted_within(offset, until);
        Ok((records, aborted))
    }
}

/// How many of the bytes are batches before the last stable offset, and the offset after those.
fn decided_part(bytes: &[u8], stable_offset: i64) -> Result<(usize, i64), ReadError> {
    let (mut length, mut until) = (0, 0);
    while let Some(rest) = bytes.get(length..).filter(|rest| !rest.is_empty()) {
        let batch = BatchHeader::parse(rest).map_err(ScanError::from)?;
        if batch.base_offset >= stable_offset {
            break;
        }
        length += batch.size;
        until = batch.next_offset();
    }
    Ok((length, until))
}
