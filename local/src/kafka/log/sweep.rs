//! What compaction leaves of one batch (KIP-58, KIP-534; `LogCleaner` in Kafka).
//!
//! A batch keeps its offsets, its producer and its place in the producer's sequence, whichever of
//! its records go. One that has lost all of them stays as long as it is the last of its producer:
//! without it a start that reads the log would not know where the sequence stands.

use std::collections::HashMap;

use bytes::Bytes;

use super::keys::{KeyHash, Keys};
use super::records::{Outline, RecordsError, keep, pass_all};
use crate::kafka::batch::BatchHeader;

/// By what one pass judges records.
#[derive(Debug)]
pub(super) struct Sweep {
    pub(super) keys: Keys,
    /// The offset up to which `keys` is complete; what follows stays as it is.
    pub(super) until: i64,
    /// The last offset of each producer's last batch.
    pub(super) last_of_producers: HashMap<i64, i64>,
    pub(super) now_ms: i64,
    /// From when on tombstones that are met for the first time may go.
    pub(super) horizon_ms: i64,
}

/// What becomes of a batch.
#[derive(Debug)]
pub(super) enum Fate {
    Stays,
    Goes,
    Shrinks(BatchHeader, Bytes),
}

impl Sweep {
    pub(super) fn judge(&self, header: &BatchHeader, batch: &[u8]) -> Result<Fate, RecordsError> {
        // A marker ends a transaction; readers need it as long as records of that are there.
        if header.base_offset >= self.until || header.is_control() {
            return Ok(Fate::Stays);
        }
        // Whether each record is kept, and what is to be known of those that are.
        let mut kept = Vec::new();
        let (mut has_tombstone, mut newest) = (false, None);
        pass_all(header, batch, self.keys.hasher(), |record| {
            let keeps = self.keeps(header, record);
            kept.push(keeps);
            if keeps {
                has_tombstone |= !record.has_value;
                newest = newest.max(Some(record.timestamp_delta));
            }
        })?;
        let Some(newest) = newest else {
            return Ok(self.without_records(header));
        };
        let starts_horizon =
            has_tombstone && header.delete_horizon().is_none() && !header.is_transactional();
        let count = kept.iter().filter(|keeps| **keeps).count();
        if count == kept.len() && !starts_horizon {
            return Ok(Fate::Stays);
        }
        let mut left = header.clone();
        if starts_horizon {
            left.set_delete_horizon(self.horizon_ms);
        }
        let stored = Bytes::from(keep(header, batch, &kept, &left)?);
        left.record_count = i32::try_from(count).map_err(|_| RecordsError::Malformed)?;
        if !header.has_append_time() {
            left.max_timestamp = header.base_timestamp.saturating_add(newest);
        }
        left.seal(&stored);
        Ok(Fate::Shrinks(left, stored))
    }

    /// Whether nothing newer takes a record's place. A record without a key, from before its topic
    /// was compacted, does not stay. What belongs to a transaction is not in `keys`, as it may have
    /// been aborted, and its tombstones stay.
    fn keeps(&self, header: &BatchHeader, record: &Outline<KeyHash>) -> bool {
        let Some(key) = record.key else {
            return false;
        };
        let offset = header.base_offset.saturating_add(record.offset_delta);
        if self.keys.newest(key).is_some_and(|newest| newest > offset) {
            return false;
        }
        let is_due = header.delete_horizon().is_some_and(|at| at <= self.now_ms);
        record.has_value || !is_due || header.is_transactional()
    }

    fn without_records(&self, header: &BatchHeader) -> Fate {
        let last = self.last_of_producers.get(&header.producer_id);
        match last {
            Some(last) if *last == header.last_offset() => match header.record_count {
                0 => Fate::Stays,
                _ => Fate::Shrinks(header.emptied(), Bytes::new()),
            },
            _ => Fate::Goes,
        }
    }
}
