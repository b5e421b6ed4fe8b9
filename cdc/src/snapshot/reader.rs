//! One connection that reads under the exported snapshot.

use std::pin::Pin;

use change::TableName;
use change::envelope::Op;
use futures_util::StreamExt;
use service::postgres::{Connection, Dsn, connect};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, CopyOutStream};

use super::SnapshotError;
use super::chunk::{Chunk, Table};
use crate::control::VISIBLE;
use crate::encode::{Step, insert};
use crate::wire::WireError;
use crate::wire::copy::CopyDecoder;

pub(super) struct Reader {
    connection: Connection,
}

/// What a table is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Survey {
    pub(super) blocks: Blocks,
    /// Chunks of another form are not of this table as it is now: its files, its columns or its
    /// filter are others.
    pub(super) form: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocks {
    /// A heap of this many blocks.
    Heap(u32),
    /// A table without blocks of its own: a partitioned one, published through its root.
    None,
}

impl Reader {
    /// Connects and takes the snapshot, which must still be exported.
    pub(super) async fn connect(source: &Dsn, snapshot: &str) -> Result<Self, SnapshotError> {
        let connection = connect(source, "lockstep snapshot").await?;
        // The name comes from the server and holds digits and dashes; doubled quotes are safe anyway.
        let snapshot = snapshot.replace('\'', "''");
        let begin = format!(
            "begin isolation level repeatable read read only; \
             set transaction snapshot '{snapshot}'; {NO_LIMITS}"
        );
        connection
            .batch_execute(&begin)
            .await
            .map_err(read("the source"))?;
        Ok(Self { connection })
    }

    /// The source's time: microseconds since 1970-01-01 UTC.
    pub(super) async fn time(&self) -> Result<i64, SnapshotError> {
        let sql = "select (extract(epoch from now()) * 1000000)::int8";
        let row = self
            .connection
            .query_one(sql, &[])
            .await
            .map_err(read("the source's clock"))?;
        Ok(row.get(0))
    }

    pub(super) fn client(&self) -> &Client {
        &self.connection
    }

    /// Which transactions it sees, as `pg_current_snapshot()` writes it.
    pub(super) async fn visibility(&self) -> Result<String, SnapshotError> {
        let row = self.connection.query_one(VISIBLE, &[]).await;
        Ok(row.map_err(read("the source"))?.get(0))
    }

    /// Until this reader is done.
    pub(super) async fn lock(&self, table: &TableName) -> Result<(), SnapshotError> {
        let lock = format!("lock table {} in access share mode", table.quoted());
        let locked = self.connection.batch_execute(&lock).await;
        locked.map_err(read(&format!("table {table}")))
    }

    /// Looks at a table that is locked.
    pub(super) async fn survey(&self, table: &Table) -> Result<Survey, SnapshotError> {
        let name = table.plan.relation.table.to_string();
        let parameters: [&(dyn ToSql + Sync); 2] = [&table.oid, &table.selection()];
        let row = self.connection.query_one(SURVEY, &parameters).await;
        let row = row.map_err(read(&format!("the size of table {name}")))?;
        if row.get("rewritten") {
            return Err(SnapshotError::Changed { table: name });
        }
        let blocks: i64 = row.get("blocks");
        Ok(Survey {
            blocks: match row.get("partitioned") {
                true => Blocks::None,
                false => Blocks::Heap(u32::try_from(blocks).unwrap_or(u32::MAX)),
            },
            form: row.get("form"),
        })
    }

    pub(super) async fn rows(&self, chunk: &Chunk) -> Result<Rows, SnapshotError> {
        let table = chunk.plan.relation.table.to_string();
        let stream = self
            .connection
            .copy_out(&chunk.copy)
            .await
            .map_err(read(&format!("table {table}")))?;
        Ok(Rows {
            stream: Box::pin(stream),
            decoder: CopyDecoder::default(),
            table,
        })
    }
}

/// Limits that the session's role or database may have.
const NO_LIMITS: &str = "
    select set_config(name, '0', true) from pg_settings
     where name in ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout',
                    'transaction_timeout')";

/// The catalog is read as the snapshot has it, functions tell what is there now: a file that is
/// another one was made since, by a truncation or by whoever rewrote the table, and shows the snapshot
/// nothing.
const SURVEY: &str = "
select c.relkind = 'p' as partitioned, files.rewritten, md5(files.names || $2) as form,
       case c.relkind when 'p' then 0 else pg_relation_size(c.oid) end
           / current_setting('block_size')::int8 as blocks
  from pg_class c
 cross join lateral (
       select string_agg(concat_ws(' ', p.oid, p.relfilenode), ',' order by p.oid) as names,
              bool_or(coalesce(pg_relation_filenode(p.oid), 0::oid) <> p.relfilenode) as rewritten
         from pg_class p
        where p.oid = c.oid or p.oid in (select relid from pg_partition_tree(c.oid))
       ) as files
 where c.oid = $1";

/// The rows of one COPY: [`Rows::fill`], then [`Rows::next`] until there is none, and again.
pub(super) struct Rows {
    stream: Pin<Box<CopyOutStream>>,
    decoder: CopyDecoder,
    table: String,
}

impl Rows {
    /// Waits for more of the stream; false at its end, which is checked.
    pub(super) async fn fill(&mut self) -> Result<bool, SnapshotError> {
        match self.stream.next().await {
            Some(Ok(chunk)) => {
                self.decoder.push(&chunk);
                Ok(true)
            }
            Some(Err(source)) => Err(read(&format!("table {}", self.table))(source)),
            None => {
                let finished = std::mem::take(&mut self.decoder).finish();
                finished.map_err(|source| self.wire(source))?;
                Ok(false)
            }
        }
    }

    /// The next row that has come whole.
    pub(super) fn next(&mut self) -> Result<Option<Step<'_>>, SnapshotError> {
        match self.decoder.next_tuple() {
            Ok(tuple) => Ok(tuple.map(|tuple| insert(Op::Read, &tuple))),
            Err(source) => Err(SnapshotError::Wire {
                table: self.table.clone(),
                source,
            }),
        }
    }

    fn wire(&self, source: WireError) -> SnapshotError {
        SnapshotError::Wire {
            table: self.table.clone(),
            source,
        }
    }
}

pub(super) fn read(what: &str) -> impl FnOnce(tokio_postgres::Error) -> SnapshotError {
    let what = what.to_owned();
    move |source| SnapshotError::Read { what, source }
}
