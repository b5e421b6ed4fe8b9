//! Whether two databases hold the same rows, byte for byte.

use std::fmt;
use std::pin::Pin;

use anyhow::{Context, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use tokio_postgres::{Client, CopyOutStream};

use crate::wait;

/// Compares every table of the source, in all schemas but Postgres' and Lockstep's own.
///
/// Sees what `COPY … (FORMAT binary)` sends, so that a value counts as equal only when all its
/// bytes are. Arrays and composites name the types of their parts by OID there, which for types of
/// one's own differ between databases: of those, and of what cannot be sent so, the text is compared.
/// Both sides must stand still meanwhile.
///
/// # Errors
/// The first difference, or that a side could not be read.
pub async fn databases(source: &Client, target: &Client) -> anyhow::Result<()> {
    for table in tables_of(source).await? {
        compare(&table, source, target).await?;
    }
    Ok(())
}

/// As [`databases`], for these tables only (`schema.table`, not quoted).
///
/// # Errors
/// As [`databases`].
pub async fn tables(source: &Client, target: &Client, names: &[&str]) -> anyhow::Result<()> {
    let all = tables_of(source).await?;
    for name in names {
        let table = all.iter().find(|it| it.name == *name);
        compare(
            table.with_context(|| format!("the source has no table {name}"))?,
            source,
            target,
        )
        .await?;
    }
    Ok(())
}

/// Waits until [`databases`] finds no difference.
///
/// # Panics
/// When it still finds one after the patience of [`wait::until`].
pub async fn until_databases_are_equal(source: &Client, target: &Client) {
    wait::until("both sides are equal", async || {
        let compared = databases(source, target).await;
        compared.map_err(|error| format!("{error:#}"))
    })
    .await;
}

/// Waits until [`tables`] finds no difference.
///
/// # Panics
/// As [`until_databases_are_equal`].
pub async fn until_tables_are_equal(source: &Client, target: &Client, names: &[&str]) {
    wait::until("both sides are equal", async || {
        let compared = tables(source, target, names).await;
        compared.map_err(|error| format!("{error:#}"))
    })
    .await;
}

/// Where two tables differ first.
#[derive(Debug, PartialEq, Eq)]
pub enum Difference {
    /// One side has more rows. The row is counted from 1, in the order of the key.
    Row {
        table: String,
        row: u64,
        only_on: &'static str,
        start: String,
    },
    /// A row differs in this column, after columns that are equal.
    Column {
        table: String,
        row: u64,
        column: String,
        source: String,
        target: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row {
                table,
                row,
                only_on,
                start,
            } => {
                write!(
                    f,
                    "{table}: row {row} is only on the {only_on}; it starts with {start}"
                )
            }
            Self::Column {
                table,
                row,
                column,
                source,
                target,
            } => {
                write!(
                    f,
                    "{table}: row {row}, column {column}: source {source}, target {target}"
                )
            }
        }
    }
}

impl std::error::Error for Difference {}

/// A table of the source.
struct Table {
    /// `schema.table`, for people.
    name: String,
    /// Quoted, for SQL.
    ident: String,
    columns: Vec<String>,
    /// What is compared of each column, as SQL.
    values: Vec<String>,
    /// Quoted columns of the primary key; empty when there is none.
    key: String,
}

