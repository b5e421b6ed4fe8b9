//! One commits record's changes in order, from the partitions that hold them.
//!
//! Does no I/O: the caller brings records of the partitions that [`Merge::poll`] asks for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use change::Position;
use change::commit::CommitRecord;

use crate::decode::Head;

/// The merge of one commits record's covered ranges.
#[derive(Debug)]
pub(crate) struct Merge<T> {
    epoch: i64,
    lanes: Vec<Lane<T>>,
    /// Lanes whose next record is not known yet.
    hungry: Vec<usize>,
    heads: BinaryHeap<Reverse<(Position, usize)>>,
}

#[derive(Debug)]
struct Lane<T> {
    first_offset: i64,
    end_offset: i64,
    /// Records of the range that are still to come.
    missing: u64,
    last: Option<Position>,
    head: Option<T>,
}

/// What the caller does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<T> {
    /// Bring the next record of this lane (by its index in the commits record's `partitions`).
    Need(usize),
    Next {
        lane: usize,
        record: T,
    },
    /// Every covered record was given out.
    Done,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Counted,
    /// Before the range, of a dead writer, or sent twice: no part of any transaction.
    Orphan,
}

/// The range ended before all its records were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RangeEnded {
    pub(crate) missing: u64,
}

impl<T> Merge<T> {
    pub(crate) fn new(record: &CommitRecord) -> Self {
        let lanes: Vec<Lane<T>> = record
            .partitions
            .iter()
            .map(|range| Lane {
                first_offset: range.first_offset,
                end_offset: range.end_offset,
                missing: range.records,
                last: None,
                head: None,
            })
            .collect();
        let hungry = (0..lanes.len()).filter(|lane| lanes[*lane].missing > 0);
        Self {
            epoch: record.epoch,
            hungry: hungry.collect(),
            heads: BinaryHeap::with_capacity(lanes.len()),
            lanes,
        }
    }

    pub(crate) fn poll(&mut self) -> Step<T> {
        if let Some(lane) = self.hungry.last() {
            return Step::Need(*lane);
        }
        let Some(Reverse((_, at))) = self.heads.pop() else {
            return Step::Done;
        };
        let lane = &mut self.lanes[at];
        let record = lane.head.take().expect("set when it was put on the heap");
        if lane.missing > 0 {
            self.hungry.push(at);
        }
        Step::Next { lane: at, record }
    }

    /// Takes the next record of lane `at`; `head` is `None` for a record without a value.
    ///
    /// # Errors
    /// When the record stands past the range although records of the range are missing.
    pub(crate) fn take(
        &mut self,
        at: usize,
        offset: i64,
        head: Option<Head>,
        record: T,
    ) -> Result<Taken, RangeEnded> {
        let lane = &mut self.lanes[at];
        if offset >= lane.end_offset {
            return Err(RangeEnded {
                missing: lane.missing,
            });
        }
        let Some(head) = head.filter(|head| head.epoch == self.epoch) else {
            return Ok(Taken::Orphan);
        };
        // Positions rise within a range; one that does not is a record that was sent again.
        let again = lane.last.is_some_and(|last| head.position <= last);
        if offset < lane.first_offset || again {
            return Ok(Taken::Orphan);
        }
        lane.last = Some(head.position);
        lane.missing -= 1;
        lane.head = Some(record);
        if self.hungry.last() == Some(&at) {
            self.hungry.pop();
        } else {
            self.hungry.retain(|lane| *lane != at);
        }
        self.heads.push(Reverse((head.position, at)));
        Ok(Taken::Counted)
    }
}

#[cfg(test)]
mod tests {
    use change::Lsn;
    use change::commit::{CommitKind, PartitionRange};
    use proptest::prelude::*;

    use super::*;

