//! Up to where the source has sent everything that committed, whether that was anything or not.
//!
//! Who wrote on the source and waits for it on the target knows an LSN behind the commit, and
//! nothing else may commit for a long time: the target has to learn that it is there.

use std::time::{Duration, Instant};

use change::Lsn;

/// What an idle source has sent, and when that is worth a heartbeat of its own.
#[derive(Debug)]
pub(crate) struct Horizon {
    /// All that commits later has a higher LSN, and all that committed before was sent before.
    lsn: Lsn,
    due: Instant,
    pause: Duration,
}

/// Between the first heartbeats after a transaction.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// Between heartbeats without transactions. A target in the same cluster as the source writes to
/// the log that the source sends: each heartbeat is followed by another.
const PAUSE_MAX: Duration = Duration::from_secs(1);

impl Horizon {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            lsn: Lsn::ZERO,
            due: now,
            pause: PAUSE_MIN,
        }
    }

    pub(crate) fn rise(&mut self, lsn: Lsn) {
        self.lsn = self.lsn.max(lsn);
    }

    /// A transaction is handed over: what the source has sent behind it is told right after, since
    /// that is what its writer waits for.
    pub(crate) fn stir(&mut self, now: Instant) {
        self.due = now;
        self.pause = PAUSE_MIN;
    }

    /// When a heartbeat says more than what is `published`.
    pub(crate) fn due(&self, published: Lsn) -> Option<Instant> {
        (self.lsn > published).then_some(self.due)
    }

    /// The heartbeat that is due, if there is one.
    pub(crate) fn take(&mut self, published: Lsn, now: Instant) -> Option<Lsn> {
        if self.due(published)? > now {
            return None;
        }
        self.due = now + self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Some(self.lsn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_heartbeat_after_a_transaction_comes_at_once() {
        let now = Instant::now();
        let mut horizon = Horizon::new(now);
        assert_eq!(horizon.take(Lsn::new(5), now), None);
        horizon.rise(Lsn::new(5));
        assert_eq!(horizon.take(Lsn::new(5), now), None);
        horizon.rise(Lsn::new(9));
        assert_eq!(horizon.take(Lsn::new(5), now), Some(Lsn::new(9)));
    }

    /// How many heartbeats a log that grows all the time makes, as when the target is in the same
    /// cluster.
    fn heartbeats(horizon: &mut Horizon, now: &mut Instant, span: Duration) -> usize {
        let end = *now + span;
        let mut count = 0;
        while *now < end {
            *now += Duration::from_millis(1);
            let published = horizon.lsn;
            horizon.rise(Lsn::new(published.as_u64() + 1));
            count += usize::from(horizon.take(published, *now).is_some());
        }
        count
    }

    #[test]
    fn heartbeats_become_rare_without_transactions_and_quick_with_one() {
        let mut now = Instant::now();
        let mut horizon = Horizon::new(now);
        assert!(heartbeats(&mut horizon, &mut now, Duration::from_secs(2)) <= 13);
        let rare = heartbeats(&mut horizon, &mut now, Duration::from_secs(10));
        assert_eq!(rare, 10);
        horizon.stir(now);
        let quick = heartbeats(&mut horizon, &mut now, Duration::from_millis(20));
        assert!(quick >= 4, "{quick}");
    }

    #[test]
    fn it_never_falls() {
        let now = Instant::now();
        let mut horizon = Horizon::new(now);
        horizon.rise(Lsn::new(9));
        horizon.rise(Lsn::new(5));
        assert_eq!(horizon.take(Lsn::ZERO, now), Some(Lsn::new(9)));
    }
}
