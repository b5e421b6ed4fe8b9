//! What was found before: `lockstep.verifications` on the target.

use std::fmt;
use std::time::SystemTime;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_postgres::types::{PgLsn, ToSql};
use tokio_postgres::{Client, Row};

use super::verdict::Report;

/// A comparison of the past.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Verification {
    pub id: i64,
    pub lsn: String,
    /// In UTC.
    pub started_at: String,
    pub finished_at: String,
    pub held_ms: f64,
    pub equal: bool,
    pub rows_compared: i64,
    pub rows_different: i64,
    pub rows_repaired: i64,
    pub started_by: String,
    /// As `verify --json` has them.
    pub tables: Value,
}

/// A pipeline's last ones that are kept: those of a week, at one in ten minutes.
pub const KEPT: i64 = 1000;

/// Writes down what was found, and forgets what is old.
///
/// # Errors
/// When the target does not take it.
pub(super) async fn record(
    target: &Client,
    pipeline: &str,
    report: &Report,
    started_at: SystemTime,
    started_by: &str,
) -> anyhow::Result<()> {
    let sql = "
        with forgotten as (
            delete from lockstep.verifications where id in (
                select id from lockstep.verifications where pipeline = $1
                 order by id desc offset $10))
        insert into lockstep.verifications
               (pipeline, commit_lsn, started_at, held, equal, rows_compared, rows_different,
                rows_repaired, started_by, tables)
        values ($1, $2, $3, make_interval(secs => $4), $5, $6, $7, $8, $9, $11)";
    let lsn = PgLsn::from(report.lsn.as_u64());
    let held = report.held.as_secs_f64();
    let count = |rows| i64::try_from(rows).unwrap_or(i64::MAX);
    let (different, repaired) = (
        count(report.rows_different()),
        count(report.rows_repaired()),
    );
    let (rows, tables) = (report.rows(), json!(report.tables));
    let values: [&(dyn ToSql + Sync); 11] = [
        &pipeline,
        &lsn,
        &started_at,
        &held,
        &report.equal,
        &rows,
        &different,
        &repaired,
        &started_by,
        &(KEPT - 1),
        &tables,
    ];
    let written = target.execute(sql, &values);
    written.await.context("write to lockstep.verifications")?;
    Ok(())
}

/// The last `count` comparisons, the latest first.
///
/// # Errors
/// When the target cannot be asked.
pub async fn list(
    target: &Client,
    pipeline: &str,
    count: i64,
) -> anyhow::Result<Vec<Verification>> {
    let sql = r#"
        select id, commit_lsn::text as lsn, equal, rows_compared, rows_different, rows_repaired,
               to_char(started_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as started_at,
               to_char(finished_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as finished_at,
               (extract(epoch from held) * 1000)::float8 as held_ms, started_by, tables
          from lockstep.verifications where pipeline = $1 order by id desc limit $2"#;
    let rows = target.query(sql, &[&pipeline, &count]).await;
    let rows = rows.context("read lockstep.verifications")?;
    Ok(rows.iter().map(verification).collect())
}

fn verification(row: &Row) -> Verification {
    Verification {
        id: row.get("id"),
        lsn: row.get("lsn"),
        started_at: row.get("started_at"),
        finished_at: row.get("finished_at"),
        held_ms: row.get("held_ms"),
        equal: row.get("equal"),
        rows_compared: row.get("rows_compared"),
        rows_different: row.get("rows_different"),
        rows_repaired: row.get("rows_repaired"),
        started_by: row.get("started_by"),
        tables: row.get("tables"),
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.equal {
            true => "equal    ",
            false => "NOT EQUAL",
        };
        write!(
            f,
            "{}  {verdict}  at {}, {} rows, {} different, {} repaired, apply held for {:.0} ms, by {}",
            self.started_at,
            self.lsn,
            self.rows_compared,
            self.rows_different,
            self.rows_repaired,
            self.held_ms,
            self.started_by
        )
    }
}
