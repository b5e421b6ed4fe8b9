//! What is published together.

use std::sync::Arc;

use change::Lsn;
use change::commit::{CommitKind, Transaction};

use super::tracker::Tracker;

/// Whole transactions, or a part of the snapshot, whose records are being sent.
#[derive(Debug)]
pub(crate) struct Batch {
    pub kind: CommitKind,
    pub tracker: Arc<Tracker>,
    pub transactions: Vec<Transaction>,
    /// Everything up to here is in this batch or before it.
    pub commit_lsn: Lsn,
    /// Microseconds since 1970-01-01 UTC, by the source's clock.
    pub commit_time: i64,
    /// What the source may forget once the batch counts.
    pub end_lsn: Lsn,
    pub records: u64,
    pub shapes: Shapes,
}

/// Whether tables came with a description.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shapes {
    #[default]
    AsBefore,
    Described,
}

/// A commits record names every transaction, so their number bounds its size (about 20 bytes each).
const TRANSACTIONS_MAX: usize = 10_000;
/// Apply takes whole batches; a batch of small transactions should not grow past what it applies at
/// once. A single transaction may be of any size.
const RECORDS_MAX: u64 = 50_000;

impl Batch {
    pub(crate) fn new(kind: CommitKind) -> Self {
        Self {
            kind,
            tracker: Arc::default(),
            transactions: Vec::new(),
            commit_lsn: Lsn::ZERO,
            commit_time: 0,
            end_lsn: Lsn::ZERO,
            records: 0,
            shapes: Shapes::default(),
        }
    }

    /// A transaction's records are all sent.
    pub(crate) fn committed(&mut self, transaction: Transaction, end_lsn: Lsn) {
        self.commit_lsn = transaction.commit_lsn;
        self.commit_time = transaction.commit_time;
        self.end_lsn = end_lsn;
        self.transactions.push(transaction);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.transactions.len() >= TRANSACTIONS_MAX || self.records >= RECORDS_MAX
    }
}
