//! Control batches that end a transaction (`EndTransactionMarker`, `ControlRecordType`).

use crate::kafka::batch::{BatchHeader, HEADER_LENGTH};
use crate::kafka::transactions::Outcome;

/// The only record of a marker: lengths are zigzag varints, and all of them take one byte.
const RECORD: [u8; 17] = [
    32, // length of what follows
    0,  // attributes
    0,  // timestamp delta
    0,  // offset delta
    8,  // key length, 4
    0, 0, // version of the key
    0, 0,  // kind: 0 aborts, 1 commits
    12, // value length, 6
    0, 0, // version of the value
    0, 0, 0, 0, // coordinator epoch
    0, // headers
];

/// Where the low byte of the kind is.
const KIND: usize = 8;
const ABORT: u8 = 0;
const COMMIT: u8 = 1;

/// The header of a marker, and its record.
pub(super) fn marker(
    (producer_id, epoch): (i64, i16),
    outcome: Outcome,
    now_ms: i64,
) -> (BatchHeader, [u8; RECORD.len()]) {
    let mut record = RECORD;
    record[KIND] = match outcome {
        Outcome::Abort => ABORT,
        Outcome::Commit => COMMIT,
    };
    let header = BatchHeader::marker(producer_id, epoch, now_ms, &record);
    (header, record)
}

/// How a control batch ends its producer's transaction; `None` when it is not a marker.
pub(super) fn outcome(batch: &[u8]) -> Option<Outcome> {
    match *batch.get(HEADER_LENGTH + KIND)? {
        ABORT => Some(Outcome::Abort),
        COMMIT => Some(Outcome::Commit),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_says_how_the_transaction_ended() {
        for ended in [Outcome::Commit, Outcome::Abort] {
            let (header, record) = marker((7, 3), ended, 1_000);
            let bytes = [&header.encode()[..], &record].concat();
            assert_eq!(bytes.len(), 78);
            let read = BatchHeader::parse(&bytes).unwrap();
            assert_eq!(read.verify(&bytes), Ok(()));
            assert!(read.is_control() && read.is_transactional());
            assert_eq!((read.producer_id, read.producer_epoch), (7, 3));
            assert_eq!((read.base_sequence, read.record_count), (-1, 1));
            assert_eq!(outcome(&bytes), Some(ended));
        }
    }
}
