//! The header of a record batch, format 2 (Kafka's "Record Batch" in the message format guide).
//!
//! Batches are stored as they were received. Only the fields that the checksum does not cover are
//! rewritten: the base offset and the leader epoch. Compaction writes batches anew.

#![deny(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

/// Bytes before the records.
pub(super) const HEADER_LENGTH: usize = 61;
/// Base offset and batch length: what must be read to know how long a batch is.
pub(super) const PREFIX_LENGTH: usize = 12;

const CHECKED_FROM: usize = 21;
const TIMESTAMP_TYPE_BIT: i16 = 1 << 3;
const TRANSACTIONAL_BIT: i16 = 1 << 4;
const CONTROL_BIT: i16 = 1 << 5;
const DELETE_HORIZON_BIT: i16 = 1 << 6;
const COMPRESSION_MASK: i16 = 0b111;
/// The largest timestamp of "no record".
const NO_TIMESTAMP: i64 = -1;

/// Why bytes are not a record batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BatchError {
    #[error("record batch is cut short")]
    Truncated,
    #[error("record batch has format {0}, only 2 is stored")]
    Magic(i8),
    #[error("record batch has a length that cannot be")]
    Length,
    #[error("checksum of the record batch does not match")]
    Checksum,
    #[error("record batch counts its records wrongly")]
    RecordCount,
}

