//! Rows that differ, made as they are on the source while apply runs on.
//!
//! What the comparison saw of a row is old: the source may have changed it since, and apply may
//! have written that. So each batch of rows has a meeting of its own. Apply stands at L; the rows
//! are read anew from the source as it was at L, and from the target; what still differs is
//! written in the transaction that ends the hold. Neither side can be ahead of the other.
//!
//! Values travel as the text that is compared, and go in through their types' input functions: a
//! binary image may hold numbers of types, which are not the same on both servers.

use anyhow::{Context, anyhow};
use bytes::BytesMut;
use change::quoted;
use futures_util::future::try_join_all;
use serde_json::json;
use service::postgres::{Connection, describe};
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Statement, Transaction};

use super::Options;
use super::digest;
use super::fixed::{self, Fixed};
use super::hold::Hold;
use super::meeting::Guests;
use super::narrow::key;
use super::place::Place;
use super::round::{Shared, Wrong};
use super::side::session;
use crate::audit::{self, Deed};
use crate::catalog::{Column, PublishedTable};
use crate::endpoints::Endpoints;

/// Rows of a meeting: apply is held for as long as reading and writing them takes.
const BATCH_ROWS: usize = 500;
/// Of these, both sides' values are held at once.
const STEP_ROWS: usize = 50;

pub(super) struct Repairer<'a> {
    endpoints: &'a Endpoints,
    options: &'a Options,
    configured: &'a applier::Differences,
    source: Connection,
    target: Connection,
}

/// How a repair, or a part of it, ended.
#[derive(Default)]
pub(super) struct Done {
    /// Rows that were written or deleted.
    pub(super) rows: u64,
    /// What the target refused: nothing of that batch was done. Or what cannot be repaired.
    pub(super) refused: Vec<String>,
}

type Key = Vec<String>;
type Image = Vec<Option<String>>;

impl<'a> Repairer<'a> {
    /// # Errors
    /// When a side cannot be reached, or the role may not write as apply does.
    pub(super) async fn new(
        endpoints: &'a Endpoints,
        options: &'a Options,
        configured: &'a applier::Differences,
    ) -> anyhow::Result<Self> {
        let target = session(&endpoints.target).await?;
        let role = "set session_replication_role = replica";
        target.batch_execute(role).await.context(
            "write as apply does (session_replication_role needs a superuser, or: grant set on \
             parameter session_replication_role to the role)",
        )?;
        Ok(Self {
            endpoints,
            options,
            configured,
            source: session(&endpoints.source).await?,
            target,
        })
    }

