//! What each part says of itself.

use std::time::{Duration, SystemTime};

use anyhow::Context;
use change::Lsn;
use change::commit::CommitRecord;
use change::topic::Topics;
use serde::Serialize;
use service::postgres::connect;

use crate::endpoints::Endpoints;
use crate::kafka::Kafka;
use crate::progress::{self, Phase};

pub(super) struct Source {
    /// The end of the log.
    pub(super) lsn: Lsn,
    /// Microseconds since 1970 by the source's clock, as commit times are.
    pub(super) now: i64,
    pub(super) slot: Option<Slot>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) active: bool,
    /// Up to here Kafka has everything.
    #[serde(serialize_with = "optional_text")]
    pub(super) confirmed_flush_lsn: Option<Lsn>,
    /// WAL that the slot holds back; `None` when it has lost what it needs.
    pub(super) retained_bytes: Option<i64>,
    /// As `pg_replication_slots` has it: reserved, extended, unreserved, lost.
    pub(super) wal_status: Option<String>,
    /// WAL that may still be written before the slot is in danger; `None` without a limit.
    pub(super) safe_wal_size: Option<i64>,
}

pub(super) struct TopicsEnd {
    pub(super) last: Option<CommitRecord>,
    pub(super) retention_ms: Vec<(String, i64)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Applied {
    pub(super) commit_lsn: Lsn,
    pub(super) epoch: i64,
    pub(super) phase: Phase,
    /// Microseconds since 1970 by the source's clock.
    pub(super) commit_time: i64,
}

pub(super) async fn source(endpoints: &Endpoints) -> anyhow::Result<Source> {
    let client = connect(&endpoints.source, "lockstep status").await?;
    let row = client.query_one(SOURCE, &[&endpoints.names.slot]).await;
    let row = row.context("ask the source where it stands")?;
    let text = |column| row.get::<_, Option<&str>>(column);
    Ok(Source {
        lsn: text("lsn").unwrap_or_default().parse()?,
        now: row.get("now"),
        slot: match text("slot_name") {
            None => None,
            Some(name) => Some(Slot {
                name: name.to_owned(),
                active: row.get("active"),
                confirmed_flush_lsn: text("confirmed").map(str::parse).transpose()?,
                retained_bytes: row.get("retained_bytes"),
                wal_status: text("wal_status").map(str::to_owned),
                safe_wal_size: row.get("safe_wal_size"),
            }),
        },
    })
}

/// One row, with or without a slot.
const SOURCE: &str = "
select l.lsn::text as lsn, (extract(epoch from clock_timestamp()) * 1000000)::int8 as now,
       s.slot_name::text, s.active, s.confirmed_flush_lsn::text as confirmed, s.wal_status,
       pg_wal_lsn_diff(l.lsn, s.restart_lsn)::int8 as retained_bytes, s.safe_wal_size
  from (select case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
                    else pg_current_wal_lsn() end as lsn) l
  left join pg_replication_slots s on s.slot_name = $1";

pub(super) async fn topics(endpoints: &Endpoints, limit: Duration) -> anyhow::Result<TopicsEnd> {
    let kafka = Kafka::new(endpoints, limit);
    let topics = Topics::new(&endpoints.names.prefix)?;
    let last = kafka.last_commit(&topics.commits()).await;
    Ok(TopicsEnd {
        last: last.with_context(|| format!("ask Kafka at {}", endpoints.kafka))?,
        retention_ms: kafka.retention_ms(topics.prefix()).await?,
    })
}

/// `None` while nothing was applied.
pub(super) async fn target(endpoints: &Endpoints) -> anyhow::Result<Option<Applied>> {
    let client = connect(&endpoints.target, "lockstep status").await?;
    let progress = progress::read(&client, &endpoints.names.pipeline).await?;
    Ok(progress.map(|progress| {
        let since = progress.commit_time.duration_since(SystemTime::UNIX_EPOCH);
        Applied {
            commit_lsn: progress.commit_lsn,
            epoch: progress.epoch,
            phase: progress.phase,
            commit_time: i64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(i64::MAX),
        }
    }))
}

fn optional_text<S: serde::Serializer>(
    value: &Option<Lsn>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value.map(|lsn| lsn.to_string()).serialize(serializer)
}