/// The fields of a batch's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BatchHeader {
    pub(super) base_offset: i64,
    /// Of the whole batch, prefix included.
    pub(super) size: usize,
    /// Of the leader that appended the batch (KIP-101).
    pub(super) leader_epoch: i32,
    pub(super) crc: u32,
    pub(super) attributes: i16,
    pub(super) last_offset_delta: i32,
    pub(super) base_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    pub(super) base_sequence: i32,
    pub(super) record_count: i32,
}

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl BatchHeader {
    /// The header of a control batch with one record, which ends a transaction.
    pub(super) fn marker(producer_id: i64, epoch: i16, now_ms: i64, record: &[u8]) -> Self {
        let mut header = Self {
            base_offset: 0,
            size: HEADER_LENGTH.saturating_add(record.len()),
            leader_epoch: 0,
            crc: 0,
            attributes: TRANSACTIONAL_BIT | CONTROL_BIT,
            last_offset_delta: 0,
            base_timestamp: now_ms,
            max_timestamp: now_ms,
            producer_id,
            producer_epoch: epoch,
            base_sequence: -1,
            record_count: 1,
        };
        header.crc = header.checksum(record);
        header
    }

    /// Reads the header at the start of `bytes`; the records need not be there.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let header = bytes
            .first_chunk::<HEADER_LENGTH>()
            .ok_or(BatchError::Truncated)?;
        let mut fields = Fields { rest: header };
        let base_offset = fields.i64()?;
        let length = fields.i32()?;
        let leader_epoch = fields.i32()?;
        let magic = i8::from_be_bytes(fields.next()?);
        if magic != 2 {
            return Err(BatchError::Magic(magic));
        }
        let size = usize::try_from(length).map_err(|_| BatchError::Length)? + PREFIX_LENGTH;
        if size < HEADER_LENGTH || base_offset < 0 {
            return Err(BatchError::Length);
        }
        let batch = Self {
            base_offset,
            size,
            leader_epoch,
            crc: u32::from_be_bytes(fields.next()?),
            attributes: fields.i16()?,
            last_offset_delta: fields.i32()?,
            base_timestamp: fields.i64()?,
            max_timestamp: fields.i64()?,
            producer_id: fields.i64()?,
            producer_epoch: fields.i16()?,
            base_sequence: fields.i32()?,
            record_count: fields.i32()?,
        };
        if batch.last_offset_delta < 0 || batch.base_offset.checked_add(1 << 32).is_none() {
            return Err(BatchError::RecordCount);
        }
        Ok(batch)
    }

    /// Checks the checksum of a batch that is wholly in `bytes`.
    pub(super) fn verify(&self, bytes: &[u8]) -> Result<(), BatchError> {
        let checked = bytes
            .get(CHECKED_FROM..self.size)
            .ok_or(BatchError::Truncated)?;
        if crc32c::crc32c(checked) == self.crc {
            Ok(())
        } else {
            Err(BatchError::Checksum)
        }
    }

    pub(super) fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    pub(super) fn next_offset(&self) -> i64 {
        self.last_offset() + 1
    }

    /// The sequence number of the last record; sequences wrap at 2^31.
    pub(super) fn last_sequence(&self) -> i32 {
        advance_sequence(self.base_sequence, self.last_offset_delta)
    }

    pub(super) fn is_idempotent(&self) -> bool {
        self.producer_id >= 0
    }

    pub(super) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    pub(super) fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    pub(super) fn has_append_time(&self) -> bool {
        self.attributes & TIMESTAMP_TYPE_BIT != 0
    }

    /// The largest timestamp of the records; a batch that compaction has emptied has none.
    pub(super) fn newest_timestamp(&self) -> i64 {
        if self.record_count == 0 {
            NO_TIMESTAMP
        } else {
            self.max_timestamp
        }
    }

    /// From when on the tombstones in the batch may go (KIP-534). The base timestamp holds it.
    pub(super) fn delete_horizon(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON_BIT != 0).then_some(self.base_timestamp)
    }

    /// Makes a moment the delete horizon. Timestamps in the records then count from there.
    pub(super) fn set_delete_horizon(&mut self, at_ms: i64) {
        self.attributes |= DELETE_HORIZON_BIT;
        self.base_timestamp = at_ms;
    }

    /// What is left of a batch without records: its place in the log and in its producer's sequence.
    pub(super) fn emptied(&self) -> Self {
        let keeps = TIMESTAMP_TYPE_BIT | TRANSACTIONAL_BIT | CONTROL_BIT;
        let mut empty = Self {
            attributes: self.attributes & keeps,
            base_timestamp: self.max_timestamp,
            record_count: 0,
            ..self.clone()
        };
        empty.seal(&[]);
        empty
    }

    /// `None` for a code that the format does not define.
    pub(super) fn compression(&self) -> Option<Compression> {
        match self.attributes & COMPRESSION_MASK {
            0 => Some(Compression::None),
            1 => Some(Compression::Gzip),
            2 => Some(Compression::Snappy),
            3 => Some(Compression::Lz4),
            4 => Some(Compression::Zstd),
            _ => None,
        }
    }

    /// Gives the batch the time at which it is appended. Changes what the checksum covers, so it
    /// takes the records that follow the header.
    pub(super) fn stamp_append_time(&mut self, now_ms: i64, records: &[u8]) {
        self.attributes |= TIMESTAMP_TYPE_BIT;
        self.max_timestamp = now_ms;
        self.seal(records);
    }

    /// Sets the size and the checksum to those of a batch with these records.
    pub(super) fn seal(&mut self, records: &[u8]) {
        self.size = HEADER_LENGTH + records.len();
        self.crc = self.checksum(records);
    }

    fn checksum(&self, records: &[u8]) -> u32 {
        let header = self.encode();
        let checked = header.get(CHECKED_FROM..).unwrap_or_default();
        crc32c::crc32c_append(crc32c::crc32c(checked), records)
    }

    /// The header as it is stored.
    pub(super) fn encode(&self) -> [u8; HEADER_LENGTH] {
        let length = i32::try_from(self.size - PREFIX_LENGTH).unwrap_or(i32::MAX);
        let fields: [&[u8]; 13] = [
            &self.base_offset.to_be_bytes(),
            &length.to_be_bytes(),
            &self.leader_epoch.to_be_bytes(),
            &2i8.to_be_bytes(),
            &self.crc.to_be_bytes(),
            &self.attributes.to_be_bytes(),
            &self.last_offset_delta.to_be_bytes(),
            &self.base_timestamp.to_be_bytes(),
            &self.max_timestamp.to_be_bytes(),
            &self.producer_id.to_be_bytes(),
            &self.producer_epoch.to_be_bytes(),
            &self.base_sequence.to_be_bytes(),
            &self.record_count.to_be_bytes(),
        ];
        let mut bytes = [0; HEADER_LENGTH];
        let mut rest = bytes.as_mut_slice();
        for field in fields {
            let (here, after) = rest.split_at_mut(field.len());
            here.copy_from_slice(field);
            rest = after;
        }
        bytes
    }
}

