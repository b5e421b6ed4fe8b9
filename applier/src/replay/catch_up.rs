//! A table that waited catches up with the others: its changes since, in order, into its live table.

use std::collections::HashSet;

use change::{Lsn, TableName};
use serde::{Deserialize, Serialize};
use service::Health;
use tokio_postgres::Client;
use tokio_postgres::types::{PgLsn, ToSql};

use super::error::{ReplayError, step};
use super::request::{Begin, By};
use super::run::{NEAR_ATTEMPTS, NEAR_RECORDS};
use super::source::{Limit, Reached, Source};
use super::survey::{Scope, Wanted, survey};
use crate::config::Config;
use crate::control;
use crate::error::Error;
use crate::kafka::CommitsConsumer;
use crate::metrics::Metrics;
use crate::progress;
use crate::target::Writer;

/// What a table that caught up has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct CaughtUp {
    pub changes: u64,
    /// Where it was, and where it is: where all others are.
    pub from: Lsn,
    pub at: Lsn,
}

/// Applies to a held table what committed since it was held, and has apply go on with it. Each
/// portion moves `lockstep.held_tables` in its transaction, the last one takes the table out; so it
/// can be stopped at any time. `report` is told how many changes are applied, of how many that there
/// were when it began.
///
/// # Errors
/// When the table is not held, a change cannot be applied, or the topics do not reach back.
pub async fn catch_up(
    config: &Config,
    table: &TableName,
    by: &By,
    mut report: impl FnMut(u64, u64),
) -> Result<CaughtUp, ReplayError> {
    let metrics = Metrics::register(&prometheus::Registry::new()).map_err(Error::from)?;
    let health = Health::default();
    let mut waiting = Waiting {
        config,
        table,
        by,
        writer: Writer::open(&config.target, "lockstep resume").await?,
        reached: Reached {
            next: 0,
            done: Lsn::ZERO,
        },
        changes: 0,
        of: 0,
    };
    let from = waiting.find().await?;
    let topics = HashSet::from([config.prefix.data(table).map_err(Error::from)?]);
    let mut commits = CommitsConsumer::open(config, None, &metrics, &health).await?;
    let begin = Begin::Resumed {
        next: from.next,
        from: Lsn::ZERO,
        done: from.done,
    };
    let wanted = Wanted {
        begin: &begin,
        to: from.done,
        topics: Some(&topics),
        scope: Scope::ToThePresent,
    };
    let survey = survey(&mut commits, &wanted).await?;
    let start = &survey.start;
    let mut source = Source::open(config, &metrics, &health, Some(topics), start).await?;
    waiting.of = survey.records.values().sum();
    let mut attempts = 0;
    loop {
        attempts += 1;
        let near = waiting.progress().await?;
        waiting.follow(&mut source, near, &mut report).await?;
        let urgency = match attempts < NEAR_ATTEMPTS {
            true => Urgency::WhenNear,
            false => Urgency::Now,
        };
        if let Some(at) = waiting.arrive(&mut source, urgency).await? {
            return Ok(CaughtUp {
                changes: waiting.changes,
                from: from.done,
                at,
            });
        }
    }
}

/// A held table on its way.
struct Waiting<'a> {
    config: &'a Config,
    table: &'a TableName,
    by: &'a By,
    writer: Writer,
    /// As `lockstep.held_tables` has it.
    reached: Reached,
    changes: u64,
    of: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Urgency {
    WhenNear,
    Now,
}