    /// Makes rows as they are on the source. No snapshot may be open that has a lock on a table:
    /// apply may be waiting for it, and is waited for.
    ///
    /// # Errors
    /// When there is no meeting.
    pub(super) async fn repair(
        &mut self,
        wrong: &[Wrong<'_>],
        say: &mut (impl FnMut(&str) + Send),
    ) -> anyhow::Result<Done> {
        let mut done = Done::default();
        for Wrong { shared, keys } in wrong {
            let table = &shared.table.name;
            if keys.is_empty() {
                done.refused.push(format!(
                    "table {table} has no key, so its rows cannot be told apart: `lockstep snapshot \
                     --table {table}` copies it anew"
                ));
                continue;
            }
            if self.configured.is_masked(table) {
                done.refused.push(format!(
                    "table {table} has masked columns: `lockstep snapshot --table {table}` copies it anew"
                ));
                continue;
            }
            let before = done.rows;
            for batch in keys.chunks(BATCH_ROWS) {
                say(&format!(
                    "repairing {table}: {} of {} rows",
                    done.rows - before,
                    keys.len()
                ));
                let part = Box::pin(self.batch(shared, batch)).await?;
                done.rows += part.rows;
                done.refused.extend(part.refused);
            }
        }
        Ok(done)
    }

    async fn batch(&mut self, shared: &Shared<'_>, keys: &[Key]) -> anyhow::Result<Done> {
        find_operators(&self.source, shared.table, &shared.source).await?;
        find_operators(&self.target, shared.table, &shared.target).await?;
        let guests = Guests::connect(self.endpoints).await?;
        let pipeline = &self.endpoints.names.pipeline;
        let mut hold = Hold::begin(&mut self.target, pipeline, self.options.limits).await?;
        let done = batch_held(&mut hold, guests, self.options, &self.source, shared, keys).await;
        // Where it was done, the hold has ended with it.
        let released = hold.release().await;
        let ended = self.source.batch_execute("rollback").await;
        let done = done?;
        released?;
        ended.context("end a transaction on the source")?;
        Ok(done)
    }
}

async fn batch_held(
    hold: &mut Hold<'_>,
    Guests { session, client }: Guests,
    options: &Options,
    source: &Client,
    shared: &Shared<'_>,
    keys: &[Key],
) -> anyhow::Result<Done> {
    let fixed = Fixed::new(session, &client, options.limits.hold).await?;
    hold.move_to(fixed.lsn).await?;
    fixed::heartbeat(&client).await?;
    let begin = format!(
        "begin isolation level repeatable read, read only; set transaction snapshot '{}'",
        fixed.snapshot.replace('\'', "''")
    );
    source.batch_execute(&begin).await?;
    let seen = source.query_one("select pg_current_snapshot()::text", &[]);
    let seen = seen.await?;
    drop(fixed);
    fixed::settle(&client, seen.get(0), options.limits.hold).await?;
    hold.reached(&mut |_| {}).await?;
    let pipeline = hold.pipeline();
    let transaction = hold.transaction().await?;
    let mut done = Done::default();
    for keys in keys.chunks(STEP_ROWS) {
        let step = write(source, &transaction, shared, keys).await?;
        done.rows += step.rows;
        if !step.refused.is_empty() {
            transaction.rollback().await.context("take a batch back")?;
            return Ok(Done { rows: 0, ..step });
        }
    }
    if done.rows > 0 {
        let table = shared.table.name.to_string();
        let deed = Deed {
            action: "verify --repair",
            object: Some(&table),
            details: Some(json!({ "rows": done.rows })),
        };
        audit::record(&transaction, pipeline, &options.actor, &deed).await?;
    }
    transaction.commit().await.context("commit the repair")?;
    Ok(done)
}

/// Writes what differs: first what goes, so that its unique values are free.
async fn write(
    source: &Client,
    target: &Transaction<'_>,
    shared: &Shared<'_>,
    keys: &[Key],
) -> anyhow::Result<Done> {
    let table = shared.table;
    let there = images(source, &select(table, &shared.source), keys).await;
    let there = there.context("read rows of the source")?;
    let here = images(target.client(), &select(table, &shared.target), keys).await;
    let here = here.context("read rows of the target")?;
    let place = &shared.target;
    let names = key_here(table, place);
    let delete = format!("delete from {} where {}", place.rows, is_key(names));
    let delete = target.prepare(&delete).await?;
    let upsert = upsert(target.client(), table, place).await?;
    let upsert = target
        .prepare(&upsert)
        .await
        .context(format!("prepare to write rows of table {}", table.name))?;
    let rows = || keys.iter().zip(there.iter().zip(&here));
    let gone = rows().filter(|(_, (there, here))| there.is_none() && here.is_some());
    let other = rows().filter(|(_, (there, here))| there.is_some() && there != here);
    let mut done = Done::default();
    let deletes = gone.map(|(key, _)| (&delete, key.iter().map(|it| Text(Some(it))).collect()));
    let upserts = other.filter_map(|(_, (there, _))| {
        let image = there.as_ref()?.iter().map(|it| Text(it.as_deref()));
        Some((&upsert, image.collect()))
    });
    for (statement, parameters) in deletes.chain(upserts) {
        let parameters: Vec<Text<'_>> = parameters;
        match target.execute_raw(statement, parameters).await {
            Ok(rows) => done.rows += rows,
            Err(error) if error.as_db_error().is_some() => {
                let text = describe(&error);
                done.refused.push(format!("table {}: {text}", table.name));
                return Ok(done);
            }
            Err(error) => return Err(error).context("write a row"),
        }
    }
    Ok(done)
}

/// The rows of these keys, each by a statement of its own: all are on their way at once.
async fn images(
    client: &Client,
    sql: &str,
    keys: &[Key],
) -> Result<Vec<Option<Image>>, tokio_postgres::Error> {
    let statement = client.prepare(sql).await?;
    let statement: &Statement = &statement;
    let reads = keys.iter().map(async |key| {
        let key: Vec<Text<'_>> = key.iter().map(|it| Text(Some(it))).collect();
        let key: Vec<&(dyn ToSql + Sync)> = key.iter().map(|it| it as _).collect();
        let row = client.query_opt(statement, &key).await?;
        Ok::<_, tokio_postgres::Error>(row.map(|row| row.get::<_, Image>(0)))
    });
    try_join_all(reads).await
}

fn select(table: &PublishedTable, place: &Place) -> String {
    let columns: Vec<String> = written(table).map(digest::text).collect();
    let (columns, from) = (columns.join(", "), &place.from);
    let key = key(table).map(|column| column.name.as_str());
    format!(
        "select array[{columns}]::text[] from {from} where {}",
        is_key(key)
    )
}

fn is_key<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let terms = (1..).zip(names);
    let terms = terms.map(|(n, name)| format!("{} = ${n}", quoted(name)));
    terms.collect::<Vec<_>>().join(" and ")
}

