//! What each part says of itself.

use std::collections::BTreeMap;
use std::time::SystemTime;

use anyhow::Context;
use cdc::standing::{self, Standing};
use change::Lsn;
use change::commit::CommitRecord;
use change::topic::Topics;
use serde::Deserialize;
use service::postgres::connect;

use super::exposition::Exposition;
use super::operations::{self, Operations};
use crate::endpoints::{Endpoints, MonitorUrl};
use crate::kafka::Kafka;
use crate::progress::{self, Phase, Progress};

/// All answers of one look.
pub(super) struct Observation {
    pub(super) source: anyhow::Result<Source>,
    pub(super) topics: anyhow::Result<Option<CommitRecord>>,
    pub(super) target: anyhow::Result<Target>,
    pub(super) capture: Answer,
    pub(super) apply: Answer,
    pub(super) retention_ms: Vec<(String, i64)>,
}

pub(super) struct Source {
    pub(super) standing: Standing,
    /// Seconds that its clock is ahead of this machine's, as exactly as the answer was quick.
    pub(super) ahead: f64,
}

pub(super) struct Target {
    /// `None` while nothing was applied.
    pub(super) applied: Option<Applied>,
    /// `None` where the applier has not made its tables yet.
    pub(super) operations: Option<Operations>,
    pub(super) ahead: f64,
}

impl Target {
    pub(super) fn phase(&self) -> Phase {
        let applied = self.applied.as_ref();
        applied.map_or(Phase::Snapshotting, |applied| applied.phase)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Applied {
    pub(super) commit_lsn: Lsn,
    pub(super) epoch: i64,
    pub(super) phase: Phase,
    /// Microseconds since 1970 by the source's clock.
    pub(super) commit_time: i64,
}

impl From<Progress> for Applied {
    fn from(progress: Progress) -> Self {
        let since = progress.commit_time.duration_since(SystemTime::UNIX_EPOCH);
        Self {
            commit_lsn: progress.commit_lsn,
            epoch: progress.epoch,
            phase: progress.phase,
            commit_time: i64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(i64::MAX),
        }
    }
}

pub(super) async fn source(endpoints: &Endpoints) -> anyhow::Result<Source> {
    let client = connect(&endpoints.source, "lockstep status").await?;
    let asked = SystemTime::now();
    let standing = standing::look(&client, &endpoints.names.slot).await;
    let standing = standing.context("ask the source where it stands")?;
    Ok(Source {
        ahead: ahead(standing.now, asked),
        standing,
    })
}

/// The last commits record.
pub(super) async fn topics(
    kafka: &Kafka,
    endpoints: &Endpoints,
) -> anyhow::Result<Option<CommitRecord>> {
    let topics = Topics::new(&endpoints.names.prefix)?;
    let last = kafka.last_commit(&topics.commits()).await;
    last.with_context(|| format!("ask Kafka at {}", endpoints.kafka))
}

pub(super) async fn target(endpoints: &Endpoints) -> anyhow::Result<Target> {
    let client = connect(&endpoints.target, "lockstep status").await?;
    let pipeline = &endpoints.names.pipeline;
    let asked = SystemTime::now();
    let row = client.query_one(TARGET, &[]).await;
    let row = row.context("ask the target for its clock")?;
    let ahead = ahead(row.get("now"), asked);
    let operations = match row.get("has_operations") {
        true => Some(operations::read(&client, pipeline).await?),
        false => None,
    };
    let progress = progress::read(&client, pipeline).await?;
    Ok(Target {
        applied: progress.map(Applied::from),
        operations,
        ahead,
    })
}

const TARGET: &str = "
select (extract(epoch from clock_timestamp()) * 1000000)::int8 as now,
       to_regclass('lockstep.indexes') is not null as has_operations";

/// What a service says of itself.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Nobody said where it is, so that its silence says nothing.
    pub(super) is_named: bool,
    /// `None` when it does not answer.
    pub(super) ready: Option<Ready>,
    pub(super) metrics: Option<Exposition>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Ready {
    /// What it needs, with `ok` or what is wrong.
    pub(super) checks: BTreeMap<String, String>,
}

pub(super) async fn service(http: Option<&reqwest::Client>, monitor: &MonitorUrl) -> Answer {
    let is_named = monitor.is_named;
    let Some(http) = http else {
        return Answer::default();
    };
    let page = async |path| {
        let answer = http.get(format!("{}/{path}", monitor.url)).send().await;
        answer.ok()?.text().await.ok()
    };
    let (ready, metrics) = tokio::join!(page("healthz"), page("metrics"));
    Answer {
        is_named,
        ready: ready.and_then(|page| serde_json::from_str(&page).ok()),
        metrics: metrics.map(|page| Exposition::parse(&page)),
    }
}

/// How far a clock that showed `now` (microseconds since 1970) was ahead of ours: 0 when it is
/// within the time that the answer took.
fn ahead(now: i64, asked: SystemTime) -> f64 {
    let since_1970 = |time: SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap_or_default().as_secs_f64()
    };
    let (asked, answered) = (since_1970(asked), since_1970(SystemTime::now()));
    let now = now as f64 / 1_000_000.0;
    if now > answered {
        now - answered
    } else if now < asked {
        now - asked
    } else {
        0.0
    }
}
