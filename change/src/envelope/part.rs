//! A part of a record that would be longer than topics take.
//!
//! The value of such a record, framing included, is cut, and each piece sent as a record of its own:
//! of the same key, in the same partition, at a position of its own. A change of n parts has n
//! positions that follow each other, and its envelope names the first. So the ranges of commits
//! records, their order and what counts of them need no other rule: parts are told by their schema.

use serde_json::{Value, json};

use super::record::{Head, RecordError, read_head};
use crate::avro::{Reader, write_bytes, write_long};

/// The subject of the schema, which all topics share (RecordNameStrategy).
pub const PART_SUBJECT: &str = "lockstep.Part";

/// One piece of a record's value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    pub head: Head,
    /// From 0.
    pub part: u32,
    pub parts: u32,
    pub data: &'a [u8],
}

/// The schema of parts, as JSON text.
pub fn part_schema() -> String {
    let place = json!({
        "type": "record",
        "name": "Place",
        "fields": [
            {"name": "epoch", "type": "long"},
            {"name": "commit_lsn", "type": "long"},
            {"name": "ordinal", "type": "long"}
        ]
    });
    json!({
        "type": "record",
        "name": "Part",
        "namespace": "lockstep",
        "doc": "A piece of a record that is longer than its topic takes: the data of all parts, one \
                after the other, is its value.",
        "fields": [
            {"name": "lockstep", "type": place},
            {"name": "part", "type": "int", "doc": "From 0."},
            {"name": "parts", "type": "int"},
            {"name": "data", "type": "bytes"}
        ]
    })
    .to_string()
}

/// Whether a schema is that of parts.
pub fn is_part_schema(schema: &str) -> bool {
    let schema = serde_json::from_str::<Value>(schema).unwrap_or_default();
    // A registry may write the full name in one.
    let name = schema["name"].as_str().unwrap_or_default();
    match schema["namespace"].as_str() {
        Some(namespace) => format!("{namespace}.{name}") == PART_SUBJECT,
        None => name == PART_SUBJECT,
    }
}

impl<'a> Part<'a> {
    /// Appends the datum.
    ///
    /// # Errors
    /// When its position does not fit.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), std::num::TryFromIntError> {
        write_long(out, self.head.epoch);
        write_long(out, self.head.position.commit_lsn.as_u64().try_into()?);
        write_long(out, self.head.position.ordinal.try_into()?);
        write_long(out, self.part.into());
        write_long(out, self.parts.into());
        write_bytes(out, self.data);
        Ok(())
    }

    /// Reads a datum of [`part_schema`].
    ///
    /// # Errors
    /// When it is no such datum.
    pub fn read(datum: &'a [u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::new(datum);
        let head = read_head(&mut reader)?;
        let count = |long| u32::try_from(long).map_err(|_| RecordError::Count);
        let part = Self {
            head,
            part: count(reader.long()?)?,
            parts: count(reader.long()?)?,
            data: reader.bytes()?,
        };
        reader.finish()?;
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use apache_avro::reader::datum::GenericDatumReader;
    use apache_avro::types::Value as Avro;

    use super::*;
    use crate::{Lsn, Position};

    #[test]
    fn a_part_is_what_its_schema_says() {
        let part = Part {
            head: Head {
                epoch: 3,
                position: Position {
                    commit_lsn: Lsn::new(0x1_6000_0000),
                    ordinal: 70_000,
                },
            },
            part: 1,
            parts: 200,
            data: &[0, 255, 7],
        };
        let mut datum = Vec::new();
        part.write(&mut datum).unwrap();
        assert!(Part::read(&datum).is_ok_and(|read| read == part));
        assert!(Part::read(&datum[1..]).is_err());

        let schema = apache_avro::Schema::parse_str(&part_schema()).unwrap();
        let reader = GenericDatumReader::builder(&schema).build().unwrap();
        let read = reader.read_value(&mut datum.as_slice()).unwrap();
        let place = [
            ("epoch", 3),
            ("commit_lsn", 0x1_6000_0000),
            ("ordinal", 70_000),
        ];
        let place = place.map(|(name, long)| (name.to_owned(), Avro::Long(long)));
        let fields = [
            ("lockstep", Avro::Record(place.into())),
            ("part", Avro::Int(1)),
            ("parts", Avro::Int(200)),
            ("data", Avro::Bytes(vec![0, 255, 7])),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(read, Avro::Record(fields.into()));
    }

    #[test]
    fn the_schema_is_known_however_it_is_written() {
        assert!(is_part_schema(&part_schema()));
        assert!(is_part_schema(
            r#"{"type": "record", "name": "lockstep.Part"}"#
        ));
        assert!(!is_part_schema(
            r#"{"type": "record", "name": "Part", "namespace": "x"}"#
        ));
        assert!(!is_part_schema("\"string\""));
        assert!(!is_part_schema("no JSON"));
    }
}
