//! The applier's session on the target: one transaction at a time, rows and progress together.

use service::postgres::{Connection, Dsn, connect};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tracing::warn;

use super::flight::{Failed, Flight, Purpose};
use super::letters::LetterStatements;
use super::progress::ProgressStatements;
use super::rows;
use super::sequences::SequenceStatement;
use super::statements::{Statements, Work};
use crate::batch::{Aside, Form, Portion, Sifted, stages};
use crate::config::Config;
use crate::conflicts::Conflicts;
use crate::control::Control;
use crate::differences::{self, Differences};
use crate::error::{Error, step};
use crate::metrics::Metrics;
use crate::progress::{self, Mark, Progress};
use crate::schema_change::SchemaChanges;

pub(crate) struct Session {
    pub(super) connection: Connection,
    pub(super) pipeline: String,
    pub(super) progress: ProgressStatements,
    pub(super) letters: LetterStatements,
    pub(super) sequences: SequenceStatement,
    pub(super) policies: Policies,
    pub(super) statements: Statements,
    /// Whether a part of a large transaction is applied but not committed.
    pub(super) open: bool,
    pub(super) metrics: Metrics,
}

/// What is done with what the target refuses, and with changes of tables, and how its tables differ.
#[derive(Default)]
pub(crate) struct Policies {
    pub(crate) conflicts: Conflicts,
    pub(crate) schema_changes: SchemaChanges,
    pub(crate) differences: Differences,
}

/// What became of a portion that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Applied,
    /// As `Applied`, but for changes that were set aside: the rules have changed by it.
    SetAside,
    /// Nothing was applied: the rules have changed.
    OtherRules,
}

/// What the target shows of who applies.
pub(crate) const APPLICATION_NAME: &str = "lockstep applier";

/// The applier is the only writer that may fire no triggers and check no foreign keys, as
/// Postgres' own apply worker. Rows and progress are lost or kept together, so a commit need not
/// wait for the disk.
const SETTINGS: &str = "set session_replication_role = replica; \
    set synchronous_commit = off; \
    set standard_conforming_strings = on; \
    set statement_timeout = 0; \
    set idle_in_transaction_session_timeout = 0";

/// Constraints that the source checked at the end of a transaction cannot be checked sooner here.
pub(super) const BEGIN: &str = "begin; set constraints all deferred";

impl Session {
    /// Connects, and makes the applier's own tables when they are missing.
    ///
    /// # Errors
    /// When the target is away or does not let us in.
    pub(crate) async fn open(config: &Config, metrics: &Metrics) -> Result<Self, Error> {
        let policies = Policies {
            conflicts: config.conflicts.clone(),
            schema_changes: config.schema_changes.clone(),
            differences: config.differences.clone(),
        };
        let session = Self::connect(&config.target, &config.pipeline, policies, metrics).await?;
        let (client, pipeline) = (&session.connection, &config.pipeline);
        differences::settle(client, pipeline, &config.differences).await?;
        Ok(session)
    }

