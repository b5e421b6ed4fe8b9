//! Replays as they stand in `lockstep.replays`.

use std::time::SystemTime;

use change::{Lsn, TableName};
use serde_json::Value;
use tokio_postgres::types::PgLsn;
use tokio_postgres::{Client, GenericClient, Row};

use super::error::{ReplayError, step};
use super::numbers::{self, TableNumbers};
use super::request::{By, Destination};
use super::source::Reached;

/// A replay that was begun.
#[derive(Clone, Debug)]
pub struct Entry {
    pub id: i64,
    pub into: Destination,
    pub from: Lsn,
    pub to: Lsn,
    /// None: all.
    pub tables: Vec<TableName>,
    pub state: String,
    pub read: Option<Lsn>,
    pub rows_read: u64,
    pub numbers: TableNumbers,
    pub error: Option<String>,
    pub started_by: String,
    pub reason: String,
    pub started_at: SystemTime,
    pub touched_at: SystemTime,
    pub finished_at: Option<SystemTime>,
    pub(super) reached: Option<Reached>,
}

const COLUMNS: &str = "id, into_schema, from_lsn, to_lsn, tables, state, read_lsn, rows_read, \
    result::text, error, started_by, reason, started_at, touched_at, finished_at, commits_offset";

/// The replays of a pipeline, the last begun first.
///
/// # Errors
/// When the target does not answer.
pub async fn list(client: &Client, pipeline: &str) -> Result<Vec<Entry>, ReplayError> {
    let query = format!(
        "select {COLUMNS} from lockstep.replays where pipeline = $1 order by id desc limit 1000"
    );
    let rows = client.query(&query, &[&pipeline]).await;
    let rows = rows.map_err(step("read lockstep.replays"))?;
    Ok(rows.iter().map(Entry::of).collect())
}

/// # Errors
/// When there is none of that number.
pub(super) async fn find(client: &Client, pipeline: &str, id: i64) -> Result<Entry, ReplayError> {
    let query = format!("select {COLUMNS} from lockstep.replays where pipeline = $1 and id = $2");
    let row = client.query_opt(&query, &[&pipeline, &id]).await;
    let row = row.map_err(step("read lockstep.replays"))?;
    row.as_ref()
        .map(Entry::of)
        .ok_or(ReplayError::Unknown { id })
}

/// Writes a new one down, and who wanted it.
pub(super) async fn begin(
    client: &Client,
    pipeline: &str,
    entry: &Entry,
) -> Result<i64, ReplayError> {
    let query = "with begun as (insert into lockstep.replays \
        (pipeline, mode, into_schema, from_lsn, to_lsn, tables, state, started_by, reason) \
        values ($1, $2, $3, $4, $5, $6, 'running', $7, $8) returning id), \
        noted as (insert into lockstep.audit (pipeline, who, action, object, reason, details) \
        select $1, $7, 'replay', id::text, $8, \
        jsonb_build_object('from_lsn', $4::pg_lsn::text, 'to_lsn', $5::pg_lsn::text, \
        'into', $3::text, 'tables', to_jsonb($6::text[])) from begun) \
        select id from begun";
    let (mode, schema) = match &entry.into {
        Destination::Live => ("live", None),
        Destination::Schema(schema) => ("copy", Some(schema)),
    };
    let row = client
        .query_one(
            query,
            &[
                &pipeline,
                &mode,
                &schema,
                &pg(entry.from),
                &pg(entry.to),
                &names(&entry.tables),
                &entry.started_by,
                &entry.reason,
            ],
        )
        .await;
    Ok(row.map_err(step("write lockstep.replays"))?.get(0))
}

/// Has a stopped one go on.
pub(super) async fn go_on(
    client: &Client,
    pipeline: &str,
    id: i64,
    by: &By,
) -> Result<(), ReplayError> {
    let query = "with resumed as (update lockstep.replays set state = 'running', error = null, \
        touched_at = clock_timestamp(), finished_at = null where id = $1 returning id) \
        insert into lockstep.audit (pipeline, who, action, object, reason) \
        select $2, $3, 'replay --resume', id::text, $4 from resumed";
    let updated = client
        .execute(query, &[&id, &pipeline, &by.who, &by.reason])
        .await;
    updated.map_err(step("write lockstep.replays"))?;
    Ok(())
}

