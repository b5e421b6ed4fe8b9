//! From a data record to a change: Avro bytes straight to Postgres' binary images, by a plan that is
//! compiled once per schema.

mod plan;
mod row;

pub(crate) use plan::Plan;
pub(crate) use row::{Fields, Row, Value};

use std::fmt;

use change::avro::{DatumError, Reader};
use change::envelope::{Op, Part, RecordError, UnknownOp};
use change::value::ValueError;
use change::{Lsn, Position};

use plan::Carry;
use row::TooLong;

/// What every record says first, whatever its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) epoch: i64,
    pub(crate) position: Position,
}

/// What a record does to its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A row that was not there before: created, or read by the first snapshot.
    Insert(Row),
    /// A row that is there, or one that was read while changes flowed on: there or not.
    Update {
        row: Row,
        /// The row's key before, where the update changed it.
        moved_from: Option<Row>,
    },
    /// The key, or for a table without one the whole row.
    Delete(Row),
    Truncate,
    /// Nobody knows: the record cannot be decoded, and its table's policy is to set it aside.
    Unreadable(Box<Unreadable>),
}

/// A record that cannot be decoded.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) value: Box<[u8]>,
    /// Names what is at fault, no value.
    pub(crate) why: String,
}

/// The bytes are the user's.
impl fmt::Debug for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unreadable({} bytes)", self.value.len())
    }
}

/// Why a record could not be read. Names no value.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("read datum")]
    Datum(#[from] DatumError),
    #[error("an LSN or ordinal below zero")]
    Position,
    #[error("read a part")]
    Part(#[source] RecordError),
    #[error("read operation")]
    Op(#[from] UnknownOp),
    #[error("record of operation {op} without {part}")]
    Missing { op: Op, part: &'static str },
    #[error("record of operation {0} whose key has a null")]
    NullKey(Op),
    #[error("a value is said to be unchanged where it cannot be")]
    Unchanged,
    // Not which: in a damaged record it may be a value.
    #[error("a column is named that the schema does not have")]
    UnknownColumn,
    #[error("convert column {column}")]
    Value { column: String, source: ValueError },
    #[error("a value longer than Postgres allows")]
    TooLong,
    #[error("the key of hashes is missing: give --mask-key (LOCKSTEP_MASK_KEY)")]
    NoMaskKey,
}

impl From<TooLong> for DecodeError {
    fn from(_: TooLong) -> Self {
        Self::TooLong
    }
}

/// Reads what tells a record's writer and place, which needs no schema: it stands first in all.
pub(crate) fn head(datum: &[u8]) -> Result<Head, DecodeError> {
    read_head(&mut Reader::new(datum))
}

fn read_head(reader: &mut Reader<'_>) -> Result<Head, DecodeError> {
    let epoch = reader.long()?;
    let natural = |long| u64::try_from(long).map_err(|_| DecodeError::Position);
    Ok(Head {
        epoch,
        position: Position {
            commit_lsn: Lsn::new(natural(reader.long()?)?),
            ordinal: natural(reader.long()?)?,
        },
    })
}

/// Reads a piece of a record that was cut.
pub(crate) fn part(datum: &[u8]) -> Result<Part<'_>, DecodeError> {
    Part::read(datum).map_err(DecodeError::Part)
}

/// Reads a whole record. `fields` is a buffer to build rows in.
pub(crate) fn action(
    plan: &Plan,
    datum: &[u8],
    fields: &mut Fields,
) -> Result<Action, DecodeError> {
    let mut reader = Reader::new(datum);
    read_head(&mut reader)?;
    let unchanged = read_names(plan, &mut reader)?;
    let exact = read_images(plan, &mut reader)?;
    let exact_before = read_images(plan, &mut reader)?;
    let op: Op = reader.str()?.parse()?;
    let before = match reader.some()? {
        true => Some(read_row(plan, &mut reader, &[], &exact_before, fields)?),
        false => None,
    };
    let after = match reader.some()? {
        true => Some(read_row(plan, &mut reader, &unchanged, &exact, fields)?),
        false => None,
    };
    let origin = read_rest(&mut reader)?;
    reader.finish()?;
    assemble(plan, (op, origin), before, after)
}

/// Where a record comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The first snapshot.
    Snapshot,
    Transaction,
}

fn assemble(
    plan: &Plan,
    (op, origin): (Op, Origin),
    before: Option<Row>,
    after: Option<Row>,
) -> Result<Action, DecodeError> {
    let missing = |part| DecodeError::Missing { op, part };
    let key_of = |row: &Row| plan.key_of(row).ok_or(DecodeError::NullKey(op));
    match op {
        Op::Create | Op::Read => {
            let row = after.ok_or(missing("after"))?;
            if row.has_unchanged() {
                return Err(DecodeError::Unchanged);
            }
            if plan.has_key() && !plan.has_whole_key(&row) {
                return Err(DecodeError::NullKey(op));
            }
            Ok(match (op, origin) {
                (Op::Read, Origin::Transaction) if plan.has_key() => Action::Update {
                    row,
                    moved_from: None,
                },
                _ => Action::Insert(row),
            })
        }
        // Of tables without a key, updates travel as a delete and a create.
        Op::Update if !plan.has_key() => Err(missing("a key in its table")),
        Op::Update => {
            let row = after.ok_or(missing("after"))?;
            if !plan.has_whole_key(&row) {
                return Err(DecodeError::NullKey(op));
            }
            let old = before.as_ref().map(key_of).transpose()?;
            let moved_from = old.filter(|old| !plan.key_values(&row).eq(old.values()));
            Ok(Action::Update { row, moved_from })
        }
        Op::Delete => {
            let row = before.ok_or(missing("before"))?;
            match plan.has_key() {
                true => key_of(&row).map(Action::Delete),
                false => Ok(Action::Delete(row)),
            }
        }
        Op::Truncate => Ok(Action::Truncate),
    }
}

fn read_names(plan: &Plan, reader: &mut Reader<'_>) -> Result<Vec<usize>, DecodeError> {
    let mut columns = Vec::new();
    loop {
        let items = reader.block()?;
        if items == 0 {
            return Ok(columns);
        }
        for _ in 0..items {
            columns.push(column(plan, reader.str()?)?);
        }
    }
}

fn read_images<'a>(
    plan: &Plan,
    reader: &mut Reader<'a>,
) -> Result<Vec<(usize, &'a [u8])>, DecodeError> {
    let mut images = Vec::new();
    loop {
        let items = reader.block()?;
        if items == 0 {
            return Ok(images);
        }
        for _ in 0..items {
            images.push((column(plan, reader.str()?)?, reader.bytes()?));
        }
    }
}

