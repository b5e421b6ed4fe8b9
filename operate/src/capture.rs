//! Pausing capture, and going on. What operators want of it stands on the source, where it looks
//! once a second; so it holds over restarts.
//!
//! Paused capture keeps its slot and takes no changes: the source keeps them. A first snapshot is
//! not paused.

use anyhow::Context;
use serde::Serialize;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::audit::{self, Actor, Deed};
use crate::endpoints::Names;

/// What is wanted of a capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Order {
    pub paused: bool,
    pub reason: Option<String>,
    pub changed_by: String,
    /// As Postgres writes it.
    pub changed_at: String,
}

/// Has capture stop taking changes, within about a second.
///
/// # Errors
/// When a database does not answer, or capture has never run on the source.
pub async fn pause(
    source: &Client,
    target: &mut Client,
    names: &Names,
    actor: &Actor,
) -> anyhow::Result<()> {
    order(source, target, names, actor, Wanted::Paused).await
}

/// Has capture go on where it stopped, within about a second.
///
/// # Errors
/// As [`pause`].
pub async fn resume(
    source: &Client,
    target: &mut Client,
    names: &Names,
    actor: &Actor,
) -> anyhow::Result<()> {
    order(source, target, names, actor, Wanted::Running).await
}

/// The last order; `None` where there never was one.
///
/// # Errors
/// When the source cannot be asked.
pub async fn last_order(source: &Client, slot: &str) -> anyhow::Result<Option<Order>> {
    let query = "select paused, reason, changed_by, changed_at::text \
                 from lockstep.capture where slot = $1";
    let row = match source.query_opt(query, &[&slot]).await {
        Err(error) if is_missing(&error) => None,
        row => row.context("read what is wanted of capture")?,
    };
    Ok(row.map(|row| Order {
        paused: row.get(0),
        reason: row.get(1),
        changed_by: row.get(2),
        changed_at: row.get(3),
    }))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Running,
    Paused,
}

async fn order(
    source: &Client,
    target: &mut Client,
    names: &Names,
    actor: &Actor,
    wanted: Wanted,
) -> anyhow::Result<()> {
    let action = match wanted {
        Wanted::Running => "resume capture",
        Wanted::Paused => "pause capture",
    };
    let deed = Deed {
        action,
        object: None,
        details: None,
    };
    let paused = wanted == Wanted::Paused;
    // The entry is there only if the order is.
    let entry = target.transaction().await.context("begin")?;
    audit::record(&entry, &names.pipeline, actor, &deed).await?;
    let Actor { who, reason } = actor;
    let ordered = source
        .execute(ORDER, &[&names.slot, &paused, reason, who])
        .await;
    ordered.map_err(mended).context(action)?;
    entry.commit().await.context("write lockstep.audit")
}

const ORDER: &str = "
insert into lockstep.capture (slot, paused, reason, changed_by) values ($1, $2, $3, $4)
    on conflict (slot) do update
   set paused = excluded.paused, reason = excluded.reason, changed_by = excluded.changed_by,
       changed_at = clock_timestamp()";

/// Names the mend of an error that has one.
pub(crate) fn mended(error: tokio_postgres::Error) -> anyhow::Error {
    let is_missing = is_missing(&error);
    let error = anyhow::Error::from(error);
    match is_missing {
        true => {
            error.context("the source has no tables for it: start capture, or run `lockstep setup`")
        }
        false => error,
    }
}

pub(crate) fn is_missing(error: &tokio_postgres::Error) -> bool {
    let missing = [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME];
    error.code().is_some_and(|code| missing.contains(code))
}
