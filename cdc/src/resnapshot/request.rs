//! What was asked for, and how far it is: rows of `lockstep.snapshots` on the source.

use change::TableName;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error};

use crate::source::SlotName;
use crate::wire::Oid;

/// A table to read once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub id: i64,
    /// As it was called last.
    pub table: TableName,
    /// None when there is no table of that name.
    pub oid: Option<Oid>,
    /// All rows up to this key count in the topics.
    pub after_key: Option<Vec<String>>,
    /// The columns that it is of.
    pub key_columns: Option<Vec<String>>,
    pub rows_read: i64,
    pub rows_estimated: Option<i64>,
    pub strays: Strays,
    /// This pass reads what this transaction has written, or later ones; none is the first pass, which
    /// reads all rows.
    pub since: Option<u64>,
}

/// What becomes of rows in the topics that the source does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strays {
    Stay,
    /// The table was not followed for a while: it is emptied in the topics, and read as a whole.
    Go,
}

/// Whether a request is still wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Still,
    /// Somebody cancelled it.
    No,
}

/// The request that is served now: the oldest that is not done.
pub(super) async fn next(client: &Client, slot: &SlotName) -> Result<Option<Request>, Error> {
    let row = client.query_opt(NEXT, &[&slot.as_str()]).await?;
    Ok(row.map(|row| Request {
        id: row.get("id"),
        table: TableName::new(
            row.get::<_, String>("table_schema"),
            row.get::<_, String>("table_name"),
        ),
        oid: row.get("table_oid"),
        after_key: row.get("after_key"),
        key_columns: row.get("key_columns"),
        rows_read: row.get("rows_read"),
        rows_estimated: row.get("rows_estimated"),
        strays: match row.get("anew") {
            true => Strays::Go,
            false => Strays::Stay,
        },
        since: row.get::<_, Option<i64>>("since").map(i64::cast_unsigned),
    }))
}

/// A table of which nothing was counted yet has an estimate of -1.
const NEXT: &str = "
update lockstep.snapshots r
   set state = 'running', started_at = coalesce(r.started_at, clock_timestamp()),
       touched_at = clock_timestamp(),
       table_oid = coalesce(r.table_oid, named.oid),
       rows_estimated = coalesce(r.rows_estimated,
           (select case when c.reltuples >= 0 then c.reltuples::int8 end
              from pg_class c where c.oid = coalesce(r.table_oid, named.oid)))
  from lockstep.snapshots s
  left join (select c.oid, n.nspname, c.relname
               from pg_class c join pg_namespace n on n.oid = c.relnamespace) named
    on named.nspname = s.table_schema and named.relname = s.table_name
 where s.id = (select id from lockstep.snapshots
                where slot = $1 and state in ('waiting', 'running') order by id limit 1)
   and r.id = s.id
returning r.id, r.table_oid, r.table_schema, r.table_name, r.after_key, r.key_columns,
          r.rows_read, r.rows_estimated, r.anew, r.since";

/// Looks what the table is called now; whether it was called something else.
pub(super) async fn locate(client: &Client, request: &mut Request) -> Result<bool, Error> {
    let sql = "select n.nspname::text, c.relname::text from pg_class c \
                 join pg_namespace n on n.oid = c.relnamespace where c.oid = $1";
    let row = client.query_opt(sql, &[&request.oid]).await?;
    let Some(row) = row else {
        return Ok(false);
    };
    let now = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
    let moved = now != request.table;
    request.table = now;
    Ok(moved)
}

/// Asks for a table, unless capture has; one that is gone needs no reading.
///
/// # Errors
/// When the source does not answer, or our role may not ask.
pub(crate) async fn ask(
    client: &Client,
    slot: &SlotName,
    table: Oid,
    tag: &str,
    strays: Strays,
) -> Result<(), Error> {
    let anew = strays == Strays::Go;
    let parameters: [&(dyn ToSql + Sync); 4] = [&slot.as_str(), &table, &tag, &anew];
    client.execute(ASK, &parameters).await.map(drop)
}

const ASK: &str = "
insert into lockstep.snapshots as s
       (slot, table_oid, table_schema, table_name, requested_by, reason, anew)
select $1, c.oid, n.nspname, c.relname, 'capture', $3, $4
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = $2
    on conflict (slot, table_oid) where state = 'waiting'
    do update set anew = true where excluded.anew and not s.anew";