    /// As [`Session::open`].
    pub(crate) async fn connect(
        target: &Dsn,
        pipeline: &str,
        policies: Policies,
        metrics: &Metrics,
    ) -> Result<Self, Error> {
        let connection = connect(target, APPLICATION_NAME).await?;
        connection.batch_execute(SETTINGS).await.map_err(step(
            "set up the session (session_replication_role needs a superuser, or: grant set on \
             parameter session_replication_role to the role)",
        ))?;
        let present = "select to_regclass('lockstep.progress') is not null \
                       and to_regclass('lockstep.schemas') is not null \
                       and to_regprocedure('lockstep.wait_for(pg_lsn, interval, text)') is not null \
                       and to_regclass('lockstep.differences') is not null \
                       and to_regclass('lockstep.indexes') is not null \
                       and exists (select from pg_catalog.pg_attribute \
                                   where attrelid = to_regclass('lockstep.dead_letters') \
                                     and attname = 'record')";
        let present = connection.query_one(present, &[]).await;
        if !present
            .map_err(step("look for lockstep.progress"))?
            .get::<_, bool>(0)
        {
            let created = connection.batch_execute(progress::SQL).await;
            created.map_err(step("create lockstep.progress"))?;
        }
        let progress = ProgressStatements::prepare(&connection).await;
        let letters = LetterStatements::prepare(&connection).await;
        let sequences = SequenceStatement::prepare(&connection).await;
        Ok(Self {
            progress: progress.map_err(step("prepare statements"))?,
            letters: letters.map_err(step("prepare statements"))?,
            sequences: sequences.map_err(step("prepare statements"))?,
            policies,
            connection,
            pipeline: pipeline.to_owned(),
            statements: Statements::default(),
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

    /// The rules as they are now.
    ///
    /// # Errors
    /// When the target does not answer.
    pub(crate) async fn control(&self) -> Result<Control, Error> {
        let read = Control::read(&self.connection, &self.pipeline).await;
        read.map_err(step("read lockstep.control"))
    }

    /// Whether a part of a large transaction is applied but not committed. The rules cannot change
    /// then.
    pub(crate) fn is_open(&self) -> bool {
        self.open
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
        control: &Control,
    ) -> Result<Outcome, Error> {
        if !portion.schema_changes.is_empty() {
            return self.apply_in_parts(portion, expected, control).await;
        }
        let resumed = self.open;
        let mut held = control.held_keys.clone();
        let sifted = Sifted::new(control.live(&portion.changes), &mut held);
        let mut refused = None;
        for form in [Form::Compacted, Form::Upserted, Form::Stepwise] {
            if let Some(error) = refused.take() {
                warn!(
                    error = %service::chain(&error),
                    ?form,
                    "a unique value was taken: applying the changes in another form"
                );
                self.metrics.conflicts.inc();
                self.undo(resumed, portion).await?;
            }
            let version = control.version;
            match self
                .attempt(portion, expected, version, &sifted, form)
                .await
            {
                Ok(()) if sifted.aside.is_empty() => return Ok(Outcome::Applied),
                Ok(()) => return Ok(Outcome::SetAside),
                Err(error) if is_conflict(&error) => refused = Some(error),
                Err(Error::Fenced { .. }) if !resumed => {
                    return self.fenced(expected, control).await;
                }
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        let error = refused.expect("the loop ends with an error");
        if self.answer(&error, &held).is_none() {
            return Err(error);
        }
        self.undo(resumed, portion).await?;
        self.apply_in_parts(portion, expected, control).await
    }

    /// Finds out whether another applier has moved the progress, or an operator changed the rules.
    pub(super) async fn fenced(
        &mut self,
        expected: Option<&Mark>,
        control: &Control,
    ) -> Result<Outcome, Error> {
        let undone = self.connection.batch_execute("rollback").await;
        undone.map_err(step("roll back"))?;
        self.open = false;
        let progress = self.progress().await?;
        let unmoved = progress.as_ref().is_some_and(|found| {
            let found_mark = found.mark();
            found.control != control.version
                && expected.is_some_and(|expected| {
                    found_mark.applied == expected.applied
                        && found_mark.commits_offset == expected.commits_offset
                })
        });
        match unmoved {
            true => Ok(Outcome::OtherRules),
            false => Err(Error::Fenced {
                pipeline: self.pipeline.clone(),
            }),
        }
    }

    async fn attempt(
        &mut self,
        portion: &Portion,
        expected: Option<&Mark>,
        version: i64,
        sifted: &Sifted<'_>,
        form: Form,
    ) -> Result<(), Error> {
        let stages = stages(sifted.admitted.iter().copied(), form);
        let work = self.statements.ready(&self.connection, &stages).await?;
        let resumed = self.open;
        self.open = true;
        let sent = self
            .send(portion, expected, version, (&work, &sifted.aside), resumed)
            .await;
        let missing_rows = sent.map_err(|failed| failed.into_error(&self.pipeline))?;
        self.metrics.missing_rows.inc_by(missing_rows);
        self.open = portion.mark().is_none();
        Ok(())
    }

    /// Sends all statements; without a COPY among them, before the first answer. Answers how many
    /// rows were missing.
    async fn send<'a>(
        &'a self,
        portion: &'a Portion,
        expected: Option<&'a Mark>,
        version: i64,
        (work, aside): (&'a [Work<'a>], &'a [Aside<'a>]),
        resumed: bool,
    ) -> Result<u64, Failed<'a>> {
        let (client, pipeline) = (&*self.connection, self.pipeline.as_str());
        let mut flight = Flight::default();
        if !resumed {
            flight
                .send(Purpose::Step("begin"), run(client, BEGIN))
                .await?;
        }
        if let (false, Some(expected)) = (resumed, expected) {
            let hold = self.progress.hold(client, pipeline, expected, version);
            flight.send(Purpose::Progress, hold).await?;
        }
        let mark = portion.mark();
        // A transaction of one portion is done again from its start.
        let savepoint = resumed || mark.is_none();
        if savepoint {
            let set = run(client, "savepoint portion");
            flight.send(Purpose::Step("set a savepoint"), set).await?;
        }
        for work in work {
            rows::send(&mut flight, client, &self.statements, work).await?;
        }
        for aside in aside {
            let written = self.letters.write(client, pipeline, *aside);
            let purpose = Purpose::Step("set a change aside");
            flight.send(purpose, written).await?;
        }
        if savepoint {
            let release = run(client, "release savepoint portion");
            let purpose = Purpose::Step("release a savepoint");
            flight.send(purpose, release).await?;
        }
        self.move_sequences(&mut flight, portion).await?;
        if let Some(mark) = mark {
            // A commit behind a failure would roll back more than the savepoint.
            if savepoint {
                flight.land().await?;
            }
            let advance = self.progress.advance(client, pipeline, expected, mark);
            flight.send(Purpose::Progress, advance).await?;
            flight
                .send(Purpose::Step("commit"), run(client, "commit"))
                .await?;
        }
        flight.land().await
    }

    /// Sends how far the source's sequences are, where they have moved.
    pub(super) async fn move_sequences<'a>(
        &'a self,
        flight: &mut Flight<'a>,
        portion: &'a Portion,
    ) -> Result<(), Failed<'a>> {
        let sequences = portion.sequences();
        if sequences.is_empty() {
            return Ok(());
        }
        let moved = self.sequences.advance(&self.connection, sequences);
        flight.send(Purpose::Step("move sequences on"), moved).await
    }

    /// Takes back what a failed attempt did.
    async fn undo(&mut self, resumed: bool, portion: &Portion) -> Result<(), Error> {
        let sql = match resumed || portion.mark().is_none() {
            true => "rollback to savepoint portion; release savepoint portion",
            // Done already where the commit was on its way behind the failed statement.
            false => "rollback",
        };
        self.open = resumed || portion.mark().is_none();
        let undone = self.connection.batch_execute(sql).await;
        undone.map_err(step("roll back"))
    }
}

pub(super) async fn run(client: &Client, sql: &'static str) -> Result<u64, tokio_postgres::Error> {
    client.batch_execute(sql).await.map(|()| 0)
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
