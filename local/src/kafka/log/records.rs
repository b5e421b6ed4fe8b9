//! The records inside a batch, as far as a broker has to look at them: by time, by key, and whether
//! they have a value.

use std::io::{self, BufRead, Read};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::compression::{Compressor, Gzip, Lz4, Snappy, Zstd};

use super::decompression::decompress;
use crate::kafka::batch::{BatchHeader, Compression, HEADER_LENGTH};

/// A record's offset and timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kafka) struct Moment {
    pub(in crate::kafka) offset: i64,
    pub(in crate::kafka) timestamp: i64,
}

/// Why the records of a batch are not readable.
#[derive(Debug, thiserror::Error)]
pub(in crate::kafka) enum RecordsError {
    #[error("records do not decompress: {0}")]
    Compression(String),
    #[error("records are not as their batch announces them")]
    Malformed,
}

/// One record. Timestamp and offset count from those of its batch.
#[derive(Debug, Clone)]
pub(super) struct Record {
    attributes: i8,
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i64,
    pub(super) key: Option<Bytes>,
    pub(super) has_value: bool,
    /// From the offset on, as it was.
    rest: Bytes,
}

impl Record {
    fn read(mut bytes: Bytes) -> Option<Self> {
        let attributes = bytes.try_get_i8().ok()?;
        let timestamp_delta = varint(&mut bytes)?;
        let rest = bytes.clone();
        let offset_delta = varint(&mut bytes)?;
        let key = nullable(&mut bytes)?;
        let has_value = nullable(&mut bytes)?.is_some();
        Some(Self {
            attributes,
            timestamp_delta,
            offset_delta,
            key,
            has_value,
            rest,
        })
    }

    /// Writes the record with another distance to its batch's timestamp.
    fn write(&self, timestamp_delta: i64, into: &mut BytesMut) {
        let mut start = BytesMut::with_capacity(11);
        start.put_i8(self.attributes);
        put_varint(timestamp_delta, &mut start);
        let length = start.len() + self.rest.len();
        put_varint(i64::try_from(length).unwrap_or(i64::MAX), into);
        into.extend_from_slice(&start);
        into.extend_from_slice(&self.rest);
    }
}

/// All records of a batch.
pub(super) fn records_of(header: &BatchHeader, batch: &[u8]) -> Result<Vec<Record>, RecordsError> {
    // An emptied batch has nothing to decompress.
    if header.record_count == 0 {
        return Ok(Vec::new());
    }
    let mut plain = Vec::new();
    reader(header, batch)?
        .read_to_end(&mut plain)
        .map_err(|cause| RecordsError::Compression(cause.to_string()))?;
    read_all(header, &mut plain.into()).ok_or(RecordsError::Malformed)
}

/// Which records of a batch that arrives have no key, by their number. They must count their offsets
/// from 0, each one more than the last.
pub(super) fn without_key(header: &BatchHeader, batch: &[u8]) -> Result<Vec<i32>, RecordsError> {
    let mut records = reader(header, batch)?;
    let mut without = Vec::new();
    for number in 0..header.record_count {
        let (offset_delta, has_key) = pass(&mut records).ok_or(RecordsError::Malformed)?;
        if offset_delta != i64::from(number) {
            return Err(RecordsError::Malformed);
        }
        if !has_key {
            without.push(number);
        }
    }
    match records.fill_buf() {
        Ok([]) => Ok(without),
        Ok(_) => Err(RecordsError::Malformed),
        Err(cause) => Err(RecordsError::Compression(cause.to_string())),
    }
}

fn reader<'a>(
    header: &BatchHeader,
    batch: &'a [u8],
) -> Result<impl BufRead + use<'a>, RecordsError> {
    let stored = batch.get(HEADER_LENGTH..header.size);
    let stored = stored.ok_or(RecordsError::Malformed)?;
    let compression = header.compression().ok_or(RecordsError::Malformed)?;
    decompress(compression, stored).map_err(|cause| RecordsError::Compression(cause.to_string()))
}

/// Passes a record; how far its offset is from its batch's, and whether it has a key.
fn pass(records: &mut impl BufRead) -> Option<(i64, bool)> {
    let length = u64::try_from(varint_of(|| byte(records))?).ok()?;
    let mut record = records.take(length);
    let _attributes = byte(&mut record)?;
    let _timestamp_delta = varint_of(|| byte(&mut record))?;
    let offset_delta = varint_of(|| byte(&mut record))?;
    let key = varint_of(|| byte(&mut record))?;
    skip(&mut record, u64::try_from(key.max(0)).ok()?)?;
    let value = varint_of(|| byte(&mut record))?;
    skip(&mut record, u64::try_from(value.max(0)).ok()?)?;
    let rest = record.limit();
    skip(&mut record, rest)?;
    Some((offset_delta, key >= 0))
}

