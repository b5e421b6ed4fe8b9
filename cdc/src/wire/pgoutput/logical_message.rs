use ::change::Lsn;

use crate::wire::WireError;
use crate::wire::cursor::Cursor;

/// `'M'`: what `pg_logical_emit_message` wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogicalMessage<'a> {
    pub timing: Timing,
    pub lsn: Lsn,
    pub prefix: &'a str,
    pub content: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// Part of its transaction: comes between its changes, and only if it commits.
    Transactional,
    /// Comes at once, between other transactions, whatever becomes of the writer's.
    Immediate,
}

/// `'O'`: the transaction was itself replicated to the source from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Of the commit on the origin.
    pub commit_lsn: Lsn,
    pub name: &'a str,
}

pub(super) fn logical_message<'a>(input: &mut Cursor<'a>) -> Result<LogicalMessage<'a>, WireError> {
    Ok(LogicalMessage {
        timing: timing(input.u8()?)?,
        lsn: input.lsn()?,
        prefix: input.string()?,
        content: input.sized("message content")?,
    })
}

pub(super) fn origin<'a>(input: &mut Cursor<'a>) -> Result<Origin<'a>, WireError> {
    Ok(Origin {
        commit_lsn: input.lsn()?,
        name: input.string()?,
    })
}

fn timing(flags: u8) -> Result<Timing, WireError> {
    match flags {
        0 => Ok(Timing::Immediate),
        1 => Ok(Timing::Transactional),
        kind => Err(WireError::UnknownKind {
            what: "message flags",
            kind,
        }),
    }
}
