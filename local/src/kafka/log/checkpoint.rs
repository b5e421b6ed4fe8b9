use std::io;
use std::path::Path;
use std::{fs, str};

use serde::{Deserialize, Serialize};

use super::epochs::Epochs;
use super::index::NO_TIMESTAMP;
use super::producers::Producers;
use super::transactions::Transactions;
use crate::kafka::journal::replace_file;

/// What a start can take for known instead of reading the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    /// The first offset that may be read.
    pub(super) start_offset: i64,
    /// The offset after the last record.
    pub(super) next_offset: i64,
    /// The last segment and its length.
    pub(super) segment: i64,
    pub(super) position: u64,
    /// Entries in that segment's index.
    pub(super) index_entries: u32,
    /// The largest timestamp in that segment.
    pub(super) max_timestamp: i64,
    /// Segments before this one have been forced to the disk.
    pub(super) unflushed_from: i64,
    /// The offset up to which the log is compacted.
    #[serde(default)]
    pub(super) compacted_until: i64,
    /// As of `next_offset`.
    #[serde(default)]
    pub(super) epochs: Epochs,
    /// As of `next_offset`.
    pub(super) producers: Producers,
    /// As of `next_offset`. Missing where a broker without transactions wrote it.
    #[serde(default)]
    pub(super) transactions: Transactions,
}

const NAME: &str = "checkpoint.json";

impl Checkpoint {
    /// What is known where there is none: that the log starts here.
    pub(super) fn none(offset: i64, segment: i64) -> Self {
        Self {
            start_offset: offset,
            next_offset: offset,
            segment,
            position: 0,
            index_entries: 0,
            max_timestamp: NO_TIMESTAMP,
            unflushed_from: segment,
            compacted_until: 0,
            epochs: Epochs::default(),
            producers: Producers::default(),
            transactions: Transactions::default(),
        }
    }

    /// `None` when there is none that can be used: the log itself then tells everything.
    pub(super) fn read(directory: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(directory.join(NAME)).ok()?).ok()
    }

    /// Replaces the file, without forcing it to the disk: after a power failure it may be the old
    /// one, or empty, and both only make the start read more of the log.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        let beside = directory.join("checkpoint.new");
        fs::write(&beside, serde_json::to_vec(self)?)?;
        fs::rename(beside, directory.join(NAME))
    }

    /// Replaces the file for good: no older one comes back, even after a power failure.
    pub(super) fn write_durably(&self, directory: &Path) -> io::Result<()> {
        replace_file(&directory.join(NAME), &serde_json::to_vec(self)?).map(drop)
    }
}
