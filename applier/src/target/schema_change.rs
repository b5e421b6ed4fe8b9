//! Changing a table among the changes of rows, or having it wait.

use std::collections::BTreeSet;

use change::schema_change::Notice;
use change::{TableName, quoted};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::PgLsn;
use tracing::{info, warn};

use super::session::{Session, run};
use super::statements::Statements;
use super::table;
use crate::control::{self, Control, Hold};
use crate::differences::{Untranslatable, translated};
use crate::error::{Error, StatementError, step};
use crate::schema_change::{Placed, SchemaPolicy, attachment, statements};

/// Readers of a table wait for who waits to change it: they are let through now and then.
const LOCK_LIMIT: &str = "set local lock_timeout = '5s'";
const NO_LOCK_LIMIT: &str = "set local lock_timeout = 0";

impl Session {
    /// What is done with a schema change.
    pub(crate) fn policy(&self, placed: &Placed) -> SchemaPolicy {
        let policy = self.policies.schema_changes.of(&placed.notice().tag);
        // Other statements drop tables, too.
        match (policy, placed.notice().table()) {
            (SchemaPolicy::Apply, Some((Some(_), None))) => {
                self.policies.schema_changes.of("DROP TABLE")
            }
            _ => policy,
        }
    }

    /// Why a change that is to be made cannot be made, where it is of a table that differs here.
    ///
    /// # Errors
    /// When the target does not answer.
    pub(crate) async fn untranslatable(
        &self,
        placed: &Placed,
    ) -> Result<Option<Untranslatable>, Error> {
        if self.policy(placed) != SchemaPolicy::Apply {
            return Ok(None);
        }
        let Err(why) = translated(placed.notice(), &self.policies.differences) else {
            return Ok(None);
        };
        // Somebody may have made the table, as it is to be.
        let made = match placed.notice().table() {
            Some((None, Some(after))) => {
                let table = self.policies.differences.table(&after.table_name());
                table::find(&self.connection, &table).await?
            }
            Some(_) | None => None,
        };
        Ok(made.is_none().then_some(why))
    }

    /// Ends a transaction that failed.
    ///
    /// # Errors
    /// When the target does not answer.
    pub(crate) async fn abandon(&mut self) -> Result<(), Error> {
        // With the transaction go the stages that it made.
        self.statements = Statements::default();
        run(&self.connection, "rollback")
            .await
            .map_err(step("roll back"))?;
        self.open = false;
        Ok(())
    }

    /// Has a table wait from where the target is on.
    ///
    /// # Errors
    /// When the target does not answer.
    pub(crate) async fn hold_table(
        &mut self,
        table: &TableName,
        reason: &str,
    ) -> Result<(), Error> {
        let pipeline = self.pipeline.clone();
        let begun = self.connection.transaction().await;
        let transaction = begun.map_err(step("begin"))?;
        let taken = control::take(&transaction, &pipeline).await;
        let Some(progress) = taken.map_err(step("take lockstep.progress"))? else {
            return Ok(());
        };
        let hold = Hold {
            cause: "error",
            reason,
            by: "apply",
        };
        let held = control::hold_table(&transaction, &pipeline, table, &progress, &hold).await;
        held.map_err(step("write lockstep.held_tables"))?;
        transaction.commit().await.map_err(step("commit"))?;
        warn!(%table, reason, "the table waits");
        Ok(())
    }

    pub(super) async fn change_schema(
        &mut self,
        placed: &Placed,
        control: &Control,
    ) -> Result<(), Error> {
        let notice = placed.notice();
        let (tag, object) = (&notice.tag, notice.name());
        if placed.is_of(&control.held_tables) {
            warn!(
                tag,
                object, "not made: the table is held, and is changed by who resumes it"
            );
            return Ok(());
        }
        // Nothing waits for what is left to somebody but is of no table.
        if notice.refused.is_some() || self.policy(placed) != SchemaPolicy::Apply {
            info!(tag, object, "schema change not made");
            return Ok(());
        }
        let Ok(here) = translated(notice, &self.policies.differences) else {
            info!(
                tag,
                object, "schema change not made: the table is there already"
            );
            return Ok(());
        };
        let client: &Client = &self.connection;
        run(client, LOCK_LIMIT)
            .await
            .map_err(step("set lock_timeout"))?;
        self.follow_indexes(placed, &here).await?;
        let changes = self.statements_of(&here).await?;
        for sql in &changes {
            if !self.write_down(&here, sql).await? {
                self.run_change(placed, sql).await?;
            }
        }
        run(client, NO_LOCK_LIMIT)
            .await
            .map_err(step("set lock_timeout"))?;
        if changes.is_empty() {
            info!(tag, object, "schema change: all is there already");
            return Ok(());
        }
        self.note_change(placed).await?;
        self.statements.forget();
        info!(tag, object, "schema change made");
        Ok(())
    }

