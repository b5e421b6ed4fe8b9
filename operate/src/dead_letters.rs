//! Changes that apply has set aside: looking at them, applying them after all, discarding them.

use anyhow::{Context, ensure};
use applier::Differences;
pub use applier::dead_letters::{Redriven, Side};
use change::TableName;
use serde::{Deserialize, Serialize};
use serde_json::json;
use service::postgres::Dsn;
use tokio_postgres::{Client, Row};

use crate::audit::{self, Actor, Deed};
use crate::control;

/// A change that was set aside. Holds no value.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Letter {
    pub id: i64,
    pub table: String,
    pub commit_lsn: String,
    pub ordinal: i64,
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub op: String,
    /// `conflict`: the target refused it; `follows`: an earlier change of its key is open;
    /// `undecodable`: its record cannot be read.
    pub error_class: String,
    pub sqlstate: Option<String>,
    pub constraint: Option<String>,
    pub error: String,
    pub attempts: i32,
    /// `open`, `applied` or `discarded`.
    pub state: String,
    pub age_seconds: i64,
    pub closed_by: Option<String>,
    pub closed_why: Option<String>,
}

/// Letters that have the same fault.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Group {
    pub table: String,
    pub error_class: String,
    pub sqlstate: Option<String>,
    pub constraint: Option<String>,
    pub error: String,
    pub letters: i64,
    pub oldest_seconds: i64,
    pub first_id: i64,
}

/// Letters as `lockstep dead-letters list --json` prints them.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Listing {
    pub groups: Vec<Group>,
    pub letters: Vec<Letter>,
}

/// A letter, and what it wants its row to be beside what is there. Holds values.
#[derive(Clone, Deserialize, Serialize)]
pub struct Detail {
    pub letter: Letter,
    pub columns: Vec<Side>,
    /// Why they are not known: its schema is lost, or the table gone.
    pub error: Option<String>,
}

/// Which letters are listed.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Closed ones, too.
    pub all: bool,
    pub table: Option<TableName>,
    /// Of this group: SQLSTATE and constraint.
    pub sqlstate: Option<String>,
    /// Only those behind this id.
    pub after: Option<i64>,
    /// At most [`LETTERS_MAX`].
    pub limit: i64,
}

/// So many are listed, redriven or discarded at once.
pub const LETTERS_MAX: i64 = 10_000;

const COLUMNS: &str = "id, table_schema, table_name, commit_lsn::text as commit_lsn, ordinal, topic, \
    kafka_partition, kafka_offset, op, error_class, sqlstate, constraint_name, error, attempts, \
    state, extract(epoch from clock_timestamp() - set_aside_at)::int8 as age, closed_by, closed_why";

/// Letters in the order in which they were set aside.
///
/// # Errors
/// When the target does not answer.
pub async fn list(
    target: &Client,
    pipeline: &str,
    selection: &Selection,
) -> anyhow::Result<Vec<Letter>> {
    let sql = format!(
        "select {COLUMNS} from lockstep.dead_letters where pipeline = $1 and ($2 or state = 'open') \
         and ($3::text is null or table_schema = $3 and table_name = $4) \
         and ($5::text is null or sqlstate = $5) and id > coalesce($6::int8, 0) order by id limit $7"
    );
    let table = selection.table.as_ref();
    let rows = target
        .query(
            &sql,
            &[
                &pipeline,
                &selection.all,
                &table.map(|table| &table.schema),
                &table.map(|table| &table.name),
                &selection.sqlstate,
                &selection.after,
                &selection.limit,
            ],
        )
        .await;
    let rows = rows.context("read lockstep.dead_letters")?;
    Ok(rows.iter().map(letter).collect())
}

/// One letter; `None` when there is none of that id.
///
/// # Errors
/// When the target does not answer.
pub async fn letter_of(target: &Client, pipeline: &str, id: i64) -> anyhow::Result<Option<Letter>> {
    let sql =
        format!("select {COLUMNS} from lockstep.dead_letters where pipeline = $1 and id = $2");
    let row = target.query_opt(&sql, &[&pipeline, &id]).await;
    Ok(row
        .context("read lockstep.dead_letters")?
        .as_ref()
        .map(letter))
}

/// Open letters by their fault, the largest group first.
///
/// # Errors
/// When the target does not answer.
pub async fn groups(target: &Client, pipeline: &str) -> anyhow::Result<Vec<Group>> {
    let sql = "select table_schema, table_name, error_class, sqlstate, constraint_name, error, \
               count(*), extract(epoch from clock_timestamp() - min(set_aside_at))::int8, min(id) \
               from lockstep.dead_letters where pipeline = $1 and state = 'open' \
               group by 1, 2, 3, 4, 5, 6 order by 7 desc, 9";
    let rows = target.query(sql, &[&pipeline]).await;
    let group = |row: &Row| Group {
        table: TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)).to_string(),
        error_class: row.get(2),
        sqlstate: row.get(3),
        constraint: row.get(4),
        error: row.get(5),
        letters: row.get(6),
        oldest_seconds: row.get(7),
        first_id: row.get(8),
    };
    let rows = rows.context("read lockstep.dead_letters")?;
    Ok(rows.iter().map(group).collect())
}

