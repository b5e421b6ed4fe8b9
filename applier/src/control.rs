//! The rules by which apply works, and how they change while it does.
//!
//! Operators write them to the target (`sql/target/operations.sql`). Apply begins each of its
//! transactions by taking its row of `lockstep.progress` where `control` is the number that it
//! knows:
//!
//! ```text
//! operator: take (control + 1), change rules ─────── commit
//! apply:    ... commit │ begin, take: waits ........ refused: reads the rules again, begins anew
//! ```
//!
//! So nothing is applied while an operator's transaction is open, and nothing by old rules after
//! it. Both take the row of progress before any row of a table, so they cannot block each other
//! for ever.

use std::collections::HashSet;

use change::{Lsn, TableName};
use tokio_postgres::types::PgLsn;
use tokio_postgres::{Client, GenericClient};

use crate::batch::{Change, HeldKeys};
use crate::decode::Row;
use crate::progress::{COLUMNS, Progress};

/// Keeps apply from applying anything until the transaction ends, and has it read the rules again
/// then. Waits for the transaction that apply is in. `None` when nothing was applied yet, and there
/// is nothing to keep.
///
/// # Errors
/// When the target does not answer, or lacks the tables.
pub async fn take(
    transaction: &impl GenericClient,
    pipeline: &str,
) -> Result<Option<Progress>, tokio_postgres::Error> {
    let sql = format!(
        "update lockstep.progress set control = control + 1 where pipeline = $1 returning {COLUMNS}"
    );
    let row = transaction.query_opt(&sql, &[&pipeline]).await?;
    row.as_ref().map(Progress::of).transpose()
}

/// Why a table waits.
#[derive(Clone, Copy, Debug)]
pub struct Hold<'a> {
    /// `operator` or `error`.
    pub cause: &'a str,
    pub reason: &'a str,
    pub by: &'a str,
}

/// Has a table wait from `progress` on, which was taken before. False when it waits already.
///
/// # Errors
/// As [`take`].
pub async fn hold_table(
    transaction: &impl GenericClient,
    pipeline: &str,
    table: &TableName,
    progress: &Progress,
    hold: &Hold<'_>,
) -> Result<bool, tokio_postgres::Error> {
    let sql = "insert into lockstep.held_tables (pipeline, table_schema, table_name, commit_lsn, \
               commits_offset, cause, reason, held_by) \
               values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing";
    let TableName { schema, name } = table;
    let lsn = PgLsn::from(progress.commit_lsn.as_u64());
    let Hold { cause, reason, by } = hold;
    let offset = &progress.commits_offset;
    let held = transaction
        .execute(
            sql,
            &[&pipeline, schema, name, &lsn, offset, cause, reason, by],
        )
        .await?;
    Ok(held == 1)
}

/// As [`take`], for who changes no rules: apply waits, and then goes on as it was.
///
/// # Errors
/// As [`take`].
pub(crate) async fn stop(
    transaction: &impl GenericClient,
    pipeline: &str,
) -> Result<Option<Progress>, tokio_postgres::Error> {
    let sql = format!("select {COLUMNS} from lockstep.progress where pipeline = $1 for update");
    let row = transaction.query_opt(&sql, &[&pipeline]).await?;
    row.as_ref().map(Progress::of).transpose()
}

/// Every key once. Where a letter is of nobody knows which key, the others do not matter: there may be
/// many, as all that follow are set aside.
const HELD_KEYS: &str = "\
with open as (select table_schema, table_name, key, moved_from from lockstep.dead_letters
               where pipeline = $1 and state = 'open'),
     whole as (select distinct table_schema, table_name from open where key is null)
select table_schema, table_name, null::bytea from whole
 union
select o.table_schema, o.table_name, k.key from open o
 cross join lateral (values (o.key), (o.moved_from)) k (key)
 where k.key is not null
   and (o.table_schema, o.table_name) not in (select table_schema, table_name from whole)";

/// The rules as they were at one version.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// `lockstep.progress.control`.
    pub(crate) version: i64,
    pub(crate) paused: bool,
    /// Apply stops where everything before it is on the target.
    pub(crate) hold: Option<Lsn>,
    pub(crate) held_tables: HashSet<TableName>,
    /// Keys whose changes are set aside, and how many are.
    pub(crate) held_keys: HeldKeys,
    pub(crate) open_letters: i64,
}

impl Control {
    /// The version is read before the rules: a change between makes the version too low, which is
    /// noticed, and never the rules too old.
    pub(crate) async fn read(
        client: &Client,
        pipeline: &str,
    ) -> Result<Self, tokio_postgres::Error> {
        let version = "select control from lockstep.progress where pipeline = $1";
        let version = client.query_opt(version, &[&pipeline]).await?;
        let rules = "select paused, case when hold_until > clock_timestamp() then hold_lsn end \
                     from lockstep.control where pipeline = $1";
        let rules = client.query_opt(rules, &[&pipeline]).await?;
        let hold: Option<PgLsn> = rules.as_ref().and_then(|row| row.get(1));
        let held = "select table_schema, table_name from lockstep.held_tables where pipeline = $1";
        let held = client.query(held, &[&pipeline]).await?;
        let table = |row: &tokio_postgres::Row| {
            TableName::new(row.get::<_, String>(0), row.get::<_, String>(1))
        };
        let open =
            "select count(*) from lockstep.dead_letters where pipeline = $1 and state = 'open'";
        let open = client.query_one(open, &[&pipeline]).await?;
        let mut held_keys = HeldKeys::default();
        for row in &client.query(HELD_KEYS, &[&pipeline]).await? {
            let table = table(row);
            match row.get(2) {
                Some(key) => held_keys.insert(&table, Row::of_layout(key)),
                None => held_keys.insert_all(&table),
            }
        }
        Ok(Self {
            version: version.map_or(0, |row| row.get(0)),
            paused: rules.as_ref().is_some_and(|row| row.get(0)),
            hold: hold.map(|lsn| Lsn::new(u64::from(lsn))),
            held_tables: held.iter().map(table).collect(),
            held_keys,
            open_letters: open.get(0),
        })
    }

    /// The changes of tables that are not held.
    pub(crate) fn live<'a>(&self, changes: &'a [Change]) -> impl Iterator<Item = &'a Change> {
        let held = &self.held_tables;
        changes
            .iter()
            .filter(move |it| held.is_empty() || !held.contains(&it.plan.relation.table))
    }
}
