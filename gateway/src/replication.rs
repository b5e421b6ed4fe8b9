//! How far each stage of the pipeline is: the source, the topics, the target.

use std::sync::Arc;
use std::time::{Duration, Instant};

use change::Lsn;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::changes::{Captured, Changes};
use crate::upstream::{Caller, Failure, Upstream};

/// Looks at the stages, once for all who ask at the same time.
pub(crate) struct Replication {
    upstream: Arc<Upstream>,
    changes: Changes,
    last: Mutex<Option<(Instant, Arc<Report>)>>,
}

/// What was seen. What could not be is none, and why stands in `unknown`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) source: Option<Source>,
    pub(crate) topics: Option<Captured>,
    pub(crate) target: Option<Target>,
    pub(crate) unknown: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) position: Lsn,
    /// By the source's clock, as all times of commits are.
    pub(crate) at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) position: Lsn,
    pub(crate) phase: String,
    pub(crate) committed_at: DateTime<Utc>,
    pub(crate) applied_at: DateTime<Utc>,
}

/// How far one stage is behind the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lag {
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
}

/// A report may be so old: a hundred subscribers cost as much as one.
const AGE: Duration = Duration::from_millis(200);

impl Replication {
    pub(crate) fn new(upstream: Arc<Upstream>, changes: Changes) -> Self {
        Self {
            upstream,
            changes,
            last: Mutex::default(),
        }
    }

    pub(crate) async fn report(&self) -> Arc<Report> {
        // Who comes while one looks waits for what it sees.
        let mut last = self.last.lock().await;
        if let Some((at, report)) = &*last
            && at.elapsed() < AGE
        {
            return Arc::clone(report);
        }
        let report = Arc::new(self.look().await);
        *last = Some((Instant::now(), Arc::clone(&report)));
        report
    }

    async fn look(&self) -> Report {
        let caller = Caller::new("replication");
        // The target first: seen later, the source can only be further.
        let target = self.upstream.target_position(&caller).await;
        let topics = self.changes.captured();
        let source = self.upstream.source_position(&caller).await;
        let mut unknown = Vec::new();
        let target = match target {
            Some(answer) => keep("target", answer.map(Target::read), &mut unknown),
            None => {
                unknown.push("target: no replica is set (--gateway-replica)".to_owned());
                None
            }
        };
        if topics.is_none() {
            unknown.push("topics: no commits record was read yet (--kafka)".to_owned());
        }
        Report {
            source: keep("source", source.map(Source::read), &mut unknown),
            topics,
            target,
            unknown,
        }
    }
}

fn keep<T>(stage: &str, seen: Result<Option<T>, Failure>, unknown: &mut Vec<String>) -> Option<T> {
    match seen {
        Ok(Some(seen)) => return Some(seen),
        Ok(None) => unknown.push(format!("{stage}: {}", Failure::Unreadable)),
        Err(failure) => unknown.push(format!("{stage}: {failure}")),
    }
    None
}

#[derive(Deserialize)]
struct SourceAnswer {
    position: String,
    at: DateTime<Utc>,
}

#[derive(Deserialize)]
struct TargetAnswer {
    position: String,
    phase: String,
    committed_at: DateTime<Utc>,
    applied_at: DateTime<Utc>,
}

impl Source {
    fn read(answer: Value) -> Option<Self> {
        let answer: SourceAnswer = serde_json::from_value(answer).ok()?;
        Some(Self {
            position: answer.position.parse().ok()?,
            at: answer.at,
        })
    }
}

impl Target {
    fn read(answer: Value) -> Option<Self> {
        let answer: TargetAnswer = serde_json::from_value(answer).ok()?;
        Some(Self {
            position: answer.position.parse().ok()?,
            phase: answer.phase,
            committed_at: answer.committed_at,
            applied_at: answer.applied_at,
        })
    }
}

impl Report {
    /// From the source's log to the topics.
    pub(crate) fn capture_lag(&self) -> Option<Lag> {
        let (source, topics) = (self.source.as_ref()?, self.topics.as_ref()?);
        Some(lag(
            source.position,
            topics.position,
            source.at,
            topics.committed_at,
        ))
    }

    /// From the topics to the target.
    pub(crate) fn apply_lag(&self) -> Option<Lag> {
        let (topics, target) = (self.topics.as_ref()?, self.target.as_ref()?);
        let time = topics.committed_at;
        Some(lag(
            topics.position,
            target.position,
            time,
            target.committed_at,
        ))
    }

    /// Whether all that the source had is on the target.
    pub(crate) fn caught_up(&self) -> Option<bool> {
        let (source, target) = (self.source.as_ref()?, self.target.as_ref()?);
        Some(target.position >= source.position)
    }
}

/// Nothing behind is no time behind: a source where nothing happens is not late.
fn lag(front: Lsn, back: Lsn, front_at: DateTime<Utc>, back_at: DateTime<Utc>) -> Lag {
    let bytes = front.bytes_since(back);
    let time = match bytes {
        0 => Duration::ZERO,
        _ => (front_at - back_at).to_std().unwrap_or_default(),
    };
    Lag { bytes, time }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn lag_is_of_bytes_and_time() {
        let now = Utc::now();
        let before = now - TimeDelta::milliseconds(1500);
        let behind = lag(Lsn::new(100), Lsn::new(60), now, before);
        assert_eq!(
            (behind.bytes, behind.time),
            (40, Duration::from_millis(1500))
        );
        let level = lag(Lsn::new(60), Lsn::new(60), now, before);
        assert_eq!((level.bytes, level.time), (0, Duration::ZERO));
        let ahead = lag(Lsn::new(60), Lsn::new(100), before, now);
        assert_eq!((ahead.bytes, ahead.time), (0, Duration::ZERO));
    }

    #[test]
    fn what_is_unknown_is_not_zero() {
        let report = Report::default();
        assert_eq!(
            (report.capture_lag(), report.apply_lag(), report.caught_up()),
            (None, None, None)
        );
    }
}
