//! What the observations mean.
//!
//! What could not be observed is unknown: `null` in JSON, never a zero that looks like health.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::observation::{Applied, Slot, Source, TopicsEnd};
use crate::progress::Phase;
use crate::units;

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    healthy: bool,
    /// `snapshotting` as long as the target does not show one state of the source.
    phase: Option<&'static str>,
    problems: Vec<String>,
    source: SourceReport,
    topics: TopicsReport,
    target: TargetReport,
    /// From the source's log to the topics.
    capture_lag: Lag,
    /// From the topics to the target.
    apply_lag: Lag,
}

#[derive(Clone, Debug, Default, Serialize)]
struct SourceReport {
    lsn: Option<String>,
    slot: Option<Slot>,
}

#[derive(Clone, Debug, Default, Serialize)]
struct TopicsReport {
    commit_lsn: Option<String>,
    epoch: Option<i64>,
    /// Of the topic that forgets first: the window for replay. -1 is for ever.
    retention_ms: Option<i64>,
    retention_ms_by_topic: Vec<(String, i64)>,
}

#[derive(Clone, Debug, Default, Serialize)]
struct TargetReport {
    commit_lsn: Option<String>,
    epoch: Option<i64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Lag {
    bytes: Option<u64>,
    seconds: Option<u64>,
}

impl Report {
    pub(super) fn new(
        source: anyhow::Result<Source>,
        topics: anyhow::Result<TopicsEnd>,
        target: anyhow::Result<Option<Applied>>,
        max_lag: Duration,
    ) -> Self {
        let mut problems = Vec::new();
        let source = keep(source, &mut problems);
        let topics = keep(topics, &mut problems);
        let target = keep(target, &mut problems);
        let (capture_lag, apply_lag) = lags(source.as_ref(), topics.as_ref(), target.as_ref());
        if let Some(source) = &source {
            problems.extend(slot_problem(source.slot.as_ref()));
        }
        if topics.as_ref().is_some_and(|topics| topics.last.is_none()) {
            problems.push("capture has published nothing yet".to_owned());
        }
        if target.as_ref().is_some_and(Option::is_none) {
            problems.push("apply has applied nothing yet".to_owned());
        }
        for (stage, lag) in [("capture", capture_lag), ("apply", apply_lag)] {
            let seconds = lag.seconds.unwrap_or_default();
            if seconds > max_lag.as_secs() {
                problems.push(format!("{stage} is {seconds} s behind"));
            }
        }
        let phase = phase(target.as_ref());
        let target = target.flatten();
        Self {
            healthy: problems.is_empty(),
            phase: phase.map(Phase::name),
            problems,
            source: source.map(source_report).unwrap_or_default(),
            topics: topics.map(topics_report).unwrap_or_default(),
            target: target.map(target_report).unwrap_or_default(),
            capture_lag,
            apply_lag,
        }
    }

