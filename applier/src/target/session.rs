//! The applier's session on the target: one transaction at a time, rows and progress together.

use service::postgres::{Connection, connect};
use tokio_postgres::error::SqlState;
use tracing::warn;

use super::flight::{Flight, Purpose};
use super::progress::ProgressStatements;
use super::rows::{self, RowStatements};
use crate::batch::{Form, Portion, stages};
use crate::config::Config;
use crate::error::{Error, StatementError};
use crate::metrics::Metrics;
use crate::progress::{self, Mark, Progress};

pub(crate) struct Session {
    connection: Connection,
    pipeline: String,
    progress: ProgressStatements,
    rows: RowStatements,
    /// Whether a part of a large transaction is applied but not committed.
    open: bool,
    metrics: Metrics,
}

/// The applier is the only writer that may fire no triggers and check no foreign keys, as
/// Postgres' own apply worker. Rows and progress are lost or kept together, so a commit need not
/// wait for the disk.
const SETTINGS: &str = "set session_replication_role = replica; \
    set synchronous_commit = off; \
    set standard_conforming_strings = on; \
    set statement_timeout = 0; \
    set idle_in_transaction_session_timeout = 0";

/// Constraints that the source checked at the end of a transaction cannot be checked sooner here.
const BEGIN: &str = "begin; set constraints all deferred";

impl Session {
    /// Connects, and makes the applier's own tables when they are missing.
    ///
    /// # Errors
    /// When the target is away or does not let us in.
    pub(crate) async fn open(config: &Config, metrics: &Metrics) -> Result<Self, Error> {
        let connection = connect(&config.target, "lockstep applier").await?;
        connection.batch_execute(SETTINGS).await.map_err(step(
            "set up the session (session_replication_role needs a superuser, or: grant set on \
             parameter session_replication_role to the role)",
        ))?;
        let present = "select to_regclass('lockstep.progress') is not null \
                       and to_regclass('lockstep.schemas') is not null";
        let present = connection.query_one(present, &[]).await;
        if !present
            .map_err(step("look for lockstep.progress"))?
            .get::<_, bool>(0)
        {
            let created = connection.batch_execute(progress::SQL).await;
            created.map_err(step("create lockstep.progress"))?;
        }
        let progress = ProgressStatements::prepare(&connection).await;
        Ok(Self {
            progress: progress.map_err(step("prepare statements"))?,
            connection,
            pipeline: config.pipeline.clone(),
            rows: RowStatements::default(),
            open: false,
            metrics: metrics.clone(),
        })
    }

    /// # Errors
    /// When the target does not answer.
    pub(crate) async fn progress(&self) -> Result<Option<Progress>, Error> {
        let read = progress::read(&self.connection, &self.pipeline).await;
        read.map_err(step("read lockstep.progress"))
    }

    /// Applies a portion. One that ends a commits record commits, together with its progress,
    /// which must be at `expected` before.
    ///
    /// # Errors
    /// When it could not be applied; the session is of no use afterwards.
    pub(crate) async fn apply(
        &mut self,
        portion: &Portion,
        expected: Option<&Mark>,
    ) -> Result<(), Error> {
        let resumed = self.open;
        match self.attempt(portion, expected, Form::Compacted).await {
            Err(error) if is_conflict(&error) => {
                warn!(
                    error = %service::chain(&error),
                    "rows hand a unique value to each other: applying change by change"
                );
                self.metrics.conflicts.inc();
                self.undo(resumed, portion).await?;
                self.attempt(portion, expected, Form::Stepwise).await
            }
            other => other,
        }
    }

    async fn attempt(
        &mut self,
        portion: &Portion,
        expected: Option<&Mark>,
        form: Form,
    ) -> Result<(), Error> {
        let stages = stages(&portion.changes, form);
        self.rows.prepare(&self.connection, &stages).await?;
        let resumed = self.open;
        self.open = true;
        let (connection, pipeline) = (&self.connection, self.pipeline.as_str());
        let mut flight = Flight::default();
        if !resumed {
            send_step(&mut flight, connection, "begin", BEGIN).await;
        }
        if let (None, false, Some(expected)) = (&portion.end, resumed, expected) {
            let hold = self.progress.hold(connection, pipeline, expected);
            flight.send(Purpose::Progress, hold).await;
        }
        // A transaction of one portion is done again from its start.
        let savepoint = resumed || portion.end.is_none();
        if savepoint {
            send_step(
                &mut flight,
                connection,
                "set a savepoint",
                "savepoint portion",
            )
            .await;
        }
        for stage in &stages {
            rows::send(&mut flight, connection, &self.rows, stage).await;
        }
        if savepoint {
            let release = "release savepoint portion";
            send_step(&mut flight, connection, "release a savepoint", release).await;
        }
        if let Some(mark) = &portion.end {
            let advance = self.progress.advance(connection, pipeline, expected, mark);
            flight.send(Purpose::Progress, advance).await;
            send_step(&mut flight, connection, "commit", "commit").await;
        }
        let landed = flight.land().await;
        let landed = landed.map_err(|failed| failed.into_error(&self.pipeline))?;
        self.metrics.missing_rows.inc_by(landed.missing_rows);
        self.open = portion.end.is_none();
        Ok(())
    }

    /// Takes back what a failed attempt did.
    async fn undo(&mut self, resumed: bool, portion: &Portion) -> Result<(), Error> {
        let sql = match resumed || portion.end.is_none() {
            true => "rollback to savepoint portion; release savepoint portion",
            // The commit that followed the failed statement has done it already.
            false => "rollback",
        };
        self.open = resumed || portion.end.is_none();
        let undone = self.connection.batch_execute(sql).await;
        undone.map_err(step("roll back"))
    }
}

async fn send_step<'a>(
    flight: &mut Flight<'a>,
    connection: &'a Connection,
    name: &'static str,
    sql: &'static str,
) {
    let step = async move { connection.batch_execute(sql).await.map(|()| 1) };
    flight.send(Purpose::Step(name), step).await;
}

fn is_conflict(error: &Error) -> bool {
    match error {
        Error::Apply { source, .. } => source.code() == Some(&SqlState::UNIQUE_VIOLATION),
        _ => false,
    }
}

fn step(step: &'static str) -> impl FnOnce(tokio_postgres::Error) -> Error {
    move |error| Error::Target {
        step,
        source: StatementError(error),
    }
}
