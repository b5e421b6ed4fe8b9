//! Why applying stops, sorted by what helps.

use std::fmt;

use change::Position;
use change::TableName;
use change::commit::CommitError;
use change::envelope::SchemaError;
use change::framing::{FramingError, SchemaId};
use change::schema_change::SchemaChangeError;
use change::topic::TopicNameError;
use service::postgres::{ConnectError, describe, passes};
use tokio_postgres::error::{DbError, SqlState};

use crate::consume::{ChainError, PartError};
use crate::decode::DecodeError;
use crate::differences::DifferencesError;

/// Why the applier stopped. No text of it holds a row's value.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("open a session on the target")]
    Connect(#[from] ConnectError),
    #[error("{step} on the target")]
    Target {
        step: &'static str,
        source: StatementError,
    },
    #[error("apply {change} to table {table}")]
    Apply {
        change: Box<ChangePlace>,
        table: TableName,
        source: StatementError,
    },
    #[error("prepare statements for table {table}")]
    Prepare {
        table: TableName,
        source: StatementError,
    },
    #[error(
        "another applier has taken over pipeline {pipeline}: its progress on the target is not \
         where this one left it"
    )]
    Fenced { pipeline: String },
    #[error(transparent)]
    Drift(#[from] Drift),
    #[error(transparent)]
    Differences(#[from] DifferencesError),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error("read commits record at {place}")]
    Commit {
        place: RecordPlace,
        source: CommitError,
    },
    #[error("read the wire format of the record at {place}")]
    Framing {
        place: RecordPlace,
        source: FramingError,
    },
    #[error("read the schema change at {place}")]
    SchemaRecord {
        place: RecordPlace,
        source: SchemaChangeError,
    },
    #[error("make a schema change ({tag} of {object}, at {place}) on the target")]
    SchemaChange {
        place: RecordPlace,
        tag: String,
        object: String,
        source: StatementError,
    },
    #[error("table {table} waits from before the transaction that was begun: beginning again")]
    Waits { table: TableName },
    #[error("decode the record at {place}")]
    Decode {
        place: RecordPlace,
        source: DecodeError,
    },
    #[error("join the parts of a record at {place}")]
    Part {
        place: RecordPlace,
        source: PartError,
    },
    #[error(transparent)]
    Covered(#[from] CoveredError),
    #[error("read schema {} of topic {topic}", schema.0)]
    Schema {
        schema: SchemaId,
        topic: String,
        source: SchemaError,
    },
    #[error(
        "topic {topic} holds records of table {table}, whose topic is another: it was not written \
         by this capture"
    )]
    ForeignTable { topic: String, table: TableName },
    #[error("name the topic of a table")]
    TopicName(#[from] TopicNameError),
    #[error(
        "the registry's schema {} is not the one that the records of topic {topic} were written \
         with (fingerprint {found}, on the target {stored}): the registry was replaced. Point \
         the applier at the former registry",
        schema.0
    )]
    SchemaSwapped {
        schema: SchemaId,
        topic: String,
        stored: String,
        found: String,
    },
    #[error("ask the registry at {url} for schema {}", schema.0)]
    Registry {
        url: String,
        schema: SchemaId,
        source: RegistryError,
    },
    #[error("set up the registry's client for {url}")]
    RegistryClient { url: String, source: RegistryError },
    #[error("{step} at Kafka ({brokers})")]
    Kafka {
        step: &'static str,
        brokers: String,
        source: KafkaError,
    },
    #[error("dead letter {id} is damaged: it cannot be read. Discard it")]
    Letter { id: i64 },
    #[error("register metric")]
    Metrics(#[from] prometheus::Error),
}