/// Reads so many bytes without keeping them.
fn skip(input: &mut impl Read, length: u64) -> Option<()> {
    let skipped = io::copy(&mut input.take(length), &mut io::sink()).ok()?;
    (skipped == length).then_some(())
}

/// Records as they are stored in a batch, compressed as its header says, with their timestamps
/// counted anew from the header's. `counted_from` is from where they count now.
pub(super) fn store(
    header: &BatchHeader,
    records: &[Record],
    counted_from: i64,
) -> Result<BytesMut, RecordsError> {
    let shift = counted_from.saturating_sub(header.base_timestamp);
    let mut plain = BytesMut::new();
    for record in records {
        record.write(record.timestamp_delta.saturating_add(shift), &mut plain);
    }
    let mut stored = BytesMut::new();
    let write = |into: &mut BytesMut| {
        into.extend_from_slice(&plain);
        Ok(())
    };
    let compressed = match header.compression() {
        None => return Err(RecordsError::Malformed),
        Some(Compression::None) => return Ok(plain),
        Some(Compression::Gzip) => Gzip::compress(&mut stored, write),
        Some(Compression::Snappy) => Snappy::compress(&mut stored, write),
        Some(Compression::Lz4) => Lz4::compress(&mut stored, write),
        Some(Compression::Zstd) => Zstd::compress(&mut stored, write),
    };
    compressed.map_err(|cause| RecordsError::Compression(cause.to_string()))?;
    Ok(stored)
}

/// The first record of a batch at or after a time; `None` when it has none or cannot be read.
pub(super) fn first_at_or_after(
    header: &BatchHeader,
    batch: &[u8],
    timestamp: i64,
) -> Option<Moment> {
    if header.record_count == 0 {
        return None;
    }
    if header.has_append_time() {
        let moment = Moment {
            offset: header.base_offset,
            timestamp: header.max_timestamp,
        };
        return (header.max_timestamp >= timestamp).then_some(moment);
    }
    let mut records = reader(header, batch).ok()?;
    search(header, &mut records, timestamp)
}

fn search(header: &BatchHeader, records: &mut impl BufRead, timestamp: i64) -> Option<Moment> {
    for _ in 0..header.record_count {
        let length = u64::try_from(varint_of(|| byte(records))?).ok()?;
        let mut record = records.take(length);
        let _attributes = byte(&mut record)?;
        let moment_timestamp = header
            .base_timestamp
            .checked_add(varint_of(|| byte(&mut record))?)?;
        let offset = header
            .base_offset
            .checked_add(varint_of(|| byte(&mut record))?)?;
        if moment_timestamp >= timestamp {
            return Some(Moment {
                offset,
                timestamp: moment_timestamp,
            });
        }
        let rest = record.limit();
        skip(&mut record, rest)?;
    }
    None
}

fn read_all(header: &BatchHeader, bytes: &mut Bytes) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    for _ in 0..header.record_count {
        let length = usize::try_from(varint(bytes)?).ok()?;
        if length > bytes.remaining() {
            return None;
        }
        records.push(Record::read(bytes.split_to(length))?);
    }
    (!bytes.has_remaining()).then_some(records)
}

/// Bytes after their length, which is -1 for null.
fn nullable(bytes: &mut Bytes) -> Option<Option<Bytes>> {
    let length = varint(bytes)?;
    if length == -1 {
        return Some(None);
    }
    let length = usize::try_from(length).ok()?;
    (length <= bytes.remaining()).then(|| Some(bytes.split_to(length)))
}

/// A zigzag-encoded integer.
fn varint(bytes: &mut Bytes) -> Option<i64> {
    varint_of(|| bytes.try_get_u8().ok())
}

fn varint_of(mut next: impl FnMut() -> Option<u8>) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = next()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}

fn byte(input: &mut impl Read) -> Option<u8> {
    let mut byte = [0];
    input.read_exact(&mut byte).ok()?;
    Some(byte[0])
}

fn put_varint(value: i64, into: &mut BytesMut) {
    let mut rest = (value << 1 ^ value >> 63).cast_unsigned();
    while rest >= 0x80 {
        // Seven bits and the flag that more follow.
        into.put_u8(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
        rest >>= 7;
    }
    into.put_u8(u8::try_from(rest).unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    proptest! {
        #[test]
        fn varints_are_read_as_they_were_written(value in any::<i64>()) {
            let mut bytes = BytesMut::new();
            put_varint(value, &mut bytes);
            let mut bytes = bytes.freeze();
            prop_assert_eq!(varint(&mut bytes), Some(value));
            prop_assert_eq!(bytes.len(), 0);
        }
    }
}
