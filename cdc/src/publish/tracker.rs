//! Where a batch's records came to stand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use change::commit::PartitionRange;
use tokio::sync::Notify;

use crate::kafka::KafkaFault;

/// Counts a batch's records out and in again. Its memory grows with partitions, not with records.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    outstanding: AtomicU64,
    state: Mutex<State>,
    settled: Notify,
}

/// Where the records of one partition stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub range: PartitionRange,
    /// Of keys and values.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct State {
    extents: Vec<Extent>,
    failure: Option<KafkaFault>,
}

impl Tracker {
    /// A record is about to be sent.
    pub(crate) fn sent(&self) {
        self.outstanding.fetch_add(1, Ordering::Relaxed);
    }

    /// The record was not taken after all.
    pub(crate) fn unsent(&self) {
        self.outstanding.fetch_sub(1, Ordering::Relaxed);
    }

    /// A record is acknowledged.
    pub(crate) fn delivered(&self, topic: &str, partition: i32, offset: i64, bytes: usize) {
        self.state().place(topic, partition, offset, bytes);
        self.returned();
    }

    /// A record is not acknowledged and never will be.
    pub(crate) fn failed(&self, fault: KafkaFault) {
        self.state().failure.get_or_insert(fault);
        self.settled.notify_one();
        self.returned();
    }

    /// Waits until all records that were sent are acknowledged, and answers where they stand. To be
    /// called once, after the last was sent. Cancel-safe.
    ///
    /// # Errors
    /// When one will never be acknowledged.
    pub(crate) async fn settled(&self) -> Result<Vec<Extent>, KafkaFault> {
        loop {
            let notified = self.settled.notified();
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            notified.await;
        }
    }

    fn returned(&self) {
        // What was noted of the record is seen by who sees that it has returned.
        if self.outstanding.fetch_sub(1, Ordering::Release) == 1 {
            // Stored until somebody waits: there is at most one who does.
            self.settled.notify_one();
        }
    }

    fn outcome(&self) -> Option<Result<Vec<Extent>, KafkaFault>> {
        let is_settled = self.outstanding.load(Ordering::Acquire) == 0;
        let mut state = self.state();
        if let Some(fault) = state.failure.take() {
            return Some(Err(fault));
        }
        is_settled.then(|| Ok(std::mem::take(&mut state.extents)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn place(&mut self, topic: &str, partition: i32, offset: i64, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let known = self
            .extents
            .iter_mut()
            .find(|extent| extent.range.partition == partition && extent.range.topic == topic);
        let Some(Extent { range, bytes: sum }) = known else {
            let range = PartitionRange {
                topic: topic.to_owned(),
                partition,
                first_offset: offset,
                end_offset: offset + 1,
                records: 1,
            };
            self.extents.push(Extent { range, bytes });
            return;
        };
        *sum += bytes;
        range.first_offset = range.first_offset.min(offset);
        range.end_offset = range.end_offset.max(offset + 1);
        range.records += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ranges_cover_what_was_acknowledged_in_any_order() {
        let tracker = Tracker::default();
        (0..4).for_each(|_| tracker.sent());
        tracker.unsent();
        tracker.delivered("t", 0, 12, 100);
        tracker.delivered("t", 1, 3, 7);
        tracker.delivered("t", 0, 10, 20);
        let mut extents = tracker.settled().await.unwrap();
        extents.sort_by_key(|extent| extent.range.partition);
        let extent = |partition, first_offset, end_offset, records, bytes| Extent {
            range: PartitionRange {
                topic: "t".into(),
                partition,
                first_offset,
                end_offset,
                records,
            },
            bytes,
        };
        assert_eq!(extents, [extent(0, 10, 13, 2, 120), extent(1, 3, 4, 1, 7)]);
    }

    #[tokio::test]
    async fn one_failure_fails_the_batch_at_once() {
        let tracker = Tracker::default();
        tracker.sent();
        tracker.sent();
        tracker.failed(KafkaFault::TooLong {
            topic: "t".into(),
            bytes: 1,
        });
        assert!(matches!(
            tracker.settled().await,
            Err(KafkaFault::TooLong { .. })
        ));
    }
}