/// Stops one at its next transaction. Answers whether it was running.
///
/// # Errors
/// When the target does not answer, or there is none of that number.
pub async fn cancel(client: &Client, pipeline: &str, id: i64, by: &By) -> Result<(), ReplayError> {
    let query = "with cancelled as (update lockstep.replays set state = 'cancelled', \
        finished_at = clock_timestamp() where id = $1 and pipeline = $2 and state = 'running' \
        returning id), noted as (insert into lockstep.audit \
        (pipeline, who, action, object, reason) \
        select $2, $3, 'replay --cancel', id::text, $4 from cancelled) select id from cancelled";
    let row = client
        .query_opt(query, &[&id, &pipeline, &by.who, &by.reason])
        .await;
    if row.map_err(step("write lockstep.replays"))?.is_some() {
        return Ok(());
    }
    let entry = find(client, pipeline, id).await?;
    Err(ReplayError::State {
        id,
        state: entry.state,
    })
}

/// Says how far it is, in the transaction that brings it there.
///
/// # Errors
/// When somebody cancelled it.
pub(super) async fn advance(
    client: &impl GenericClient,
    id: i64,
    reached: Option<Reached>,
    tables: &TableNumbers,
) -> Result<(), ReplayError> {
    let query = "update lockstep.replays set commits_offset = coalesce($2, commits_offset), \
        read_lsn = coalesce($3, read_lsn), rows_read = $4, result = $5::text::jsonb, \
        touched_at = clock_timestamp() where id = $1 and state = 'running'";
    let read: u64 = tables.values().map(|numbers| numbers.read).sum();
    let moved = client
        .execute(
            query,
            &[
                &id,
                &reached.map(|reached| reached.next - 1),
                &reached.map(|reached| pg(reached.done)),
                &i64::try_from(read).unwrap_or(i64::MAX),
                &numbers::to_json(tables).to_string(),
            ],
        )
        .await;
    match moved.map_err(step("write lockstep.replays"))? {
        0 => Err(ReplayError::Cancelled { id }),
        _ => Ok(()),
    }
}

/// Its end; an error's text names no value.
pub(super) async fn finish(
    client: &Client,
    id: i64,
    error: Option<&str>,
) -> Result<(), ReplayError> {
    let query = "update lockstep.replays set state = case when $2::text is null then 'done' \
        else 'failed' end, error = $2, finished_at = clock_timestamp() \
        where id = $1 and state = 'running'";
    let finished = client.execute(query, &[&id, &error]).await;
    finished.map_err(step("write lockstep.replays"))?;
    Ok(())
}

impl Entry {
    fn of(row: &Row) -> Self {
        let lsn = |at: usize| -> Option<Lsn> {
            row.get::<_, Option<PgLsn>>(at)
                .map(|lsn| Lsn::new(u64::from(lsn)))
        };
        let tables: Option<Vec<String>> = row.get(4);
        let result: Option<Value> = row
            .get::<_, Option<&str>>(8)
            .and_then(|text| serde_json::from_str(text).ok());
        let offset: Option<i64> = row.get(15);
        Self {
            id: row.get(0),
            into: match row.get(1) {
                Some(schema) => Destination::Schema(schema),
                None => Destination::Live,
            },
            from: lsn(2).unwrap_or_default(),
            to: lsn(3).unwrap_or_default(),
            tables: tables
                .iter()
                .flatten()
                .filter_map(|name| table(name))
                .collect(),
            state: row.get(5),
            read: lsn(6),
            rows_read: u64::try_from(row.get::<_, i64>(7)).unwrap_or_default(),
            numbers: result.as_ref().map(numbers::of_json).unwrap_or_default(),
            error: row.get(9),
            started_by: row.get(10),
            reason: row.get(11),
            started_at: row.get(12),
            touched_at: row.get(13),
            finished_at: row.get(14),
            reached: offset.zip(lsn(6)).map(|(offset, done)| Reached {
                next: offset + 1,
                done,
            }),
        }
    }

    /// What holds its rows until they are in place.
    pub(super) fn schema(&self) -> String {
        match &self.into {
            Destination::Live => format!("lockstep_replay_{}", self.id),
            Destination::Schema(schema) => schema.clone(),
        }
    }
}

/// As the command line names them.
fn names(tables: &[TableName]) -> Option<Vec<String>> {
    (!tables.is_empty()).then(|| tables.iter().map(TableName::to_string).collect())
}

fn table(name: &str) -> Option<TableName> {
    let (schema, name) = name.split_once('.')?;
    Some(TableName::new(schema, name))
}

fn pg(lsn: Lsn) -> PgLsn {
    PgLsn::from(lsn.as_u64())
}
