//! The frames inside CopyBoth (manual, "Streaming Replication Protocol", START_REPLICATION).

use bytes::{BufMut, BytesMut};
use change::Lsn;

use super::cursor::Cursor;
use super::{PgTimestamp, WireError};

/// What a walsender sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicationMessage<'a> {
    XLogData(XLogData<'a>),
    PrimaryKeepalive(PrimaryKeepalive),
}

/// `'w'`: one message of the output plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XLogData<'a> {
    /// Of the WAL record that caused the message; zero where another message for the same record
    /// follows (Relation, Origin).
    pub wal_start: Lsn,
    /// For a logical walsender the same as `wal_start`, not the end of the server's WAL.
    pub wal_end: Lsn,
    pub sent_at: PgTimestamp,
    pub data: &'a [u8],
}

/// `'k'`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrimaryKeepalive {
    /// Up to where the walsender has sent, not the end of the server's WAL as the manual has it
    /// (`WalSndKeepalive` sends `sentPtr`).
    pub wal_end: Lsn,
    pub sent_at: PgTimestamp,
    pub reply: Reply,
}

/// `'r'`: what the receiver has, each as the byte after the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandbyStatusUpdate {
    pub write_lsn: Lsn,
    /// The slot's `confirmed_flush_lsn` follows this one: the server may forget what is before it.
    pub flush_lsn: Lsn,
    pub apply_lsn: Lsn,
    pub sent_at: PgTimestamp,
    pub reply: Reply,
}

/// Whether the other side should answer at once, to show that it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    NotNeeded,
    Requested,
}

/// Reads the content of one CopyData message.
pub fn decode(message: &[u8]) -> Result<ReplicationMessage<'_>, WireError> {
    let mut input = Cursor::new(message);
    match input.u8()? {
        b'w' => Ok(ReplicationMessage::XLogData(XLogData {
            wal_start: input.lsn()?,
            wal_end: input.lsn()?,
            sent_at: input.timestamp()?,
            data: input.rest(),
        })),
        b'k' => {
            let keepalive = PrimaryKeepalive {
                wal_end: input.lsn()?,
                sent_at: input.timestamp()?,
                reply: reply(input.u8()?)?,
            };
            input.finish()?;
            Ok(ReplicationMessage::PrimaryKeepalive(keepalive))
        }
        kind => Err(WireError::UnknownKind {
            what: "replication message",
            kind,
        }),
    }
}

fn reply(byte: u8) -> Result<Reply, WireError> {
    match byte {
        0 => Ok(Reply::NotNeeded),
        1 => Ok(Reply::Requested),
        kind => Err(WireError::UnknownKind {
            what: "reply request",
            kind,
        }),
    }
}

impl StandbyStatusUpdate {
    /// Appends the content of one CopyData message.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u8(b'r');
        out.put_u64(self.write_lsn.into());
        out.put_u64(self.flush_lsn.into());
        out.put_u64(self.apply_lsn.into());
        out.put_i64(self.sent_at.micros());
        out.put_u8(match self.reply {
            Reply::NotNeeded => 0,
            Reply::Requested => 1,
        });
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use change::Lsn;

    use super::{
        PrimaryKeepalive, ReplicationMessage, Reply, StandbyStatusUpdate, XLogData, decode,
    };
    use crate::wire::{PgTimestamp, WireError};

    #[track_caller]
    fn check(message: &[u8], expected: Result<ReplicationMessage<'_>, WireError>) {
        assert_eq!(decode(message), expected);
    }

    #[test]
    fn xlog_data_carries_the_rest() {
        check(
            b"w\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\x20\0\0\0\0\0\0\0\x03data",
            Ok(ReplicationMessage::XLogData(XLogData {
                wal_start: Lsn::from(16),
                wal_end: Lsn::from(32),
                sent_at: PgTimestamp::from_micros(3),
                data: b"data",
            })),
        );
    }

    #[test]
    fn a_keepalive_may_ask_for_a_reply() {
        check(
            b"k\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\x03\x01",
            Ok(ReplicationMessage::PrimaryKeepalive(PrimaryKeepalive {
                wal_end: Lsn::from(16),
                sent_at: PgTimestamp::from_micros(3),
                reply: Reply::Requested,
            })),
        );
    }

    #[test]
    fn malformed_frames_are_errors() {
        check(b"", Err(WireError::Truncated { missing: 1 }));
        check(
            b"w\0\0\0\0\0\0\0\x10\0",
            Err(WireError::Truncated { missing: 7 }),
        );
        check(
            b"k\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\x03\0\0",
            Err(WireError::Leftover { bytes: 1 }),
        );
        check(
            b"x",
            Err(WireError::UnknownKind {
                what: "replication message",
                kind: b'x',
            }),
        );
    }

    #[test]
    fn a_status_update_is_34_bytes() {
        let mut out = BytesMut::new();
        StandbyStatusUpdate {
            write_lsn: Lsn::from(3),
            flush_lsn: Lsn::from(2),
            apply_lsn: Lsn::from(1),
            sent_at: PgTimestamp::from_micros(-1),
            reply: Reply::Requested,
        }
        .encode(&mut out);
        assert_eq!(
            &out[..],
            b"r\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01\xff\xff\xff\xff\xff\xff\xff\xff\x01"
        );
    }
}