    /// What is to be done, by the target's names. A table that is there already is left as it is, but that it
    /// may be a partition now; one that comes from a schema that was not replicated may need a schema first.
    async fn statements_of(&self, notice: &Notice) -> Result<Vec<String>, Error> {
        let client: &Client = &self.connection;
        let Some((before, Some(after))) = notice.table() else {
            return Ok(statements(notice));
        };
        if (before.is_none() || notice.is_observed())
            && let Some((oid, _)) = table::find(client, &after.table_name()).await?
        {
            let root = table::partition_root(client, oid).await?;
            return Ok(match (before, root) {
                (None, Some(_)) => Vec::new(),
                (None, None) => attachment(after).into_iter().collect(),
                // A partition's description is the only one that shows what its root has got.
                (Some(_), Some(root)) => statements(&notice.of(&root)),
                (Some(_), None) => statements(notice),
            });
        }
        let mut all = Vec::new();
        // Sequences stay in the source's.
        let sequences = after.sequences.iter().map(|it| &it.schema);
        for schema in BTreeSet::from_iter(sequences.chain([&after.schema])) {
            if !table::has_schema(client, schema).await? {
                all.push(format!("create schema {}", quoted(schema)));
            }
        }
        all.extend(statements(notice));
        Ok(all)
    }

    /// Runs one statement. What somebody has made by hand already is as it should be, and what refers to
    /// a table that is not replicated has nothing to refer to.
    pub(super) async fn run_change(&self, placed: &Placed, sql: &str) -> Result<(), Error> {
        let client: &Client = &self.connection;
        run(client, "savepoint change")
            .await
            .map_err(step("set a savepoint"))?;
        // One statement only, whatever a definition holds: the extended protocol takes no more.
        let end = match client.execute(sql, &[]).await {
            Ok(_) => "release savepoint change",
            Err(error)
                if is_made_already(&error)
                    || refers_elsewhere(&error, sql)
                    || is_left_out(&error, placed) =>
            {
                let (tag, object) = (&placed.notice().tag, placed.notice().name());
                let error = StatementError(error);
                warn!(tag, object, %error, "a part of a schema change is left out");
                "rollback to savepoint change; release savepoint change"
            }
            Err(error) => {
                return Err(Error::SchemaChange {
                    place: placed.record.clone(),
                    tag: placed.notice().tag.clone(),
                    object: placed.notice().name(),
                    source: StatementError(error),
                });
            }
        };
        run(client, end)
            .await
            .map_err(step("end a savepoint"))
            .map(drop)
    }

    async fn note_change(&self, placed: &Placed) -> Result<(), Error> {
        let insert = "insert into lockstep.audit (pipeline, who, action, object, details) \
                      values ($1, 'apply', lower($2), $3, \
                              jsonb_build_object('commit_lsn', $4::pg_lsn::text))";
        let lsn = PgLsn::from(placed.commit_lsn().as_u64());
        let noted = self
            .connection
            .execute(
                insert,
                &[
                    &self.pipeline,
                    &placed.notice().tag,
                    &placed.notice().name(),
                    &lsn,
                ],
            )
            .await;
        noted.map_err(step("write lockstep.audit")).map(drop)
    }
}

fn is_made_already(error: &tokio_postgres::Error) -> bool {
    let codes = [
        SqlState::DUPLICATE_COLUMN,
        SqlState::DUPLICATE_TABLE,
        SqlState::DUPLICATE_OBJECT,
        SqlState::DUPLICATE_SCHEMA,
    ];
    error.code().is_some_and(|code| codes.contains(code))
}

/// A foreign key to a table that is not here.
fn refers_elsewhere(error: &tokio_postgres::Error, sql: &str) -> bool {
    let codes = [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME];
    error.code().is_some_and(|code| codes.contains(code)) && sql.contains(" FOREIGN KEY ")
}

/// A type or a schema that no table here has anything to do with, or that is in use here: tables that
/// need it otherwise wait, or stop apply, by themselves.
fn is_left_out(error: &tokio_postgres::Error, placed: &Placed) -> bool {
    placed.notice().table().is_none() && error.code().is_some_and(is_of_the_statement)
}

/// Classes of the manual, Appendix A: feature not supported, dependent objects, invalid schema name,
/// syntax error or access rule violation, object not in prerequisite state.
fn is_of_the_statement(code: &SqlState) -> bool {
    let classes = ["0A", "2B", "3F", "42", "55"];
    *code != SqlState::LOCK_NOT_AVAILABLE
        && classes.iter().any(|class| code.code().starts_with(class))
}
