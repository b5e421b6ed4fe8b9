//! What operators want of apply, and what they and apply did: the tables on the target.

use anyhow::Context;
use change::Lsn;
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

/// What operators want of apply, and what they and apply did.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Operations {
    pub apply_paused: bool,
    pub hold_lsn: Option<Lsn>,
    pub held_tables: Vec<HeldTable>,
    pub dead_letters: DeadLetters,
    /// The replay that runs.
    pub replay: Option<Replay>,
    pub last_verification: Option<Verification>,
    /// Those that are not built yet.
    #[serde(default)]
    pub indexes: Vec<WaitingIndex>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct WaitingIndex {
    pub table: String,
    pub index: String,
    pub waiting_seconds: u64,
    /// Attempts that failed, and why the last one did.
    pub attempts: i64,
    pub error: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct HeldTable {
    pub table: String,
    /// The table has everything up to here.
    pub commit_lsn: Lsn,
    /// operator or error.
    pub cause: String,
    pub reason: String,
    pub held_by: String,
    pub held_seconds: u64,
}

/// Those that are open.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct DeadLetters {
    pub open: i64,
    /// Of the oldest: what came before it is on the target.
    pub first_commit_lsn: Option<Lsn>,
    pub by_table: Vec<(String, i64)>,
    /// Tables of which all changes wait, since a record of theirs cannot be decoded: which letter it
    /// is.
    pub undecodable: Vec<(String, i64)>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Replay {
    pub id: i64,
    pub mode: String,
    pub from_lsn: Lsn,
    pub to_lsn: Lsn,
    pub read_lsn: Option<Lsn>,
    pub rows_read: i64,
    pub started_by: String,
    pub running_seconds: u64,
    /// Since somebody worked on it last.
    pub untouched_seconds: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Verification {
    pub id: i64,
    pub commit_lsn: Lsn,
    pub equal: bool,
    pub rows_compared: i64,
    pub rows_different: i64,
    pub rows_repaired: i64,
    pub age_seconds: u64,
}

/// # Errors
/// When the target does not answer.
pub(super) async fn read(client: &Client, pipeline: &str) -> anyhow::Result<Operations> {
    let row = client.query_one(OPERATIONS, &[&pipeline]).await;
    let row = row.context("ask the target what operators did")?;
    serde_json::from_str(row.get(0)).context("read what operators did")
}

/// One row, whatever there is.
const OPERATIONS: &str = "
select json_build_object(
    'apply_paused', coalesce((select paused from lockstep.control where pipeline = $1), false),
    'hold_lsn', (select hold_lsn from lockstep.control
                  where pipeline = $1 and hold_until > clock_timestamp()),
    'held_tables', (select coalesce(json_agg(json_build_object(
            'table', table_schema || '.' || table_name, 'commit_lsn', commit_lsn, 'cause', cause,
            'reason', reason, 'held_by', held_by,
            'held_seconds', greatest(extract(epoch from clock_timestamp() - held_at)::int8, 0))
            order by held_at), '[]')
        from lockstep.held_tables where pipeline = $1),
    'dead_letters', (select json_build_object(
            'open', coalesce(sum(n), 0)::int8, 'first_commit_lsn', min(first),
            'by_table', coalesce(json_agg(json_build_array(
                table_schema || '.' || table_name, n) order by n desc), '[]'),
            'undecodable', coalesce(json_agg(json_build_array(
                table_schema || '.' || table_name, undecodable))
                filter (where undecodable is not null), '[]'))
        from (select table_schema, table_name, count(*) as n, min(commit_lsn) as first,
                     min(id) filter (where key is null) as undecodable
                from lockstep.dead_letters where pipeline = $1 and state = 'open'
               group by 1, 2) d),
    'replay', (select json_build_object('id', id, 'mode', mode, 'from_lsn', from_lsn,
            'to_lsn', to_lsn, 'read_lsn', read_lsn, 'rows_read', rows_read,
            'started_by', started_by,
            'running_seconds',
                greatest(extract(epoch from clock_timestamp() - started_at)::int8, 0),
            'untouched_seconds',
                greatest(extract(epoch from clock_timestamp() - touched_at)::int8, 0))
        from lockstep.replays where pipeline = $1 and state = 'running' order by id desc limit 1),
    'last_verification', (select json_build_object('id', id, 'commit_lsn', commit_lsn,
            'equal', equal, 'rows_compared', rows_compared, 'rows_different', rows_different,
            'rows_repaired', rows_repaired, 'age_seconds',
                greatest(extract(epoch from clock_timestamp() - finished_at)::int8, 0))
        from lockstep.verifications where pipeline = $1 order by id desc limit 1),
    'indexes', (select coalesce(json_agg(json_build_object(
            'table', table_schema || '.' || table_name, 'index', index_name,
            'waiting_seconds', greatest(extract(epoch from clock_timestamp() - asked_at)::int8, 0),
            'attempts', attempts, 'error', error) order by asked_at), '[]')
        from lockstep.indexes where pipeline = $1))::text";
