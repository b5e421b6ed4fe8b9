use std::collections::BTreeSet;
use std::io;

use serde::{Deserialize, Serialize};

/// An epoch that no producer has.
const NO_EPOCH: i16 = -1;

/// The last epoch is for fencing only; a producer that would need it gets a new id.
const EPOCH_MAX: i16 = i16::MAX - 1;

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::kafka) enum Outcome {
    Commit,
    Abort,
}

/// Where a transactional id stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::kafka) enum State {
    Empty,
    Ongoing,
    /// The decision is made, and not yet told everywhere.
    Prepared(Outcome),
    Complete(Outcome),
}

/// Who a producer says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kafka) struct Producer {
    pub(in crate::kafka) transactional_id: String,
    pub(in crate::kafka) producer_id: i64,
    pub(in crate::kafka) epoch: i16,
}

/// Why a producer's request is refused.
#[derive(Debug, thiserror::Error)]
pub(in crate::kafka) enum TransactionError {
    #[error("the transactional id is empty")]
    InvalidId,
    #[error("the transaction timeout is not above 0 and at most transaction.max.timeout.ms")]
    InvalidTimeout,
    #[error("the producer id is not that of the transactional id")]
    Mapping,
    #[error("a newer producer has the transactional id")]
    Fenced,
    #[error("the last transaction is not ended everywhere yet")]
    Concurrent,
    #[error("the request does not fit the state of the transaction")]
    InvalidState,
    #[error("write transaction state")]
    Io(#[from] io::Error),
}

/// What is known of a transactional id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::kafka) struct Transaction {
    pub(in crate::kafka) producer_id: i64,
    pub(in crate::kafka) epoch: i16,
    /// The epoch from which the producer itself went on to the present one (KIP-360), by which a
    /// request that is sent again is recognised.
    last_epoch: i16,
    pub(in crate::kafka) timeout_ms: i32,
    pub(in crate::kafka) state: State,
    /// Those with records of the transaction.
    pub(in crate::kafka) partitions: BTreeSet<(String, i32)>,
    /// Those whose offsets it commits.
    pub(in crate::kafka) groups: BTreeSet<String>,
    /// When the transaction began, in milliseconds since 1970; -1 while there is none.
    pub(in crate::kafka) started_ms: i64,
    pub(in crate::kafka) updated_ms: i64,
}

impl State {
    /// Kafka's name of the state (`TransactionState`).
    pub(in crate::kafka) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::Prepared(Outcome::Commit) => "PrepareCommit",
            Self::Prepared(Outcome::Abort) => "PrepareAbort",
            Self::Complete(Outcome::Commit) => "CompleteCommit",
            Self::Complete(Outcome::Abort) => "CompleteAbort",
        }
    }
}

impl Transaction {
    /// A transactional id that no producer has used yet.
    pub(super) fn unused(producer_id: i64) -> Self {
        Self {
            producer_id,
            epoch: NO_EPOCH,
            last_epoch: NO_EPOCH,
            timeout_ms: 0,
            state: State::Empty,
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
            started_ms: -1,
            updated_ms: 0,
        }
    }

    /// Checks that a request comes from the producer that has the transactional id.
    pub(super) fn check(&self, producer: &Producer) -> Result<(), TransactionError> {
        if producer.producer_id != self.producer_id {
            return Err(TransactionError::Mapping);
        }
        if producer.epoch != self.epoch {
            return Err(TransactionError::Fenced);
        }
        Ok(())
    }

    /// Checks that a producer that names its id and epoch to go on from them still has them, or
    /// did when it asked the last time.
    pub(super) fn check_expected(
        &self,
        expected: Option<(i64, i16)>,
    ) -> Result<(), TransactionError> {
        let known = |(producer_id, epoch)| {
            producer_id == self.producer_id && (epoch == self.epoch || epoch == self.last_epoch)
        };
        if self.epoch == NO_EPOCH || expected.is_none_or(known) {
            Ok(())
        } else {
            Err(TransactionError::Fenced)
        }
    }

    /// Whether a producer asks again for the epoch that it was given.
    pub(super) fn is_asked_again(&self, expected: Option<(i64, i16)>) -> bool {
        self.epoch != NO_EPOCH
            && expected.is_some_and(|(_, epoch)| epoch != self.epoch && epoch == self.last_epoch)
    }

    pub(super) fn has_no_epoch_left(&self) -> bool {
        self.epoch >= EPOCH_MAX
    }