/// Open letters.
///
/// # Errors
/// When the target does not answer.
pub async fn count_open(target: &Client, pipeline: &str) -> anyhow::Result<i64> {
    let sql = "select count(*) from lockstep.dead_letters where pipeline = $1 and state = 'open'";
    let row = target.query_one(sql, &[&pipeline]).await;
    Ok(row.context("count the dead letters")?.get(0))
}

/// What a letter wants its row to be beside what is there; `None` when there is no such letter.
///
/// # Errors
/// When the target does not answer, or lacks the table.
pub async fn sides(target: &Dsn, pipeline: &str, id: i64) -> anyhow::Result<Option<Vec<Side>>> {
    let sides = applier::dead_letters::sides(target, pipeline, id).await;
    sides.context("compare what the change wants with what is there")
}

/// # Errors
/// When there is no such letter, or the target does not answer.
pub async fn detail(target: &Dsn, pipeline: &str, id: i64) -> anyhow::Result<Detail> {
    let client = service::postgres::connect(target, "lockstep dead-letters").await?;
    let letter = letter_of(&client, pipeline, id).await?;
    let letter = letter.ok_or(NoLetter(id))?;
    let (columns, error) = match sides(target, pipeline, id).await {
        Ok(columns) => (columns.unwrap_or_default(), None),
        Err(error) => (Vec::new(), Some(format!("{error:#}"))),
    };
    Ok(Detail {
        letter,
        columns,
        error,
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no dead letter {0}")]
pub struct NoLetter(i64);

/// Applies open letters, and all that share a key with them, in commit order. Those that are refused
/// again stay open. `registry` is the URL of the one that the records' schemas are asked of; `differences`
/// are as settings name them.
///
/// # Errors
/// When the target does not answer.
pub async fn redrive(
    target: &Dsn,
    pipeline: &str,
    ids: &[i64],
    actor: &Actor,
    registry: &str,
    differences: &Differences,
) -> anyhow::Result<Redriven> {
    let client = service::postgres::connect(target, "lockstep dead-letters").await?;
    let deed = Deed {
        action: "redrive dead letters",
        object: None,
        details: Some(json!({ "letters": ids })),
    };
    audit::record(&*client, pipeline, actor, &deed).await?;
    let who = &actor.who;
    let redriven =
        applier::dead_letters::redrive(target, pipeline, ids, who, registry, differences);
    redriven.await.context("redrive")
}

/// Gives open letters up. Later changes of a key that has no open one any more are applied.
/// Returns how many were open.
///
/// # Errors
/// Without a reason, or when the target does not answer.
pub async fn discard(
    target: &mut Client,
    pipeline: &str,
    ids: &[i64],
    actor: &Actor,
) -> anyhow::Result<u64> {
    let why = require_reason(actor)?;
    let transaction = target.transaction().await.context("begin")?;
    control::take(&transaction, pipeline).await?;
    let sql = "update lockstep.dead_letters set state = 'discarded', \
               closed_at = clock_timestamp(), closed_by = $3, closed_why = $4 \
               where pipeline = $1 and state = 'open' and id = any ($2)";
    let discarded = transaction
        .execute(sql, &[&pipeline, &ids, &actor.who, &why])
        .await
        .context("write lockstep.dead_letters")?;
    let deed = Deed {
        action: "discard dead letters",
        object: None,
        details: Some(json!({ "letters": ids, "discarded": discarded })),
    };
    audit::record(&transaction, pipeline, actor, &deed).await?;
    transaction.commit().await.context("commit")?;
    Ok(discarded)
}

/// # Errors
/// When nobody says why.
pub fn require_reason(actor: &Actor) -> anyhow::Result<&str> {
    let why = actor.reason.as_deref().unwrap_or_default().trim();
    ensure!(
        !why.is_empty(),
        "discarding a change makes source and target differ: say why with --reason"
    );
    Ok(why)
}

fn letter(row: &Row) -> Letter {
    let table = TableName::new(
        row.get::<_, String>("table_schema"),
        row.get::<_, String>("table_name"),
    );
    Letter {
        id: row.get("id"),
        table: table.to_string(),
        commit_lsn: row.get("commit_lsn"),
        ordinal: row.get("ordinal"),
        topic: row.get("topic"),
        partition: row.get("kafka_partition"),
        offset: row.get("kafka_offset"),
        op: row.get("op"),
        error_class: row.get("error_class"),
        sqlstate: row.get("sqlstate"),
        constraint: row.get("constraint_name"),
        error: row.get("error"),
        attempts: row.get("attempts"),
        state: row.get("state"),
        age_seconds: row.get("age"),
        closed_by: row.get("closed_by"),
        closed_why: row.get("closed_why"),
    }
}
