//! How long a record may be, and what becomes of a longer one.

use std::slice::Chunks;

use change::envelope::{self, Field, Head, KeyColumns, Part};
use change::framing::{self, SchemaId, write_header};
use change::value::Mapping;

use super::envelope::Record;
use super::plan::TablePlan;
use super::row::EncodeError;
use crate::config::LargeRecords;

/// The limit of a record.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    pub bytes_max: usize,
    pub policy: LargeRecords,
    /// That of parts.
    pub schema: SchemaId,
}

/// The parts of a record. Their places follow each other, from that of the record on.
pub(crate) struct Cut<'r> {
    schema: SchemaId,
    key: Option<&'r [u8]>,
    pieces: Chunks<'r, u8>,
    /// Of the next part.
    head: Head,
    part: u32,
    parts: u32,
}

/// What a record has beside its key and its value, in Kafka and as a part.
const OVERHEAD: usize = 1024;

/// So much of a refused row's key is named.
const KEY_SHOWN: usize = 200;

impl Limit {
    /// How a record is cut whose place is `head`; `None` where it goes as it is.
    ///
    /// # Errors
    /// When there would be more parts than can be counted.
    pub(crate) fn cut<'r>(
        &self,
        record: &'r Record<'_>,
        head: Head,
    ) -> Result<Option<Cut<'r>>, EncodeError> {
        if !self.is_exceeded_by(record) {
            return Ok(None);
        }
        // Each part has the key, so that all are in its partition; without one they all go to the
        // first. Only whole rows that are keys can be so long.
        let key = record.key.filter(|key| key.len() <= self.bytes_max / 4);
        let room = self.bytes_max - OVERHEAD - key.map_or(0, <[u8]>::len);
        let pieces = record.value.chunks(room);
        Ok(Some(Cut {
            schema: self.schema,
            key,
            head,
            part: 0,
            parts: u32::try_from(pieces.len()).map_err(|_| EncodeError::Range)?,
            pieces,
        }))
    }

    /// # Errors
    /// When the record is too long and such are refused; `row` names it.
    pub(super) fn admit(
        &self,
        record: &Record<'_>,
        row: impl FnOnce() -> String,
    ) -> Result<(), EncodeError> {
        match self.policy {
            LargeRecords::Refuse if self.is_exceeded_by(record) => Err(EncodeError::TooLarge {
                row: row(),
                bytes: record.bytes(),
                bytes_max: self.bytes_max,
            }),
            LargeRecords::Refuse | LargeRecords::Split => Ok(()),
        }
    }

    fn is_exceeded_by(&self, record: &Record<'_>) -> bool {
        record.bytes() + OVERHEAD > self.bytes_max
    }
}

impl Cut<'_> {
    pub(crate) fn parts(&self) -> u64 {
        self.parts.into()
    }
}

impl<'r> Iterator for Cut<'r> {
    type Item = Result<Record<'r>, EncodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let data = self.pieces.next()?;
        let part = Part {
            head: self.head,
            part: self.part,
            parts: self.parts,
            data,
        };
        self.part += 1;
        self.head.position.ordinal += 1;
        let mut value = Vec::with_capacity(data.len() + OVERHEAD);
        write_header(&mut value, self.schema);
        let written = part.write(&mut value).map_err(|_| EncodeError::Range);
        Some(written.map(|()| Record {
            key: self.key,
            value,
        }))
    }
}

/// A row as an error names it.
pub(super) fn named(plan: &TablePlan, key: Option<&[u8]>) -> String {
    let table = &plan.relation.table;
    let columns = plan.relation.key_columns();
    let columns = KeyColumns {
        columns: columns
            .map(|column| (column.clone(), plan.relation.is_nullable(column)))
            .collect(),
        has_images: plan.exact_keys,
    };
    let datum = key.and_then(|key| framing::split(key).ok());
    let values = datum.and_then(|(_, datum)| envelope::key(&columns, datum).ok());
    let mut text = Vec::new();
    for ((column, _), value) in columns.columns.iter().zip(values.iter().flatten()) {
        text.push(format!("{}={}", column.name, shown(column.mapping, value)));
    }
    let mut text = text.join(", ");
    if let Some((end, _)) = text.char_indices().nth(KEY_SHOWN) {
        text.truncate(end);
        text.push('…');
    }
    format!("row ({text}) of table {table}")
}

fn shown(mapping: Mapping, value: &Field) -> String {
    match value.image() {
        None => "null".to_owned(),
        Some(_) => value.text(mapping).unwrap_or_else(|| "…".to_owned()),
    }
}
