//! What a partition knows of transactions (KIP-98): which are open in it, up to where records are
//! decided, and which parts of the log were aborted.
//!
//! It is part of the checkpoint, so it never tells more or less than the log up to there; what
//! follows is read again from the records and markers in the log.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::partition::AppendError;
use crate::kafka::batch::BatchHeader;
use crate::kafka::transactions::Outcome;

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(super) struct Transactions {
    /// By producer id.
    open: BTreeMap<i64, Open>,
    /// By the offset of the marker, which is the order in which they were aborted.
    aborted: Vec<Aborted>,
    /// Whether the log has or had records of transactions.
    seen: bool,
    /// Epochs of the producers that may begin or go on here, by producer id. The coordinator tells
    /// them again after a restart.
    #[serde(skip)]
    admitted: HashMap<i64, i16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    epoch: i16,
    first_offset: i64,
}

/// A part of the log whose records of one producer do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::kafka) struct Aborted {
    pub(in crate::kafka) producer_id: i64,
    pub(in crate::kafka) first_offset: i64,
    /// Of the marker.
    last_offset: i64,
    /// The last stable offset behind the marker: what is aborted later begins there or after it.
    stable_offset: i64,
}

impl Transactions {
    /// Checks that a batch may be appended: in a transaction only after the coordinator knows that
    /// the partition takes part, outside of one only when the producer has none open.
    pub(super) fn check(&self, batch: &BatchHeader) -> Result<(), AppendError> {
        let producer_id = batch.producer_id;
        let open = self.open.get(&producer_id);
        if !batch.is_transactional() {
            return match open {
                Some(_) => Err(AppendError::NotInTransaction),
                None => Ok(()),
            };
        }
        let epoch = batch.producer_epoch;
        match self.admitted.get(&producer_id).copied() {
            Some(admitted) if admitted == epoch => Ok(()),
            Some(current) if current > epoch => Err(AppendError::StaleEpoch {
                producer_id,
                epoch,
                current,
            }),
            _ => Err(AppendError::NotInTransaction),
        }
    }

    pub(super) fn admit(&mut self, producer_id: i64, epoch: i16) {
        self.admitted.insert(producer_id, epoch);
    }

    /// Notes a batch that is in the log. A marker comes with what it says.
    pub(super) fn record(&mut self, batch: &BatchHeader, marker: Option<Outcome>) {
        if !batch.is_transactional() {
            return;
        }
        self.seen = true;
        let producer_id = batch.producer_id;
        let Some(outcome) = marker else {
            self.open.entry(producer_id).or_insert(Open {
                epoch: batch.producer_epoch,
                first_offset: batch.base_offset,
            });
            return;
        };
        self.admitted.remove(&producer_id);
        if let (Some(ended), Outcome::Abort) = (self.open.remove(&producer_id), outcome) {
            self.aborted.push(Aborted {
                producer_id,
                first_offset: ended.first_offset,
                last_offset: batch.base_offset,
                stable_offset: self.stable_offset(batch.next_offset()),
            });
        }
    }

    /// The offset before which every record is decided.
    pub(super) fn stable_offset(&self, next_offset: i64) -> i64 {
        let first = self.open.values().map(|open| open.first_offset).min();
        first.unwrap_or(next_offset)
    }

    /// Ids and epochs of the producers with an open transaction here.
    pub(super) fn open(&self) -> Vec<(i64, i16)> {
        self.open
            .iter()
            .map(|(producer_id, open)| (*producer_id, open.epoch))
            .collect()
    }

    pub(super) fn first_offset_of(&self, producer_id: i64) -> Option<i64> {
        Some(self.open.get(&producer_id)?.first_offset)
    }

    /// What was aborted of the records from one offset up to another.
    pub(super) fn aborted_within(&self, from: i64, until: i64) -> Vec<Aborted> {
        let ended = self
            .aborted
            .partition_point(|aborted| aborted.last_offset < from);
        let mut within = Vec::new();
        for aborted in self.aborted.iter().skip(ended) {
            if aborted.first_offset < until {
                within.push(*aborted);
            }
            if aborted.stable_offset >= until {
                break;
            }
        }
        within
    }

    /// Whether the log has or had records of transactions.
    pub(super) fn seen(&self) -> bool {
        self.seen
    }