    pub fn is_healthy(&self) -> bool {
        self.healthy
    }
}

fn keep<T>(observed: anyhow::Result<T>, problems: &mut Vec<String>) -> Option<T> {
    observed
        .map_err(|error| problems.push(format!("{error:#}")))
        .ok()
}

fn slot_problem(slot: Option<&Slot>) -> Option<String> {
    let Some(slot) = slot else {
        return Some("the slot does not exist: capture has not started yet".to_owned());
    };
    let name = &slot.name;
    match slot.wal_status.as_deref() {
        Some("lost") => Some(format!(
            "slot {name} has lost WAL that it needs: only a new snapshot helps"
        )),
        Some("unreserved") => Some(format!(
            "slot {name} is about to lose WAL that it needs: let capture catch up, \
             or raise max_slot_wal_keep_size"
        )),
        _ if !slot.active => Some(format!("slot {name} has no reader: capture does not run")),
        _ => None,
    }
}

fn lags(
    source: Option<&Source>,
    topics: Option<&TopicsEnd>,
    target: Option<&Option<Applied>>,
) -> (Lag, Lag) {
    let last = topics.and_then(|topics| topics.last.as_ref());
    let applied = target.and_then(Option::as_ref);
    let capture = match (source, last) {
        (Some(source), Some(last)) => Lag {
            // The log ends behind its last byte.
            bytes: Some(source.lsn.just_before().bytes_since(last.commit_lsn)),
            seconds: Some(seconds(source.now, last.commit_time)),
        },
        _ => Lag::default(),
    };
    let apply = match (source, last, applied) {
        (_, Some(last), Some(applied)) if applied.commit_lsn >= last.commit_lsn => Lag {
            bytes: Some(0),
            seconds: Some(0),
        },
        (source, Some(last), Some(applied)) => Lag {
            bytes: Some(last.commit_lsn.bytes_since(applied.commit_lsn)),
            seconds: source.map(|source| seconds(source.now, applied.commit_time)),
        },
        _ => Lag::default(),
    };
    (capture, apply)
}

/// Clocks may differ a little; the future is no lag.
fn seconds(now: i64, then: i64) -> u64 {
    u64::try_from(now.saturating_sub(then) / 1_000_000).unwrap_or(0)
}

/// Unknown, when the target does not answer; before its first step it shows nothing yet.
fn phase(target: Option<&Option<Applied>>) -> Option<Phase> {
    let progress = target?.as_ref();
    Some(progress.map_or(Phase::Snapshotting, |progress| progress.phase))
}

fn source_report(source: Source) -> SourceReport {
    SourceReport {
        lsn: Some(source.lsn.to_string()),
        slot: source.slot,
    }
}

fn topics_report(topics: TopicsEnd) -> TopicsReport {
    let limits = topics.retention_ms.iter().map(|(_, limit)| *limit);
    let shortest = limits.clone().filter(|limit| *limit >= 0).min();
    TopicsReport {
        commit_lsn: topics.last.as_ref().map(|it| it.commit_lsn.to_string()),
        epoch: topics.last.as_ref().map(|it| it.epoch),
        retention_ms: shortest.or_else(|| limits.min()),
        retention_ms_by_topic: topics.retention_ms,
    }
}

fn target_report(applied: Applied) -> TargetReport {
    TargetReport {
        commit_lsn: Some(applied.commit_lsn.to_string()),
        epoch: Some(applied.epoch),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.healthy {
            true => "healthy",
            false => "NOT WELL",
        };
        let phase = text(self.phase);
        writeln!(f, "{verdict}, {phase}")?;
        for problem in &self.problems {
            writeln!(f, "  - {problem}")?;
        }
        writeln!(f, "source   at {}", text(self.source.lsn.as_deref()))?;
        writeln!(f, "slot     {}", SlotText(self.source.slot.as_ref()))?;
        writeln!(f, "capture  {}", self.capture_lag)?;
        writeln!(
            f,
            "topics   at {}, epoch {}, keep {}",
            text(self.topics.commit_lsn.as_deref()),
            number(self.topics.epoch),
            Retention(self.topics.retention_ms)
        )?;
        writeln!(f, "apply    {}", self.apply_lag)?;
        writeln!(
            f,
            "target   at {}, epoch {}",
            text(self.target.commit_lsn.as_deref()),
            number(self.target.epoch)
        )
    }
}

const UNKNOWN: &str = "unknown";

fn text(value: Option<&str>) -> &str {
    value.unwrap_or(UNKNOWN)
}

fn number(value: Option<impl ToString>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |number| number.to_string())
}

fn size(value: Option<i64>) -> String {
    let count = value.and_then(|count| u64::try_from(count).ok());
    count.map_or_else(|| UNKNOWN.to_owned(), units::bytes)
}

impl fmt::Display for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes {
            Some(bytes) => write!(f, "{} behind, ", units::bytes(bytes))?,
            None => write!(f, "{UNKNOWN} bytes behind, ")?,
        }
        write!(f, "{} s", number(self.seconds))
    }
}

struct SlotText<'a>(Option<&'a Slot>);

impl fmt::Display for SlotText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(slot) = self.0 else {
            return f.write_str(UNKNOWN);
        };
        let confirmed = slot.confirmed_flush_lsn.map(|lsn| lsn.to_string());
        write!(
            f,
            "{}, {}, confirmed {}, retains {}, WAL {}",
            slot.name,
            if slot.active { "active" } else { "inactive" },
            text(confirmed.as_deref()),
            size(slot.retained_bytes),
            text(slot.wal_status.as_deref()),
        )?;
        match slot.safe_wal_size {
            Some(_) => write!(f, ", safe for {} more", size(slot.safe_wal_size)),
            None => Ok(()),
        }
    }
}

