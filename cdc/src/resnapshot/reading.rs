//! Reading one chunk of a table between two watermarks.

use bytes::Bytes;
use change::TableName;
use change::relation::{self, Relation};
use futures_util::StreamExt;
use service::chain;
use service::postgres::{ConnectError, Connection, Dsn, connect, describe};
use tokio::sync::oneshot;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use super::chunk::{Chunk, Desk, Outcome, Repeat};
use super::range::{Keyed, Range, Storage, only};
use super::request::Request;
use super::watermark::{Doubt, PREFIX, Token, Watermark};
use crate::catalog::{self, CatalogError, Published, Shape};
use crate::control::{self, ParseVisibilityError, VISIBLE};
use crate::source::SlotName;
use crate::wire::WireError;
use crate::wire::copy::CopyDecoder;

/// Bytes of a chunk that are aimed at: a chunk is in memory from its reading to its publishing.
pub(super) const BYTES_AIM: usize = 4 * 1024 * 1024;
/// Where a chunk of more than one row is given up, to be read in smaller parts.
const BYTES_MAX: usize = 4 * BYTES_AIM;

/// What reading a chunk needs.
pub(super) struct Reading<'a> {
    pub session: &'a Connection,
    pub request: &'a Request,
    pub slot: &'a SlotName,
    pub publication: &'a str,
    pub desk: &'a Desk,
    pub doubt: Doubt,
}

impl Reading<'_> {
    /// Reads one chunk and waits until it counts.
    pub(super) async fn read(&self, token: Token, rows_max: u32) -> Result<Read, ReadError> {
        let (session, request) = (self.session, self.request);
        let table = &request.table;
        let shape = self.published().await?.shape;
        let storage = storage(session, &shape).await?;
        let low = Watermark::Low {
            token,
            table: shape.oid,
            doubt: self.doubt,
        };
        self.emit(low).await?;
        // Until the end of this transaction nobody can alter the table: the chunk's rows are as the
        // stream has them behind it. A lock takes no snapshot yet.
        let begin = format!(
            "begin isolation level repeatable read; lock table {} in access share mode",
            only(table, storage)
        );
        execute(session, table, &begin).await?;
        let Published {
            shape: locked,
            filter,
        } = self.published().await?;
        if locked.oid != shape.oid {
            execute(session, table, "rollback").await?;
            return Ok(Read::nothing(Repeat::Altered));
        }
        let visibility = one(session, table, VISIBLE, &[]).await?;
        let visibility: &str = visibility.get(0);
        let horizon = control::horizon(visibility)?;
        let visibility = visibility.parse()?;
        let (relation, key) = look_up(session, &locked).await?;
        let keyed = Keyed {
            relation: &relation,
            key: &key,
            storage,
            filter: filter.as_deref(),
            since: request.since.map(control::short),
        };
        let after = request.after(&key);
        let bound = keyed.bound(after.as_deref(), rows_max);
        let to = session.query_opt(&bound, &[]).await;
        let to = to.map_err(failed(table))?.map(|row| texts(&row));
        let range = Range { after, to };
        let copy = Copy::read(session, table, &keyed.copy(&range), rows_max).await?;
        let (outcome, answer) = oneshot::channel();
        self.desk.put(Chunk {
            token,
            shape: locked,
            visibility,
            strays: request.strays,
            is_last: range.to.is_none(),
            data: copy.data,
            outcome,
        });
        self.emit(Watermark::High { token }).await?;
        execute(session, table, "commit").await?;
        Ok(Read {
            outcome: answer.await.map_err(|_| ReadError::Gone)?,
            horizon,
            key,
            to: range.to,
            rows: copy.rows,
            bytes: copy.bytes,
        })
    }

    async fn published(&self) -> Result<Published, ReadError> {
        let table = &self.request.table;
        let published = catalog::published_table(self.session, self.publication, table).await;
        let published = published.map_err(no_catalog(table))?;
        published.ok_or_else(|| ReadError::NotPublished {
            table: table.clone(),
            publication: self.publication.to_owned(),
        })
    }

    async fn emit(&self, mark: Watermark) -> Result<(), ReadError> {
        let sql = "select pg_logical_emit_message(true, $1, $2::text)";
        let content = mark.text(self.slot);
        let emitted = self.session.execute(sql, &[&PREFIX, &content]).await;
        emitted.map(drop).map_err(failed(&self.request.table))
    }
}

/// A session in which texts mean the same at every reading.
///
/// `remote_apply`: once the low watermark is committed, whoever committed before it waits for no
/// standby any more, and is shown to readers but for the moment that its process needs.
pub(super) async fn open(source: &Dsn) -> Result<Connection, ReadError> {
    let session = connect(source, "lockstep snapshot").await?;
    let settings = "set synchronous_commit = remote_apply; set statement_timeout = 0; \
                    set lock_timeout = 0; set idle_in_transaction_session_timeout = 0; \
                    set standard_conforming_strings = on; set datestyle = iso; \
                    set intervalstyle = postgres; set extra_float_digits = 1; \
                    set bytea_output = hex; set timezone = utc";
    let set = session.batch_execute(settings).await;
    set.map_err(request_error("prepare a session"))?;
    Ok(session)
}

async fn storage(session: &Connection, shape: &Shape) -> Result<Storage, ReadError> {
    let sql = "select coalesce((select relkind = 'p' from pg_class where oid = $1), false)";
    let row = one(session, &shape.table, sql, &[&shape.oid]).await?;
    Ok(match row.get(0) {
        true => Storage::Partitions,
        false => Storage::Own,
    })
}

