//! The records inside a batch, as far as a search by time needs them.

use bytes::{Buf, Bytes};
use kafka_protocol::compression::{Decompressor, Gzip, Lz4, Snappy, Zstd};

use crate::kafka::batch::{BatchHeader, Compression, HEADER_LENGTH};

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
    let mut records = Bytes::copy_from_slice(batch.get(HEADER_LENGTH..)?);
    let find = |records: &mut Bytes| Ok(search(header, records, timestamp));
    match header.compression()? {
        Compression::None => search(header, &mut records, timestamp),
        Compression::Gzip => Gzip::decompress(&mut records, find).ok()?,
        Compression::Snappy => Snappy::decompress(&mut records, find).ok()?,
        Compression::Lz4 => Lz4::decompress(&mut records, find).ok()?,
        Compression::Zstd => Zstd::decompress(&mut records, find).ok()?,
    }
}

fn search(header: &BatchHeader, records: &mut Bytes, timestamp: i64) -> Option<Moment> {
    for _ in 0..header.record_count {
        let length = usize::try_from(varint(records)?).ok()?;
        if length > records.remaining() {
            return None;
        }
        let mut record = records.split_to(length);
        let _attributes = record.try_get_i8().ok()?;
        let moment_timestamp = header.base_timestamp.checked_add(varint(&mut record)?)?;
        let offset = header.base_offset.checked_add(varint(&mut record)?)?;
        if moment_timestamp >= timestamp {
            return Some(Moment {
                offset,
                timestamp: moment_timestamp,
            });
        }
    }
    None
}

/// A zigzag-encoded integer.
fn varint(bytes: &mut Bytes) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = bytes.try_get_u8().ok()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}
