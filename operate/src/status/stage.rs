//! How far each stage is.

use std::collections::VecDeque;
use std::time::Duration;

use cdc::standing::{Standing, Trail};
use change::Lsn;
use serde::{Deserialize, Serialize};

/// In the order in which a change passes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StageName {
    /// The source's log ends there.
    Written,
    /// The slot's sender has decoded and sent everything up to there.
    Decoded,
    /// A commits record that Kafka has acknowledged covers it.
    Acknowledged,
    /// The source knows that it may forget it.
    Confirmed,
    /// It is on the target.
    Applied,
    /// Readers of the target see it, in every table.
    Visible,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Stage {
    pub stage: StageName,
    pub lsn: Option<Lsn>,
    /// Behind the end of the source's log.
    pub behind: Lag,
    /// Unknown in one look.
    pub trend: Option<Trend>,
}

/// What is not known is none, never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Lag {
    pub bytes: Option<u64>,
    /// At most so many.
    pub seconds: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Trend {
    Rising,
    Steady,
    Falling,
}

/// How far a stage is, and when the source committed what it did last (microseconds since 1970).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) lsn: Option<Lsn>,
    pub(super) commit_time: Option<i64>,
}

/// Where the stages behind the log are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Places {
    pub(super) decoded: Place,
    pub(super) acknowledged: Place,
    pub(super) confirmed: Place,
    pub(super) applied: Place,
    pub(super) visible: Place,
}

impl Places {
    pub(super) fn stages(&self, standing: Option<&Standing>, trail: &Trail) -> Vec<Stage> {
        let written = Place {
            lsn: standing.map(|standing| standing.lsn.just_before()),
            commit_time: None,
        };
        let all = [
            (StageName::Written, written),
            (StageName::Decoded, self.decoded),
            (StageName::Acknowledged, self.acknowledged),
            (StageName::Confirmed, self.confirmed),
            (StageName::Applied, self.applied),
            (StageName::Visible, self.visible),
        ];
        let stage = |(stage, place): (StageName, Place)| Stage {
            stage,
            lsn: place.lsn,
            behind: behind(place, standing, trail),
            trend: None,
        };
        all.map(stage).to_vec()
    }
}

fn behind(place: Place, standing: Option<&Standing>, trail: &Trail) -> Lag {
    let (Some(lsn), Some(standing)) = (place.lsn, standing) else {
        return Lag::default();
    };
    // The log ends behind its last byte.
    let bytes = standing.lsn.just_before().bytes_since(lsn);
    Lag {
        bytes: Some(bytes),
        seconds: match bytes {
            0 => Some(0),
            _ => seconds(place, lsn, standing.now, trail),
        },
    }
}

/// What the stage has not done yet was written after what it did last, and after the last look at
/// which there was nothing more: the later of the two bounds it better.
fn seconds(place: Place, lsn: Lsn, now: i64, trail: &Trail) -> Option<u64> {
    let committed = place.commit_time.map(|then| {
        let since = now.saturating_sub(then);
        Duration::from_micros(u64::try_from(since).unwrap_or(0))
    });
    let bounds = [committed, trail.age(lsn)];
    let least = bounds.into_iter().flatten().min();
    least.map(|age| age.as_secs())
}

/// The bytes behind of earlier looks, stage by stage.
#[derive(Clone, Debug, Default)]
pub(super) struct Looks(VecDeque<Vec<Option<u64>>>);

/// So many looks back; at one a second, five seconds.
const TREND_LOOKS: usize = 5;
/// Less than this is the noise of looking at several servers one after the other.
const NOISE_BYTES: u64 = 16 * 1024;

impl Looks {
    /// Says of each stage whether it falls behind, and remembers this look.
    pub(super) fn judge(&mut self, stages: &mut [Stage]) {
        if let Some(earlier) = self.0.front() {
            for (stage, before) in stages.iter_mut().zip(earlier) {
                stage.trend = trend(*before, stage.behind.bytes);
            }
        }
        let bytes = stages.iter().map(|stage| stage.behind.bytes);
        self.0.push_back(bytes.collect());
        if self.0.len() > TREND_LOOKS {
            self.0.pop_front();
        }
    }
}

fn trend(before: Option<u64>, now: Option<u64>) -> Option<Trend> {
    let (before, now) = (before?, now?);
    let noise = NOISE_BYTES.max(before / 20);
    Some(if now > before.saturating_add(noise) {
        Trend::Rising
    } else if before > now.saturating_add(noise) {
        Trend::Falling
    } else {
        Trend::Steady
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(second: i64, lsn: u64) -> Standing {
        Standing {
            lsn: Lsn::new(lsn),
            now: second * 1_000_000,
            slot: None,
        }
    }

    fn place(lsn: u64, commit_second: i64) -> Place {
        Place {
            lsn: Some(Lsn::new(lsn)),
            commit_time: Some(commit_second * 1_000_000),
        }
    }

    #[test]
    fn who_has_everything_is_not_behind_however_old_it_is() {
        let lag = behind(place(999, 1), Some(&standing(50, 1000)), &Trail::default());
        let nothing = Lag {
            bytes: Some(0),
            seconds: Some(0),
        };
        assert_eq!(lag, nothing);
    }

    #[test]
    fn who_is_behind_is_so_since_its_last_commit_at_most() {
        let now = standing(50, 1000);
        let lag = behind(place(900, 20), Some(&now), &Trail::default());
        let expected = Lag {
            bytes: Some(99),
            seconds: Some(30),
        };
        assert_eq!(lag, expected);
        // The log had not gone on 40 s before.
        let mut trail = Trail::default();
        for look in [standing(10, 901), standing(45, 901), now.clone()] {
            trail.note(&look);
        }
        assert_eq!(behind(place(900, 20), Some(&now), &trail).seconds, Some(5));
    }

    #[test]
    fn a_place_without_a_time_has_unknown_seconds_at_first() {
        let now = standing(50, 1000);
        let unknown = Place {
            lsn: Some(Lsn::new(1)),
            commit_time: None,
        };
        let lag = behind(unknown, Some(&now), &Trail::default());
        assert_eq!((lag.bytes, lag.seconds), (Some(998), None));
        assert_eq!(behind(unknown, None, &Trail::default()), Lag::default());
    }

    #[test]
    fn the_trend_needs_two_looks_and_more_than_noise() {
        let stage = |bytes| Stage {
            stage: StageName::Applied,
            lsn: None,
            behind: Lag {
                bytes,
                seconds: None,
            },
            trend: None,
        };
        let mut looks = Looks::default();
        let mut seen = Vec::new();
        for bytes in [Some(0), Some(100), Some(1_000_000), Some(0), None] {
            let mut stages = [stage(bytes)];
            looks.judge(&mut stages);
            seen.push(stages[0].trend);
        }
        let (steady, rising) = (Some(Trend::Steady), Some(Trend::Rising));
        assert_eq!(seen, [None, steady, rising, steady, None]);
        assert_eq!(trend(Some(1 << 20), Some(0)), Some(Trend::Falling));
    }
}
