//! Writes changes in transactions that the caller ends: what a replay writes with.

use std::collections::HashMap;
use std::sync::Arc;

use change::TableName;
use service::postgres::{Dsn, connect};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::flight::{Failed, Flight, Purpose};
use super::rows;
use super::statements::{Statements, Work};
use super::touch::Keys;
use crate::batch::{Change, Form, stages};
use crate::error::{Error, step};
use crate::statement::{Noting, Touched};
use service::postgres::Connection;

pub(crate) struct Writer {
    connection: Connection,
    statements: Statements,
    touched: HashMap<TableName, Arc<Touched>>,
    open: bool,
}

/// As the applier's own session has it: no triggers, no foreign keys.
pub(crate) const SETTINGS: &str = "set session_replication_role = replica; \
    set synchronous_commit = off; \
    set standard_conforming_strings = on; \
    set statement_timeout = 0; \
    set idle_in_transaction_session_timeout = 0";

impl Writer {
    /// # Errors
    /// When the target is away or does not let us in.
    pub(crate) async fn open(target: &Dsn, name: &str) -> Result<Self, Error> {
        let connection = connect(target, name).await?;
        connection
            .batch_execute(SETTINGS)
            .await
            .map_err(step("set up the session"))?;
        Ok(Self {
            connection,
            statements: Statements::default(),
            touched: HashMap::new(),
            open: false,
        })
    }

    /// For what the caller writes in the same transaction.
    pub(crate) fn client(&self) -> &Client {
        &self.connection
    }

    /// Sends changes of `table` to another from now on, where `touched` says so with their keys.
    pub(crate) fn redirect(&mut self, table: &TableName, to: TableName, touched: Option<Touched>) {
        self.statements.redirect(table.clone(), to);
        if let Some(touched) = touched {
            self.touched.insert(table.clone(), Arc::new(touched));
        }
    }

    /// # Errors
    /// When the target does not answer.
    pub(crate) async fn begin(&mut self) -> Result<(), Error> {
        if !self.open {
            let begun = self
                .connection
                .batch_execute("begin; set constraints all deferred");
            begun.await.map_err(step("begin"))?;
            self.open = true;
        }
        Ok(())
    }

    /// Writes changes in the transaction that is open.
    ///
    /// # Errors
    /// When they could not be written; the transaction is of no use afterwards.
    pub(crate) async fn write(
        &mut self,
        changes: &[Change],
        noting: Option<Noting>,
    ) -> Result<(), Error> {
        let forms = [Form::Compacted, Form::Upserted, Form::Stepwise];
        // Where keys are noted, the rows that changes create may be there: they come again.
        let mut forms = forms[usize::from(noting.is_some())..].iter();
        let mut form = forms.next().copied().unwrap_or(Form::Stepwise);
        loop {
            let refused = match self.attempt(changes, noting, form).await {
                Err(error) if is_conflict(&error) => error,
                other => return other,
            };
            let Some(next) = forms.next() else {
                return Err(refused);
            };
            form = *next;
            let undo = "rollback to savepoint portion; release savepoint portion";
            let undone = self.connection.batch_execute(undo).await;
            undone.map_err(step("roll back"))?;
        }
    }

    /// # Errors
    /// When the target does not answer, or refuses.
    pub(crate) async fn commit(&mut self) -> Result<(), Error> {
        self.open = false;
        let committed = self.connection.batch_execute("commit").await;
        committed.map_err(step("commit"))
    }

    /// # Errors
    /// When the target does not answer.
    pub(crate) async fn rollback(&mut self) -> Result<(), Error> {
        self.open = false;
        let undone = self.connection.batch_execute("rollback").await;
        undone.map_err(step("roll back"))
    }

    async fn attempt(
        &mut self,
        changes: &[Change],
        noting: Option<Noting>,
        form: Form,
    ) -> Result<(), Error> {
        let stages = stages(changes, form);
        let work = self.statements.ready(&self.connection, &stages).await?;
        let known = &self.touched;
        let touched = |plan: &crate::decode::Plan| known.get(&plan.relation.table).cloned();
        let keys: Vec<Vec<Keys<'_>>> = stages
            .iter()
            .map(|stage| match noting {
                Some(noting) => Keys::of(stage, noting, touched),
                None => Vec::new(),
            })
            .collect();
        let mut steps = Vec::with_capacity(work.len());
        for (work, keys) in work.into_iter().zip(&keys) {
            let before: Vec<_> = keys.iter().flat_map(Keys::before).collect();
            let after: Vec<_> = keys.iter().filter_map(Keys::after).collect();
            for job in before.iter().chain(&after) {
                self.statements.prepare(&self.connection, job).await?;
            }
            steps.extend([Work::Jobs(before), work, Work::Jobs(after)]);
        }
        let sent = self.send(&steps).await;
        sent.map_err(|failed| failed.into_error(""))
    }

    async fn send<'a>(&'a self, steps: &'a [Work<'a>]) -> Result<(), Failed<'a>> {
        let client: &Client = &self.connection;
        let mut flight = Flight::default();
        let run = |sql: &'static str| async move { client.batch_execute(sql).await.map(|()| 0) };
        let purpose = Purpose::Step("set a savepoint");
        flight.send(purpose, run("savepoint portion")).await?;
        for work in steps {
            rows::send(&mut flight, client, &self.statements, work).await?;
        }
        let purpose = Purpose::Step("release a savepoint");
        flight
            .send(purpose, run("release savepoint portion"))
            .await?;
        flight.land().await?;
        Ok(())
    }
}

fn is_conflict(error: &Error) -> bool {
    match error {
        // The second: two keys that differ byte for byte but are equal to the index.
        Error::Apply { source, .. } => {
            let conflicts = [SqlState::UNIQUE_VIOLATION, SqlState::CARDINALITY_VIOLATION];
            source.code().is_some_and(|code| conflicts.contains(code))
        }
        _ => false,
    }
}