/// A schema of the target that does not fit the changes.
#[derive(Debug, thiserror::Error)]
pub enum Drift {
    #[error(
        "table {table} on the target has no column {column}: add it (alter table {} add column \
         {} {pg_type}), then start the applier again",
        table.quoted(),
        change::quoted(column)
    )]
    MissingColumn {
        table: TableName,
        column: String,
        pg_type: String,
    },
    #[error(
        "column {column} of table {table} is of type {found} on the target and of type {expected} \
         on the source: change its type, then start the applier again"
    )]
    ColumnType {
        table: TableName,
        column: String,
        expected: String,
        found: String,
    },
    #[error(
        "table {table} on the target has no unique index on exactly the key columns ({key}): \
         create one that is not deferrable or partial, then start the applier again"
    )]
    MissingKey { table: TableName, key: String },
    #[error(
        "type {pg_type} of column {column} of table {table} does not exist on the target: create \
         it (or its extension), then start the applier again"
    )]
    MissingType {
        table: TableName,
        column: String,
        pg_type: String,
    },
    #[error(
        "column {column} of table {table} is generated on the target and not on the source: make it a \
         plain one (alter table {} alter column {} drop expression), then start the applier again",
        table.quoted(),
        change::quoted(column)
    )]
    Generated { table: TableName, column: String },
    #[error(
        "column {column} of table {table} is generated on the source and not on the target, which is to \
         work out its values by itself: make it a generated one (alter table {0} drop column {1}, add \
         column {1} … generated always as (…) stored), then start the applier again",
        table.quoted(),
        change::quoted(column)
    )]
    NotGenerated { table: TableName, column: String },
    #[error(
        "column {column} of table {table} on the target takes no numbers but its own: let it take the \
         source's (alter table {} alter column {} set generated by default), then start the applier \
         again",
        table.quoted(),
        change::quoted(column)
    )]
    AlwaysIdentity { table: TableName, column: String },
    #[error("{table} on the target is not a table")]
    NotATable { table: TableName },
}

/// Covered records that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CoveredError {
    #[error(
        "{missing} of {records} records that a commits record covers are missing in topic \
         {topic}, partition {partition}, offsets {first_offset} to {end_offset}: the topic was \
         changed behind the pipeline's back. Take a new snapshot"
    )]
    Missing {
        topic: String,
        partition: i32,
        first_offset: i64,
        end_offset: i64,
        records: u64,
        missing: u64,
    },
    #[error(
        "retention has passed unread records of topic {topic}, partition {partition}: offset \
         {wanted} is wanted, the first left is {low}. Take a new snapshot"
    )]
    RetentionPassed {
        topic: String,
        partition: i32,
        wanted: i64,
        low: i64,
    },
    #[error(
        "topic {topic}, partition {partition} ends at offset {high}, before {wanted}: the topic \
         was truncated or made anew. Take a new snapshot"
    )]
    Truncated {
        topic: String,
        partition: i32,
        wanted: i64,
        high: i64,
    },
    #[error(
        "topic {topic} (partition {partition}) is gone: it was deleted with records that were \
         not applied. Take a new snapshot"
    )]
    TopicGone { topic: String, partition: i32 },
    #[error(
        "a commits record covers topic {topic}, partition {partition} from offset \
         {first_offset}, which was read up to {read} before: two captures write to it"
    )]
    Backwards {
        topic: String,
        partition: i32,
        first_offset: i64,
        read: i64,
    },
}

/// Where a record stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordPlace {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

impl fmt::Display for RecordPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            topic,
            partition,
            offset,
        } = self;
        write!(f, "topic {topic}, partition {partition}, offset {offset}")
    }
}

/// Where a change stands: its record, and its place in the source's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangePlace {
    pub record: RecordPlace,
    pub position: Position,
}

impl fmt::Display for ChangePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position {
            commit_lsn,
            ordinal,
        } = self.position;
        write!(f, "change {commit_lsn}:{ordinal} ({})", self.record)
    }
}

/// A failed statement. Its text names SQLSTATE and objects; the server's own messages quote values.
#[derive(Debug)]
pub struct StatementError(pub(crate) tokio_postgres::Error);

impl fmt::Display for StatementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&describe(&self.0))
    }
}

impl std::error::Error for StatementError {}

impl StatementError {
    pub fn code(&self) -> Option<&SqlState> {
        self.0.code()
    }

    pub(crate) fn constraint(&self) -> Option<&str> {
        self.0.as_db_error()?.constraint()
    }

    /// What the server says, when rows of the target are in the way of one: by a unique constraint
    /// or index, or by an exclusion constraint.
    pub(crate) fn in_the_way(&self) -> Option<&DbError> {
        let codes = [SqlState::UNIQUE_VIOLATION, SqlState::EXCLUSION_VIOLATION];
        let said = self.0.as_db_error()?;
        codes.contains(said.code()).then_some(said)
    }