/// The table's columns, and the columns of its key in the order of their index.
async fn look_up(
    session: &Connection,
    shape: &Shape,
) -> Result<(Relation, Vec<String>), ReadError> {
    let table = &shape.table;
    let relation = catalog::describe(session, shape, None).await;
    let relation = relation.map_err(no_catalog(table))?;
    let key = catalog::key_columns(session, shape.oid).await;
    let key = key.map_err(no_catalog(table))?;
    if relation.key == relation::Key::WholeRow || key.is_empty() {
        return Err(ReadError::Keyless {
            table: table.clone(),
        });
    }
    Ok((relation, key))
}

async fn execute(session: &Connection, table: &TableName, sql: &str) -> Result<(), ReadError> {
    let executed = session.batch_execute(sql).await;
    executed.map_err(failed(table))
}

async fn one(
    session: &Connection,
    table: &TableName,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Row, ReadError> {
    let row = session.query_one(sql, parameters).await;
    row.map_err(failed(table))
}

fn texts(row: &Row) -> Vec<String> {
    (0..row.len()).map(|at| row.get(at)).collect()
}

/// The rows of one COPY.
#[derive(Default)]
struct Copy {
    data: Vec<Bytes>,
    rows: u32,
    bytes: usize,
}

impl Copy {
    async fn read(
        session: &Connection,
        table: &TableName,
        sql: &str,
        rows_max: u32,
    ) -> Result<Self, ReadError> {
        let broken = |source| ReadError::Wire {
            table: table.clone(),
            source,
        };
        let mut stream = std::pin::pin!(session.copy_out(sql).await.map_err(failed(table))?);
        let mut copy = Self::default();
        let mut decoder = CopyDecoder::default();
        while let Some(part) = stream.next().await {
            let part = part.map_err(failed(table))?;
            decoder.push(&part);
            while decoder.next_tuple().map_err(broken)?.is_some() {
                copy.rows += 1;
            }
            copy.bytes += part.len();
            copy.data.push(part);
            if copy.bytes > BYTES_MAX && rows_max > 1 {
                let rows = copy.rows.min(rows_max);
                return Err(ReadError::TooLarge {
                    table: table.clone(),
                    rows,
                });
            }
        }
        decoder.finish().map_err(broken)?;
        Ok(copy)
    }
}

/// Why a chunk was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("read table {table}")]
    Query {
        table: TableName,
        source: tokio_postgres::Error,
    },
    #[error("look up table {table}")]
    Catalog {
        table: TableName,
        source: CatalogError,
    },
    #[error("read the rows of table {table}")]
    Wire { table: TableName, source: WireError },
    #[error("table {table} is not in publication {publication}")]
    NotPublished {
        table: TableName,
        publication: String,
    },
    #[error(
        "table {table} has no key, by which it could be read in parts: give it a primary key, or \
         compare and repair it with `lockstep verify --repair`"
    )]
    Keyless { table: TableName },
    #[error("the schema of table {table} is refused still: {reason}")]
    Refused { table: TableName, reason: String },
    /// Not an error for who asked: it is read in smaller parts.
    #[error("a chunk of table {table} is larger than is held in memory")]
    TooLarge { table: TableName, rows: u32 },
    #[error("read which transactions are shown")]
    Visibility(#[from] ParseVisibilityError),
    #[error("connect to the source")]
    Connect(#[from] ConnectError),
    #[error("{step}")]
    Request {
        step: &'static str,
        source: tokio_postgres::Error,
    },
    #[error("capture begins again")]
    Gone,
}

/// What a reading came to.
pub(super) struct Read {
    pub(super) outcome: Outcome,
    /// The transaction before which all were shown.
    pub(super) horizon: u64,
    /// The key's columns.
    pub(super) key: Vec<String>,
    /// Up to where; none is the end.
    pub(super) to: Option<Vec<String>>,
    pub(super) rows: u32,
    pub(super) bytes: usize,
}

impl Read {
    fn nothing(why: Repeat) -> Self {
        Self {
            outcome: Outcome::Repeat(why),
            horizon: 0,
            key: Vec::new(),
            to: None,
            rows: 0,
            bytes: 0,
        }
    }
}

fn failed(table: &TableName) -> impl Fn(tokio_postgres::Error) -> ReadError {
    |source| ReadError::Query {
        table: table.clone(),
        source,
    }
}

fn no_catalog(table: &TableName) -> impl Fn(CatalogError) -> ReadError {
    |source| ReadError::Catalog {
        table: table.clone(),
        source,
    }
}

pub(super) fn request_error(step: &'static str) -> impl FnOnce(tokio_postgres::Error) -> ReadError {
    move |source| ReadError::Request { step, source }
}

impl ReadError {
    /// Whether the request is at fault, and not the moment: trying again would change nothing.
    pub(super) fn is_for_whoever_asked(&self) -> bool {
        match self {
            Self::NotPublished { .. }
            | Self::Keyless { .. }
            | Self::Refused { .. }
            | Self::Wire { .. }
            | Self::Visibility(_) => true,
            Self::Catalog { source, .. } => !source.is_transient(),
            Self::Query { source, .. } => is_of_the_statement(source),
            Self::Connect(_) | Self::Request { .. } | Self::TooLarge { .. } | Self::Gone => false,
        }
    }

    /// Without values: a statement names keys.
    pub(super) fn to_text(&self) -> String {
        match self {
            Self::Query { source, .. } => format!("{self}: {}", describe(source)),
            other => chain(other),
        }
    }
}

/// Class 42 is what a statement asks for and may not or cannot have, class 0A what is not supported,
/// class 22 a value that is not of its type.
fn is_of_the_statement(error: &tokio_postgres::Error) -> bool {
    let code = error.code().map(SqlState::code);
    code.is_some_and(|code| {
        ["42", "0A", "22"]
            .iter()
            .any(|class| code.starts_with(class))
    })
}