    /// The id in the hands of a new producer, or of one that goes on after an error.
    pub(super) fn initialized(
        &self,
        went_on_from: Option<i16>,
        timeout_ms: i32,
        now_ms: i64,
    ) -> Self {
        Self {
            epoch: self.epoch + 1,
            last_epoch: went_on_from.unwrap_or(NO_EPOCH),
            timeout_ms,
            updated_ms: now_ms,
            ..Self::unused(self.producer_id)
        }
    }

    /// The transaction with more partitions and groups; it begins when there is none.
    pub(super) fn with(
        &self,
        partitions: &[(String, i32)],
        group: Option<&str>,
        now_ms: i64,
    ) -> Self {
        let mut next = self.clone();
        if next.state != State::Ongoing {
            next.state = State::Ongoing;
            next.started_ms = now_ms;
        }
        next.partitions.extend(partitions.iter().cloned());
        next.groups.extend(group.map(str::to_owned));
        next
    }

    pub(super) fn prepared(&self, outcome: Outcome, now_ms: i64) -> Self {
        Self {
            state: State::Prepared(outcome),
            updated_ms: now_ms,
            ..self.clone()
        }
    }

    /// The transaction about to be aborted against its producer, which is fenced by an epoch that
    /// nobody gets.
    pub(super) fn fenced(&self, now_ms: i64) -> Self {
        Self {
            epoch: self.epoch.saturating_add(1),
            last_epoch: NO_EPOCH,
            ..self.prepared(Outcome::Abort, now_ms)
        }
    }

    pub(super) fn completed(&self, outcome: Outcome, now_ms: i64) -> Self {
        Self {
            state: State::Complete(outcome),
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
            started_ms: -1,
            updated_ms: now_ms,
            ..self.clone()
        }
    }

    pub(super) fn has_timed_out(&self, now_ms: i64) -> bool {
        let limit = self.started_ms.saturating_add(i64::from(self.timeout_ms));
        self.state == State::Ongoing && limit <= now_ms
    }

    /// Whether nothing has happened under the id since a time.
    pub(super) fn is_idle_since(&self, before_ms: i64) -> bool {
        match self.state {
            State::Empty | State::Complete(_) => self.updated_ms < before_ms,
            State::Ongoing | State::Prepared(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producer(epoch: i16) -> Producer {
        Producer {
            transactional_id: "t".to_owned(),
            producer_id: 7,
            epoch,
        }
    }

    #[test]
    fn only_the_newest_producer_has_the_id() {
        let first = Transaction::unused(7).initialized(None, 1000, 1);
        assert!(first.check(&producer(0)).is_ok());
        let second = first.initialized(None, 1000, 2);
        let refused = second.check(&producer(0));
        assert!(matches!(refused, Err(TransactionError::Fenced)));
        let stranger = Producer {
            producer_id: 8,
            ..producer(1)
        };
        let refused = second.check(&stranger);
        assert!(matches!(refused, Err(TransactionError::Mapping)));
    }

    #[test]
    fn a_producer_goes_on_from_its_epoch_and_may_ask_twice() {
        let first = Transaction::unused(7).initialized(None, 1000, 1);
        let next = first.initialized(Some(0), 1000, 2);
        for epoch in [0, 1] {
            assert!(next.check_expected(Some((7, epoch))).is_ok());
        }
        assert!(next.is_asked_again(Some((7, 0))));
        assert!(!next.is_asked_again(Some((7, 1))));
        let third = next.initialized(None, 1000, 3);
        let refused = third.check_expected(Some((7, 1)));
        assert!(matches!(refused, Err(TransactionError::Fenced)));
    }

    #[test]
    fn a_transaction_times_out_from_its_beginning_on() {
        let idle = Transaction::unused(7).initialized(None, 1000, 1);
        assert!(!idle.has_timed_out(5000));
        let ongoing = idle.with(&[("t".to_owned(), 0)], None, 100);
        let ongoing = ongoing.with(&[("t".to_owned(), 1)], Some("g"), 900);
        assert!(!ongoing.has_timed_out(1099));
        assert!(ongoing.has_timed_out(1100));
        let fenced = ongoing.fenced(1100);
        assert_eq!(fenced.epoch, 1);
        let ended = fenced.completed(Outcome::Abort, 1200);
        assert_eq!(ended.state.name(), "CompleteAbort");
        assert!(ended.partitions.is_empty() && ended.groups.is_empty());
        assert!(ended.is_idle_since(1201) && !ongoing.is_idle_since(9999));
    }
}
