//! Which commits records are next: each names the one before it.

use std::sync::Arc;

use change::Lsn;
use change::commit::{CommitKind, CommitRecord};

/// The last applied commits record, as far as the next one must fit it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) epoch: i64,
    pub(crate) commit_lsn: Lsn,
    pub(crate) source: Arc<Source>,
}

/// Whose log the LSNs are positions in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub system_id: String,
    pub timeline: u32,
    pub slot: String,
}

/// What to do with a commits record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Apply,
    /// A new writer began while the last records of the dead one were on their way: they count, since
    /// they stand before its fence. It says nothing but its epoch.
    Fence,
    /// A dead writer's late record: the living one has sent its transactions again.
    Ignore,
}

/// Why a commits record does not continue what was applied.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    #[error(
        "commits record {commit_lsn} follows {previous}, but the target is at {applied}: the \
         transactions between are missing from the topic. Take a new snapshot"
    )]
    Gap {
        applied: Lsn,
        previous: Lsn,
        commit_lsn: Lsn,
    },
    #[error(
        "commits record {commit_lsn} follows {previous}, but the target is already at {applied}: \
         two captures write to these topics. Stop one, then take a new snapshot"
    )]
    Fork {
        applied: Lsn,
        previous: Lsn,
        commit_lsn: Lsn,
    },
    #[error("commits record {commit_lsn} goes back behind {previous}, which it follows")]
    Backwards { previous: Lsn, commit_lsn: Lsn },
    #[error(
        "the topics start in the middle: the first commits record, {commit_lsn}, follows \
         {previous}, which is not in the topic any more. Take a new snapshot"
    )]
    NoBeginning { previous: Lsn, commit_lsn: Lsn },
    #[error(
        "commits record {commit_lsn} comes from another source: {what} is {found}, that of the \
         target's data is {stored}. Point capture at the former source, or take a new snapshot"
    )]
    OtherSource {
        commit_lsn: Lsn,
        what: &'static str,
        stored: String,
        found: String,
    },
}

/// Decides about `record` when `last` was applied last; `None` when nothing was.
///
/// # Errors
/// When the living writer's record does not follow `last`: a human must choose.
pub(crate) fn admit(last: Option<&Link>, record: &CommitRecord) -> Result<Admission, ChainError> {
    let (previous, commit_lsn) = (record.previous_commit_lsn, record.commit_lsn);
    let applied = match last {
        Some(last) if record.epoch < last.epoch => return Ok(Admission::Ignore),
        Some(last) => {
            let restarts = record.kind == CommitKind::SnapshotChunk && record.epoch > last.epoch;
            if !restarts {
                last.source.check(record)?;
            }
            last.commit_lsn
        }
        None if previous != Lsn::ZERO => {
            return Err(ChainError::NoBeginning {
                previous,
                commit_lsn,
            });
        }
        None => Lsn::ZERO,
    };
    if previous > applied {
        return Err(ChainError::Gap {
            applied,
            previous,
            commit_lsn,
        });
    }
    if previous < applied {
        if last.is_some_and(|last| is_fence(last, record)) {
            return Ok(Admission::Fence);
        }
        return Err(ChainError::Fork {
            applied,
            previous,
            commit_lsn,
        });
    }
    if commit_lsn < previous {
        return Err(ChainError::Backwards {
            previous,
            commit_lsn,
        });
    }
    Ok(Admission::Apply)
}

fn is_fence(last: &Link, record: &CommitRecord) -> bool {
    record.kind == CommitKind::Heartbeat
        && record.epoch > last.epoch
        && record.commit_lsn == record.previous_commit_lsn
        && record.partitions.is_empty()
}

impl Source {
    pub(crate) fn of(record: &CommitRecord) -> Self {
        Self {
            system_id: record.system_id.clone(),
            timeline: record.timeline,
            slot: record.slot.clone(),
        }
    }

