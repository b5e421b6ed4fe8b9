//! Where a batch's records came to stand.

use std::sync::{Mutex, MutexGuard, PoisonError};

use change::commit::PartitionRange;
use tokio::sync::Notify;

use crate::kafka::KafkaFault;

/// Counts a batch's records out and in again. Its memory grows with partitions, not with records.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
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
    outstanding: u64,
    extents: Vec<Extent>,
    failure: Option<KafkaFault>,
}

impl Tracker {
    /// A record is about to be sent.
    pub(crate) fn sent(&self) {
        self.state().outstanding += 1;
    }

    /// The record was not taken after all.
    pub(crate) fn unsent(&self) {
        self.state().outstanding -= 1;
    }

    /// A record is acknowledged.
    pub(crate) fn delivered(&self, topic: &str, partition: i32, offset: i64, bytes: usize) {
        let mut state = self.state();
        state.place(topic, partition, offset, bytes);
        self.returned(state);
    }

    /// A record is not acknowledged and never will be.
    pub(crate) fn failed(&self, fault: KafkaFault) {
        let mut state = self.state();
        state.failure.get_or_insert(fault);
        self.returned(state);
    }

    /// Waits until all records that were sent are acknowledged, and answers where they stand. To be
    /// called once, after the last was sent. Cancel-safe.
    ///
    /// # Errors
    /// When one will never be acknowledged.
    pub(crate) async fn settled(&self) -> Result<Vec<Extent>, KafkaFault> {
        loop {
            let notified = self.settled.notified();
            if let Some(outcome) = self.state().outcome() {
                return outcome;
            }
            notified.await;
        }
    }

    fn returned(&self, mut state: MutexGuard<'_, State>) {
        state.outstanding -= 1;
        if state.outstanding == 0 {
            // Stored until somebody waits: there is at most one who does.
            self.settled.notify_one();
        }
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

    fn outcome(&mut self) -> Option<Result<Vec<Extent>, KafkaFault>> {
        if let Some(fault) = self.failure.take() {
            return Some(Err(fault));
        }
        (self.outstanding == 0).then(|| Ok(std::mem::take(&mut self.extents)))
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