/// What the target works out by itself follows from the rest.
fn written(table: &PublishedTable) -> impl Iterator<Item = &Column> {
    table.columns.iter().filter(|column| !column.generated)
}

/// What those columns are called at a place.
fn written_here<'a>(
    table: &'a PublishedTable,
    place: &'a Place,
) -> impl Iterator<Item = &'a String> {
    let pairs = table.columns.iter().zip(&place.columns);
    let written = pairs.filter(|(column, _)| !column.generated);
    written.map(|(_, name)| name)
}

/// What the key's columns are called at a place.
fn key_here<'a>(table: &'a PublishedTable, place: &'a Place) -> impl Iterator<Item = &'a str> {
    let pairs = table.columns.iter().zip(&place.columns);
    let in_key = |column: &Column| key(table).any(|it| it.name == column.name);
    let own = pairs.filter(move |(column, _)| in_key(column));
    own.map(|(_, name)| name.as_str())
}

/// Sets the key too: one that is equal may yet be written in another way (1.0 and 1.00).
async fn upsert(client: &Client, table: &PublishedTable, place: &Place) -> anyhow::Result<String> {
    let sql = "select array(select attname::text from pg_attribute
                             where attrelid = to_regclass($1) and attidentity = 'a')";
    let name = place.table.quoted();
    let row = client.query_one(sql, &[&name]).await;
    // Postgres lets nobody update these.
    let fixed: Vec<String> = row.context("look for identity columns")?.get(0);
    let own: Vec<&String> = written_here(table, place).collect();
    let names: Vec<String> = own.iter().map(|it| quoted(it)).collect();
    let values: Vec<String> = (1..=names.len()).map(|n| format!("${n}")).collect();
    let key: Vec<String> = key_here(table, place).map(quoted).collect();
    let free = own.into_iter().filter(|it| !fixed.contains(it));
    let sets: Vec<String> = free
        .map(|it| format!("{0} = excluded.{0}", quoted(it)))
        .collect();
    let action = match sets.is_empty() {
        true => "nothing".to_owned(),
        false => format!("update set {}", sets.join(", ")),
    };
    Ok(format!(
        "insert into {name} ({}) overriding system value values ({}) on conflict ({}) do {action}",
        names.join(", "),
        values.join(", "),
        key.join(", ")
    ))
}

/// Operators of an extension's type stand where the type does.
async fn find_operators(
    client: &Client,
    table: &PublishedTable,
    place: &Place,
) -> anyhow::Result<()> {
    let sql = "
        select set_config('search_path',
                          concat_ws(', ', 'pg_catalog', string_agg(distinct quote_ident(n.nspname), ', ')),
                          false)
          from pg_attribute a
          join pg_type t on t.oid = a.atttypid
          left join pg_type b on b.oid = t.typbasetype
          join pg_namespace n on n.oid in (t.typnamespace, b.typnamespace)
         where a.attrelid = to_regclass($1) and a.attname::text = any($2) and n.nspname <> 'pg_catalog'";
    let names: Vec<&str> = key_here(table, place).collect();
    let name = place.table.quoted();
    let row = client.query_one(sql, &[&name, &names]).await;
    row.map(|_| ())
        .map_err(|error| anyhow!(error).context("look for the operators of the key"))
}

/// A value as its type's input function reads it.
#[derive(Debug)]
struct Text<'a>(Option<&'a str>);

impl ToSql for Text<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self.0 {
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}
