//! Records that came before their turn, and which partitions may bring more.
//!
//! Does no I/O: the caller brings what was fetched, and pauses and resumes partitions as it is told.

use std::collections::VecDeque;

/// A record as it was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub(crate) offset: i64,
    /// `None` for a tombstone.
    pub(crate) value: Option<Box<[u8]>>,
}

/// What a record costs beyond its bytes.
const RECORD_OVERHEAD: usize = 64;

/// What waits of all lanes, in bounded room.
///
/// A lane that holds more than its share of the room that is left is paused. So what waits does not
/// grow with the number of lanes, and lanes whose records come late, which fill up, leave the others
/// enough that these need not be paused and resumed with every record.
///
/// Lanes are resumed together: one that is resumed may have to wait until the broker has answered for
/// the others.
#[derive(Debug)]
pub(super) struct Prefetch {
    lanes: Vec<Lane>,
    /// Lanes that have something waiting.
    occupied: usize,
    bytes: usize,
    limit_bytes: usize,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Fetched>,
    bytes: usize,
    paused: bool,
}

impl Prefetch {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self {
            lanes: Vec::new(),
            occupied: 0,
            bytes: 0,
            limit_bytes,
        }
    }

    /// Adds a lane that flows; lanes are numbered as they come.
    pub(super) fn add_lane(&mut self) {
        self.lanes.push(Lane::default());
    }

    /// Drops all that waits; all lanes flow.
    pub(super) fn clear(&mut self) {
        self.lanes.fill_with(Lane::default);
        self.occupied = 0;
        self.bytes = 0;
    }

    /// What waits, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps a record of `lane` while the caller waits for one of `wanted`. Tells whether the lane is
    /// to be paused.
    pub(super) fn put(&mut self, lane: usize, fetched: Fetched, wanted: usize) -> bool {
        let bytes = fetched.bytes();
        let at = &mut self.lanes[lane];
        self.occupied += usize::from(at.waiting.is_empty());
        at.waiting.push_back(fetched);
        at.bytes += bytes;
        self.bytes += bytes;
        let share = self.share();
        let at = &mut self.lanes[lane];
        let pauses = lane != wanted && !at.paused && at.bytes > share;
        at.paused |= pauses;
        pauses
    }

    /// The next record of `lane`.
    pub(super) fn take(&mut self, lane: usize) -> Option<Fetched> {
        let at = &mut self.lanes[lane];
        let fetched = at.waiting.pop_front()?;
        self.occupied -= usize::from(at.waiting.is_empty());
        at.bytes -= fetched.bytes();
        self.bytes -= fetched.bytes();
        Some(fetched)
    }

    /// The lanes that are to be resumed now that `lane` is read: none as long as it has enough.
    pub(super) fn resume(&mut self, lane: usize) -> Vec<usize> {
        let at = &self.lanes[lane];
        if !at.paused {
            return Vec::new();
        }
        let share = self.share();
        // What is left must last until more comes.
        if at.bytes > share / 4 {
            return Vec::new();
        }
        let mut resumed = Vec::new();
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            if lane.paused && lane.bytes <= share / 2 {
                lane.paused = false;
                resumed.push(number);
            }
        }
        resumed
    }

    /// So much that all shares together leave a fifth of the room, whatever the number of lanes.
    fn share(&self) -> usize {
        let left = self.limit_bytes.saturating_sub(self.bytes);
        left.saturating_mul(4) / self.occupied.max(1)
    }
}

impl Fetched {
    fn bytes(&self) -> usize {
        self.value.as_ref().map_or(0, |value| value.len()) + RECORD_OVERHEAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: usize = 1_000;

    /// A broker that has enough of every lane, and a client that drops what it holds of a lane that is
    /// paused, as librdkafka does.
    struct Broker {
        prefetch: Prefetch,
        lanes: usize,
        next: usize,
        resumed: usize,
        most: usize,
    }

    impl Broker {
        fn new(lanes: usize, limit_bytes: usize) -> Self {
            let mut prefetch = Prefetch::new(limit_bytes);
            (0..lanes).for_each(|_| prefetch.add_lane());
            Self {
                prefetch,
                lanes,
                next: 0,
                resumed: 0,
                most: 0,
            }
        }

        /// Takes a record of `lane`, and lets the others flow until it comes.
        fn read(&mut self, lane: usize) {
            loop {
                let fetched = self.prefetch.take(lane);
                self.resumed += usize::from(!self.prefetch.resume(lane).is_empty());
                if fetched.is_some() {
                    return;
                }
                self.receive(lane);
            }
        }

        fn receive(&mut self, wanted: usize) {
            loop {
                let lane = self.next % self.lanes;
                self.next += 1;
                if self.prefetch.lanes[lane].paused {
                    continue;
                }
                let value = Some(vec![0; RECORD - RECORD_OVERHEAD].into_boxed_slice());
                self.prefetch
                    .put(lane, Fetched { offset: 0, value }, wanted);
                self.most = self.most.max(self.prefetch.bytes());
                if lane == wanted {
                    return;
                }
            }
        }
    }

    #[test]
    fn lanes_that_are_read_in_turn_flow_beside_those_whose_records_come_late() {
        let mut broker = Broker::new(16, 800 * RECORD);
        for turn in 0..8_000 {
            broker.read(turn % 4);
        }
        assert!(broker.most <= 800 * RECORD, "{} bytes", broker.most);
        assert!(broker.resumed < 8_000 / 10, "{} times", broker.resumed);
        assert!(broker.prefetch.lanes[15].paused, "it has its share");
    }

    #[test]
    fn many_lanes_wait_in_the_same_room() {
        for (lanes, stride) in [(500, 7), (5_000, 1), (5_000, 11)] {
            let mut broker = Broker::new(lanes, 800 * RECORD);
            for turn in 0..20_000 {
                broker.read(turn * stride % lanes);
            }
            // A lane shows that it has something by bringing it.
            let most = (800 + lanes) * RECORD;
            assert!(broker.most <= most, "{lanes} lanes: {} bytes", broker.most);
        }
    }

    #[test]
    fn what_waits_comes_out_in_order() {
        let mut prefetch = Prefetch::new(10 * RECORD);
        prefetch.add_lane();
        prefetch.add_lane();
        let fetched = |offset| Fetched {
            offset,
            value: None,
        };
        for offset in 0..100 {
            prefetch.put(0, fetched(offset), 1);
        }
        for offset in 0..100 {
            assert_eq!(prefetch.take(0), Some(fetched(offset)));
        }
        assert_eq!(prefetch.take(0), None);
        assert_eq!(prefetch.bytes(), 0);
    }
}
