//! Why capture stops.

use change::commit::CommitError;
use change::framing::FramingError;
use change::schema_change::SchemaChangeError;
use change::{Lsn, TableName};
use service::postgres::{ConnectError, passes};

use crate::catalog::CatalogError;
use crate::control::ParseVisibilityError;
use crate::encode::EncodeError;
use crate::kafka::KafkaFault;
use crate::publish::PublishError;
use crate::registry::RegistryError;
use crate::snapshot::SnapshotError;
use crate::source::{SlotName, SourceError};
use crate::spool::SpoolError;
use crate::tables::TableError;
use crate::wire::WireError;
use crate::wire::pgoutput::DecodeError;

/// Why capture stops. Those that [`Error::is_transient`] calls transient are retried inside.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("stream from the source")]
    Source(#[from] SourceError),
    #[error("connect to the source")]
    Connect(#[from] ConnectError),
    #[error("read published tables")]
    Catalog(#[from] CatalogError),
    #[error("prepare a table")]
    Table(#[from] TableError),
    #[error("use the schema registry")]
    Registry(#[from] RegistryError),
    #[error("use Kafka")]
    Kafka(#[from] KafkaFault),
    #[error("take the first snapshot")]
    Snapshot(#[from] SnapshotError),
    #[error("publish")]
    Publish(#[from] PublishError),
    #[error("read a message of the stream")]
    Decode(#[from] DecodeError),
    #[error("encode a change at {commit_lsn}")]
    Encode {
        commit_lsn: Lsn,
        source: EncodeError,
    },
    #[error(
        "schema change in the transaction that committed at {commit_lsn}: the source's trigger and \
         capture are of different versions; run `lockstep setup`"
    )]
    SchemaChange {
        commit_lsn: Lsn,
        source: SchemaChangeError,
    },
    #[error("read which transactions the source shows")]
    Visibility(#[from] ParseVisibilityError),
    #[error("the task that looks at what capture should heed ended early")]
    Unwatched,
    #[error("read the rows of a chunk of table {table}")]
    Chunk { table: TableName, source: WireError },
    #[error("keep a transaction that is in progress")]
    Spool(#[from] SpoolError),
    #[error("send a change")]
    Send(#[source] KafkaFault),
    #[error("{step} on the source")]
    Query {
        step: &'static str,
        source: tokio_postgres::Error,
    },
    #[error(
        "publication \"{publication}\" does not exist and cannot be made: let its owner run \
         `create publication \"{publication}\" for table ...`"
    )]
    Publication {
        publication: String,
        source: tokio_postgres::Error,
    },
    #[error("the last record of topic {topic} does not name its schema")]
    HistoryFraming { topic: String, source: FramingError },
    #[error("the last record of topic {topic} cannot be read")]
    History { topic: String, source: CommitError },
    #[error(
        "topic {topic} holds changes of system {theirs}, but the source is system {ours}: \
         name another --prefix for another source"
    )]
    ForeignHistory {
        topic: String,
        theirs: String,
        ours: String,
    },
    #[error(
        "the source is on timeline {ours}, but what was captured up to {commit_lsn} is of timeline \
         {theirs}: if this server has all of it, go on with --accept-timeline {ours}; else name \
         another --prefix and take a new snapshot"
    )]
    Timeline {
        theirs: u32,
        ours: u32,
        commit_lsn: Lsn,
    },
    #[error(
        "slot \"{slot}\" does not exist any more: what changed after {commit_lsn} is not in the \
         topics; name another --prefix and take a new snapshot"
    )]
    SlotGone { slot: SlotName, commit_lsn: Lsn },
    #[error(
        "slot \"{slot}\" sent a {message} where none can be: it is not read by the rules of its protocol"
    )]
    OutOfOrder {
        slot: SlotName,
        message: &'static str,
    },
    #[error("two-phase transactions are not captured: make the slot without two_phase")]
    TwoPhase,
    #[error("register metrics")]
    Metrics(#[from] prometheus::Error),
    /// Not an error for the caller of [`crate::run`].
    #[error("stopped")]
    Stopped,
}

impl Error {
    /// Whether beginning again can succeed without anybody acting.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Source(error) => error.is_transient(),
            Self::Connect(error) => error.is_transient(),
            Self::Catalog(error) => error.is_transient(),
            Self::Table(error) => error.is_transient(),
            Self::Registry(error) => error.is_transient(),
            Self::Kafka(fault) | Self::Send(fault) => fault.is_transient(),
            Self::Snapshot(error) => error.is_transient(),
            Self::Publish(error) => error.is_transient(),
            Self::Query { source, .. } => passes(source),
            Self::Decode(_)
            | Self::Visibility(_)
            | Self::Unwatched
            | Self::Chunk { .. }
            | Self::Spool(_)
            | Self::Encode { .. }
            | Self::SchemaChange { .. }
            | Self::Publication { .. }
            | Self::HistoryFraming { .. }
            | Self::History { .. }
            | Self::ForeignHistory { .. }
            | Self::Timeline { .. }
            | Self::SlotGone { .. }
            | Self::OutOfOrder { .. }
            | Self::TwoPhase
            | Self::Metrics(_)
            | Self::Stopped => false,
        }
    }
}
