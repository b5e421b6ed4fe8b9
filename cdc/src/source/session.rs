use std::str::FromStr;
use std::time::Duration;

use change::Lsn;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{DataRowBody, Message};
use postgres_protocol::message::frontend;
use service::postgres::{Dsn, dial};
use tokio::time::timeout;

use super::command::{self, ServerVersion};
use super::connection::{Connection, Frame};
use super::error::{ServerError, SourceError};
use super::refusal::{NOT_IN_PREREQUISITE_STATE, Peer, Step, classify};
use super::slot::{CreatedSlot, SlotLife, SlotName};
use super::startup::{self, lost};
use super::stream::ReplicationStream;

/// A replication connection that takes commands. Dropping it closes the connection.
///
/// Its methods are not cancel-safe: after a dropped future only dropping the session is left.
pub struct Session {
    connection: Connection,
    peer: Peer,
    version: ServerVersion,
}

/// What IDENTIFY_SYSTEM tells of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemIdentity {
    /// The same in a server and its physical standbys, and in no other.
    pub system_id: u64,
    pub timeline: u32,
    /// The end of what was flushed to the WAL.
    pub flush_lsn: Lsn,
    pub database: String,
}

impl Session {
    /// Connects and logs in.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached, refuses the log-in, or is older than 14.
    pub async fn connect(dsn: &Dsn) -> Result<Self, SourceError> {
        let stream = dial(dsn)
            .await
            .map_err(|e| SourceError::Connect(Box::new(e)))?;
        let mut connection = Connection::new(stream);
        let peer = Peer {
            address: format!("{}:{}", dsn.host(), dsn.port()),
            database: dsn.dbname().to_owned(),
            user: dsn.user().to_owned(),
        };
        let config = dsn.tokio_config("");
        let limit = config
            .get_connect_timeout()
            .copied()
            .unwrap_or(LOG_IN_LIMIT);
        let version = timeout(limit, startup::start(&mut connection, &config, &peer))
            .await
            .map_err(|_| lost(&peer, std::io::ErrorKind::TimedOut.into()))??;
        let Some(supported) = ServerVersion::parse(&version) else {
            return Err(SourceError::Version {
                address: peer.address,
                version,
            });
        };
        Ok(Self {
            connection,
            peer,
            version: supported,
        })
    }

    pub async fn identify_system(&mut self) -> Result<SystemIdentity, SourceError> {
        let step = Step::Command("IDENTIFY_SYSTEM");
        let rows = self.query(step, "IDENTIFY_SYSTEM").await?;
        let mut row = self.one_row(step, rows)?;
        Ok(SystemIdentity {
            system_id: self.value(step, &mut row)?,
            timeline: self.value(step, &mut row)?,
            flush_lsn: self.value(step, &mut row)?,
            database: self.value(step, &mut row)?,
        })
    }

    /// Creates a slot for `pgoutput` and exports the snapshot that its stream follows on.
    ///
    /// Waits for the end of all transactions that have begun to write. The snapshot lives until this
    /// session gets its next command or is dropped.
    pub async fn create_slot(
        &mut self,
        slot: &SlotName,
        life: SlotLife,
    ) -> Result<CreatedSlot, SourceError> {
        let step = Step::CreateSlot(slot);
        let rows = self.query(step, &command::create_slot(slot, life)).await?;
        // slot_name, consistent_point, snapshot_name, output_plugin
        let mut row = self.one_row(step, rows)?.skip(1);
        Ok(CreatedSlot {
            consistent_point: self.value(step, &mut row)?,
            snapshot_name: self.value(step, &mut row)?,
        })
    }

    pub async fn drop_slot(&mut self, slot: &SlotName) -> Result<(), SourceError> {
        let dropped = self
            .query(Step::DropSlot(slot), &command::drop_slot(slot))
            .await;
        match dropped {
            Ok(_) => Ok(()),
            Err(error) => Err(self.explain(slot, error).await),
        }
    }

    /// Starts to stream what commits after `from`, or after the slot's confirmed position where that
    /// is later: binary, with logical messages, and with transactions while they are in progress.
    pub async fn start_replication(
        mut self,
        slot: &SlotName,
        from: Lsn,
        publications: &[String],
    ) -> Result<ReplicationStream, SourceError> {
        let step = Step::StartReplication(slot);
        let command = command::start_replication(slot, from, publications, self.version);
        self.send(&command).await?;
        loop {
            match self.receive(step).await {
                Ok(Frame::CopyBothResponse) => break,
                Ok(Frame::Message(Message::ParameterStatus(_) | Message::NoticeResponse(_))) => {}
                Ok(Frame::Message(_)) => return Err(self.unexpected(step)),
                Err(error) => {
                    let error = self.settle(step, error).await;
                    return Err(self.explain(slot, error).await);
                }
            }
        }
        self.connection.stream_begins();
        Ok(ReplicationStream::new(
            self,
            slot.clone(),
            publications.to_vec(),
        ))
    }

    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The next message; an error of the server becomes ours.
    pub(super) async fn receive(&mut self, step: Step<'_>) -> Result<Frame, SourceError> {
        match self.connection.receive().await {
            Ok(Frame::Message(Message::ErrorResponse(body))) => {
                let error = ServerError::new(body.fields()).map_err(|e| lost(&self.peer, e))?;
                Err(classify(&self.peer, step, error))
            }
            Ok(frame) => Ok(frame),
            Err(error) => Err(lost(&self.peer, error)),
        }
    }

