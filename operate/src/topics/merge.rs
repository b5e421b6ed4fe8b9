//! The records of several partitions in one order: that of their positions in the source's log, or of
//! their times where they have none. Does no I/O: the caller brings what [`Merge::hungry`] names.
//!
//! Within a partition the order is that of its offsets, always, also where a writer began anew and
//! positions go back; so no record is lost or shown twice, whatever stands in the topic.

use std::collections::{BTreeMap, VecDeque};

use change::Position;

use super::Direction;
use super::cursor::Cursor;
use crate::kafka::{RawRecord, Reach};

/// Where a record stands among those of other partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    Time(i64),
    Position(Position),
}

pub(super) struct Merge {
    direction: Direction,
    lanes: BTreeMap<i32, Lane>,
}

struct Lane {
    reach: Reach,
    /// What is given out next: for forwards the next offset, for backwards one past it.
    at: i64,
    /// Up to where it was read.
    read: i64,
    waiting: VecDeque<(Order, RawRecord)>,
}

impl Merge {
    pub(super) fn new(
        direction: Direction,
        start: &Cursor,
        reaches: &BTreeMap<i32, Reach>,
    ) -> Self {
        let lanes = reaches.iter().map(|(partition, reach)| {
            let wanted = start.0.get(partition).copied();
            let wanted = wanted.unwrap_or(match direction {
                Direction::Forwards => reach.first_offset,
                Direction::Backwards => reach.end_offset,
            });
            let at = wanted.clamp(reach.first_offset, reach.end_offset);
            let lane = Lane {
                reach: *reach,
                at,
                read: at,
                waiting: VecDeque::new(),
            };
            (*partition, lane)
        });
        Self {
            direction,
            lanes: lanes.collect(),
        }
    }

    /// How many partitions there are; at least one.
    pub(super) fn lanes(&self) -> usize {
        self.lanes.len().max(1)
    }

    /// A partition whose next record has to be read, with the offsets to read: `count` of them, from
    /// and to which.
    pub(super) fn hungry(&self, count: i64) -> Option<(i32, std::ops::Range<i64>)> {
        let lane = |(partition, lane): (&i32, &Lane)| {
            let range = match self.direction {
                Direction::Forwards => lane.read..lane.reach.end_offset,
                Direction::Backwards => (lane.read - count).max(lane.reach.first_offset)..lane.read,
            };
            (lane.waiting.is_empty() && !range.is_empty()).then_some((*partition, range))
        };
        self.lanes.iter().find_map(lane)
    }

    /// Takes what stands in `range` of a partition. Where bounds cut it short, `complete_until` is
    /// where the rest begins.
    pub(super) fn feed(
        &mut self,
        partition: i32,
        range: &std::ops::Range<i64>,
        complete_until: i64,
        records: Vec<(Order, RawRecord)>,
    ) {
        let Some(lane) = self.lanes.get_mut(&partition) else {
            return;
        };
        match self.direction {
            Direction::Forwards => lane.read = complete_until,
            Direction::Backwards => lane.read = range.start,
        }
        lane.waiting.extend(records);
        if lane.waiting.is_empty() {
            lane.at = lane.read;
        }
    }

    /// The next record; only while nothing is hungry.
    pub(super) fn next(&mut self) -> Option<(Order, RawRecord)> {
        let order = |lane: &Lane| match self.direction {
            Direction::Forwards => lane.waiting.front().map(|(order, _)| *order),
            Direction::Backwards => lane.waiting.back().map(|(order, _)| *order),
        };
        let heads = self.lanes.iter();
        let heads = heads.filter_map(|(partition, lane)| Some((order(lane)?, *partition)));
        let (_, partition) = match self.direction {
            Direction::Forwards => heads.min(),
            Direction::Backwards => heads.max(),
        }?;
        let lane = self.lanes.get_mut(&partition)?;
        let next = match self.direction {
            Direction::Forwards => lane.waiting.pop_front(),
            Direction::Backwards => lane.waiting.pop_back(),
        }?;
        lane.at = match (self.direction, lane.waiting.is_empty()) {
            (_, true) => lane.read,
            (Direction::Forwards, false) => next.1.offset + 1,
            (Direction::Backwards, false) => next.1.offset,
        };
        Some(next)
    }

    /// The place behind everything that was given out, in its direction.
    pub(super) fn place(&self) -> Cursor {
        let offsets = self.lanes.iter();
        Cursor(
            offsets
                .map(|(partition, lane)| (*partition, lane.at))
                .collect(),
        )
    }

    /// Whether there is anything before, and behind, a place.
    pub(super) fn around(&self, place: &Cursor) -> (bool, bool) {
        let mut around = (false, false);
        for (partition, offset) in &place.0 {
            if let Some(lane) = self.lanes.get(partition) {
                around.0 |= *offset > lane.reach.first_offset;
                around.1 |= *offset < lane.reach.end_offset;
            }
        }
        around
    }
}

#[cfg(test)]
mod tests {
    use change::Lsn;

    use super::*;

    fn record(partition: i32, offset: i64) -> RawRecord {
        RawRecord {
            partition,
            offset,
            time_ms: None,
            key: None,
            value: None,
            headers: Vec::new(),
        }
    }

    /// Position of each record, by partition and offset; 0 is a hole.
    const LOGS: [&[u64]; 3] = [&[1, 4, 0, 0, 0, 9], &[2, 3, 2, 3, 8], &[]];

    fn merged(direction: Direction, start: &Cursor, limit: usize) -> (Vec<u64>, Cursor) {
        let reaches = (0..).zip(LOGS).map(|(partition, log)| {
            let end_offset = i64::try_from(log.len()).unwrap();
            let reach = Reach {
                first_offset: 0,
                end_offset,
            };
            (partition, reach)
        });
        let mut merge = Merge::new(direction, start, &reaches.collect());
        let mut seen = Vec::new();
        while seen.len() < limit {
            while let Some((partition, range)) = merge.hungry(2) {
                let log = LOGS[usize::try_from(partition).unwrap()];
                let end = range.end.min(range.start + 2);
                let there = (range.start..end).filter_map(|offset| {
                    let byte = log[usize::try_from(offset).unwrap()];
                    let position = Position {
                        commit_lsn: Lsn::new(byte),
                        ordinal: 0,
                    };
                    (byte > 0).then(|| (Order::Position(position), record(partition, offset)))
                });
                merge.feed(partition, &range, end, there.collect());
            }
            match merge.next() {
                Some((Order::Position(position), _)) => seen.push(position.commit_lsn.as_u64()),
                _ => break,
            }
        }
        (seen, merge.place())
    }

    #[test]
    fn every_record_comes_once_in_either_direction() {
        let all = [1, 2, 3, 2, 3, 4, 8, 9];
        let (forwards, _) = merged(Direction::Forwards, &Cursor::default(), 100);
        assert_eq!(forwards, all);
        let (mut backwards, place) = merged(Direction::Backwards, &Cursor::default(), 100);
        backwards.reverse();
        assert_eq!(backwards, all);
        assert_eq!(place.to_string(), "0:0,1:0,2:0");
    }

    #[test]
    fn pages_join_without_a_gap_or_an_overlap() {
        for limit in 1..9 {
            let (mut seen, mut place) = (Vec::new(), Cursor::default());
            loop {
                let (page, next) = merged(Direction::Forwards, &place, limit);
                if page.is_empty() {
                    break;
                }
                seen.extend(page);
                place = next;
            }
            assert_eq!(seen, [1, 2, 3, 2, 3, 4, 8, 9], "pages of {limit}");
        }
    }
}
