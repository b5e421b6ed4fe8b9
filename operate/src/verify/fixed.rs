//! The source, fixed at one LSN.

use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use cdc::source::{Session, SlotLife, SlotName, has_settled};
use change::Lsn;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::Client;

/// A state of the source that sessions can take, as long as this lives.
pub(super) struct Fixed {
    /// The snapshot has what committed before, and nothing else.
    pub(super) lsn: Lsn,
    /// For `set transaction snapshot`.
    pub(super) snapshot: String,
    /// Keeps the slot, and with it the snapshot.
    _session: Session,
}

const LOOK_INTERVAL: Duration = Duration::from_millis(1);

impl Fixed {
    /// Makes a temporary slot. It waits for the transactions that are writing at present; `client`
    /// is there to see which, when that takes longer than `limit`.
    ///
    /// # Errors
    /// When no slot can be made, or not in time.
    pub(super) async fn new(
        mut session: Session,
        client: &Client,
        limit: Duration,
    ) -> anyhow::Result<Self> {
        let row = client.query_one("select pg_backend_pid()", &[]).await?;
        // One of a kind: our own connection's number is nobody else's.
        let name: SlotName = format!("lockstep_verify_{}", row.get::<_, i32>(0)).parse()?;
        let created = timeout(limit, session.create_slot(&name, SlotLife::Temporary)).await;
        let Ok(created) = created else {
            let why = blocked(client, &name, limit).await?;
            // A walsender that waits does not notice that its client has gone, and keeps the slot.
            let end = "select pg_terminate_backend(active_pid) from pg_replication_slots
                        where slot_name = $1 and active_pid is not null";
            client.execute(end, &[&name.as_str()]).await?;
            return Err(why);
        };
        let slot = created.context("fix the source at one LSN")?;
        Ok(Self {
            lsn: slot.consistent_point,
            snapshot: slot.snapshot_name,
            _session: session,
        })
    }
}

/// Waits until a snapshot of the slot can be read under (see [`cdc::source::has_settled`]).
pub(super) async fn settle(client: &Client, snapshot: &str, limit: Duration) -> anyhow::Result<()> {
    let end = Instant::now() + limit;
    while !has_settled(client, snapshot).await? {
        ensure!(
            Instant::now() < end,
            "a transaction of the source is in its commit for longer than {} s",
            limit.as_secs_f32()
        );
        sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

/// Has the stream pass all that committed so far, however quiet the source is.
pub(super) async fn heartbeat(client: &Client) -> anyhow::Result<()> {
    let emit = "select pg_logical_emit_message(false, 'lockstep.heartbeat', '')";
    client
        .query_one(emit, &[])
        .await
        .context("emit a heartbeat on the source")?;
    Ok(())
}

/// Names who keeps the slot from being made.
async fn blocked(
    client: &Client,
    slot: &SlotName,
    limit: Duration,
) -> anyhow::Result<anyhow::Error> {
    let sql = "
        select b.pid,
               coalesce(a.usename, 'unknown')::text as role,
               coalesce(a.datname, 'unknown')::text as database,
               coalesce(nullif(a.application_name, ''), 'unnamed')::text as application,
               coalesce(a.state, 'in a state that only its role may see') as state,
               extract(epoch from clock_timestamp() - a.xact_start)::int8 as seconds,
               (select p.gid || ', since ' || p.prepared from pg_prepared_xacts p
                 order by p.prepared limit 1) as prepared
          from pg_replication_slots s
          cross join unnest(pg_blocking_pids(s.active_pid)) as b (pid)
          left join pg_stat_activity a on a.pid = b.pid
         where s.slot_name = $1
         order by a.xact_start nulls last limit 1";
    let limit = format!("within {} s (--hold-limit)", limit.as_secs_f32());
    let row = client.query_opt(sql, &[&slot.as_str()]).await;
    let Some(row) = row.context("ask what keeps the source from being fixed")? else {
        return Ok(anyhow!(
            "the source could not be fixed at one LSN {limit}; nothing is known to keep it from it"
        ));
    };
    // Of a prepared transaction, that is 0.
    if row.get::<_, i32>("pid") == 0 {
        let prepared: Option<String> = row.get("prepared");
        return Ok(anyhow!(
            "the source could not be fixed at one LSN {limit}: a prepared transaction is open ({}); \
             commit it or roll it back",
            prepared.unwrap_or_default()
        ));
    }
    let seconds: Option<i64> = row.get("seconds");
    let age = seconds.map_or_else(|| "an unknown time".to_owned(), |age| format!("{age} s"));
    Ok(anyhow!(
        "the source could not be fixed at one LSN {limit}: process {} (role {}, database {}, application {}) \
         is in a transaction that writes, for {age}, {}; wait for its end, or end it with `select \
         pg_terminate_backend({0})`",
        row.get::<_, i32>("pid"),
        row.get::<_, &str>("role"),
        row.get::<_, &str>("database"),
        row.get::<_, &str>("application"),
        row.get::<_, &str>("state"),
    ))
}
