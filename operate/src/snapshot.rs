//! Reading tables once more while changes flow on: what is asked of capture, and how far it is.
//!
//! Requests stand on the source. Capture serves one after the other; a row that the target lost
//! comes back, and one that only the target has stays: `verify --repair` is for both.

use anyhow::{Context, bail};
use change::TableName;
use serde::{Deserialize, Serialize};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row};

use crate::audit::{self, Actor, Deed};
use crate::capture::{is_missing, mended};
use crate::catalog::{self, Identity, PublishedTable};
use crate::endpoints::Names;

/// A request, as `lockstep snapshot --json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Snapshot {
    pub id: i64,
    pub table: String,
    pub state: State,
    pub requested_by: String,
    pub reason: Option<String>,
    pub rows_read: i64,
    /// By the table's statistics when it began; none where there are none.
    pub rows_estimated: Option<i64>,
    pub chunks: i64,
    /// What it waits for when it does not go on.
    pub waits_for: Option<String>,
    pub error: Option<String>,
    /// Times as Postgres writes them.
    pub requested_at: String,
    pub started_at: Option<String>,
    pub touched_at: Option<String>,
    pub finished_at: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Waiting,
    Running,
    Done,
    Cancelled,
    Failed,
}

impl State {
    fn of(name: &str) -> anyhow::Result<Self> {
        Ok(match name {
            "waiting" => Self::Waiting,
            "running" => Self::Running,
            "done" => Self::Done,
            "cancelled" => Self::Cancelled,
            "failed" => Self::Failed,
            other => bail!("a snapshot in an unknown state, {other}"),
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    pub fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Running)
    }
}

/// Checks that a table can be read once more.
///
/// # Errors
/// When it is not one of those that are published, or has no key.
fn readable(published: &[PublishedTable], table: &TableName) -> anyhow::Result<()> {
    let Some(found) = published.iter().find(|it| it.name == *table) else {
        bail!("table {table} is not published");
    };
    match &found.identity {
        Identity::Key(_) => Ok(()),
        Identity::Full | Identity::None => bail!(
            "table {table} has no key, by which it could be read in parts: give it a primary key, \
             or compare and repair it with `lockstep verify --repair`"
        ),
    }
}

/// Asks for a snapshot of each of these tables, once all of them are known to be readable.
///
/// # Errors
/// When one is not, one of it is open already, or a database does not answer.
pub async fn request(
    source: &Client,
    target: &mut Client,
    names: &Names,
    tables: &[TableName],
    actor: &Actor,
) -> anyhow::Result<Vec<Snapshot>> {
    let published = catalog::published(source, &names.publication).await?;
    for table in tables {
        readable(&published, table)?;
    }
    let mut asked = Vec::with_capacity(tables.len());
    for table in tables {
        let id = request_one(source, target, names, table, actor).await?;
        asked.push(find(source, names, id).await?);
    }
    Ok(asked)
}

async fn request_one(
    source: &Client,
    target: &mut Client,
    names: &Names,
    table: &TableName,
    actor: &Actor,
) -> anyhow::Result<i64> {
    let name = table.to_string();
    let deed = Deed {
        action: "snapshot",
        object: Some(&name),
        details: None,
    };
    // The entry is there only if the request is.
    let entry = target.transaction().await.context("begin")?;
    audit::record(&entry, &names.pipeline, actor, &deed).await?;
    let Actor { who, reason } = actor;
    let (slot, TableName { schema, name }) = (&names.slot, table);
    let asked = source
        .query_one(REQUEST, &[slot, schema, name, who, reason])
        .await;
    let id = match asked {
        Ok(row) => row.get(0),
        Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
            bail!("a snapshot of {table} is asked for already: `lockstep snapshot --list` shows it")
        }
        Err(error) => {
            return Err(mended(error)).with_context(|| format!("ask for a snapshot of {table}"));
        }
    };
    entry.commit().await.context("write lockstep.audit")?;
    Ok(id)
}

const REQUEST: &str = "
insert into lockstep.snapshots (slot, table_schema, table_name, requested_by, reason)
values ($1, $2, $3, $4, $5) returning id";

/// How many are listed.
pub const LISTED: i64 = 100;

/// The requests, newest first.
///
/// # Errors
/// When the source cannot be asked.
pub async fn list(source: &Client, slot: &str, limit: i64) -> anyhow::Result<Vec<Snapshot>> {
    let query = format!("{SNAPSHOTS} where slot = $1 order by id desc limit $2");
    match source.query(&query, &[&slot, &limit]).await {
        Err(error) if is_missing(&error) => Ok(Vec::new()),
        rows => rows
            .context("read the snapshots")?
            .iter()
            .map(snapshot)
            .collect(),
    }
}

async fn find(source: &Client, names: &Names, id: i64) -> anyhow::Result<Snapshot> {
    let query = format!("{SNAPSHOTS} where slot = $1 and id = $2");
    let row = source.query_one(&query, &[&names.slot, &id]).await;
    snapshot(&row.map_err(mended).context("read a snapshot")?)
}

/// Cancels a request, and answers how it stands. What was read of it stays: all of it is true.
///
/// # Errors
/// When there is none that is open, or a database does not answer.
pub async fn cancel(
    source: &Client,
    target: &mut Client,
    names: &Names,
    id: i64,
    actor: &Actor,
) -> anyhow::Result<Snapshot> {
    let number = id.to_string();
    let deed = Deed {
        action: "cancel snapshot",
        object: Some(&number),
        details: None,
    };
    let entry = target.transaction().await.context("begin")?;
    audit::record(&entry, &names.pipeline, actor, &deed).await?;
    let cancelled = source.execute(CANCEL, &[&names.slot, &id]).await;
    let cancelled = cancelled.map_err(mended).context("cancel a snapshot")?;
    if cancelled == 0 {
        bail!("there is no open snapshot {id}: `lockstep snapshot --list` shows them");
    }
    entry.commit().await.context("write lockstep.audit")?;
    find(source, names, id).await
}

const CANCEL: &str = "
update lockstep.snapshots
   set state = 'cancelled', waits_for = null, finished_at = clock_timestamp()
 where slot = $1 and id = $2 and state in ('waiting', 'running')";

const SNAPSHOTS: &str = "
select id, table_schema, table_name, state, requested_by, reason, rows_read, rows_estimated, chunks,
       waits_for, error, requested_at::text, started_at::text, touched_at::text, finished_at::text
  from lockstep.snapshots";

fn snapshot(row: &Row) -> anyhow::Result<Snapshot> {
    let table = TableName::new(
        row.get::<_, String>("table_schema"),
        row.get::<_, String>("table_name"),
    );
    Ok(Snapshot {
        id: row.get("id"),
        table: table.to_string(),
        state: State::of(row.get("state"))?,
        requested_by: row.get("requested_by"),
        reason: row.get("reason"),
        rows_read: row.get("rows_read"),
        rows_estimated: row.get("rows_estimated"),
        chunks: row.get("chunks"),
        waits_for: row.get("waits_for"),
        error: row.get("error"),
        requested_at: row.get("requested_at"),
        started_at: row.get("started_at"),
        touched_at: row.get("touched_at"),
        finished_at: row.get("finished_at"),
    })
}
