//! Who did what, and why: `lockstep.audit` on the target.

use std::time::SystemTime;

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::{Client, GenericClient};

/// Somebody who changes something, and the reason that they give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    pub who: String,
    pub reason: Option<String>,
}

/// What was done.
#[derive(Clone, Debug)]
pub struct Deed<'a> {
    /// As the command line has it: `pause apply`.
    pub action: &'a str,
    /// What it was done to: a table, a replay.
    pub object: Option<&'a str>,
    pub details: Option<Value>,
}

/// An entry of the log.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    pub id: i64,
    /// Microseconds since 1970 by the target's clock.
    pub at: i64,
    pub who: String,
    pub action: String,
    pub object: Option<String>,
    pub reason: Option<String>,
    pub details: Option<Value>,
}

impl Actor {
    /// Who runs this process, as far as the operating system says.
    pub fn of_process(reason: Option<String>) -> Self {
        let names = ["SUDO_USER", "USER", "LOGNAME"];
        let name = names.iter().find_map(|name| std::env::var(name).ok());
        Self {
            who: name.unwrap_or_else(|| "unknown".to_owned()),
            reason,
        }
    }
}

/// Adds an entry, in the transaction of what it tells where there is one.
///
/// # Errors
/// When the target does not answer, or has no such table yet.
pub async fn record(
    client: &impl GenericClient,
    pipeline: &str,
    actor: &Actor,
    deed: &Deed<'_>,
) -> anyhow::Result<()> {
    let sql = "insert into lockstep.audit (pipeline, who, action, object, reason, details) \
               values ($1, $2, $3, $4, $5, $6)";
    client
        .execute(
            sql,
            &[
                &pipeline,
                &actor.who,
                &deed.action,
                &deed.object,
                &actor.reason,
                &deed.details,
            ],
        )
        .await
        .context("write lockstep.audit")?;
    Ok(())
}

/// The last entries before the one with the id `before`, the newest first.
///
/// # Errors
/// When the target does not answer, or has no such table yet.
pub async fn entries(
    client: &Client,
    pipeline: &str,
    before: Option<i64>,
    limit: i64,
) -> anyhow::Result<Vec<Entry>> {
    let sql = "select id, at, who, action, object, reason, details from lockstep.audit \
               where pipeline = $1 and id < coalesce($2::int8, 9223372036854775807) \
               order by id desc limit $3";
    let rows = client.query(sql, &[&pipeline, &before, &limit]).await;
    let entry = |row: &tokio_postgres::Row| Entry {
        id: row.get(0),
        at: micros(row.get(1)),
        who: row.get(2),
        action: row.get(3),
        object: row.get(4),
        reason: row.get(5),
        details: row.get(6),
    };
    Ok(rows
        .context("read lockstep.audit")?
        .iter()
        .map(entry)
        .collect())
}

fn micros(time: SystemTime) -> i64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
