//! One partition's records on disk.
//!
//! A partition is a directory of segments. A segment is a file of record batches, named by the
//! offset of its first record, and a sparse index beside it. Appends go to the last segment.
//!
//! What a start must not have to read again is in the checkpoint: the end of the log when it was
//! written, and the state of producers and transactions up to there. Recovery checks what follows, batch by
//! batch, and cuts where a batch is not whole.
//!
//! Compaction writes finished segments anew. The offsets in them then have gaps.
//!
//! The calls here block on files; nothing here knows of tokio except for the notices to readers
//! that wait for records.

mod checkpoint;
mod compaction;
mod compression;
mod decompression;
mod epochs;
mod index;
mod keys;
mod marker;
mod partition;
mod producers;
mod records;
mod recovery;
mod replacement;
mod scan;
mod segment;
mod segments;
mod stability;
mod start_offset;
mod sweep;
mod transactions;
mod upkeep;
mod waiters;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod transaction_tests;

pub(super) use compaction::{CompactError, Compacted};
pub(super) use partition::{AppendError, Appended, Partition, ReadError, Records, Settings};
pub(super) use producers::ActiveProducer;
pub(super) use records::Moment;
pub(super) use recovery::Trust;
pub(super) use segment::FirstBatch;
pub(super) use transactions::Aborted;
pub(super) use upkeep::DeleteRecordsError;
pub(super) use waiters::Wait;