    /// Forgets what lies before the start of the log.
    pub(super) fn forget_before(&mut self, start_offset: i64) {
        self.aborted
            .retain(|aborted| aborted.last_offset >= start_offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{Just, Strategy, prop_assert_eq, prop_oneof, proptest};

    fn records(producer_id: i64, base_offset: i64) -> BatchHeader {
        let mut header = BatchHeader::marker(producer_id, 0, 0, &[]);
        header.attributes &= !(1 << 5);
        header.base_offset = base_offset;
        header
    }

    #[derive(Debug, Clone)]
    enum Step {
        Append(i64),
        End(i64, Outcome),
    }

    fn step() -> impl Strategy<Value = Step> {
        let outcome = prop_oneof![Just(Outcome::Commit), Just(Outcome::Abort)];
        prop_oneof![
            (0..4i64).prop_map(Step::Append),
            ((0..4i64), outcome).prop_map(|(id, outcome)| Step::End(id, outcome)),
        ]
    }

    proptest! {
        /// A reader that drops the parts it is told are aborted sees exactly the committed records
        /// below the last stable offset, from wherever it starts to wherever it stops.
        #[test]
        fn readers_see_what_was_committed(
            steps in proptest::collection::vec(step(), 0..60),
            from in 0..60i64,
            length in 0..60i64,
        ) {
            let mut transactions = Transactions::default();
            let mut log: Vec<(i64, Option<Outcome>)> = Vec::new();
            for step in steps {
                let offset = i64::try_from(log.len()).unwrap();
                let (producer_id, marker) = match step {
                    Step::Append(id) => (id, None),
                    Step::End(id, outcome) => (id, Some(outcome)),
                };
                transactions.record(&records(producer_id, offset), marker);
                log.push((producer_id, marker));
            }
            let end = i64::try_from(log.len()).unwrap();
            // What the log itself tells, read forwards from each record.
            let ends_as = |offset: usize| log[offset + 1..].iter()
                .find_map(|(id, marker)| marker.filter(|_| *id == log[offset].0));
            let data = (0..log.len()).filter(|offset| log[*offset].1.is_none());
            let undecided = data.clone().find(|offset| ends_as(*offset).is_none());
            let stable = undecided.map_or(end, |offset| i64::try_from(offset).unwrap());
            prop_assert_eq!(transactions.stable_offset(end), stable);

            let until = (from + length).min(stable);
            let aborted = transactions.aborted_within(from, until);
            let seen: Vec<usize> = data.filter(|offset| {
                let at = i64::try_from(*offset).unwrap();
                let is_aborted = aborted.iter().any(|aborted| {
                    aborted.producer_id == log[*offset].0
                        && (aborted.first_offset..aborted.last_offset).contains(&at)
                });
                (from..until).contains(&at) && !is_aborted
            }).collect();
            let expected: Vec<usize> = (0..log.len()).filter(|offset| {
                let at = i64::try_from(*offset).unwrap();
                log[*offset].1.is_none() && (from..until).contains(&at)
                    && ends_as(*offset) == Some(Outcome::Commit)
            }).collect();
            prop_assert_eq!(seen, expected);
        }
    }

    #[test]
    fn only_admitted_producers_append_to_a_transaction() {
        let mut transactions = Transactions::default();
        let batch = records(7, 0);
        let refused = transactions.check(&batch);
        assert!(matches!(refused, Err(AppendError::NotInTransaction)));
        transactions.admit(7, 0);
        assert!(transactions.check(&batch).is_ok());
        transactions.record(&batch, None);
        let mut plain = batch.clone();
        plain.attributes = 0;
        let refused = transactions.check(&plain);
        assert!(matches!(refused, Err(AppendError::NotInTransaction)));
        // The marker ends what the producer may do here.
        transactions.record(&records(7, 1), Some(Outcome::Commit));
        let refused = transactions.check(&batch);
        assert!(matches!(refused, Err(AppendError::NotInTransaction)));
        assert!(transactions.check(&plain).is_ok());
        transactions.admit(7, 1);
        let refused = transactions.check(&batch);
        assert!(matches!(
            refused,
            Err(AppendError::StaleEpoch { current: 1, .. })
        ));
    }
}
