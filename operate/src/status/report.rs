//! What the observations mean.
//!
//! What could not be observed is unknown: `null` in JSON, never a zero that looks like health.

use std::time::Duration;

use cdc::standing::{Slot, Trail};
use change::Lsn;
use change::commit::CommitRecord;
use serde::{Deserialize, Serialize};

use super::exposition::{Exposition, Quantiles};
use super::observation::{Answer, Observation, Target};
use super::operations::Operations;
use super::problem::{Problem, Verdict, problems};
use super::stage::{Lag, Looks, Place, Places, Stage};
use crate::progress::Phase;

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Report {
    pub verdict: Verdict,
    pub healthy: bool,
    /// `snapshotting` as long as the target does not show one state of the source.
    pub phase: Option<Phase>,
    /// The worst first.
    pub problems: Vec<Problem>,
    pub stages: Vec<Stage>,
    /// Seconds from a commit on the source to the one on the target: of what was applied since the
    /// look before, or since apply has started.
    pub commit_to_visible: Option<Quantiles>,
    pub source: SourceReport,
    pub topics: TopicsReport,
    pub target: TargetReport,
    /// From the source's log to the topics.
    pub capture_lag: Lag,
    /// From the topics to the target.
    pub apply_lag: Lag,
    pub capture: Service,
    pub apply: Service,
    pub clocks: Clocks,
    pub operations: Option<Operations>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct SourceReport {
    pub lsn: Option<Lsn>,
    pub written_bytes_per_second: Option<f64>,
    pub slot: Option<Slot>,
    /// Negative while what the slot holds back shrinks.
    pub retained_bytes_per_second: Option<f64>,
    /// Until the slot loses WAL at the present rate; none while it keeps up, and without a limit.
    pub lost_in_seconds: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct TopicsReport {
    pub commit_lsn: Option<Lsn>,
    pub epoch: Option<i64>,
    /// Of the topic that forgets first: the window for replay. -1 is for ever.
    pub retention_ms: Option<i64>,
    pub retention_ms_by_topic: Vec<(String, i64)>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct TargetReport {
    pub commit_lsn: Option<Lsn>,
    pub epoch: Option<i64>,
}

/// Capture or apply, by its metrics port.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Service {
    /// Unknown when nobody said where its port is, and nothing answers at the usual one.
    pub answers: Option<bool>,
    /// What it waits for, and why.
    pub failing: Vec<(String, String)>,
    #[serde(skip)]
    pub is_named: bool,
    /// Its metrics, for who wants more of them.
    #[serde(skip)]
    pub metrics: Option<Exposition>,
}

/// Compared with this machine's.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Clocks {
    pub source_ahead_seconds: Option<f64>,
    pub target_ahead_seconds: Option<f64>,
}

const COMMIT_TO_VISIBLE: &str = "applier_commit_to_visible_seconds";

impl Report {
    pub(super) fn new(
        seen: &Observation,
        trail: &Trail,
        looks: &mut Looks,
        applied_before: Option<&Exposition>,
        max_lag: Duration,
    ) -> Self {
        let source = seen.source.as_ref().ok();
        let standing = source.map(|source| &source.standing);
        let last = seen.topics.as_ref().ok().and_then(Option::as_ref);
        let target = seen.target.as_ref().ok();
        let applied = target.and_then(|target| target.applied);
        let places = places(seen);
        let mut stages = places.stages(standing, trail);
        looks.judge(&mut stages);
        let page = seen.apply.metrics.as_ref();
        let mut report = Self {
            verdict: Verdict::of(&[]),
            healthy: true,
            phase: target.map(Target::phase),
            problems: Vec::new(),
            capture_lag: stages[ACKNOWLEDGED].behind,
            apply_lag: apply_lag(&places, stages[APPLIED].behind),
            stages,
            commit_to_visible: page.and_then(|it| it.quantiles(COMMIT_TO_VISIBLE, applied_before)),
            source: SourceReport {
                lsn: standing.map(|standing| standing.lsn),
                written_bytes_per_second: source.and_then(|_| trail.written_per_second()),
                slot: standing.and_then(|standing| standing.slot.clone()),
                retained_bytes_per_second: source.and_then(|_| trail.retained_per_second()),
                lost_in_seconds: source.and_then(|_| trail.lost_in()).map(|it| it.as_secs()),
            },
            topics: topics_report(last, &seen.retention_ms),
            target: TargetReport {
                commit_lsn: applied.map(|applied| applied.commit_lsn),
                epoch: applied.map(|applied| applied.epoch),
            },
            capture: service(&seen.capture),
            apply: service(&seen.apply),
            clocks: Clocks {
                source_ahead_seconds: source.map(|source| source.ahead),
                target_ahead_seconds: target.map(|target| target.ahead),
            },
            operations: target.and_then(|target| target.operations.clone()),
        };
        report.problems = problems(seen, &report, max_lag.as_secs());
        report.verdict = Verdict::of(&report.problems);
        report.healthy = report.problems.is_empty();
        report
    }

    pub fn is_healthy(&self) -> bool {
        self.healthy
    }
}

/// Their places in the list of stages.
const ACKNOWLEDGED: usize = 2;
const APPLIED: usize = 4;

fn places(seen: &Observation) -> Places {
    let slot = seen.source.as_ref().ok();
    let slot = slot.and_then(|source| source.standing.slot.as_ref());
    let at = |lsn: Option<Lsn>| Place {
        // The slot's positions are ends, which lie behind their last byte.
        lsn: lsn.map(Lsn::just_before),
        commit_time: None,
    };
    let last = seen.topics.as_ref().ok().and_then(Option::as_ref);
    let target = seen.target.as_ref().ok();
    let applied = target.and_then(|target| target.applied);
    let applied = Place {
        lsn: applied.map(|applied| applied.commit_lsn),
        commit_time: applied.map(|applied| applied.commit_time),
    };
    Places {
        decoded: at(slot.and_then(|slot| slot.sent_lsn)),
        // The parts are not asked at one instant; what is applied was published.
        acknowledged: match last {
            Some(last) if applied.lsn <= Some(last.commit_lsn) => Place {
                lsn: Some(last.commit_lsn),
                commit_time: Some(last.commit_time),
            },
            Some(_) => applied,
            None => Place::default(),
        },
        confirmed: at(slot.and_then(|slot| slot.confirmed_flush_lsn)),
        applied,
        visible: target.map_or_else(Place::default, |target| visible(target, applied)),
    }
}

/// Rows become visible with the position; what a held table or key lacks is not visible.
fn visible(target: &Target, applied: Place) -> Place {
    if target.phase() == Phase::Snapshotting {
        return Place::default();
    }
    let Some(operations) = &target.operations else {
        return applied;
    };
    let held = operations.held_tables.iter().map(|held| held.commit_lsn);
    let letter = operations.dead_letters.first_commit_lsn;
    let kept_back = held.chain(letter.map(Lsn::just_before)).min();
    match (kept_back, applied.lsn) {
        (Some(kept_back), Some(lsn)) if kept_back < lsn => Place {
            lsn: Some(kept_back),
            commit_time: None,
        },
        _ => applied,
    }
}

/// Behind the topics, not the log: what capture has not published is not apply's to do.
fn apply_lag(places: &Places, behind_log: Lag) -> Lag {
    let (Some(published), Some(applied)) = (places.acknowledged.lsn, places.applied.lsn) else {
        return Lag::default();
    };
    let bytes = published.bytes_since(applied);
    Lag {
        bytes: Some(bytes),
        seconds: match bytes {
            0 => Some(0),
            _ => behind_log.seconds,
        },
    }
}

fn topics_report(last: Option<&CommitRecord>, retention_ms: &[(String, i64)]) -> TopicsReport {
    let limits = retention_ms.iter().map(|(_, limit)| *limit);
    let shortest = limits.clone().filter(|limit| *limit >= 0).min();
    TopicsReport {
        commit_lsn: last.map(|last| last.commit_lsn),
        epoch: last.map(|last| last.epoch),
        retention_ms: shortest.or_else(|| limits.min()),
        retention_ms_by_topic: retention_ms.to_vec(),
    }
}

fn service(answer: &Answer) -> Service {
    let answers = match (&answer.ready, answer.is_named) {
        (Some(_), _) => Some(true),
        (None, true) => Some(false),
        (None, false) => None,
    };
    let checks = answer.ready.iter().flat_map(|ready| &ready.checks);
    let failing = checks.filter(|(_, state)| *state != "ok");
    Service {
        answers,
        failing: failing
            .map(|(name, state)| (name.clone(), state.clone()))
            .collect(),
        is_named: answer.is_named,
        metrics: answer.metrics.clone(),
    }
}

#[cfg(test)]
mod tests;
