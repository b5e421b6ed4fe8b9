//! From the datum of a change record, or of a key, to the images of its values, for who looks at
//! single records: apply has a plan of its own that reads only what it needs.

use super::{KeyColumns, Op, UnknownOp};
use crate::avro::{DatumError, Reader};
use crate::relation::{Column, Relation};
use crate::value::{Mapping, ValueError};
use crate::{Lsn, Position};

/// All that a change record says.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    pub head: Head,
    pub op: Op,
    /// In the order of the relation's columns; what was, as far as the replica identity tells.
    pub before: Option<Vec<Field>>,
    pub after: Option<Vec<Field>>,
    /// Milliseconds since 1970-01-01 UTC, by the source's clock.
    pub commit_time_ms: i64,
    /// None in records of a snapshot.
    pub xid: Option<i64>,
}

/// What every change record says first, whatever its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub epoch: i64,
    pub position: Position,
}

/// A value of a row.
#[derive(Clone, PartialEq, Eq)]
pub enum Field {
    Null,
    /// The update did not touch it, and it stands out of line in the source: not NULL, not sent.
    Unchanged,
    Image(Vec<u8>),
    /// The typed field cannot hold the value; its image travelled beside it.
    Exact(Vec<u8>),
}

/// Why a record could not be read. Names no value.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("read datum")]
    Datum(#[from] DatumError),
    #[error("an LSN or ordinal below zero")]
    Position,
    #[error("a number of parts that none can have")]
    Count,
    #[error("read operation")]
    Op(#[from] UnknownOp),
    #[error("convert column {column}")]
    Value { column: String, source: ValueError },
}

pub(super) type Images<'a> = Vec<(&'a str, &'a [u8])>;

impl Envelope {
    /// Reads a datum whose schema [`super::value_schema`] made from `relation`.
    ///
    /// # Errors
    /// When it is no such datum.
    pub fn read(relation: &Relation, datum: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::new(datum);
        let head = read_head(&mut reader)?;
        let unchanged = read_names(&mut reader)?;
        let exact = read_images(&mut reader)?;
        let exact_before = read_images(&mut reader)?;
        let op: Op = reader.str()?.parse()?;
        let mut row = |unchanged: &[&str], exact: &Images<'_>| match reader.some()? {
            true => read_row(relation, &mut reader, unchanged, exact).map(Some),
            false => Ok::<_, RecordError>(None),
        };
        let before = row(&[], &exact_before)?;
        let after = row(&unchanged, &exact)?;
        let (commit_time_ms, xid) = read_source(&mut reader)?;
        read_rest(&mut reader)?;
        reader.finish()?;
        Ok(Self {
            head,
            op,
            before,
            after,
            commit_time_ms,
            xid,
        })
    }
}

/// Reads what tells a record's writer and place.
///
/// # Errors
/// When the datum ends before.
pub fn head(datum: &[u8]) -> Result<Head, RecordError> {
    read_head(&mut Reader::new(datum))
}

/// Reads a key's datum; the values in the order of `columns`.
///
/// # Errors
/// When it is no such datum.
pub fn key(columns: &KeyColumns, datum: &[u8]) -> Result<Vec<Field>, RecordError> {
    let mut reader = Reader::new(datum);
    let mut fields = Vec::with_capacity(columns.columns.len());
    for (column, nullable) in &columns.columns {
        fields.push(read_value(column, *nullable, &mut reader)?.unwrap_or(Field::Null));
    }
    if columns.has_images {
        let images = read_images(&mut reader)?;
        for ((column, _), field) in columns.columns.iter().zip(&mut fields) {
            if let Some(image) = image_of(&images, column) {
                *field = Field::Exact(image);
            }
        }
    }
    reader.finish()?;
    Ok(fields)
}

impl Field {
    pub fn image(&self) -> Option<&[u8]> {
        match self {
            Self::Null | Self::Unchanged => None,
            Self::Image(image) | Self::Exact(image) => Some(image),
        }
    }

    /// As [`Mapping::text`].
    pub fn text(&self, mapping: Mapping) -> Option<String> {
        self.image().and_then(|image| mapping.text(image))
    }
}

pub(super) fn read_head(reader: &mut Reader<'_>) -> Result<Head, RecordError> {
    let epoch = reader.long()?;
    let natural = |long| u64::try_from(long).map_err(|_| RecordError::Position);
    Ok(Head {
        epoch,
        position: Position {
            commit_lsn: Lsn::new(natural(reader.long()?)?),
            ordinal: natural(reader.long()?)?,
        },
    })
}

pub(super) fn read_names<'a>(reader: &mut Reader<'a>) -> Result<Vec<&'a str>, DatumError> {
    let mut names = Vec::new();
    loop {
        match reader.block()? {
            0 => return Ok(names),
            items => {
                for _ in 0..items {
                    names.push(reader.str()?);
                }
            }
        }
    }
}

pub(super) fn read_images<'a>(reader: &mut Reader<'a>) -> Result<Images<'a>, DatumError> {
    let mut images = Vec::new();
    loop {
        match reader.block()? {
            0 => return Ok(images),
            items => {
                for _ in 0..items {
                    images.push((reader.str()?, reader.bytes()?));
                }
            }
        }
    }
}

fn read_row(
    relation: &Relation,
    reader: &mut Reader<'_>,
    unchanged: &[&str],
    exact: &Images<'_>,
) -> Result<Vec<Field>, RecordError> {
    let mut row = Vec::with_capacity(relation.columns.len());
    for column in &relation.columns {
        let value = read_value(column, relation.is_nullable(column), reader)?;
        row.push(match (value, image_of(exact, column)) {
            (Some(value), _) => value,
            (None, Some(image)) => Field::Exact(image),
            (None, None) if unchanged.contains(&column.name.as_str()) => Field::Unchanged,
            (None, None) => Field::Null,
        });
    }
    Ok(row)
}

/// `None` where the union's branch is null.
fn read_value(
    column: &Column,
    nullable: bool,
    reader: &mut Reader<'_>,
) -> Result<Option<Field>, RecordError> {
    if nullable && !reader.some()? {
        return Ok(None);
    }
    let mut image = Vec::new();
    let decoded = column.mapping.decode(reader, &mut image);
    decoded.map_err(|source| RecordError::Value {
        column: column.name.clone(),
        source,
    })?;
    Ok(Some(Field::Image(image)))
}

fn image_of(images: &Images<'_>, column: &Column) -> Option<Vec<u8>> {
    let image = images.iter().find(|(name, _)| *name == column.name);
    image.map(|(_, image)| image.to_vec())
}

/// `source`, of which the names repeat what the schema says.
pub(super) fn read_source(reader: &mut Reader<'_>) -> Result<(i64, Option<i64>), DatumError> {
    for _ in 0..3 {
        reader.bytes()?;
    }
    let commit_time_ms = reader.long()?;
    for _ in 0..4 {
        reader.bytes()?;
    }
    let xid = read_long(reader)?;
    let _lsn = read_long(reader)?;
    Ok((commit_time_ms, xid))
}

/// `ts_ms` and `transaction`; reading them to the end shows that the datum is what its schema says.
pub(super) fn read_rest(reader: &mut Reader<'_>) -> Result<(), DatumError> {
    read_long(reader)?;
    if reader.some()? {
        reader.bytes()?;
        reader.long()?;
        reader.long()?;
    }
    Ok(())
}

fn read_long(reader: &mut Reader<'_>) -> Result<Option<i64>, DatumError> {
    match reader.some()? {
        true => reader.long().map(Some),
        false => Ok(None),
    }
}
