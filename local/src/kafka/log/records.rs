//! The records inside a batch, as far as a search by time needs them.

use std::io::{self, BufRead, Read};

use super::decompression::decompress;
use crate::kafka::batch::{BatchHeader, HEADER_LENGTH};

/// A record's offset and timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kafka) struct Moment {
    pub(in crate::kafka) offset: i64,
    pub(in crate::kafka) timestamp: i64,
}

/// The first record of a batch at or after a time; `None` when it has none or cannot be read.
pub(super) fn first_at_or_after(
    header: &BatchHeader,
    batch: &[u8],
    timestamp: i64,
) -> Option<Moment> {
    if header.has_append_time() {
        let moment = Moment {
            offset: header.base_offset,
            timestamp: header.max_timestamp,
        };
        return (header.max_timestamp >= timestamp).then_some(moment);
    }
    let stored = batch.get(HEADER_LENGTH..header.size)?;
    let mut records = decompress(header.compression()?, stored).ok()?;
    search(header, &mut records, timestamp)
}

fn search(header: &BatchHeader, records: &mut impl BufRead, timestamp: i64) -> Option<Moment> {
    for _ in 0..header.record_count {
        let length = u64::try_from(varint(records)?).ok()?;
        let mut record = records.take(length);
        let _attributes = byte(&mut record)?;
        let moment_timestamp = header.base_timestamp.checked_add(varint(&mut record)?)?;
        let offset = header.base_offset.checked_add(varint(&mut record)?)?;
        if moment_timestamp >= timestamp {
            return Some(Moment {
                offset,
                timestamp: moment_timestamp,
            });
        }
        let rest = record.limit();
        let skipped = io::copy(&mut record, &mut io::sink()).ok()?;
        if skipped < rest {
            return None;
        }
    }
    None
}

/// A zigzag-encoded integer.
fn varint(input: &mut impl Read) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = byte(input)?;
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
