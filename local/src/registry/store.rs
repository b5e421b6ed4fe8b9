//! The registry's file: a first line that names the format, then one event per line, in JSON.
//!
//! An event is written and fsynced before anyone hears of it, so what was answered survives a
//! crash of the process and of the machine. A crash in the middle of a write leaves a last line
//! without line feed: nobody was answered yet, so it is completed if it is whole and cut if not.
//! Anything else that cannot be read stops the start, with the line named: a registry that
//! guesses would give an id a second meaning.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::event::Event;
use super::state::{Contradiction, State};

/// The open, locked file. The operating system drops the lock with the process, however it ends.
#[derive(Debug)]
pub(crate) struct Store {
    file: File,
    path: PathBuf,
    length: u64,
    /// Set when the file may hold more than `length` tells. Writing on would build on sand.
    broken: bool,
}

const HEADER: &str = r#"{"format":"lockstep-schema-registry","version":1}"#;

impl Store {
    /// Opens the file, creating it when there is none, and takes in all of its events.
    pub(crate) fn open(path: &Path) -> Result<(Self, State), OpenError> {
        let failed = |step| {
            move |cause| OpenError::Io {
                step,
                path: path.to_owned(),
                cause,
            }
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked(path.to_owned())),
            Err(TryLockError::Error(cause)) => return Err(failed("lock")(cause)),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed("read"))?;
        let (state, whole) = replay(&bytes).map_err(|corrupt| OpenError::Corrupt {
            path: path.to_owned(),
            line: corrupt.line,
            reason: corrupt.reason,
        })?;
        let mut store = Self {
            file,
            path: path.to_owned(),
            length: whole.length(),
            broken: false,
        };
        store.mend(&bytes, whole).map_err(failed("write"))?;
        sync_directory(path).map_err(failed("sync the directory of"))?;
        Ok((store, state))
    }

    /// Adds an event; when this returns without error, the event is on the disk.
    pub(crate) fn append(&mut self, event: &Event) -> Result<(), AppendError> {
        if self.broken {
            return Err(AppendError::Broken(self.path.clone()));
        }
        let mut line = serde_json::to_vec(event).map_err(io::Error::from)?;
        line.push(b'\n');
        if let Err(cause) = self.write(&line) {
            // The part that was written must not come before the next event.
            self.broken = self.restore_length().is_err();
            return Err(AppendError::Io(cause));
        }
        if let Err(cause) = self.file.sync_data() {
            // After a failed fsync the kernel may drop the data and report success the next
            // time, so nothing about the end of the file can be relied on any more.
            self.broken = true;
            return Err(AppendError::Io(cause));
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.length += u64::try_from(bytes.len()).map_err(io::Error::other)?;
        Ok(())
    }

    fn restore_length(&mut self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.seek(SeekFrom::Start(self.length))?;
        self.file.sync_data()
    }

    /// Brings the file to whole lines: the header of a new one, the end of a torn one.
    fn mend(&mut self, bytes: &[u8], whole: Whole) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.seek(SeekFrom::Start(self.length))?;
        match whole {
            Whole::Nothing => self.write(format!("{HEADER}\n").as_bytes())?,
            Whole::Lines(_) => {}
            Whole::ButLineFeed(_) => self.write(b"\n")?,
        }
        let kept = self.file.metadata()?.len();
        if u64::try_from(bytes.len()).map_err(io::Error::other)? != kept {
            tracing::info!(file = %self.path.display(), bytes = bytes.len(), kept,
                "completed or cut the registry file's last line");
        }
        self.file.sync_all()
    }
}

/// How much of a file's bytes is whole lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whole {
    /// Not even the first line.
    Nothing,
    Lines(u64),
    /// All of it, had the last line its line feed.
    ButLineFeed(u64),
}

impl Whole {
    fn length(self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Lines(length) | Self::ButLineFeed(length) => length,
        }
    }
}

#[derive(Debug)]
struct Corrupt {
    line: usize,
    reason: String,
}

fn replay(bytes: &[u8]) -> Result<(State, Whole), Corrupt> {
    let mut state = State::default();
    let mut whole = Whole::Nothing;
    let mut length = 0_u64;
    for (position, chunk) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let line = position + 1;
        length += u64::try_from(chunk.len()).expect("a length in memory fits 64 bits");
        let refused = |reason| Corrupt { line, reason };
        let Some(text) = chunk.strip_suffix(b"\n") else {
            if is_torn(line, chunk) {
                break;
            }
            take(&mut state, line, chunk).map_err(refused)?;
            whole = Whole::ButLineFeed(length);
            break;
        };
        take(&mut state, line, text).map_err(refused)?;
        whole = Whole::Lines(length);
    }
    Ok((state, whole))
}

/// Whether a last line without line feed is the beginning of a line that a crash cut short. The
/// first line must be a piece of the header: cutting it empties the file, which may be another's.
fn is_torn(line: usize, text: &[u8]) -> bool {
    if line == 1 {
        return text.len() < HEADER.len() && HEADER.as_bytes().starts_with(text);
    }
    serde_json::from_slice::<serde::de::IgnoredAny>(text).is_err()
}

fn take(state: &mut State, line: usize, text: &[u8]) -> Result<(), String> {
    if line == 1 {
        return if text == HEADER.as_bytes() {
            Ok(())
        } else {
            Err(format!("the first line must be {HEADER}"))
        };
    }
    let event: Event = serde_json::from_slice(text).map_err(|cause| cause.to_string())?;
    state
        .apply(event)
        .map_err(|contradiction: Contradiction| contradiction.to_string())
}

/// A new file's name must be on the disk as well as its content.
fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{step} the registry file {}: {cause}", path.display())]
    Io {
        step: &'static str,
        path: PathBuf,
        cause: io::Error,
    },
    #[error("the registry file {} is locked by another process: stop that one first", .0.display())]
    Locked(PathBuf),
    #[error(
        "the registry file {} is corrupt at line {line}: {reason}; repair that line or restore the file from a copy",
        path.display()
    )]
    Corrupt {
        path: PathBuf,
        line: usize,
        reason: String,
    },
}

/// Why an event was not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    #[error("write the registry file: {0}")]
    Io(#[from] io::Error),
    #[error("an earlier write to {} failed: restart the registry", .0.display())]
    Broken(PathBuf),
}
