//! The sparse index of a segment: where a batch starts, about every 4 KiB of log.
//!
//! One entry serves both lookups. The offset finds a position; `max_timestamp` is that of all
//! batches *before* the entry, which rises along the file and so can be searched too.
//! The index of a finished segment ends in an entry that points at the end of the segment: it shows
//! that the index is whole and tells the segment's largest timestamp without a scan.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Log bytes between two entries; Kafka's `index.interval.bytes`.
pub(super) const INTERVAL: u64 = 4096;

const ENTRY: usize = 16;

/// Timestamp of "no record before this entry".
pub(super) const NO_TIMESTAMP: i64 = -1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Of the batch at `position`, counted from the segment's base offset.
    pub(super) relative_offset: u32,
    pub(super) position: u32,
    /// The largest timestamp in the batches before `position`.
    pub(super) max_timestamp: i64,
}

impl Entry {
    /// The start of a segment, which needs no entry in the file.
    pub(super) const START: Self = Self {
        relative_offset: 0,
        position: 0,
        max_timestamp: NO_TIMESTAMP,
    };

    pub(super) fn encode(self) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        bytes[..4].copy_from_slice(&self.relative_offset.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.position.to_be_bytes());
        bytes[8..].copy_from_slice(&self.max_timestamp.to_be_bytes());
        bytes
    }

    fn decode(bytes: [u8; ENTRY]) -> Self {
        let [o0, o1, o2, o3, p0, p1, p2, p3, timestamp @ ..] = bytes;
        Self {
            relative_offset: u32::from_be_bytes([o0, o1, o2, o3]),
            position: u32::from_be_bytes([p0, p1, p2, p3]),
            max_timestamp: i64::from_be_bytes(timestamp),
        }
    }
}

/// The entries of an open index file that were there when it was looked at.
#[derive(Debug)]
pub(super) struct Index<'a> {
    file: &'a File,
    entries: u32,
}

impl<'a> Index<'a> {
    pub(super) fn new(file: &'a File, entries: u32) -> Self {
        Self { file, entries }
    }

    /// The last entry at or before an offset.
    pub(super) fn at_offset(&self, relative_offset: u32) -> io::Result<Entry> {
        self.last_where(|entry| entry.relative_offset <= relative_offset)
    }

    /// The last entry before which every record is older than `timestamp`.
    pub(super) fn before_timestamp(&self, timestamp: i64) -> io::Result<Entry> {
        self.last_where(|entry| entry.max_timestamp < timestamp)
    }

    /// The last entry that starts at or before a position, and how many entries that leaves.
    pub(super) fn at_position(&self, position: u64) -> io::Result<(Entry, u32)> {
        let count = self.count_where(|entry| u64::from(entry.position) <= position)?;
        Ok((self.before(count)?, count))
    }

    pub(super) fn last(&self) -> io::Result<Entry> {
        self.before(self.entries)
    }

    /// `holds` is true for a prefix of the entries only.
    fn last_where(&self, holds: impl Fn(Entry) -> bool) -> io::Result<Entry> {
        self.before(self.count_where(holds)?)
    }

    fn count_where(&self, holds: impl Fn(Entry) -> bool) -> io::Result<u32> {
        let (mut low, mut high) = (0, self.entries);
        while low < high {
            let middle = low + (high - low) / 2;
            if holds(self.entry(middle)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn before(&self, count: u32) -> io::Result<Entry> {
        match count.checked_sub(1) {
            Some(last) => self.entry(last),
            None => Ok(Entry::START),
        }
    }

    fn entry(&self, number: u32) -> io::Result<Entry> {
        let mut bytes = [0; ENTRY];
        self.file.read_exact_at(&mut bytes, byte_length(number))?;
        Ok(Entry::decode(bytes))
    }
}

/// Opens an index for appending, created when missing.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .open(path)
}

/// Whole entries in the file.
pub(super) fn entries(file: &File) -> io::Result<u32> {
    let whole = file.metadata()?.len() / byte_length(1);
    u32::try_from(whole).map_err(io::Error::other)
}

pub(super) fn append(mut file: &File, entry: Entry) -> io::Result<()> {
    file.write_all(&entry.encode())
}

/// Drops the entries from the given number on.
pub(super) fn truncate(file: &File, entries: u32) -> io::Result<()> {
    file.set_len(byte_length(entries))
}

/// The length of a file with so many entries.
pub(super) fn byte_length(entries: u32) -> u64 {
    u64::from(entries) * 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    proptest! {
        #[test]
        fn lookups_agree_with_a_linear_search(
            steps in proptest::collection::vec((1u32..50, 1u32..5000, 0i64..20), 0..60),
            offset in any::<u16>(),
            timestamp in 0i64..600,
        ) {
            let directory = tempfile::tempdir().unwrap();
            let file = open(&directory.path().join("index")).unwrap();
            let mut entries = vec![Entry::START];
            for (offset, position, timestamp) in steps {
                let last = *entries.last().unwrap();
                let next = Entry {
                    relative_offset: last.relative_offset + offset,
                    position: last.position + position,
                    max_timestamp: last.max_timestamp + timestamp,
                };
                append(&file, next).unwrap();
                entries.push(next);
            }
            let index = Index::new(&file, u32::try_from(entries.len()).unwrap() - 1);
            let by = |holds: &dyn Fn(&Entry) -> bool| {
                *entries.iter().take_while(|entry| holds(entry)).last().unwrap_or(&Entry::START)
            };
            let offset = u32::from(offset) % 3000;
            prop_assert_eq!(
                index.at_offset(offset).unwrap(),
                by(&|entry| entry.relative_offset <= offset)
            );
            prop_assert_eq!(
                index.before_timestamp(timestamp).unwrap(),
                by(&|entry| entry.max_timestamp < timestamp)
            );
            prop_assert_eq!(index.last().unwrap(), *entries.last().unwrap());
        }
    }
}
