//! The records inside a batch, as far as a broker has to look at them: by time, by key, and whether
//! they have a value. They are read one after the other, as they are decompressed, and none is held.

use std::io::{self, BufRead, Read, Take, Write};

use bytes::{BufMut, BytesMut};

use super::compression::Compressor;
use super::decompression::decompress;
use super::keys::{KeyHash, KeyHasher};
use crate::kafka::batch::{BatchHeader, HEADER_LENGTH};

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

/// What is known of a record that is passed. Timestamp and offset count from those of its batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outline<Key> {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i64,
    pub(super) key: Option<Key>,
    pub(super) has_value: bool,
}

/// Passes all records of a batch, none of which is held.
pub(super) fn pass_all(
    header: &BatchHeader,
    batch: &[u8],
    hasher: &KeyHasher,
    mut each: impl FnMut(&Outline<KeyHash>),
) -> Result<(), RecordsError> {
    // An emptied batch has nothing to decompress.
    if header.record_count == 0 {
        return Ok(());
    }
    let mut records = reader(header, batch)?;
    for _ in 0..header.record_count {
        let outline = pass(&mut records, |key| hasher.hash(key));
        each(&outline.ok_or(RecordsError::Malformed)?);
    }
    expect_end(&mut records)
}

/// Which records of a batch that arrives have no key, by their number. They must count their offsets
/// from 0, each one more than the last.
pub(super) fn without_key(header: &BatchHeader, batch: &[u8]) -> Result<Vec<i32>, RecordsError> {
    let mut records = reader(header, batch)?;
    let mut without = Vec::new();
    for number in 0..header.record_count {
        let outline = pass(&mut records, |_| Ok(())).ok_or(RecordsError::Malformed)?;
        if outline.offset_delta != i64::from(number) {
            return Err(RecordsError::Malformed);
        }
        if outline.key.is_none() {
            without.push(number);
        }
    }
    expect_end(&mut records).map(|()| without)
}

fn expect_end(records: &mut impl BufRead) -> Result<(), RecordsError> {
    match records.fill_buf() {
        Ok([]) => Ok(()),
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

/// Passes a record, of whose key `read_key` reads what it wants to know.
fn pass<R: BufRead, Key>(
    records: &mut R,
    read_key: impl FnOnce(&mut Take<&mut Take<&mut R>>) -> io::Result<Key>,
) -> Option<Outline<Key>> {
    let length = u64::try_from(varint_of(|| byte(records))?).ok()?;
    let mut record = records.take(length);
    let _attributes = byte(&mut record)?;
    let timestamp_delta = varint_of(|| byte(&mut record))?;
    let offset_delta = varint_of(|| byte(&mut record))?;
    let key = match length_of(&mut record)? {
        Some(length) => {
            let mut key = record.by_ref().take(length);
            let known = read_key(&mut key).ok()?;
            let rest = key.limit();
            skip(&mut key, rest)?;
            Some(known)
        }
        None => None,
    };
    let value = length_of(&mut record)?;
    skip(&mut record, value.unwrap_or_default())?;
    let rest = record.limit();
    skip(&mut record, rest)?;
    Some(Outline {
        timestamp_delta,
        offset_delta,
        key,
        has_value: value.is_some(),
    })
}

/// The length of what comes next, which is -1 for null.
fn length_of(input: &mut impl Read) -> Option<Option<u64>> {
    match varint_of(|| byte(input))? {
        -1 => Some(None),
        length => u64::try_from(length).ok().map(Some),
    }
}

/// Reads so many bytes without keeping them.
fn skip(input: &mut impl Read, length: u64) -> Option<()> {
    let skipped = io::copy(&mut input.take(length), &mut io::sink()).ok()?;
    (skipped == length).then_some(())
}

/// Those records of a batch that are kept as they are stored in what is left of it: with their
/// timestamps counted from there. `kept` tells of each record whether it is.
pub(super) fn keep(
    header: &BatchHeader,
    batch: &[u8],
    kept: &[bool],
    left: &BatchHeader,
) -> Result<Vec<u8>, RecordsError> {
    let failed = |cause: io::Error| RecordsError::Compression(cause.to_string());
    let shift = header.base_timestamp.saturating_sub(left.base_timestamp);
    let compression = left.compression().ok_or(RecordsError::Malformed)?;
    let mut stored = Compressor::new(compression).map_err(failed)?;
    let mut records = reader(header, batch)?;
    for kept in kept {
        let length = varint_of(|| byte(&mut records)).and_then(|length| u64::try_from(length).ok());
        let mut record = records
            .by_ref()
            .take(length.ok_or(RecordsError::Malformed)?);
        if *kept {
            copy(&mut record, shift, &mut stored)?;
        }
        let rest = record.limit();
        skip(&mut record, rest).ok_or(RecordsError::Malformed)?;
    }
    stored.finish().map_err(failed)
}

/// Writes a record with another distance to its batch's timestamp; what follows that stays as it was.
fn copy(
    record: &mut Take<impl Read>,
    shift: i64,
    into: &mut impl Write,
) -> Result<(), RecordsError> {
    let attributes = byte(record).ok_or(RecordsError::Malformed)?;
    let timestamp_delta = varint_of(|| byte(record)).ok_or(RecordsError::Malformed)?;
    let rest = record.limit();
    let mut start = BytesMut::new();
    start.put_u8(attributes);
    put_varint(timestamp_delta.saturating_add(shift), &mut start);
    let length = u64::try_from(start.len())
        .ok()
        .and_then(|start| start.checked_add(rest));
    let length = length.and_then(|length| i64::try_from(length).ok());
    let mut prefix = BytesMut::new();
    put_varint(length.ok_or(RecordsError::Malformed)?, &mut prefix);
    let written = into
        .write_all(&prefix)
        .and_then(|()| into.write_all(&start))
        .and_then(|()| io::copy(record, into));
    match written {
        Ok(written) if written == rest => Ok(()),
        Ok(_) => Err(RecordsError::Malformed),
        Err(cause) => Err(RecordsError::Compression(cause.to_string())),
    }
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

/// A zigzag-encoded integer.
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
            let mut bytes = &bytes[..];
            prop_assert_eq!(varint_of(|| byte(&mut bytes)), Some(value));
            prop_assert_eq!(bytes.len(), 0);
        }
    }
}
