//! Pausing and resuming apply, and single tables of it.

use anyhow::{Context, ensure};
use applier::control::{self, Hold};
use change::TableName;
use serde::Serialize;
use tokio_postgres::{Client, Transaction};

use crate::audit::{self, Actor, Deed};
use crate::progress::Progress;

/// A table that waits while the others go on.
#[derive(Clone, Debug, Serialize)]
pub struct HeldTable {
    pub table: String,
    /// The table has everything up to here and nothing behind it.
    pub commit_lsn: String,
    /// `operator` or `error`.
    pub cause: String,
    pub reason: String,
    pub held_by: String,
    /// By the target's clock.
    pub held_seconds: i64,
}

/// Whether apply rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Apply {
    Running,
    Paused,
}

/// Lets apply rest between two transactions until [`resume`].
///
/// # Errors
/// When nothing was applied yet, or the target does not answer.
pub async fn pause(target: &mut Client, pipeline: &str, actor: &Actor) -> anyhow::Result<()> {
    set(target, pipeline, actor, Apply::Paused).await
}

/// Lets a paused apply go on; one that was not paused is left as it is.
///
/// # Errors
/// As [`pause`].
pub async fn resume(target: &mut Client, pipeline: &str, actor: &Actor) -> anyhow::Result<()> {
    set(target, pipeline, actor, Apply::Running).await
}

async fn set(
    target: &mut Client,
    pipeline: &str,
    actor: &Actor,
    wanted: Apply,
) -> anyhow::Result<()> {
    let (paused, action) = match wanted {
        Apply::Paused => (true, "pause apply"),
        Apply::Running => (false, "resume apply"),
    };
    let transaction = target.transaction().await.context("begin")?;
    take(&transaction, pipeline).await?;
    let sql = "insert into lockstep.control (pipeline, paused) values ($1, $2) \
               on conflict (pipeline) do update set paused = excluded.paused";
    let written = transaction.execute(sql, &[&pipeline, &paused]).await;
    written.context("write lockstep.control")?;
    let deed = Deed {
        action,
        object: None,
        details: None,
    };
    audit::record(&transaction, pipeline, actor, &deed).await?;
    transaction.commit().await.context("commit")
}

/// # Errors
/// When the target does not answer.
pub async fn apply(target: &Client, pipeline: &str) -> anyhow::Result<Apply> {
    let sql = "select paused from lockstep.control where pipeline = $1";
    let row = target.query_opt(sql, &[&pipeline]).await;
    let paused = row.context("read lockstep.control")?.map(|row| row.get(0));
    Ok(match paused {
        Some(true) => Apply::Paused,
        Some(false) | None => Apply::Running,
    })
}

/// Lets one table wait: its changes stay in the topics, as long as those keep them, and are not
/// applied until it is resumed.
///
/// # Errors
/// When it waits already, nothing was applied yet, or the target does not answer.
pub async fn hold_table(
    target: &mut Client,
    pipeline: &str,
    table: &TableName,
    actor: &Actor,
) -> anyhow::Result<()> {
    let transaction = target.transaction().await.context("begin")?;
    let progress = take(&transaction, pipeline).await?;
    let hold = Hold {
        cause: "operator",
        reason: actor.reason.as_deref().unwrap_or("an operator decided"),
        by: &actor.who,
    };
    let held = control::hold_table(&transaction, pipeline, table, &progress, &hold).await;
    let held = held.context("write lockstep.held_tables")?;
    ensure!(held, "table {table} is held already");
    let name = table.to_string();
    let deed = Deed {
        action: "pause table",
        object: Some(&name),
        details: None,
    };
    audit::record(&transaction, pipeline, actor, &deed).await?;
    transaction.commit().await.context("commit")
}

/// The tables that wait, those that wait longest first.
///
/// # Errors
/// When the target does not answer.
pub async fn held_tables(target: &Client, pipeline: &str) -> anyhow::Result<Vec<HeldTable>> {
    let sql = "select table_schema, table_name, commit_lsn::text, cause, reason, held_by, \
               extract(epoch from clock_timestamp() - held_at)::int8 \
               from lockstep.held_tables where pipeline = $1 order by held_at";
    let rows = target.query(sql, &[&pipeline]).await;
    let held = |row: &tokio_postgres::Row| HeldTable {
        table: TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)).to_string(),
        commit_lsn: row.get(2),
        cause: row.get(3),
        reason: row.get(4),
        held_by: row.get(5),
        held_seconds: row.get(6),
    };
    Ok(rows
        .context("read lockstep.held_tables")?
        .iter()
        .map(held)
        .collect())
}

/// As [`control::take`], for what needs that something was applied.
///
/// # Errors
/// When nothing was, or the target does not answer.
pub(crate) async fn take(
    transaction: &Transaction<'_>,
    pipeline: &str,
) -> anyhow::Result<Progress> {
    let taken = control::take(transaction, pipeline).await;
    taken
        .context("take lockstep.progress")?
        .with_context(|| format!("nothing was applied for pipeline {pipeline} yet"))
}