impl Table {
    /// Rows without a key are ordered by all they hold: equal rows are interchangeable.
    fn copy(&self) -> String {
        let values = self.values.join(", ");
        let order = if self.key.is_empty() {
            let columns: Vec<String> = self.columns.iter().map(|it| quote(it)).collect();
            format!(r#"row({})::text collate "C""#, columns.join(", "))
        } else {
            self.key.clone()
        };
        format!(
            "copy (select {values} from {} order by {order}) to stdout (format binary)",
            self.ident
        )
    }
}

async fn tables_of(client: &Client) -> anyhow::Result<Vec<Table>> {
    let query = "
        with recursive part (whole, of, has_own_oids) as (
            select t.oid, t.oid, false from pg_type t
            union
            select part.whole, next.of, next.is_named and next.of >= 16384
              from part join pg_type t on t.oid = part.of
              left join pg_range r on t.oid in (r.rngtypid, r.rngmultitypid)
             cross join lateral (
                  select t.typelem, true where t.typinput = 'array_in'::regproc
                  union all
                  select a.atttypid, true from pg_attribute a
                   where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
                  union all
                  select t.typbasetype, false where t.typtype = 'd'
                  union all
                  select r.rngsubtype, false where r.rngtypid is not null
             ) next (of, is_named)
        )
        select n.nspname || '.' || c.relname,
               format('%I.%I', n.nspname, c.relname),
               array(select attname::text from pg_attribute a
                     where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                     order by a.attnum),
               array(select case when exists (select from part
                                               where whole = a.atttypid and has_own_oids)
                                   or exists (select from pg_type t
                                               where t.oid = a.atttypid and t.typsend = 0)
                                 then format('format(''%%s'', %I)', a.attname)
                                 else format('%I', a.attname) end
                       from pg_attribute a
                      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                      order by a.attnum),
               coalesce((select string_agg(format('%I', a.attname), ', ' order by k.place)
                         from pg_index i, unnest(i.indkey) with ordinality k (attnum, place)
                         join pg_attribute a on a.attnum = k.attnum
                         where i.indrelid = c.oid and i.indisprimary and a.attrelid = c.oid), '')
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind = 'r' and c.relpersistence = 'p'
          and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'lockstep')
        order by 1";
    let rows = client.query(query, &[]).await.context("list the tables")?;
    let table = |row: &tokio_postgres::Row| Table {
        name: row.get(0),
        ident: row.get(1),
        columns: row.get(2),
        values: row.get(3),
        key: row.get(4),
    };
    Ok(rows.iter().map(table).collect())
}

async fn compare(table: &Table, source: &Client, target: &Client) -> anyhow::Result<()> {
    let mut rows = [
        Rows::open(source, table).await,
        Rows::open(target, table).await,
    ];
    let [source, target] = &mut rows;
    let source = source
        .as_mut()
        .map_err(|error| anyhow::anyhow!("source, {}: {error:#}", table.name))?;
    let target = target
        .as_mut()
        .map_err(|error| anyhow::anyhow!("target, {}: {error:#}", table.name))?;
    for row in 1.. {
        match (source.next().await?, target.next().await?) {
            (None, None) => break,
            (Some(source), Some(target)) if source == target => {}
            (Some(source), Some(target)) => bail!(first_column(table, row, &source, &target)?),
            (Some(only), None) => bail!(only_on("source", table, row, &only)?),
            (None, Some(only)) => bail!(only_on("target", table, row, &only)?),
        }
    }
    Ok(())
}

fn first_column(
    table: &Table,
    row: u64,
    source: &Bytes,
    target: &Bytes,
) -> anyhow::Result<Difference> {
    let (source, target) = (fields(source.clone())?, fields(target.clone())?);
    let place = source.iter().zip(&target).position(|(a, b)| a != b);
    let place = place.context("rows that differ in no column")?;
    Ok(Difference::Column {
        table: table.name.clone(),
        row,
        column: table.columns[place].clone(),
        source: show(source[place].as_ref()),
        target: show(target[place].as_ref()),
    })
}

fn only_on(
    only_on: &'static str,
    table: &Table,
    row: u64,
    only: &Bytes,
) -> anyhow::Result<Difference> {
    let start = fields(only.clone())?
        .first()
        .map_or_else(String::new, |it| show(it.as_ref()));
    Ok(Difference::Row {
        table: table.name.clone(),
        row,
        only_on,
        start,
    })
}

/// The rows of one COPY, without looking into them.
struct Rows {
    stream: Pin<Box<CopyOutStream>>,
    buffer: BytesMut,
    begun: bool,
}

impl Rows {
    async fn open(client: &Client, table: &Table) -> anyhow::Result<Self> {
        let stream = client.copy_out(&table.copy()).await?;
        Ok(Self {
            stream: Box::pin(stream),
            buffer: BytesMut::new(),
            begun: false,
        })
    }