fn column(plan: &Plan, name: &str) -> Result<usize, DecodeError> {
    plan.field(name).ok_or(DecodeError::UnknownColumn)
}

fn read_row(
    plan: &Plan,
    reader: &mut Reader<'_>,
    unchanged: &[usize],
    exact: &[(usize, &[u8])],
    fields: &mut Fields,
) -> Result<Row, DecodeError> {
    fields.clear();
    let mut hidden = Vec::new();
    for (at, field) in plan.fields.iter().enumerate() {
        let is_there = !field.nullable || reader.some()?;
        let failed = |source| DecodeError::Value {
            column: field.name.clone(),
            source,
        };
        let value = match (is_there, &field.carry) {
            (true, Carry::Value) => {
                fields.write(|image| field.mapping.decode(reader, image).map_err(failed))?;
                continue;
            }
            (true, _) => {
                hidden.clear();
                let read = field.mapping.decode(reader, &mut hidden);
                read.map_err(failed)?;
                Value::Image(&hidden)
            }
            (false, _) => match exact.iter().find(|(column, _)| *column == at) {
                Some((_, image)) => Value::Image(image),
                None if unchanged.contains(&at) => Value::Unchanged,
                None => Value::Null,
            },
        };
        field.carry.push(value, fields)?;
    }
    Ok(fields.row())
}

/// `source`, `ts_ms` and `transaction`, which say nothing that applying needs; reading them to
/// the end shows that the datum is what its schema says. All but the first snapshot's are of a
/// transaction.
fn read_rest(reader: &mut Reader<'_>) -> Result<Origin, DecodeError> {
    for _ in 0..3 {
        reader.bytes()?;
    }
    reader.long()?;
    for _ in 0..4 {
        reader.bytes()?;
    }
    // source.txId, source.lsn, ts_ms
    for _ in 0..3 {
        if reader.some()? {
            reader.long()?;
        }
    }
    if !reader.some()? {
        return Ok(Origin::Snapshot);
    }
    reader.bytes()?;
    reader.long()?;
    reader.long()?;
    Ok(Origin::Transaction)
}

#[cfg(test)]
mod tests;