impl Waiting<'_> {
    async fn find(&mut self) -> Result<Reached, ReplayError> {
        let query = "select commits_offset, commit_lsn from lockstep.held_tables \
                     where pipeline = $1 and table_schema = $2 and table_name = $3";
        let TableName { schema, name } = self.table;
        let row = self
            .client()
            .query_opt(query, &[&self.config.pipeline, schema, name])
            .await
            .map_err(step("read lockstep.held_tables"))?;
        let row = row.ok_or(ReplayError::NotHeld {
            table: self.table.clone(),
        })?;
        self.reached = Reached {
            next: row.get::<_, i64>(0) + 1,
            done: Lsn::new(u64::from(row.get::<_, PgLsn>(1))),
        };
        Ok(self.reached)
    }

    /// Applies up to `limit`, portion by portion.
    async fn follow(
        &mut self,
        source: &mut Source,
        limit: Limit,
        report: &mut impl FnMut(u64, u64),
    ) -> Result<(), ReplayError> {
        while let Some(batch) = source.next(limit).await? {
            self.writer.begin().await?;
            self.writer.write(&batch.changes, None).await?;
            self.changes += u64::try_from(batch.changes.len()).unwrap_or(u64::MAX);
            if let Some(end) = batch.end {
                self.move_on(end).await?;
                self.writer.commit().await?;
                report(self.changes, self.of);
            }
        }
        Ok(())
    }

    /// Stops apply, applies what is left, and takes the table out. `None` when that would take long.
    async fn arrive(
        &mut self,
        source: &mut Source,
        urgency: Urgency,
    ) -> Result<Option<Lsn>, ReplayError> {
        self.writer.begin().await?;
        let now = control::take(self.client(), &self.config.pipeline).await;
        let now = now.map_err(step("stop apply"))?;
        let now = now.ok_or(ReplayError::NoProgress)?;
        let limit = Limit::of(&now);
        if source.distance(limit) > NEAR_RECORDS && urgency == Urgency::WhenNear {
            self.writer.rollback().await?;
            return Ok(None);
        }
        while let Some(batch) = source.next(limit).await? {
            self.writer.write(&batch.changes, None).await?;
            self.changes += u64::try_from(batch.changes.len()).unwrap_or(u64::MAX);
        }
        self.change("delete from lockstep.held_tables", &[]).await?;
        self.note().await?;
        self.writer.commit().await?;
        Ok(Some(now.commit_lsn))
    }

    async fn note(&self) -> Result<(), ReplayError> {
        let insert = "insert into lockstep.audit (pipeline, who, action, object, reason) \
                      values ($1, $2, 'resume table', $3, $4)";
        let By { who, reason } = self.by;
        let table = self.table.to_string();
        let noted = self
            .client()
            .execute(insert, &[&self.config.pipeline, who, &table, reason])
            .await;
        noted.map_err(step("write lockstep.audit"))?;
        Ok(())
    }

    async fn move_on(&mut self, end: Reached) -> Result<(), ReplayError> {
        let (offset, lsn) = (end.next - 1, PgLsn::from(end.done.as_u64()));
        let update = "update lockstep.held_tables set commits_offset = $6, commit_lsn = $7";
        self.change(update, &[&offset, &lsn]).await?;
        self.reached = end;
        Ok(())
    }

    /// Changes the table's row where it is as we left it.
    async fn change(
        &self,
        statement: &str,
        more: &[&(dyn ToSql + Sync)],
    ) -> Result<(), ReplayError> {
        let sql = format!(
            "{statement} where pipeline = $1 and table_schema = $2 and table_name = $3 \
             and commits_offset = $4 and commit_lsn = $5"
        );
        let (offset, lsn) = (
            self.reached.next - 1,
            PgLsn::from(self.reached.done.as_u64()),
        );
        let TableName { schema, name } = self.table;
        let mut parameters: Vec<&(dyn ToSql + Sync)> =
            vec![&self.config.pipeline, schema, name, &offset, &lsn];
        parameters.extend(more);
        let changed = self.client().execute(&sql, &parameters).await;
        match changed.map_err(step("write lockstep.held_tables"))? {
            0 => Err(ReplayError::ResumedElsewhere {
                table: self.table.clone(),
            }),
            _ => Ok(()),
        }
    }

    async fn progress(&self) -> Result<Limit, ReplayError> {
        let read = progress::read(self.client(), &self.config.pipeline).await;
        let read = read.map_err(step("read lockstep.progress"))?;
        read.as_ref().map(Limit::of).ok_or(ReplayError::NoProgress)
    }

    fn client(&self) -> &Client {
        self.writer.client()
    }
}
