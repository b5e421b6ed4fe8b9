use std::io;
use std::path::Path;
use std::{fs, str};

use serde::{Deserialize, Serialize};

use super::producers::Producers;

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
    /// As of `next_offset`.
    pub(super) producers: Producers,
}

const NAME: &str = "checkpoint.json";

impl Checkpoint {
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
}