    /// Whether the target refused the data: it would refuse it again, and might take other data.
    /// Classes of the manual, Appendix A: data exception, integrity constraint violation, WITH CHECK
    /// OPTION violation, raised by PL/pgSQL.
    pub(crate) fn is_refusal(&self) -> bool {
        let classes = ["22", "23", "44", "P0"];
        let code = self.0.code();
        code.is_some_and(|code| classes.iter().any(|it| code.code().starts_with(it)))
    }

    /// Whether the same statement can succeed later without anybody mending anything.
    pub fn is_transient(&self) -> bool {
        passes(&self.0)
    }
}

/// The error of a statement on the target that was to do this.
pub(crate) fn step(step: &'static str) -> impl FnOnce(tokio_postgres::Error) -> Error {
    move |error| Error::Target {
        step,
        source: StatementError(error),
    }
}

/// What Kafka's client says.
#[derive(Debug)]
pub struct KafkaError {
    pub(crate) text: String,
    pub(crate) transient: bool,
}

impl fmt::Display for KafkaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for KafkaError {}

/// What the registry's client says.
#[derive(Clone, Debug)]
pub struct RegistryError {
    pub(crate) text: String,
    pub(crate) transient: bool,
    /// It answered that it does not know the schema.
    pub(crate) is_unknown: bool,
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for RegistryError {}

impl Error {
    /// Whether trying again can help without anybody mending anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_transient(),
            Self::Target { source, .. }
            | Self::Apply { source, .. }
            | Self::SchemaChange { source, .. }
            | Self::Prepare { source, .. } => source.is_transient(),
            Self::Kafka { source, .. } => source.transient,
            Self::Waits { .. } => true,
            Self::Registry { source, .. } => source.transient,
            Self::Fenced { .. }
            | Self::Drift(_)
            | Self::Differences(_)
            | Self::Chain(_)
            | Self::Commit { .. }
            | Self::Framing { .. }
            | Self::Decode { .. }
            | Self::SchemaRecord { .. }
            | Self::Part { .. }
            | Self::Covered(_)
            | Self::Schema { .. }
            | Self::ForeignTable { .. }
            | Self::TopicName(_)
            | Self::SchemaSwapped { .. }
            | Self::RegistryClient { .. }
            | Self::Letter { .. }
            | Self::Metrics(_) => false,
        }
    }

    /// Whether it is a record that is at fault, and no more than that one. Not its wire format nor what
    /// its place is read from: without them nobody knows where it belongs.
    pub(crate) fn is_undecodable(&self) -> bool {
        match self {
            Self::Decode { .. } | Self::Schema { .. } | Self::ForeignTable { .. } => true,
            Self::Registry { source, .. } => source.is_unknown,
            Self::Connect(_)
            | Self::Target { .. }
            | Self::Apply { .. }
            | Self::Prepare { .. }
            | Self::Fenced { .. }
            | Self::Drift(_)
            | Self::Differences(_)
            | Self::Chain(_)
            | Self::Commit { .. }
            | Self::Framing { .. }
            | Self::SchemaRecord { .. }
            | Self::Part { .. }
            | Self::SchemaChange { .. }
            | Self::Waits { .. }
            | Self::Covered(_)
            | Self::TopicName(_)
            | Self::SchemaSwapped { .. }
            | Self::RegistryClient { .. }
            | Self::Kafka { .. }
            | Self::Letter { .. }
            | Self::Metrics(_) => false,
        }
    }

    /// The dependency that is away, for health.
    pub(crate) fn dependency(&self) -> &'static str {
        match self {
            Self::Kafka { .. } | Self::Covered(_) => crate::metrics::KAFKA,
            Self::Registry { .. } | Self::RegistryClient { .. } | Self::SchemaSwapped { .. } => {
                crate::metrics::REGISTRY
            }
            Self::Connect(_)
            | Self::Target { .. }
            | Self::Apply { .. }
            | Self::SchemaChange { .. }
            | Self::Waits { .. }
            | Self::Prepare { .. }
            | Self::Fenced { .. }
            | Self::Letter { .. }
            | Self::Drift(_)
            | Self::Differences(_) => crate::metrics::TARGET,
            Self::Chain(_)
            | Self::Commit { .. }
            | Self::Framing { .. }
            | Self::Decode { .. }
            | Self::SchemaRecord { .. }
            | Self::Part { .. }
            | Self::Schema { .. }
            | Self::ForeignTable { .. }
            | Self::TopicName(_)
            | Self::Metrics(_) => crate::metrics::PIPELINE,
        }
    }
}
