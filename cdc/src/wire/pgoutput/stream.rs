use ::change::Lsn;

use super::no_flags;
use crate::wire::cursor::Cursor;
use crate::wire::{PgTimestamp, WireError, Xid};

/// `'S'`: a part of a transaction that is still in progress follows, up to the StreamStop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamStart {
    pub xid: Xid,
    pub segment: Segment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    First,
    Later,
}

/// `'c'`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamCommit {
    pub xid: Xid,
    /// Where the commit record starts.
    pub commit_lsn: Lsn,
    /// The byte after the commit record.
    pub end_lsn: Lsn,
    pub commit_time: PgTimestamp,
}

/// `'A'`: the changes of a subtransaction, or of the whole transaction when both ids are the same,
/// never happened. A subtransaction's own children get messages of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamAbort {
    pub xid: Xid,
    pub subxid: Xid,
    /// Sent with `streaming 'parallel'` only (protocol 4).
    pub point: Option<AbortPoint>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortPoint {
    pub abort_lsn: Lsn,
    pub abort_time: PgTimestamp,
}

pub(super) fn stream_start(input: &mut Cursor<'_>) -> Result<StreamStart, WireError> {
    Ok(StreamStart {
        xid: input.xid()?,
        segment: segment(input.u8()?)?,
    })
}

pub(super) fn stream_commit(input: &mut Cursor<'_>) -> Result<StreamCommit, WireError> {
    let xid = input.xid()?;
    no_flags(input)?;
    Ok(StreamCommit {
        xid,
        commit_lsn: input.lsn()?,
        end_lsn: input.lsn()?,
        commit_time: input.timestamp()?,
    })
}

pub(super) fn stream_abort(input: &mut Cursor<'_>) -> Result<StreamAbort, WireError> {
    Ok(StreamAbort {
        xid: input.xid()?,
        subxid: input.xid()?,
        point: if input.is_empty() {
            None
        } else {
            Some(abort_point(input)?)
        },
    })
}

fn abort_point(input: &mut Cursor<'_>) -> Result<AbortPoint, WireError> {
    Ok(AbortPoint {
        abort_lsn: input.lsn()?,
        abort_time: input.timestamp()?,
    })
}

fn segment(first: u8) -> Result<Segment, WireError> {
    match first {
        0 => Ok(Segment::Later),
        1 => Ok(Segment::First),
        kind => Err(WireError::UnknownKind {
            what: "stream segment",
            kind,
        }),
    }
}