/// Takes note of what the request waits for, or that it goes on.
pub(super) async fn wait(
    client: &Client,
    request: &Request,
    reason: Option<&str>,
) -> Result<Wanted, Error> {
    let sql = "update lockstep.snapshots set waits_for = $2, touched_at = clock_timestamp() \
               where id = $1 and state = 'running'";
    Ok(still(client.execute(sql, &[&request.id, &reason]).await?))
}

/// Looks whether it is.
pub(super) async fn wanted(client: &Client, request: &Request) -> Result<Wanted, Error> {
    let sql = "select from lockstep.snapshots where id = $1 and state = 'running'";
    Ok(still(client.execute(sql, &[&request.id]).await?))
}

/// A chunk that counts.
pub(super) struct Counted<'a> {
    pub key: &'a [String],
    /// Up to this key; none is the end of the table.
    pub to: Option<&'a [String]>,
    pub rows: i64,
    /// Of the chunk's snapshot.
    pub horizon: u64,
}

/// Takes note of it; where it is the last one, that the request is done.
pub(super) async fn advance(
    client: &Client,
    request: &Request,
    chunk: &Counted<'_>,
) -> Result<Wanted, Error> {
    let horizon = chunk.horizon.cast_signed();
    let parameters: [&(dyn ToSql + Sync); 5] =
        [&request.id, &chunk.to, &chunk.rows, &chunk.key, &horizon];
    Ok(still(client.execute(ADVANCE, &parameters).await?))
}

const ADVANCE: &str = "
update lockstep.snapshots
   set after_key = coalesce($2, after_key), key_columns = $4, rows_read = rows_read + $3, chunks = chunks + 1,
       horizon = coalesce(horizon, $5), touched_at = clock_timestamp(), waits_for = null,
       state = case when $2 is null then 'done' else state end,
       finished_at = case when $2 is null then clock_timestamp() end
 where id = $1 and state = 'running'";

/// Takes note of the last chunk of a pass, behind which there is another.
pub(super) async fn pass(
    client: &Client,
    request: &mut Request,
    chunk: &Counted<'_>,
) -> Result<Wanted, Error> {
    let horizon = chunk.horizon.cast_signed();
    let parameters: [&(dyn ToSql + Sync); 3] = [&request.id, &chunk.rows, &horizon];
    let Some(row) = client.query_opt(PASS, &parameters).await? else {
        return Ok(Wanted::No);
    };
    request.since = row.get::<_, Option<i64>>(0).map(i64::cast_unsigned);
    (request.after_key, request.key_columns) = (None, None);
    Ok(Wanted::Still)
}

const PASS: &str = "
update lockstep.snapshots
   set since = coalesce(horizon, $3), horizon = null, after_key = null, key_columns = null,
       rows_read = rows_read + $2, chunks = chunks + 1, touched_at = clock_timestamp(), waits_for = null
 where id = $1 and state = 'running'
returning since";

/// Has the table read from its start.
pub(super) async fn restart(client: &Client, request: &mut Request) -> Result<(), Error> {
    let sql = "update lockstep.snapshots set after_key = null, key_columns = null, rows_read = 0, \
               since = null, horizon = null, anew = false, touched_at = clock_timestamp() where id = $1 and state = 'running'";
    client.execute(sql, &[&request.id]).await?;
    (request.after_key, request.key_columns, request.rows_read) = (None, None, 0);
    (request.strays, request.since) = (Strays::Stay, None);
    Ok(())
}

/// Takes note that the request cannot be served.
pub(super) async fn fail(client: &Client, request: &Request, error: &str) -> Result<(), Error> {
    let sql = "update lockstep.snapshots set state = 'failed', error = $2, waits_for = null, \
               finished_at = clock_timestamp() where id = $1 and state = 'running'";
    client.execute(sql, &[&request.id, &error]).await?;
    Ok(())
}

fn still(rows: u64) -> Wanted {
    match rows {
        0 => Wanted::No,
        _ => Wanted::Still,
    }
}

impl Request {
    /// The key to go on behind; none where the table has got another key meanwhile, and is read from
    /// its start.
    pub(super) fn after(&self, key: &[String]) -> Option<Vec<String>> {
        let is_ours = self.key_columns.as_deref() == Some(key);
        self.after_key.clone().filter(|_| is_ours)
    }
}
