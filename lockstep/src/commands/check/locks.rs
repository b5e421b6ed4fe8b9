//! Whether a server can hold locks on all tables at once, as `setup` and the first snapshot do.

use anyhow::Context;
use tokio_postgres::Client;

use super::finding::Finding;

/// What one table takes.
#[derive(Clone, Copy)]
#[repr(i64)]
pub(super) enum PerTable {
    /// Who reads it locks nothing else.
    Read = 1,
    /// Who makes or empties it also locks the index of its key, its TOAST table, and the index of that.
    Made = 4,
}

/// The size of the table of locks (manual, "max_locks_per_transaction").
const ROOM: &str = "
select current_setting('max_locks_per_transaction')::int8 as per_session,
       current_setting('max_connections')::int8
           + current_setting('max_prepared_transactions')::int8 as sessions";

/// What a session has for other locks.
const OTHERS: i64 = 64;

pub(super) async fn examine(
    part: &'static str,
    client: &Client,
    tables: usize,
    per_table: PerTable,
) -> anyhow::Result<Finding> {
    const CHECK: &str = "locks";
    let row = client.query_one(ROOM, &[]).await;
    let row = row.context("ask how many locks the server can hold")?;
    let (per_session, sessions): (i64, i64) = (row.get("per_session"), row.get("sessions"));
    let room = per_session * sessions;
    let tables = i64::try_from(tables).unwrap_or(i64::MAX);
    let wanted = tables.saturating_mul(per_table as i64);
    let found = format!("room for {room}, {wanted} for {tables} tables");
    Ok(match wanted <= room {
        true => Finding::ok(part, CHECK, found),
        false => {
            let enough = wanted / sessions.max(1) + OTHERS;
            let mend = format!(
                "alter system set max_locks_per_transaction = {enough}; then restart Postgres"
            );
            Finding::fail(part, CHECK, found, mend)
        }
    })
}
