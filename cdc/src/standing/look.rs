//! One question to the source.

use change::Lsn;
use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, Row};

/// What the source says of its log.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The end of the log.
    pub lsn: Lsn,
    /// Microseconds since 1970 by the source's clock, as commit times are.
    pub now: i64,
    /// `None` when there is no such slot.
    pub slot: Option<Slot>,
}

/// A row of `pg_replication_slots`. What a server's version does not know is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Slot {
    pub name: String,
    pub active: bool,
    /// The process that serves its reader.
    pub active_pid: Option<i32>,
    /// The oldest WAL that it needs.
    pub restart_lsn: Option<Lsn>,
    /// Up to here the reader was sent everything; `None` without a reader, or without the right to
    /// see it.
    pub sent_lsn: Option<Lsn>,
    /// Up to here Kafka has everything.
    pub confirmed_flush_lsn: Option<Lsn>,
    /// WAL that the slot holds back; `None` when it has lost what it needs.
    pub retained_bytes: Option<i64>,
    /// As `pg_replication_slots` has it: reserved, extended, unreserved, lost.
    pub wal_status: Option<String>,
    /// WAL that may still be written before the slot is in danger; `None` without a limit.
    pub safe_wal_size: Option<i64>,
    /// Why it can be used no more. From version 17 on, as the three that follow.
    pub invalidation_reason: Option<String>,
    /// Since when it has no reader.
    pub inactive_since: Option<String>,
    /// Whether standbys keep a copy of it.
    pub failover: Option<bool>,
    /// Whether it is such a copy.
    pub synced: Option<bool>,
}

/// # Errors
/// When the source does not answer.
pub async fn look(client: &Client, slot: &str) -> Result<Standing, tokio_postgres::Error> {
    let row = client.query_one(STANDING, &[&slot]).await?;
    let lsn = lsn(&row, "lsn")?;
    Ok(Standing {
        lsn: lsn.unwrap_or_default(),
        now: row.try_get("now")?,
        slot: match row.try_get("slot_name")? {
            Some(name) => Some(slot_of(&row, name)?),
            None => None,
        },
    })
}

/// One row, with or without a slot. `to_jsonb` gives null for what a version lacks.
const STANDING: &str = "
select l.lsn::text, (extract(epoch from clock_timestamp()) * 1000000)::int8 as now,
       s.slot_name::text, s.active, s.active_pid, s.restart_lsn::text,
       r.sent_lsn::text, s.confirmed_flush_lsn::text,
       pg_wal_lsn_diff(l.lsn, s.restart_lsn)::int8 as retained_bytes,
       s.wal_status, s.safe_wal_size,
       to_jsonb(s) ->> 'invalidation_reason' as invalidation_reason,
       to_jsonb(s) ->> 'inactive_since' as inactive_since,
       (to_jsonb(s) ->> 'failover')::bool as failover,
       (to_jsonb(s) ->> 'synced')::bool as synced
  from (select case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
                    else pg_current_wal_lsn() end as lsn) l
  left join pg_replication_slots s on s.slot_name = $1
  left join pg_stat_replication r on r.pid = s.active_pid";

fn slot_of(row: &Row, name: String) -> Result<Slot, tokio_postgres::Error> {
    Ok(Slot {
        name,
        active: row.try_get("active")?,
        active_pid: row.try_get("active_pid")?,
        restart_lsn: lsn(row, "restart_lsn")?,
        sent_lsn: lsn(row, "sent_lsn")?,
        confirmed_flush_lsn: lsn(row, "confirmed_flush_lsn")?,
        retained_bytes: row.try_get("retained_bytes")?,
        wal_status: row.try_get("wal_status")?,
        safe_wal_size: row.try_get("safe_wal_size")?,
        invalidation_reason: row.try_get("invalidation_reason")?,
        inactive_since: row.try_get("inactive_since")?,
        failover: row.try_get("failover")?,
        synced: row.try_get("synced")?,
    })
}

/// Postgres' own text of an LSN is always one.
fn lsn(row: &Row, column: &str) -> Result<Option<Lsn>, tokio_postgres::Error> {
    let text: Option<&str> = row.try_get(column)?;
    Ok(text.and_then(|text| text.parse().ok()))
}
