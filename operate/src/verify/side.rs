//! Connections to one side that see one state of it.

use std::time::Duration;

use anyhow::Context;
use service::postgres::{Connection, Dsn, connect};
use tokio_postgres::Client;

use super::digest::FIXED_OUTPUT;

/// A snapshot of one side, and connections that read under it.
///
/// The leader's transaction keeps the snapshot and reads no table. Readers begin a transaction for
/// each piece that they read, so that no lock on a table is held for longer than that.
///
/// Where the leader has locked the tables, it reads them itself: who waits to truncate one waits for
/// the leader, and others would wait behind him.
pub(super) struct Side {
    pub(super) name: &'static str,
    pub(super) leader: Connection,
    readers: Vec<Connection>,
    begin: String,
    reading: Reading,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    ByReaders,
    ByLeader,
}

/// Limits that the session's role or database may have.
const NO_LIMITS: &str = "
    select set_config(name, '0', false) from pg_settings
     where name in ('statement_timeout', 'lock_timeout', 'idle_session_timeout',
                    'idle_in_transaction_session_timeout', 'transaction_timeout')";

impl Side {
    /// Connects, and sees no state yet.
    ///
    /// # Errors
    /// When the side cannot be reached.
    pub(super) async fn connect(
        name: &'static str,
        dsn: &Dsn,
        readers: u16,
    ) -> anyhow::Result<Self> {
        let mut side = Self {
            name,
            leader: session(dsn).await?,
            readers: Vec::new(),
            begin: BEGIN.to_owned(),
            reading: Reading::ByReaders,
        };
        for _ in 0..readers.max(1) {
            side.readers.push(session(dsn).await?);
        }
        Ok(side)
    }

    /// Takes the snapshot of another session.
    pub(super) async fn adopt(&self, snapshot: &str) -> anyhow::Result<()> {
        let begin = format!("{BEGIN}; {}", adoption(snapshot));
        let begun = self.leader.batch_execute(&begin).await;
        begun.with_context(|| format!("take the snapshot of the {}", self.name))
    }

    /// Begins to see the present state.
    pub(super) async fn begin(&self) -> anyhow::Result<()> {
        let begun = self.leader.batch_execute(BEGIN).await;
        begun.with_context(|| format!("begin on the {}", self.name))
    }

    /// Lets the readers see what the leader sees.
    pub(super) async fn share(&mut self) -> anyhow::Result<()> {
        let export = self.leader.query_one("select pg_export_snapshot()", &[]);
        let row = export.await;
        let row = row.with_context(|| format!("export the snapshot of the {}", self.name))?;
        self.begin = format!("{BEGIN}; {}", adoption(row.get(0)));
        Ok(())
    }

    /// Keeps these tables from being truncated or dropped as long as the snapshot is kept.
    pub(super) async fn lock(&mut self, names: &[String], limit: Duration) -> anyhow::Result<()> {
        let limit = format!("set local lock_timeout = {}", limit.as_millis());
        self.leader.batch_execute(&limit).await?;
        for name in names {
            let lock = format!("lock table {name} in access share mode");
            let locked = self.leader.batch_execute(&lock).await;
            locked.context("keep a table from being truncated")?;
        }
        self.reading = Reading::ByLeader;
        Ok(())
    }

    /// Who reads tables.
    pub(super) fn readers(&self) -> &[Connection] {
        match self.reading {
            Reading::ByReaders => &self.readers,
            Reading::ByLeader => std::slice::from_ref(&self.leader),
        }
    }

    /// Lets a reader see the snapshot.
    pub(super) async fn begin_reading(&self, reader: &Client) -> anyhow::Result<()> {
        if self.reading == Reading::ByLeader {
            return Ok(());
        }
        let begun = reader.batch_execute(&self.begin).await;
        begun.with_context(|| format!("begin to read the {}", self.name))
    }

    /// Gives the locks of what was read back.
    pub(super) async fn end_reading(&self, reader: &Client) -> anyhow::Result<()> {
        if self.reading == Reading::ByLeader {
            return Ok(());
        }
        reader.batch_execute("commit").await.context("commit")
    }
}

const BEGIN: &str = "begin isolation level repeatable read, read only";

/// The name comes from the server and holds digits and dashes; doubled quotes are safe anyway.
fn adoption(snapshot: &str) -> String {
    format!(
        "set transaction snapshot '{}'",
        snapshot.replace('\'', "''")
    )
}

/// A session that writes values in one way whatever its surroundings.
pub(super) async fn session(dsn: &Dsn) -> anyhow::Result<Connection> {
    let connection = connect(dsn, "lockstep verify").await?;
    let settings = format!("{FIXED_OUTPUT}; {NO_LIMITS}");
    let set = connection.batch_execute(&settings).await;
    set.context("fix how values are written")?;
    Ok(connection)
}