    pub(super) fn unexpected(&self, step: Step<'_>) -> SourceError {
        SourceError::Unexpected {
            address: self.peer.address.clone(),
            step: step.name(),
        }
    }

    async fn send(&mut self, command: &str) -> Result<(), SourceError> {
        frontend::query(command, self.connection.outgoing()).map_err(|e| lost(&self.peer, e))?;
        self.connection
            .flush()
            .await
            .map_err(|e| lost(&self.peer, e))
    }

    /// Runs a command by the simple protocol, the only one that a walsender speaks.
    async fn query(&mut self, step: Step<'_>, command: &str) -> Result<Vec<Row>, SourceError> {
        self.send(command).await?;
        let mut rows = Vec::new();
        loop {
            match self.receive(step).await {
                Ok(Frame::Message(Message::DataRow(body))) => {
                    rows.push(row(&body).map_err(|e| lost(&self.peer, e))?);
                }
                Ok(Frame::Message(Message::ReadyForQuery(_))) => return Ok(rows),
                Ok(Frame::Message(
                    Message::RowDescription(_)
                    | Message::CommandComplete(_)
                    | Message::ParameterStatus(_)
                    | Message::NoticeResponse(_),
                )) => {}
                Ok(Frame::Message(_) | Frame::CopyBothResponse) => {
                    return Err(self.unexpected(step));
                }
                Err(error) => return Err(self.settle(step, error).await),
            }
        }
    }

    /// After an error that did not end the connection the server takes commands again; what it says
    /// until then is not needed.
    async fn settle(&mut self, step: Step<'_>, error: SourceError) -> SourceError {
        while let Ok(frame) = self.receive(step).await {
            if matches!(frame, Frame::Message(Message::ReadyForQuery(_))) {
                break;
            }
        }
        error
    }

    /// Asks the server what its error does not say in a form to rely on: who has the slot, and
    /// whether the slot has lost its WAL.
    async fn explain(&mut self, slot: &SlotName, error: SourceError) -> SourceError {
        match error {
            SourceError::SlotTaken { slot, .. } => SourceError::SlotTaken {
                pid: self
                    .slot_column(&slot, "active_pid")
                    .await
                    .and_then(|pid| pid.parse().ok()),
                slot,
            },
            SourceError::Refused { source, .. }
                if source.code == NOT_IN_PREREQUISITE_STATE
                    && self.slot_column(slot, "wal_status").await.as_deref() == Some("lost") =>
            {
                SourceError::WalRemoved {
                    slot: slot.clone(),
                    source,
                }
            }
            other => other,
        }
    }

    async fn slot_column(&mut self, slot: &SlotName, column: &'static str) -> Option<String> {
        let sql = format!(
            "select {column} from pg_catalog.pg_replication_slots where slot_name = '{slot}'"
        );
        let rows = self.query(Step::Command(column), &sql).await.ok()?;
        rows.into_iter().flatten().next().flatten()
    }

    fn one_row(
        &self,
        step: Step<'_>,
        rows: Vec<Row>,
    ) -> Result<impl Iterator<Item = Option<String>> + use<>, SourceError> {
        match <[Row; 1]>::try_from(rows) {
            Ok([row]) => Ok(row.into_iter()),
            Err(_) => Err(self.unexpected(step)),
        }
    }

    fn value<T: FromStr>(
        &self,
        step: Step<'_>,
        row: &mut impl Iterator<Item = Option<String>>,
    ) -> Result<T, SourceError> {
        row.next()
            .flatten()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| self.unexpected(step))
    }
}

/// What `connect_timeout` is when it is not set.
const LOG_IN_LIMIT: Duration = Duration::from_secs(10);

/// The text of each column.
type Row = Vec<Option<String>>;

fn row(body: &DataRowBody) -> std::io::Result<Row> {
    body.ranges()
        .map(|range| {
            Ok(range
                .and_then(|range| body.buffer().get(range))
                .map(|text| String::from_utf8_lossy(text).into_owned()))
        })
        .collect()
}