    fn check(&self, record: &CommitRecord) -> Result<(), ChainError> {
        let found = Self::of(record);
        let (what, stored, found) = if found.system_id != self.system_id {
            ("system identifier", self.system_id.clone(), found.system_id)
        } else if found.timeline != self.timeline {
            (
                "timeline",
                self.timeline.to_string(),
                found.timeline.to_string(),
            )
        } else if found.slot != self.slot {
            ("slot", self.slot.clone(), found.slot)
        } else {
            return Ok(());
        };
        Err(ChainError::OtherSource {
            commit_lsn: record.commit_lsn,
            what,
            stored,
            found,
        })
    }
}

impl Link {
    pub(crate) fn of(record: &CommitRecord) -> Self {
        Self {
            epoch: record.epoch,
            commit_lsn: record.commit_lsn,
            source: Arc::new(Source::of(record)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(epoch: i64, previous: u64, commit_lsn: u64) -> CommitRecord {
        CommitRecord {
            pipeline: "p".into(),
            epoch,
            system_id: "7".into(),
            timeline: 1,
            slot: "s".into(),
            previous_commit_lsn: Lsn::new(previous),
            commit_lsn: Lsn::new(commit_lsn),
            commit_time: 0,
            kind: CommitKind::Stream,
            transactions: Vec::new(),
            partitions: Vec::new(),
            sequences: Vec::new(),
        }
    }

    #[track_caller]
    fn check(last: Option<&CommitRecord>, next: &CommitRecord, expected: Result<Admission, &str>) {
        let last = last.map(Link::of);
        let found = admit(last.as_ref(), next).map_err(|error| format!("{error:?}"));
        match expected {
            Ok(admission) => assert_eq!(found, Ok(admission)),
            Err(name) => assert!(
                found.as_ref().is_err_and(|e| e.starts_with(name)),
                "{found:?}"
            ),
        }
    }

    #[test]
    fn each_record_follows_the_one_before() {
        let last = record(2, 10, 20);
        check(Some(&last), &record(2, 20, 30), Ok(Admission::Apply));
        check(Some(&last), &record(3, 20, 20), Ok(Admission::Apply));
        check(None, &record(1, 0, 30), Ok(Admission::Apply));
    }

    #[test]
    fn gaps_and_forks_stop() {
        let last = record(2, 10, 20);
        check(Some(&last), &record(2, 25, 30), Err("Gap"));
        check(Some(&last), &record(3, 10, 30), Err("Fork"));
        check(Some(&last), &record(2, 20, 19), Err("Backwards"));
        check(None, &record(1, 5, 30), Err("NoBeginning"));
    }

    #[test]
    fn a_fence_raises_the_epoch_whatever_the_dead_writer_still_published() {
        let last = record(2, 10, 20);
        let mut fence = record(3, 10, 10);
        fence.kind = CommitKind::Heartbeat;
        check(Some(&last), &fence, Ok(Admission::Fence));
        fence.epoch = 2;
        check(Some(&last), &fence, Err("Fork"));
    }

    #[test]
    fn a_dead_writers_late_record_is_ignored_even_when_it_would_fit() {
        let last = record(2, 10, 20);
        check(Some(&last), &record(1, 20, 30), Ok(Admission::Ignore));
        check(Some(&last), &record(1, 5, 15), Ok(Admission::Ignore));
    }

    #[test]
    fn another_source_stops_but_for_a_restarted_snapshot() {
        let last = record(2, 10, 20);
        for change in [
            |r: &mut CommitRecord| r.system_id = "8".into(),
            |r: &mut CommitRecord| r.timeline = 2,
            |r: &mut CommitRecord| r.slot = "t".into(),
        ] {
            let mut next = record(3, 20, 30);
            change(&mut next);
            check(Some(&last), &next, Err("OtherSource"));
            next.kind = CommitKind::SnapshotChunk;
            check(Some(&last), &next, Ok(Admission::Apply));
            next.epoch = 2;
            check(Some(&last), &next, Err("OtherSource"));
        }
    }
}