struct Retention(Option<i64>);

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HOUR_MS: i64 = 3_600_000;
        match self.0 {
            None => f.write_str(UNKNOWN),
            Some(limit) if limit < 0 => f.write_str("everything"),
            Some(limit) if limit >= HOUR_MS => write!(f, "{} h", limit / HOUR_MS),
            Some(limit) => write!(f, "{} s", limit / 1000),
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use change::Lsn;
    use change::commit::{CommitKind, CommitRecord};

    use super::*;

    const MAX_LAG: Duration = Duration::from_secs(10);

    fn source(slot: Option<Slot>) -> Source {
        Source {
            lsn: Lsn::new(1000),
            now: 5_000_000,
            slot,
        }
    }

    fn slot() -> Slot {
        Slot {
            name: "lockstep".into(),
            active: true,
            confirmed_flush_lsn: Some(Lsn::new(900)),
            retained_bytes: Some(200),
            wal_status: Some("reserved".into()),
            safe_wal_size: None,
        }
    }

    fn topics(kind: CommitKind, commit_time: i64) -> TopicsEnd {
        TopicsEnd {
            last: Some(CommitRecord {
                pipeline: "lockstep".into(),
                epoch: 2,
                system_id: "7".into(),
                timeline: 1,
                slot: "lockstep".into(),
                previous_commit_lsn: Lsn::ZERO,
                commit_lsn: Lsn::new(900),
                commit_time,
                kind,
                transactions: Vec::new(),
                partitions: Vec::new(),
            }),
            retention_ms: vec![("lockstep.a".into(), 7_200_000), ("lockstep.b".into(), -1)],
        }
    }

    fn applied(lsn: u64) -> Option<Applied> {
        Some(Applied {
            commit_lsn: Lsn::new(lsn),
            epoch: 2,
            phase: Phase::Streaming,
            commit_time: 2_000_000,
        })
    }

    #[test]
    fn what_is_well_is_said_in_one_word() {
        let topics = topics(CommitKind::Stream, 4_000_000);
        let report = Report::new(
            Ok(source(Some(slot()))),
            Ok(topics),
            Ok(applied(900)),
            MAX_LAG,
        );
        let text = report.to_string();
        assert!(text.starts_with("healthy, streaming\n"), "{text}");
        assert!(text.contains("capture  99 B behind, 1 s"), "{text}");
        assert!(text.contains("apply    0 B behind, 0 s"), "{text}");
        assert!(text.contains("keep 2 h"), "{text}");
    }

    #[test]
    fn unknown_is_never_zero() {
        let report = Report::new(
            Err(anyhow!("no source")),
            Err(anyhow!("no Kafka")),
            Err(anyhow!("no target")),
            MAX_LAG,
        );
        assert!(!report.is_healthy());
        let json = serde_json::to_value(&report).unwrap();
        for pointer in [
            "/phase",
            "/source/lsn",
            "/topics/epoch",
            "/topics/retention_ms",
            "/target/commit_lsn",
            "/capture_lag/bytes",
            "/apply_lag/seconds",
        ] {
            assert!(json.pointer(pointer).unwrap().is_null(), "{pointer}");
        }
        let text = report.to_string();
        assert!(!text.contains('0'), "{text}");
    }

    #[track_caller]
    fn problem(source: Source, topics: TopicsEnd, applied: Option<Applied>, expected: &str) {
        let report = Report::new(Ok(source), Ok(topics), Ok(applied), MAX_LAG);
        assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
        let problem = &report.problems[0];
        assert!(problem.contains(expected), "{problem}");
    }

    #[test]
    fn what_is_not_well_is_named() {
        let well = || topics(CommitKind::Heartbeat, 4_000_000);
        problem(source(None), well(), applied(900), "slot does not exist");
        let idle = Slot {
            active: false,
            ..slot()
        };
        problem(source(Some(idle)), well(), applied(900), "no reader");
        let lost = Slot {
            wal_status: Some("lost".into()),
            ..slot()
        };
        problem(source(Some(lost)), well(), applied(900), "new snapshot");
        let late = topics(CommitKind::Stream, -20_000_000);
        problem(source(Some(slot())), late, applied(900), "capture is 25 s");
        problem(source(Some(slot())), well(), None, "applied nothing");
    }

    #[test]
    fn apply_that_is_behind_is_as_old_as_what_it_shows() {
        let topics = topics(CommitKind::Stream, 4_000_000);
        let report = Report::new(
            Ok(source(Some(slot()))),
            Ok(topics),
            Ok(applied(850)),
            MAX_LAG,
        );
        let expected = Lag {
            bytes: Some(50),
            seconds: Some(3),
        };
        assert_eq!(report.apply_lag, expected);
    }
}
