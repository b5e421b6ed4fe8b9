//! Confluent's wire format: a zero byte, the schema's id in four bytes (big-endian), the datum.

/// The length of what stands before a datum.
pub const HEADER_BYTES: usize = 5;

const MAGIC: u8 = 0;

/// The id by which a registry knows a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaId(pub u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    #[error("record of {0} bytes is shorter than the 5 bytes that name its schema")]
    Short(usize),
    #[error("record starts with byte {0}, not with 0: it was not written with a schema registry")]
    Magic(u8),
}

pub fn write_header(out: &mut Vec<u8>, schema: SchemaId) {
    out.push(MAGIC);
    out.extend_from_slice(&schema.0.to_be_bytes());
}

/// The id of the schema that `record` was written with, and its datum.
///
/// # Errors
/// When the record does not have the wire format; it is then a poison record, never skipped.
pub fn split(record: &[u8]) -> Result<(SchemaId, &[u8]), FramingError> {
    match record {
        [MAGIC, a, b, c, d, datum @ ..] => {
            Ok((SchemaId(u32::from_be_bytes([*a, *b, *c, *d])), datum))
        }
        [] | [MAGIC, ..] => Err(FramingError::Short(record.len())),
        [magic, ..] => Err(FramingError::Magic(*magic)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_magic_and_big_endian_id() {
        let mut out = Vec::new();
        write_header(&mut out, SchemaId(0x0102_0304));
        out.push(9);
        assert_eq!(out, [0, 1, 2, 3, 4, 9]);
        assert_eq!(split(&out), Ok((SchemaId(0x0102_0304), &[9][..])));
        assert_eq!(split(&[0, 1]), Err(FramingError::Short(2)));
        assert_eq!(split(b"{}"), Err(FramingError::Magic(b'{')));
    }
}