    /// The bytes of the next row; manual, "COPY", section "Binary Format".
    async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        const SIGNATURE_FLAGS_EXTENSION: usize = 11 + 4 + 4;
        if !self.begun {
            self.fill(SIGNATURE_FLAGS_EXTENSION).await?;
            self.buffer.advance(SIGNATURE_FLAGS_EXTENSION);
            self.begun = true;
        }
        self.fill(2).await?;
        let count = i16::from_be_bytes([self.buffer[0], self.buffer[1]]);
        if count < 0 {
            // The statement is complete only once its stream has ended.
            while let Some(rest) = self.stream.next().await {
                rest.context("finish COPY")?;
            }
            return Ok(None);
        }
        let mut end = 2;
        for _ in 0..count {
            self.fill(end + 4).await?;
            let length = (&self.buffer[end..end + 4]).get_i32();
            // -1 is NULL.
            end += 4 + usize::try_from(length).unwrap_or(0);
            self.fill(end).await?;
        }
        Ok(Some(self.buffer.split_to(end).freeze()))
    }

    async fn fill(&mut self, length: usize) -> anyhow::Result<()> {
        while self.buffer.len() < length {
            let more = self
                .stream
                .next()
                .await
                .context("COPY ended within a row")?;
            self.buffer.extend_from_slice(&more.context("read COPY")?);
        }
        Ok(())
    }
}

fn fields(mut row: Bytes) -> anyhow::Result<Vec<Option<Bytes>>> {
    let count = row.get_i16();
    let mut fields = Vec::new();
    for _ in 0..count {
        let length = row.get_i32();
        fields.push(
            usize::try_from(length)
                .ok()
                .map(|length| row.split_to(length)),
        );
    }
    ensure!(row.is_empty(), "bytes after the last field");
    Ok(fields)
}

fn show(value: Option<&Bytes>) -> String {
    const SHOWN: usize = 60;
    let Some(value) = value else {
        return "NULL".to_owned();
    };
    let start = value.slice(..value.len().min(SHOWN));
    format!("{start:?} ({} bytes)", value.len())
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::{Connection, Database, database};

    const TABLES: &str = r#"
        create table keyed (id int primary key, n numeric, "odd "" name" text);
        create table keyless (a text, b float8);
        insert into keyed select i, i, repeat('x', i) from generate_series(1, 1000) i;
        insert into keyless values ('b', 1), (null, 'nan'), ('a', '-0'), ('b', 1);"#;

    #[tokio::test]
    async fn equal_tables_are_equal_in_whatever_order_they_lie() {
        let pair = Pair::new(TABLES).await;
        let moved = "delete from keyless where a = 'a'; insert into keyless values ('a', '-0');
                     update keyed set n = 1 where id = 1";
        pair.target.batch_execute(moved).await.unwrap();
        databases(&pair.source, &pair.target).await.unwrap();
    }

    #[tokio::test]
    async fn the_first_difference_is_named() {
        for (change, expected) in [
            // Numerically equal, but not the same value.
            (
                "update keyed set n = 500.0 where id = 500",
                "public.keyed: row 500, column n:",
            ),
            (
                "update keyed set \"odd \"\" name\" = null where id = 2",
                "row 2, column odd \" name: source b\"xx\" (2 bytes), target NULL",
            ),
            (
                "update keyless set b = 0 where a = 'a'",
                "public.keyless: row 2, column b:",
            ),
            (
                "delete from keyed where id = 1000",
                "public.keyed: row 1000 is only on the source",
            ),
            (
                "insert into keyless values ('z', 1)",
                "public.keyless: row 5 is only on the target",
            ),
            ("drop table keyless", "target, public.keyless"),
        ] {
            let pair = Pair::new(TABLES).await;
            pair.target.batch_execute(change).await.unwrap();
            let text = format!(
                "{:#}",
                databases(&pair.source, &pair.target).await.unwrap_err()
            );
            assert!(text.contains(expected), "{change}: {text}");
        }
    }

    #[tokio::test]
    async fn only_the_named_tables_are_compared() {
        let pair = Pair::new(TABLES).await;
        pair.target.batch_execute("truncate keyless").await.unwrap();
        tables(&pair.source, &pair.target, &["public.keyed"])
            .await
            .unwrap();
        tables(&pair.source, &pair.target, &["public.keyless"])
            .await
            .unwrap_err();
        tables(&pair.source, &pair.target, &["public.absent"])
            .await
            .unwrap_err();
    }

    struct Pair {
        source: Connection,
        target: Connection,
        _databases: [Database; 2],
    }

    impl Pair {
        async fn new(setup: &str) -> Self {
            let databases = [database().await, database().await];
            let (source, target) = (databases[0].client().await, databases[1].client().await);
            for side in [&source, &target] {
                side.batch_execute(setup).await.unwrap();
            }
            Self {
                source,
                target,
                _databases: databases,
            }
        }
    }
}
