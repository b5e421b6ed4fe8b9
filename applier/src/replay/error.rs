//! Why a replay is refused, or stops.

use change::{Lsn, TableName};
use service::postgres::ConnectError;

use super::request::Place;
use crate::error::{Error, StatementError};

/// Why a replay is refused, or stops. No text of it holds a row's value.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Apply(#[from] Error),
    #[error("the commits topic is empty: there is nothing to replay")]
    NothingThere,
    #[error("retention has removed changes of every position up to {latest}")]
    AllLost { latest: Place },
    #[error("the topics reach back to {earliest} only: begin there or later")]
    TooEarly { earliest: Place },
    #[error("nothing committed there yet: the topics end at {latest}")]
    Beyond { latest: Place },
    #[error("the topics end at {latest}, before {to}")]
    NotReached { to: Lsn, latest: Place },
    #[error("the replay would end at {to}, before it begins at {from}")]
    Backwards { from: Lsn, to: Lsn },
    #[error(
        "a copy needs the topics back to the beginning of a snapshot that was complete by then; \
         they reach back to {earliest} only. Take a new snapshot, or choose a later LSN"
    )]
    NoSnapshot { earliest: Place },
    #[error("{step} on the target")]
    Target {
        step: &'static str,
        source: StatementError,
    },
    #[error("nothing was applied to this target yet")]
    NoProgress,
    #[error("the target is at {applied}, before {to}")]
    NotApplied { to: Lsn, applied: Lsn },
    #[error("a snapshot is being applied: replay when it is complete")]
    Snapshotting,
    #[error("table {table} has no topic: name it as schema.table")]
    UnknownTable { table: TableName },
    #[error("another replay of pipeline {pipeline} is running")]
    Busy { pipeline: String },
    #[error("replay {id} does not exist")]
    Unknown { id: i64 },
    #[error("replay {id} is {state}")]
    State { id: i64, state: String },
    #[error("replay {id} was cancelled; \"lockstep replay --resume {id}\" goes on with it")]
    Cancelled { id: i64 },
    #[error("schema {schema} exists, and is not of an unfinished replay: name another, or drop it")]
    SchemaExists { schema: String },
    #[error(
        "two tables would be called {name} in schema {schema}: replay one of them at a time \
         (--table)"
    )]
    NameTaken { schema: String, name: String },
    #[error(
        "the copy of table {table} would need a name longer than Postgres' 63 bytes: replay the \
         others (--table)"
    )]
    NameTooLong { table: TableName },
    #[error(
        "table {table} has no key by which its rows could be told apart: replay it into a schema \
         of its own (--into), or take a new snapshot of it (lockstep snapshot --table {table})"
    )]
    Keyless { table: TableName },
    #[error("table {table} does not exist on the target: let the stream create it first")]
    NoTable { table: TableName },
    #[error(
        "table {table} is held: resume it first (lockstep resume --table {table}), or replay \
         others (--table)"
    )]
    Held { table: TableName },
    #[error("table {table} is not held")]
    NotHeld { table: TableName },
    #[error("somebody else resumes table {table}")]
    ResumedElsewhere { table: TableName },
    #[error(
        "table {table} has open dead letters: redrive or discard them first (lockstep \
         dead-letters list), or replay others (--table)"
    )]
    DeadLetters { table: TableName },
}

impl From<ConnectError> for ReplayError {
    fn from(error: ConnectError) -> Self {
        Self::Apply(error.into())
    }
}

/// Names the step at which a statement failed.
pub(super) fn step(step: &'static str) -> impl FnOnce(tokio_postgres::Error) -> ReplayError {
    move |error| ReplayError::Target {
        step,
        source: StatementError(error),
    }
}
