use std::fmt;
use std::io;

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::ErrorFields;
use service::postgres::ConnectError;

use super::slot::SlotName;
use crate::wire::WireError;

/// Why the replication connection does not do what was asked. Each text names the thing and, where
/// a human must act, the mend.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(transparent)]
    Connect(Box<ConnectError>),
    /// The connection broke; the stream goes on from the confirmed position after a reconnect.
    #[error("replication connection to {address} lost")]
    Lost {
        address: String,
        #[source]
        source: io::Error,
    },
    /// The server ended the stream in good order, as it does when it shuts down.
    #[error("replication stream ended by {address}")]
    Ended { address: String },
    /// The server starts, stops, recovers, or has no room for now.
    #[error("source at {address} is not available now")]
    Unavailable {
        address: String,
        #[source]
        source: Box<ServerError>,
    },
    #[error("log in to {address} as role \"{user}\": check password, role and pg_hba.conf")]
    Login {
        address: String,
        user: String,
        #[source]
        source: Box<ServerError>,
    },
    /// The log-in failed on our side.
    #[error("log in to {address} as role \"{user}\"")]
    Authentication {
        address: String,
        user: String,
        #[source]
        source: AuthenticationFault,
    },
    #[error("database \"{database}\" does not exist at {address}: create it, or name another")]
    DatabaseMissing { address: String, database: String },
    #[error(
        "role \"{user}\" lacks a right on the source: `alter role \"{user}\" replication`, and `grant connect` on the database"
    )]
    ReplicationRight {
        user: String,
        #[source]
        source: Box<ServerError>,
    },
    #[error(
        "wal_level of the source at {address} is not logical: `alter system set wal_level = logical`, then restart Postgres"
    )]
    WalLevel { address: String },
    #[error("source at {address} runs Postgres {version}: logical streaming needs 14 or newer")]
    Version { address: String, version: String },
    /// Also what our own predecessor leaves behind for as long as the server has not noticed its
    /// end, at most `wal_sender_timeout`: after a restart, try again for that long.
    #[error("slot \"{slot}\" is in use{}: stop its reader or end it with `select pg_terminate_backend(pid)`", by(*pid))]
    SlotTaken { slot: SlotName, pid: Option<i32> },
    #[error(
        "slot \"{slot}\" does not exist: create it again and take a new snapshot, for what changed without it is not in the stream"
    )]
    SlotMissing { slot: SlotName },
    #[error("slot \"{slot}\" exists already")]
    SlotExists { slot: SlotName },
    #[error(
        "slot \"{slot}\" has lost WAL that it needs: drop it, raise max_slot_wal_keep_size, and take a new snapshot"
    )]
    WalRemoved {
        slot: SlotName,
        #[source]
        source: Box<ServerError>,
    },
    #[error(
        "no replication slot is free: raise max_replication_slots, or drop a slot that nobody reads"
    )]
    SlotsFull {
        #[source]
        source: Box<ServerError>,
    },
    /// Publications are looked up as they were at the change being read: one that was created after
    /// the slot is missing for the changes before it.
    #[error(
        "a publication of {publications} does not exist where the stream stands: create it before the slot"
    )]
    PublicationMissing {
        publications: String,
        #[source]
        source: Box<ServerError>,
    },
    #[error("read replication frame")]
    Frame(#[source] WireError),
    /// The server does not keep to the protocol.
    #[error("unexpected answer from {address} to {step}")]
    Unexpected { address: String, step: &'static str },
    /// Anything else that the server refuses.
    #[error("source at {address} refused {step}")]
    Refused {
        address: String,
        step: &'static str,
        #[source]
        source: Box<ServerError>,
    },
}

impl SourceError {
    /// Whether the same attempt can succeed later without anybody acting.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_transient(),
            Self::Lost { .. } | Self::Ended { .. } | Self::Unavailable { .. } => true,
            Self::Login { .. }
            | Self::Authentication { .. }
            | Self::DatabaseMissing { .. }
            | Self::ReplicationRight { .. }
            | Self::WalLevel { .. }
            | Self::Version { .. }
            | Self::SlotTaken { .. }
            | Self::SlotMissing { .. }
            | Self::SlotExists { .. }
            | Self::WalRemoved { .. }
            | Self::SlotsFull { .. }
            | Self::PublicationMissing { .. }
            | Self::Frame(_)
            | Self::Unexpected { .. }
            | Self::Refused { .. } => false,
        }
    }
}

fn by(pid: Option<i32>) -> String {
    pid.map(|pid| format!(" by server process {pid}"))
        .unwrap_or_default()
}

/// Why a log-in failed before the server could judge it.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationFault {
    #[error("the server asks for a password and none is set")]
    NoPassword,
    #[error(
        "the server asks for the password in clear text on a connection without TLS: use scram-sha-256 in pg_hba.conf, or sslmode=require"
    )]
    ClearText,
    #[error("the server asks for {0}, which is not supported: use scram-sha-256 in pg_hba.conf")]
    Method(&'static str),
    #[error(
        "channel_binding=require, but the server does not offer SCRAM-SHA-256-PLUS on this connection"
    )]
    NoChannelBinding,
    #[error("the server did not prove that it knows the password")]
    Scram(#[source] io::Error),
}

/// An ErrorResponse without the fields that may show row values (detail, context).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError {
    /// SQLSTATE
    pub code: String,
    pub message: String,
    pub hint: Option<String>,
}

impl ServerError {
    /// Takes what it needs of an ErrorResponse or NoticeResponse (manual, "Error and Notice Message
    /// Fields"). Before the session's encoding is set the texts may not be UTF-8.
    pub(super) fn new(mut fields: ErrorFields<'_>) -> io::Result<Box<Self>> {
        let mut error = Self {
            code: String::new(),
            message: String::new(),
            hint: None,
        };
        while let Some(field) = fields.next()? {
            let value = || String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                b'C' => error.code = value(),
                b'M' => error.message = value(),
                b'H' => error.hint = Some(value()),
                _ => {}
            }
        }
        Ok(Box::new(error))
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.code)?;
        match &self.hint {
            Some(hint) => write!(f, ", hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ServerError {}
