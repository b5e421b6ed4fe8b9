//! Sent only when `two_phase 'on'` was asked for; without it a prepared transaction arrives as an
//! ordinary one at its COMMIT PREPARED.

use ::change::Lsn;

use super::no_flags;
use crate::wire::cursor::Cursor;
use crate::wire::{PgTimestamp, WireError, Xid};

/// `'b'`: a prepared transaction follows, up to its Prepare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeginPrepare<'a> {
    pub prepare_lsn: Lsn,
    /// The byte after the prepare record.
    pub end_lsn: Lsn,
    pub prepare_time: PgTimestamp,
    pub xid: Xid,
    pub gid: &'a str,
}

/// `'P'`, and `'p'` (StreamPrepare) for a transaction that was streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepare<'a> {
    pub prepare_lsn: Lsn,
    pub end_lsn: Lsn,
    pub prepare_time: PgTimestamp,
    pub xid: Xid,
    pub gid: &'a str,
}

/// `'K'`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitPrepared<'a> {
    pub commit_lsn: Lsn,
    pub end_lsn: Lsn,
    pub commit_time: PgTimestamp,
    pub xid: Xid,
    pub gid: &'a str,
}

/// `'r'`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollbackPrepared<'a> {
    pub prepare_end_lsn: Lsn,
    pub rollback_end_lsn: Lsn,
    pub prepare_time: PgTimestamp,
    pub rollback_time: PgTimestamp,
    pub xid: Xid,
    pub gid: &'a str,
}

pub(super) fn begin_prepare<'a>(input: &mut Cursor<'a>) -> Result<BeginPrepare<'a>, WireError> {
    Ok(BeginPrepare {
        prepare_lsn: input.lsn()?,
        end_lsn: input.lsn()?,
        prepare_time: input.timestamp()?,
        xid: input.xid()?,
        gid: input.string()?,
    })
}

pub(super) fn prepare<'a>(input: &mut Cursor<'a>) -> Result<Prepare<'a>, WireError> {
    no_flags(input)?;
    Ok(Prepare {
        prepare_lsn: input.lsn()?,
        end_lsn: input.lsn()?,
        prepare_time: input.timestamp()?,
        xid: input.xid()?,
        gid: input.string()?,
    })
}

pub(super) fn commit_prepared<'a>(input: &mut Cursor<'a>) -> Result<CommitPrepared<'a>, WireError> {
    no_flags(input)?;
    Ok(CommitPrepared {
        commit_lsn: input.lsn()?,
        end_lsn: input.lsn()?,
        commit_time: input.timestamp()?,
        xid: input.xid()?,
        gid: input.string()?,
    })
}

pub(super) fn rollback_prepared<'a>(
    input: &mut Cursor<'a>,
) -> Result<RollbackPrepared<'a>, WireError> {
    no_flags(input)?;
    Ok(RollbackPrepared {
        prepare_end_lsn: input.lsn()?,
        rollback_end_lsn: input.lsn()?,
        prepare_time: input.timestamp()?,
        rollback_time: input.timestamp()?,
        xid: input.xid()?,
        gid: input.string()?,
    })
}
