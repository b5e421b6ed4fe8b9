//! What several looks tell together: how fast the log grows, how old a place in it is, and when a
//! slot will have lost what it needs.

use std::collections::VecDeque;
use std::time::Duration;

use change::Lsn;

use super::Standing;

/// The looks of the last minutes. Times are the source's.
#[derive(Clone, Debug, Default)]
pub struct Trail(VecDeque<Step>);

#[derive(Clone, Copy, Debug)]
struct Step {
    at: i64,
    lsn: Lsn,
    retained_bytes: Option<i64>,
    safe_wal_size: Option<i64>,
}

/// How long a look counts: long enough to even out checkpoints' bursts of full pages, short enough
/// to be the present rate.
const WINDOW_US: i64 = 120_000_000;
/// A rate over less than this is chance.
const SPAN_MIN_US: i64 = 500_000;
const SECOND_US: f64 = 1_000_000.0;

impl Trail {
    pub fn note(&mut self, standing: &Standing) {
        let slot = standing.slot.as_ref();
        let step = Step {
            at: standing.now,
            lsn: standing.lsn,
            retained_bytes: slot.and_then(|slot| slot.retained_bytes),
            safe_wal_size: slot.and_then(|slot| slot.safe_wal_size),
        };
        // Another server, or a clock that was set: what was seen before says nothing about it.
        if let Some(last) = self.0.back()
            && (step.lsn < last.lsn || step.at < last.at)
        {
            self.0.clear();
        }
        self.0.push_back(step);
        while let Some(first) = self.0.front()
            && step.at - first.at > WINDOW_US
        {
            self.0.pop_front();
        }
    }

    /// Bytes a second that the source writes to its log; `None` after one look.
    pub fn written_per_second(&self) -> Option<f64> {
        let (first, last) = (self.0.front()?, self.0.back()?);
        let written = last.lsn.bytes_since(first.lsn);
        Some(written as f64 / seconds(first, last)?)
    }

    /// Bytes a second by which the WAL grows that the slot holds back; negative while it shrinks.
    pub fn retained_per_second(&self) -> Option<f64> {
        // The first looks may have been before the slot was made.
        let mut with_slot = self.0.iter().filter(|step| step.retained_bytes.is_some());
        let (first, last) = (with_slot.next()?, self.0.back()?);
        let grown = last.retained_bytes? - first.retained_bytes?;
        Some(grown as f64 / seconds(first, last)?)
    }

    /// Until the slot loses WAL that it needs, at the present rate: `None` when that is not known,
    /// when there is no limit, and when the slot keeps up.
    pub fn lost_in(&self) -> Option<Duration> {
        let left = self.0.back()?.safe_wal_size?;
        let rate = self.retained_per_second().filter(|rate| *rate > 0.0)?;
        let left = left.max(0) as f64 / rate;
        Duration::try_from_secs_f64(left).ok()
    }

    /// How long ago the log's end was at `lsn`, at most; `None` when that was before the first look.
    pub fn age(&self, lsn: Lsn) -> Option<Duration> {
        let now = self.0.back()?.at;
        // The log ends behind its last byte.
        let reached = self
            .0
            .iter()
            .rev()
            .find(|step| step.lsn.just_before() <= lsn)?;
        Some(Duration::from_micros(
            u64::try_from(now - reached.at).unwrap_or(0),
        ))
    }
}

fn seconds(first: &Step, last: &Step) -> Option<f64> {
    let span = last.at - first.at;
    (span >= SPAN_MIN_US).then_some(span as f64 / SECOND_US)
}

#[cfg(test)]
mod tests {
    use super::super::Slot;
    use super::*;

    fn standing(second: i64, lsn: u64, retained: i64, safe: Option<i64>) -> Standing {
        Standing {
            lsn: Lsn::new(lsn),
            now: second * 1_000_000,
            slot: Some(Slot {
                retained_bytes: Some(retained),
                safe_wal_size: safe,
                ..Slot::default()
            }),
        }
    }

    fn trail(looks: &[Standing]) -> Trail {
        let mut trail = Trail::default();
        for look in looks {
            trail.note(look);
        }
        trail
    }

    #[test]
    fn one_look_forecasts_nothing() {
        let trail = trail(&[standing(1, 1000, 10, Some(500))]);
        assert_eq!(trail.written_per_second(), None);
        assert_eq!(trail.lost_in(), None);
    }

    #[test]
    fn a_slot_that_falls_behind_is_lost_when_its_room_is_full() {
        let trail = trail(&[
            standing(0, 1000, 100, Some(900)),
            standing(10, 2000, 1100, Some(600)),
        ]);
        assert_eq!(trail.written_per_second(), Some(100.0));
        assert_eq!(trail.retained_per_second(), Some(100.0));
        assert_eq!(trail.lost_in(), Some(Duration::from_secs(6)));
    }

    #[test]
    fn looks_before_the_slot_was_made_do_not_count() {
        let before = Standing {
            slot: None,
            ..standing(0, 900, 0, None)
        };
        let trail = trail(&[
            before,
            standing(5, 1000, 100, Some(900)),
            standing(10, 2000, 600, Some(600)),
        ]);
        assert_eq!(trail.lost_in(), Some(Duration::from_secs(6)));
    }

    #[test]
    fn a_slot_that_keeps_up_or_has_no_limit_is_not_lost() {
        let keeps_up = trail(&[
            standing(0, 1000, 100, Some(900)),
            standing(10, 9000, 100, Some(900)),
        ]);
        assert_eq!(keeps_up.lost_in(), None);
        let unlimited = trail(&[standing(0, 1000, 100, None), standing(10, 9000, 8100, None)]);
        assert_eq!(unlimited.lost_in(), None);
    }

    #[test]
    fn a_place_is_as_old_as_the_last_look_that_it_was_the_end_of() {
        let trail = trail(&[
            standing(0, 1000, 0, None),
            standing(4, 2000, 0, None),
            standing(9, 3000, 0, None),
        ]);
        assert_eq!(trail.age(Lsn::new(2999)), Some(Duration::ZERO));
        assert_eq!(trail.age(Lsn::new(2500)), Some(Duration::from_secs(5)));
        assert_eq!(trail.age(Lsn::new(999)), Some(Duration::from_secs(9)));
        assert_eq!(trail.age(Lsn::new(500)), None);
    }

    #[test]
    fn looks_at_another_server_do_not_count() {
        let trail = trail(&[standing(0, 5000, 0, None), standing(9, 1000, 0, None)]);
        assert_eq!(trail.written_per_second(), None);
    }

    #[test]
    fn old_looks_are_forgotten() {
        let mut trail = Trail::default();
        for second in 0..1000 {
            trail.note(&standing(second, 1000, 0, None));
        }
        assert_eq!(trail.0.len(), 121);
    }
}