    fn covering(ranges: &[(i64, i64, u64)]) -> CommitRecord {
        let range = |(partition, (first_offset, end_offset, records)): (i32, &(i64, i64, u64))| {
            PartitionRange {
                topic: "t".into(),
                partition,
                first_offset: *first_offset,
                end_offset: *end_offset,
                records: *records,
            }
        };
        CommitRecord {
            pipeline: "p".into(),
            epoch: 2,
            system_id: "7".into(),
            timeline: 1,
            slot: "s".into(),
            previous_commit_lsn: Lsn::ZERO,
            commit_lsn: Lsn::new(100),
            commit_time: 0,
            kind: CommitKind::Stream,
            transactions: Vec::new(),
            partitions: (0..).zip(ranges).map(range).collect(),
            sequences: Vec::new(),
        }
    }

    fn head(epoch: i64, ordinal: u64) -> Option<Head> {
        let commit_lsn = Lsn::new(100);
        Some(Head {
            epoch,
            position: Position {
                commit_lsn,
                ordinal,
            },
        })
    }

    #[test]
    fn only_the_living_writers_records_in_the_range_count() {
        let mut merge = Merge::new(&covering(&[(5, 20, 2)]));
        assert_eq!(merge.poll(), Step::Need(0));
        assert_eq!(merge.take(0, 4, head(2, 0), "before"), Ok(Taken::Orphan));
        assert_eq!(merge.take(0, 5, head(1, 0), "dead"), Ok(Taken::Orphan));
        assert_eq!(merge.take(0, 6, None, "tombstone"), Ok(Taken::Orphan));
        assert_eq!(merge.take(0, 9, head(2, 0), "a"), Ok(Taken::Counted));
        let record = Step::Next {
            lane: 0,
            record: "a",
        };
        assert_eq!(merge.poll(), record);
        assert_eq!(merge.take(0, 10, head(2, 0), "again"), Ok(Taken::Orphan));
        assert_eq!(merge.take(0, 19, head(2, 1), "b"), Ok(Taken::Counted));
        assert_eq!(
            merge.poll(),
            Step::Next {
                lane: 0,
                record: "b"
            }
        );
        assert_eq!(merge.poll(), Step::Done);
    }

    #[test]
    fn a_missing_record_is_noticed_at_the_ranges_end() {
        let mut merge = Merge::new(&covering(&[(5, 7, 2)]));
        assert_eq!(merge.take(0, 5, head(2, 0), "a"), Ok(Taken::Counted));
        let ended = Err(RangeEnded { missing: 1 });
        assert_eq!(merge.take(0, 7, head(2, 1), "b"), ended);
    }

    #[test]
    fn nothing_covered_is_done_at_once() {
        assert_eq!(Merge::<()>::new(&covering(&[])).poll(), Step::Done);
        assert_eq!(Merge::<()>::new(&covering(&[(3, 3, 0)])).poll(), Step::Done);
    }

    proptest! {
        /// Every change of a transaction is put in a random partition, with strangers in between;
        /// out they must come in order.
        #[test]
        fn changes_come_out_in_order(places in prop::collection::vec((0_usize..5, any::<bool>()), 0..60)) {
            let mut partitions: Vec<Vec<(i64, u64)>> = vec![Vec::new(); 5];
            for (ordinal, (partition, stranger)) in (0..).zip(&places) {
                if *stranger {
                    partitions[*partition].push((1, ordinal));
                }
                partitions[*partition].push((2, ordinal));
            }
            let ranges: Vec<(i64, i64, u64)> = partitions.iter().map(|records| {
                let own = records.iter().filter(|(epoch, _)| *epoch == 2).count();
                (0, i64::try_from(records.len()).unwrap(), u64::try_from(own).unwrap())
            }).collect();
            let mut merge = Merge::new(&covering(&ranges));
            let mut read = [0_usize; 5];
            let mut out = Vec::new();
            loop {
                match merge.poll() {
                    Step::Need(lane) => {
                        let (epoch, ordinal) = partitions[lane][read[lane]];
                        let offset = i64::try_from(read[lane]).unwrap();
                        merge.take(lane, offset, head(epoch, ordinal), ordinal).unwrap();
                        read[lane] += 1;
                    }
                    Step::Next { record, .. } => out.push(record),
                    Step::Done => break,
                }
            }
            let expected: Vec<u64> = (0..).take(places.len()).collect();
            prop_assert_eq!(out, expected);
        }
    }
}