/// Counts a sequence number onwards; numbers wrap from 2^31 - 1 to 0.
pub(super) fn advance_sequence(sequence: i32, by: i32) -> i32 {
    let wrapped = (i64::from(sequence) + i64::from(by)) % (1 << 31);
    i32::try_from(wrapped).unwrap_or(0)
}

struct Fields<'a> {
    rest: &'a [u8],
}

impl Fields<'_> {
    fn next<const N: usize>(&mut self) -> Result<[u8; N], BatchError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(BatchError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn i16(&mut self) -> Result<i16, BatchError> {
        self.next().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32, BatchError> {
        self.next().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, BatchError> {
        self.next().map(i64::from_be_bytes)
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    /// As librdkafka 2.12.1 sent it: key "key", value "value", from an idempotent producer.
    const SENT: &[u8] = include_bytes!("batch.golden");

    #[test]
    fn a_batch_of_a_stock_client_is_read() {
        let header = BatchHeader::parse(SENT).unwrap();
        assert_eq!(header.size, SENT.len());
        assert_eq!(
            (
                header.producer_id,
                header.producer_epoch,
                header.base_sequence
            ),
            (0, 0, 0)
        );
        assert_eq!((header.record_count, header.last_offset()), (1, 0));
        assert_eq!(header.base_timestamp, header.max_timestamp);
        assert_eq!(header.compression(), Some(Compression::None));
        assert_eq!(header.verify(SENT), Ok(()));
        assert_eq!(header.encode(), SENT[..HEADER_LENGTH]);
    }

    #[test]
    fn a_batch_that_is_stamped_has_the_checksum_of_what_it_says_now() {
        let mut header = BatchHeader::parse(SENT).unwrap();
        header.stamp_append_time(1_234, &SENT[HEADER_LENGTH..]);
        let stamped = [&header.encode()[..], &SENT[HEADER_LENGTH..]].concat();
        let read = BatchHeader::parse(&stamped).unwrap();
        assert_eq!(read.verify(&stamped), Ok(()));
        assert!(read.has_append_time());
        assert_eq!(read.max_timestamp, 1_234);
    }

    #[test]
    fn what_cannot_be_a_batch_is_refused() {
        let changed = |at: usize, bytes: &[u8]| {
            let mut batch = SENT.to_vec();
            batch[at..at + bytes.len()].copy_from_slice(bytes);
            BatchHeader::parse(&batch)
        };
        assert_eq!(BatchHeader::parse(&SENT[..60]), Err(BatchError::Truncated));
        assert_eq!(changed(16, &[1]), Err(BatchError::Magic(1)));
        assert_eq!(changed(8, &(-1i32).to_be_bytes()), Err(BatchError::Length));
        assert_eq!(changed(8, &48i32.to_be_bytes()), Err(BatchError::Length));
        assert_eq!(changed(0, &(-1i64).to_be_bytes()), Err(BatchError::Length));
        assert_eq!(
            changed(0, &i64::MAX.to_be_bytes()),
            Err(BatchError::RecordCount)
        );
        assert_eq!(
            changed(23, &(-1i32).to_be_bytes()),
            Err(BatchError::RecordCount)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = bytes;
            // Half of them get past the format.
            if bytes.len() > 16 && bytes[0] & 1 == 0 {
                bytes[..8].copy_from_slice(&[0; 8]);
                bytes[8..10].copy_from_slice(&[0; 2]);
                bytes[16] = 2;
            }
            if let Ok(header) = BatchHeader::parse(&bytes) {
                prop_assert_eq!(&header.encode()[..], &bytes[..HEADER_LENGTH]);
                let _ = (header.verify(&bytes), header.next_offset(), header.last_sequence());
            }
        }
    }
}
