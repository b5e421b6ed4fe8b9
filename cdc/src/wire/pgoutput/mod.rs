//! The messages of the output plugin `pgoutput`, protocol versions 1 to 4 (manual, "Logical
//! Replication Message Formats").

mod transaction;

mod relation;

mod change;

mod logical_message;

mod stream;

mod two_phase;

pub use change::{Delete, Insert, OldTuple, Truncate, Update};
pub use logical_message::{LogicalMessage, Origin, Timing};
pub use relation::{KeyColumn, Relation, RelationColumn, ReplicaIdentity, Type};
pub use stream::{AbortPoint, Segment, StreamAbort, StreamCommit, StreamStart};
pub use transaction::{Begin, Commit};
pub use two_phase::{BeginPrepare, CommitPrepared, Prepare, RollbackPrepared};

use super::cursor::Cursor;
use super::{WireError, Xid};

/// Whether the message stands between a StreamStart and its StreamStop. There, what describes or
/// changes data begins with the id of the transaction or subtransaction that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Plain,
    InStream,
}

/// A message, and inside a stream who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Framed<'a> {
    /// The top-level transaction's or a subtransaction's. Only inside a stream, and there on all
    /// but StreamStop and Origin.
    pub xid: Option<Xid>,
    pub message: Message<'a>,
}

/// One message. Borrows from the bytes that it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    Begin(Begin),
    LogicalMessage(LogicalMessage<'a>),
    Commit(Commit),
    Origin(Origin<'a>),
    Relation(Relation<'a>),
    Type(Type<'a>),
    Insert(Insert<'a>),
    Update(Update<'a>),
    Delete(Delete<'a>),
    Truncate(Truncate),
    StreamStart(StreamStart),
    StreamStop,
    StreamCommit(StreamCommit),
    StreamAbort(StreamAbort),
    BeginPrepare(BeginPrepare<'a>),
    Prepare(Prepare<'a>),
    CommitPrepared(CommitPrepared<'a>),
    RollbackPrepared(RollbackPrepared<'a>),
    StreamPrepare(Prepare<'a>),
}

/// A message that could not be read: which one, and (the source) why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("decode pgoutput message {:?} of {length} bytes", char::from(*kind))]
pub struct DecodeError {
    /// The message's first byte, zero when it is empty.
    pub kind: u8,
    pub length: usize,
    pub source: WireError,
}

/// Reads one message, which is the whole data of one XLogData.
pub fn decode(message: &[u8], framing: Framing) -> Result<Framed<'_>, DecodeError> {
    framed(message, framing).map_err(|source| DecodeError {
        kind: message.first().copied().unwrap_or_default(),
        length: message.len(),
        source,
    })
}

fn framed(message: &[u8], framing: Framing) -> Result<Framed<'_>, WireError> {
    let mut input = Cursor::new(message);
    let kind = input.u8()?;
    let xid = match framing {
        Framing::InStream if names_its_writer(kind) => Some(input.xid()?),
        Framing::InStream | Framing::Plain => None,
    };
    let message = body(kind, &mut input)?;
    input.finish()?;
    Ok(Framed { xid, message })
}

fn names_its_writer(kind: u8) -> bool {
    matches!(kind, b'M' | b'R' | b'Y' | b'I' | b'U' | b'D' | b'T')
}

fn body<'a>(kind: u8, input: &mut Cursor<'a>) -> Result<Message<'a>, WireError> {
    Ok(match kind {
        b'B' => Message::Begin(transaction::begin(input)?),
        b'M' => Message::LogicalMessage(logical_message::logical_message(input)?),
        b'C' => Message::Commit(transaction::commit(input)?),
        b'O' => Message::Origin(logical_message::origin(input)?),
        b'R' => Message::Relation(relation::relation(input)?),
        b'Y' => Message::Type(relation::type_(input)?),
        b'I' => Message::Insert(change::insert(input)?),
        b'U' => Message::Update(change::update(input)?),
        b'D' => Message::Delete(change::delete(input)?),
        b'T' => Message::Truncate(change::truncate(input)?),
        b'S' => Message::StreamStart(stream::stream_start(input)?),
        b'E' => Message::StreamStop,
        b'c' => Message::StreamCommit(stream::stream_commit(input)?),
        b'A' => Message::StreamAbort(stream::stream_abort(input)?),
        b'b' => Message::BeginPrepare(two_phase::begin_prepare(input)?),
        b'P' => Message::Prepare(two_phase::prepare(input)?),
        b'K' => Message::CommitPrepared(two_phase::commit_prepared(input)?),
        b'r' => Message::RollbackPrepared(two_phase::rollback_prepared(input)?),
        b'p' => Message::StreamPrepare(two_phase::prepare(input)?),
        kind => {
            return Err(WireError::UnknownKind {
                what: "pgoutput message",
                kind,
            });
        }
    })
}

/// Bytes that have no meaning yet. One that is set belongs to a protocol that was not asked for.
fn no_flags(input: &mut Cursor<'_>) -> Result<(), WireError> {
    match input.u8()? {
        0 => Ok(()),
        kind => Err(WireError::UnknownKind {
            what: "flags",
            kind,
        }),
    }
}
