//! One connection that reads under the exported snapshot.

use std::pin::Pin;

use change::envelope::Op;
use futures_util::StreamExt;
use service::postgres::{Connection, Dsn, connect};
use tokio_postgres::CopyOutStream;

use super::SnapshotError;
use super::chunk::{Blocks, Chunk};
use crate::catalog::Shape;
use crate::encode::{Step, insert};
use crate::wire::WireError;
use crate::wire::copy::CopyDecoder;

pub(super) struct Reader {
    connection: Connection,
}

impl Reader {
    /// Connects and takes the snapshot, which must still be exported.
    pub(super) async fn connect(source: &Dsn, snapshot: &str) -> Result<Self, SnapshotError> {
        let connection = connect(source, "lockstep snapshot").await?;
        // The name comes from the server and holds digits and dashes; doubled quotes are safe anyway.
        let snapshot = snapshot.replace('\'', "''");
        let begin = format!(
            "begin isolation level repeatable read read only; \
             set transaction snapshot '{snapshot}'; \
             set local statement_timeout = 0; set local lock_timeout = 0"
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

    pub(super) async fn blocks(&self, shape: &Shape) -> Result<Blocks, SnapshotError> {
        let sql = "select relkind = 'p', \
                   (pg_relation_size(oid) / current_setting('block_size')::int8)::int8 \
                   from pg_class where oid = $1";
        let row = self
            .connection
            .query_one(sql, &[&shape.oid])
            .await
            .map_err(read(&format!("the size of table {}", shape.table)))?;
        match row.get::<_, bool>(0) {
            true => Ok(Blocks::None),
            false => Ok(Blocks::Heap(
                u32::try_from(row.get::<_, i64>(1)).unwrap_or(u32::MAX),
            )),
        }
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

fn read(what: &str) -> impl FnOnce(tokio_postgres::Error) -> SnapshotError {
    let what = what.to_owned();
    move |source| SnapshotError::Read { what, source }
}
