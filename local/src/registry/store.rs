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
        // Also when nothing was mended: the last event may come from a process that was killed
        // before its fsync, and from now on it will be answered.
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Event, HEADER, OpenError, State, Store};
    use crate::registry::event::{SchemaId, Version};
    use crate::registry::level::Level;
    use crate::registry::state::Show;

    /// A file of its own, and the directory that holds it.
    fn file() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("registry.jsonl");
        (directory, path)
    }

    fn registered(version: u32) -> Event {
        Event::Registered {
            subject: "s".to_owned(),
            version: Version(version),
            id: SchemaId(version),
            schema: format!(r#"{{"type":"fixed","name":"F","size":{version}}}"#),
            references: Vec::new(),
        }
    }

    fn versions(state: &State) -> u32 {
        let versions = state
            .subject("s")
            .into_iter()
            .flat_map(|s| s.versions(Show::All));
        u32::try_from(versions.count()).unwrap()
    }

    /// The message of the error that opening a file with this content gives.
    fn refused(content: &str) -> String {
        let (_directory, path) = file();
        std::fs::write(&path, content).unwrap();
        let error = Store::open(&path).expect_err("must be refused");
        let after = std::fs::read_to_string(&path).unwrap();
        assert_eq!(after, content, "a file that is refused must stay as it was");
        error
            .to_string()
            .replace(&path.display().to_string(), "FILE")
    }

    #[test]
    fn what_was_appended_is_there_after_opening_again() {
        let (_directory, path) = file();
        let (mut store, _) = Store::open(&path).unwrap();
        for version in 1..=3 {
            store.append(&registered(version)).unwrap();
        }
        let level = Level::Full;
        store
            .append(&Event::ConfigSet {
                subject: Some("s".to_owned()),
                level: Some(level),
                normalize: None,
                alias: None,
            })
            .unwrap();
        drop(store);
        let (_store, state) = Store::open(&path).unwrap();
        assert_eq!(versions(&state), 3);
        assert_eq!(state.scopes().level("s"), level);
        assert_eq!(state.next_id(), SchemaId(4));
    }

    #[test]
    fn the_file_is_one_readable_line_per_event() {
        let (_directory, path) = file();
        let (mut store, _) = Store::open(&path).unwrap();
        store.append(&registered(1)).unwrap();
        store
            .append(&Event::ConfigCleared { subject: None })
            .unwrap();
        let expected = [
            HEADER,
            r#"{"event":"registered","subject":"s","version":1,"id":1,"schema":"{\"type\":\"fixed\",\"name\":\"F\",\"size\":1}"}"#,
            r#"{"event":"config-cleared","subject":null}"#,
            "",
        ];
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected.join("\n"));
    }

    #[test]
    fn a_file_cut_anywhere_opens_with_every_whole_line() {
        let (_directory, path) = file();
        let (mut store, _) = Store::open(&path).unwrap();
        store.append(&registered(1)).unwrap();
        let first = std::fs::metadata(&path).unwrap().len();
        store.append(&registered(2)).unwrap();
        drop(store);
        let whole = std::fs::read(&path).unwrap();
        // Within the header, and from the end of the first event to that of the second.
        let first = usize::try_from(first).unwrap();
        for length in (0..=HEADER.len() + 1).chain(first - 1..=whole.len()) {
            std::fs::write(&path, &whole[..length]).unwrap();
            let (mut store, state) = Store::open(&path).unwrap();
            // A line is whole without its line feed too.
            let padded = [&whole[..length], b"\n"].concat();
            let lines = padded.split(|byte| *byte == b'\n').filter(|line| {
                whole
                    .split(|byte| *byte == b'\n')
                    .any(|kept| kept == *line && !line.is_empty())
            });
            let expected = u32::try_from(lines.count().saturating_sub(1)).unwrap();
            assert_eq!(versions(&state), expected, "cut at {length}");

            store.append(&registered(expected + 1)).unwrap();
            drop(store);
            let (_store, state) = Store::open(&path).unwrap();
            assert_eq!(
                versions(&state),
                expected + 1,
                "cut at {length} and appended"
            );
        }
    }

    #[test]
    fn anything_else_that_cannot_be_read_is_refused_with_its_line() {
        const MEND: &str = "repair that line or restore the file from a copy";
        let line = |version| serde_json::to_string(&registered(version)).unwrap();
        let (one, two) = (line(1), line(2));
        let at = |number: u32, reason: &str| {
            format!("the registry file FILE is corrupt at line {number}: {reason}; {MEND}")
        };
        let broken = refused(&format!("{HEADER}\n{one}\n{}\n{two}\n", &two[..20]));
        assert!(
            broken.starts_with("the registry file FILE is corrupt at line 3: "),
            "{broken}"
        );
        assert_eq!(
            refused(&format!("{HEADER}\n{one}\n{one}\n")),
            at(3, "subject 's' has a version 1 already")
        );
        let erased = r#"{"event":"subject-erased","subject":"s"}"#;
        let reused = two.replace("\"id\":2", "\"id\":1");
        assert_eq!(
            refused(&format!("{HEADER}\n{one}\n{erased}\n{reused}\n")),
            at(
                4,
                "id 1 was given to another schema before and is not free again"
            )
        );
        assert_eq!(
            refused(&format!(
                "{HEADER}\n{one}\n{}\n",
                two.replace("\"id\":2", "\"id\":1")
            )),
            at(3, "id 1 belongs to another schema")
        );
        let referring = two.replace(
            "}\"}",
            r#"}","references":[{"name":"F","subject":"none","version":1}]}"#,
        );
        assert_eq!(
            refused(&format!("{HEADER}\n{one}\n{referring}\n")),
            at(
                3,
                "the schema with id 2 cannot be parsed: no schema reference found for subject \"none\" and version 1"
            )
        );
        // Complete, but for the line feed: no crash leaves this.
        assert_eq!(
            refused(&format!(
                "{HEADER}\n{}",
                r#"{"event":"subject-erased","subject":"s"}"#
            )),
            at(2, "there is no subject 's'")
        );
        for foreign in ["[client]\nuser = x\n", "something else"] {
            assert_eq!(
                refused(foreign),
                at(1, &format!("the first line must be {HEADER}"))
            );
        }
    }

    #[test]
    fn what_older_releases_wrote_is_read() {
        let (_directory, path) = file();
        let events = [
            r#"{"event":"registered","subject":"s","version":1,"id":1,"schema":"\"int\""}"#,
            r#"{"event":"level-set","subject":"s","level":"FULL"}"#,
            r#"{"event":"level-set","subject":null,"level":"NONE"}"#,
            r#"{"event":"level-cleared","subject":null}"#,
        ];
        std::fs::write(&path, format!("{HEADER}\n{}\n", events.join("\n"))).unwrap();
        let (_store, state) = Store::open(&path).unwrap();
        assert_eq!(state.scopes().level("s"), Level::Full);
        assert_eq!(state.scopes().level("t"), Level::Backward);
    }

    #[test]
    fn a_second_opener_is_told_to_wait() {
        let (_directory, path) = file();
        let (store, _) = Store::open(&path).unwrap();
        assert!(matches!(Store::open(&path), Err(OpenError::Locked(_))));
        drop(store);
        Store::open(&path).unwrap();
    }

    #[test]
    fn a_missing_directory_is_named() {
        let (directory, _) = file();
        let path = directory.path().join("none").join("registry.jsonl");
        let message = Store::open(&path).expect_err("must be refused").to_string();
        let expected = format!("open the registry file {}: No such file", path.display());
        assert!(message.starts_with(&expected), "{message}");
    }
}
