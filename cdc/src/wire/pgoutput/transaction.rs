use ::change::Lsn;

use super::no_flags;
use crate::wire::cursor::Cursor;
use crate::wire::{PgTimestamp, WireError, Xid};

/// `'B'`: a committed transaction follows, up to its Commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    /// Where the transaction's commit record starts: the `commit_lsn` of its Commit.
    pub final_lsn: Lsn,
    pub commit_time: PgTimestamp,
    pub xid: Xid,
}

/// `'C'`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Where the commit record starts.
    pub commit_lsn: Lsn,
    /// The byte after the commit record: what may be confirmed once the transaction is safe.
    pub end_lsn: Lsn,
    pub commit_time: PgTimestamp,
}

pub(super) fn begin(input: &mut Cursor<'_>) -> Result<Begin, WireError> {
    Ok(Begin {
        final_lsn: input.lsn()?,
        commit_time: input.timestamp()?,
        xid: input.xid()?,
    })
}

pub(super) fn commit(input: &mut Cursor<'_>) -> Result<Commit, WireError> {
    no_flags(input)?;
    Ok(Commit {
        commit_lsn: input.lsn()?,
        end_lsn: input.lsn()?,
        commit_time: input.timestamp()?,
    })
}
