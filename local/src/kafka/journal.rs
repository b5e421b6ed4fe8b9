//! A small file of changes, each of which is there wholly or not at all.
//!
//! A record is its length, its CRC-32C and its bytes. What a crash tears off the end is cut at the
//! next start. When the changes outgrow what they describe, the owner rewrites the file with one
//! record per thing that is left.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tracing::warn;

const PREFIX: usize = 8;
/// Far above any record written here; a longer one is damage.
const RECORD_BYTES_MAX: usize = 16 << 20;

#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
    records: u64,
    /// Whether each change is forced to the disk before it counts.
    sync: Sync,
}

/// Whether a journal's changes must survive a power failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sync {
    EachChange,
    Never,
}

impl Journal {
    /// Opens or creates the file and gives every whole record in it.
    pub(super) fn open(path: &Path, sync: Sync) -> io::Result<(Self, Vec<Vec<u8>>)> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (records, whole) = split(&bytes);
        if !is_torn_record(&bytes[whole..]) {
            let text = format!("{} is damaged at byte {whole}", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        if whole < bytes.len() {
            let cut = bytes.len() - whole;
            warn!(path = %path.display(), bytes = cut, "cut a torn record off the journal");
            file.set_len(length_u64(whole))?;
        }
        let count = length_u64(records.len());
        let journal = Self {
            path: path.to_owned(),
            file,
            length: length_u64(whole),
            records: count,
            sync,
        };
        Ok((journal, records))
    }

    /// Records since the last rewrite, so that the owner can tell when another is due.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Adds a record. When this fails the file is as before.
    pub(super) fn append(&mut self, payload: &[u8]) -> io::Result<()> {
        let record = frame(payload)?;
        let written = self.file.write_all(&record).and_then(|()| match self.sync {
            Sync::EachChange => self.file.sync_data(),
            Sync::Never => Ok(()),
        });
        if let Err(cause) = written {
            self.file.set_len(self.length)?;
            return Err(cause);
        }
        self.length += length_u64(record.len());
        self.records += 1;
        Ok(())
    }

    /// Forces what was appended to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Replaces all records at once.
    pub(super) fn rewrite(&mut self, payloads: &[Vec<u8>]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for payload in payloads {
            bytes.extend_from_slice(&frame(payload)?);
        }
        self.file = replace_file(&self.path, &bytes)?;
        self.length = length_u64(bytes.len());
        self.records = length_u64(payloads.len());
        Ok(())
    }
}

/// Puts `bytes` in the place of the file at `path`: a reader sees the old or the new content,
/// after a power failure too. Gives the new file, for appending.
pub(super) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let beside = path.with_added_extension("new");
    // What a crash left of an earlier attempt.
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new()
        .append(true)
        .create_new(true)
        .open(&beside)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), sync_directory)?;
    Ok(file)
}

/// Makes created, renamed and removed entries of a directory survive a power failure.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn frame(payload: &[u8]) -> io::Result<Vec<u8>> {
    if payload.is_empty() || payload.len() > RECORD_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "record is empty or too long",
        ));
    }
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    let mut record = Vec::with_capacity(PREFIX + payload.len());
    record.extend_from_slice(&length.to_be_bytes());
    record.extend_from_slice(&crc32c::crc32c(payload).to_be_bytes());
    record.extend_from_slice(payload);
    Ok(record)
}

/// Whether what follows the last whole record is what a crash leaves of one more: a part of it, or
/// the right length of zeros where the power failed. Anything else lies before records that count.
fn is_torn_record(rest: &[u8]) -> bool {
    if rest.iter().all(|byte| *byte == 0) {
        return true;
    }
    let Some(length) = rest.first_chunk::<4>() else {
        return true;
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    (1..=RECORD_BYTES_MAX).contains(&length) && rest.len() <= PREFIX + length
}

/// The whole records at the start of `bytes`, and where they end.
fn split(bytes: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let mut records = Vec::new();
    let mut rest = bytes;
    while let Some((payload, after)) = first_record(rest) {
        records.push(payload.to_vec());
        rest = after;
    }
    (records, bytes.len() - rest.len())
}

fn first_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    if !(1..=RECORD_BYTES_MAX).contains(&length) {
        return None;
    }
    let (payload, rest) = rest.split_at_checked(length)?;
    (crc32c::crc32c(payload) == u32::from_be_bytes(*crc)).then_some((payload, rest))
}

fn length_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(path: &Path) -> Vec<Vec<u8>> {
        Journal::open(path, Sync::Never).unwrap().1
    }

    #[test]
    fn a_journal_cut_at_any_byte_keeps_its_whole_records() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let (mut journal, _) = Journal::open(&path, Sync::Never).unwrap();
        journal.append(b"first").unwrap();
        journal.append(b"2").unwrap();
        journal.append(b"third").unwrap();
        let whole = fs::read(&path).unwrap();
        let ends = [0, 13, 22, 35];
        for length in 0..=whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let expected = ends
                .iter()
                .filter(|end| **end > 0 && **end <= length)
                .count();
            assert_eq!(records(&path).len(), expected, "cut at {length}");
            let (mut reopened, _) = Journal::open(&path, Sync::Never).unwrap();
            reopened.append(b"after").unwrap();
            assert_eq!(records(&path).last().unwrap(), b"after");
        }
    }

    #[test]
    fn damage_before_the_end_is_not_cut() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let (mut journal, _) = Journal::open(&path, Sync::Never).unwrap();
        journal.append(b"first").unwrap();
        journal.append(b"second").unwrap();
        let whole = fs::read(&path).unwrap();
        let mut zeros = whole.clone();
        zeros.extend_from_slice(&[0; 100]);
        fs::write(&path, &zeros).unwrap();
        assert_eq!(records(&path).len(), 2);
        let mut damaged = whole;
        damaged[9] ^= 1;
        fs::write(&path, &damaged).unwrap();
        let refused = Journal::open(&path, Sync::Never).unwrap_err();
        assert!(
            refused.to_string().contains("damaged at byte 0"),
            "{refused}"
        );
        assert_eq!(fs::read(&path).unwrap(), damaged);
    }

    #[test]
    fn a_rewritten_journal_holds_the_new_records_and_those_that_follow() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let (mut journal, _) = Journal::open(&path, Sync::EachChange).unwrap();
        journal.append(b"old").unwrap();
        journal.rewrite(&[b"kept".to_vec()]).unwrap();
        journal.append(b"next").unwrap();
        assert_eq!(records(&path), [b"kept".to_vec(), b"next".to_vec()]);
        assert_eq!(journal.records(), 2);
    }
}
