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

#[cfg(test)]
mod tests {
    use ::change::Lsn;

    use super::{AbortPoint, Framed, Framing, Message, StreamAbort, decode};
    use crate::wire::{PgTimestamp, WireError, Xid};

    #[track_caller]
    fn check(message: &[u8], framing: Framing, expected: Result<Message<'_>, WireError>) {
        let decoded = decode(message, framing).map(|framed| framed.message);
        assert_eq!(decoded.map_err(|error| error.source), expected);
    }

    fn unknown(what: &'static str, kind: u8) -> Result<Message<'static>, WireError> {
        Err(WireError::UnknownKind { what, kind })
    }

    /// As Postgres 17 sends it with `streaming 'parallel'`; said to stand at 0/2E947E0.
    #[test]
    fn an_abort_may_say_where_and_when() {
        check(
            b"A\0\0\x03\x36\0\0\x03\x37\0\0\0\0\x02\xe9\x47\xe0\0\x03\x04\x04\x8b\xba\x7b\xfe",
            Framing::Plain,
            Ok(Message::StreamAbort(StreamAbort {
                xid: Xid(822),
                subxid: Xid(823),
                point: Some(AbortPoint {
                    abort_lsn: Lsn::from(0x2E9_47E0),
                    abort_time: PgTimestamp::from_micros(0x3_0404_8BBA_7BFE),
                }),
            })),
        );
    }

    #[test]
    fn only_messages_in_a_stream_name_their_writer() {
        let truncate = b"T\0\0\0\0\0\0\0\x01\0\0\0\0\x05";
        let framed = decode(truncate, Framing::InStream).unwrap();
        assert_eq!(framed.xid, Some(Xid(0)));
        check(
            truncate,
            Framing::Plain,
            Err(WireError::Leftover { bytes: 8 }),
        );
        let stop = decode(b"E", Framing::InStream).unwrap();
        assert_eq!(
            stop,
            Framed {
                xid: None,
                message: Message::StreamStop
            }
        );
    }

    #[test]
    fn what_was_not_asked_for_is_an_error() {
        let plain = Framing::Plain;
        check(b"X", plain, unknown("pgoutput message", b'X'));
        check(b"C\x01", plain, unknown("flags", 1));
        check(b"M\x02", plain, unknown("message flags", 2));
        check(b"T\0\0\0\0\x04", plain, unknown("truncate options", 4));
        check(b"S\0\0\0\x01\x02", plain, unknown("stream segment", 2));
        check(b"I\0\0\0\x01O", plain, unknown("tuple", b'O'));
        check(b"D\0\0\0\x01N", plain, unknown("tuple", b'N'));
        check(b"U\0\0\0\x01X", plain, unknown("tuple", b'X'));
        check(
            b"R\0\0\0\x01a\0b\0x",
            plain,
            unknown("replica identity", b'x'),
        );
        check(
            b"R\0\0\0\x01a\0b\0d\0\x01\x02",
            plain,
            unknown("column flags", 2),
        );
    }

    #[test]
    fn a_count_alone_takes_no_memory() {
        check(
            b"T\x7f\xff\xff\xff\0",
            Framing::Plain,
            Err(WireError::Truncated {
                missing: 0x7fff_ffff * 4,
            }),
        );
        check(
            b"T\xff\xff\xff\xff\0",
            Framing::Plain,
            Err(WireError::Length {
                what: "relation list",
                length: -1,
            }),
        );
    }

    #[test]
    fn an_error_names_the_message_and_not_its_content() {
        let error = decode(b"I\0\0\0\x01N\0\x01t\0\0\0\x09secret", Framing::Plain).unwrap_err();
        assert_eq!(error.to_string(), "decode pgoutput message 'I' of 19 bytes");
        assert_eq!(error.source.to_string(), "3 bytes are missing at the end");
    }
}
