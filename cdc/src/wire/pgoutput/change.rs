use crate::wire::cursor::Cursor;
use crate::wire::{Oid, TupleData, WireError};

/// `'I'`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insert<'a> {
    pub relation: Oid,
    pub new: TupleData<'a>,
}

/// `'U'`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update<'a> {
    pub relation: Oid,
    /// Absent when the replica identity is not the whole row and the update changed none of its
    /// columns: then the new row's key is the old one's.
    pub old: Option<OldTuple<'a>>,
    /// May have columns that are [unchanged](crate::wire::Column::UnchangedToast).
    pub new: TupleData<'a>,
}

/// `'D'`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delete<'a> {
    pub relation: Oid,
    pub old: OldTuple<'a>,
}

/// The row before, as much of it as the replica identity has. All columns are present in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldTuple<'a> {
    /// `'K'`: what is not in the key is NULL, whatever the row had.
    Key(TupleData<'a>),
    /// `'O'`: REPLICA IDENTITY FULL.
    Full(TupleData<'a>),
}

/// `'T'`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truncate {
    pub cascade: bool,
    pub restart_identity: bool,
    /// Of one TRUNCATE, including those that CASCADE reached, published ones only.
    pub relations: Vec<Oid>,
}

pub(super) fn insert<'a>(input: &mut Cursor<'a>) -> Result<Insert<'a>, WireError> {
    let relation = input.oid()?;
    match input.u8()? {
        b'N' => Ok(Insert {
            relation,
            new: TupleData::pgoutput(input)?,
        }),
        kind => Err(unknown_tuple(kind)),
    }
}

pub(super) fn update<'a>(input: &mut Cursor<'a>) -> Result<Update<'a>, WireError> {
    let relation = input.oid()?;
    let (old, new_kind) = match input.u8()? {
        b'N' => (None, b'N'),
        kind => (Some(old_tuple(kind, input)?), input.u8()?),
    };
    match new_kind {
        b'N' => Ok(Update {
            relation,
            old,
            new: TupleData::pgoutput(input)?,
        }),
        kind => Err(unknown_tuple(kind)),
    }
}

pub(super) fn delete<'a>(input: &mut Cursor<'a>) -> Result<Delete<'a>, WireError> {
    let relation = input.oid()?;
    let kind = input.u8()?;
    Ok(Delete {
        relation,
        old: old_tuple(kind, input)?,
    })
}

pub(super) fn truncate(input: &mut Cursor<'_>) -> Result<Truncate, WireError> {
    let count = input.i32()?;
    let options = input.u8()?;
    if options & !(CASCADE | RESTART_IDENTITY) != 0 {
        return Err(WireError::UnknownKind {
            what: "truncate options",
            kind: options,
        });
    }
    Ok(Truncate {
        cascade: options & CASCADE != 0,
        restart_identity: options & RESTART_IDENTITY != 0,
        relations: oids(count, input)?,
    })
}

/// `TRUNCATE_CASCADE`
const CASCADE: u8 = 1;
/// `TRUNCATE_RESTART_SEQS`
const RESTART_IDENTITY: u8 = 2;

fn old_tuple<'a>(kind: u8, input: &mut Cursor<'a>) -> Result<OldTuple<'a>, WireError> {
    match kind {
        b'K' => TupleData::pgoutput(input).map(OldTuple::Key),
        b'O' => TupleData::pgoutput(input).map(OldTuple::Full),
        kind => Err(unknown_tuple(kind)),
    }
}

/// Takes the bytes of all before it makes room for any: the count alone reserves nothing.
fn oids(count: i32, input: &mut Cursor<'_>) -> Result<Vec<Oid>, WireError> {
    let bytes = usize::try_from(count)
        .ok()
        .and_then(|count| count.checked_mul(size_of::<Oid>()))
        .ok_or(WireError::Length {
            what: "relation list",
            length: i64::from(count),
        })?;
    let (oids, _) = input.take(bytes)?.as_chunks();
    Ok(oids.iter().copied().map(Oid::from_be_bytes).collect())
}

fn unknown_tuple(kind: u8) -> WireError {
    WireError::UnknownKind {
        what: "tuple",
        kind,
    }
}
