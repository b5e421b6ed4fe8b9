//! The files of one cluster, and who may have them.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;

use super::account::Account;
use super::error::PostgresError;

/// A cluster's folder, locked for this process:
///
/// ```text
/// data/          what initdb made; belongs to the server's user
/// settings.conf  written at every start, included by data/postgresql.conf
/// pgpass         the superuser's password, in libpq's passfile format
/// postgres.log   what the server prints
/// lock           held while a launcher uses the folder
/// ```
#[derive(Debug)]
pub(super) struct Home {
    root: PathBuf,
    /// The operating system lets go of it when this process ends, however it ends.
    _lock: File,
}

impl Home {
    pub(super) async fn open(
        name: &str,
        root: &Path,
        account: &Account,
    ) -> Result<Self, PostgresError> {
        let root = std::path::absolute(root).map_err(PostgresError::file("find", root))?;
        create_folders(&root, account)?;
        let path = root.join("lock");
        let lock = File::create(&path).map_err(PostgresError::file("create", &path))?;
        match lock_patiently(&lock).await {
            Ok(()) => Ok(Self { root, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(PostgresError::Locked {
                name: name.to_owned(),
                dir: root,
                lock: path,
            }),
            Err(TryLockError::Error(source)) => Err(PostgresError::file("lock", path)(source)),
        }
    }

    pub(super) fn data(&self) -> PathBuf {
        data_in(&self.root)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.join("postgres.log")
    }

    pub(super) fn passfile(&self) -> PathBuf {
        self.root.join("pgpass")
    }

    /// An empty folder for initdb, which becomes `data` by [`Self::adopt`] once it is complete: a
    /// launcher killed half way leaves nothing that looks like a cluster.
    pub(super) fn staging(&self, account: &Account) -> Result<PathBuf, PostgresError> {
        let path = self.root.join("data.new");
        let created = remove_tree(&path)
            .and_then(|()| fs::create_dir(&path))
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o700)))
            .and_then(|()| give(&path, account));
        created.map_err(PostgresError::file("create", &path))?;
        Ok(path)
    }

    pub(super) fn adopt(&self, staging: &Path) -> Result<(), PostgresError> {
        let conf = staging.join("postgresql.conf");
        // Last, so that it wins over the file's defaults; ALTER SYSTEM still wins over it.
        let include = b"\ninclude_if_exists '../settings.conf'\n";
        let appended = OpenOptions::new()
            .append(true)
            .open(&conf)
            .and_then(|mut f| f.write_all(include));
        appended.map_err(PostgresError::file("complete", conf))?;
        fs::rename(staging, self.data()).map_err(PostgresError::file("move into place", staging))
    }

    /// The superuser's password; made up on first use.
    pub(super) fn password(&self) -> Result<String, PostgresError> {
        let path = self.passfile();
        if !path.exists() && !self.data().exists() {
            let line = format!("*:*:*:postgres:{}\n", random_password()?);
            write_private(&path, line.as_bytes()).map_err(PostgresError::file("write", &path))?;
        }
        let text = fs::read_to_string(&path).map_err(PostgresError::file("read", &path))?;
        let password = text.trim_end().rsplit(':').next().unwrap_or_default();
        Ok(password.to_owned())
    }

    /// The password in a file that the server's user may read, for as long as initdb runs.
    pub(super) fn password_for_initdb(
        &self,
        account: &Account,
    ) -> Result<Disposable, PostgresError> {
        let password = self.password()?;
        let file = Disposable(self.root.join("pgpass.initdb"));
        let written =
            write_private(&file.0, password.as_bytes()).and_then(|()| give(&file.0, account));
        written.map_err(PostgresError::file("write", &file.0))?;
        Ok(file)
    }

    pub(super) fn write_settings(
        &self,
        settings: &[(String, String)],
    ) -> Result<(), PostgresError> {
        let path = self.root.join("settings.conf");
        let written = fs::write(&path, settings_text(settings))
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o644)));
        written.map_err(PostgresError::file("write", path))
    }

    /// Opens the log at its end, putting it aside first when it has grown large.
    pub(super) fn open_log(&self) -> Result<(File, u64), PostgresError> {
        const ENOUGH: u64 = 16 << 20;
        let path = self.log();
        if fs::metadata(&path).is_ok_and(|meta| meta.len() > ENOUGH) {
            let old = self.root.join("postgres.log.1");
            fs::rename(&path, old).map_err(PostgresError::file("put aside", &path))?;
        }
        let log = OpenOptions::new().create(true).append(true).open(&path);
        let log = log.map_err(PostgresError::file("open", &path))?;
        let start = log
            .metadata()
            .map_err(PostgresError::file("inspect", path))?
            .len();
        Ok((log, start))
    }
}

/// A lock that was just let go may linger for an instant: a child that some thread is starting holds
/// copies of our files between its fork and its exec.
async fn lock_patiently(lock: &File) -> Result<(), TryLockError> {
    const TRIES: u32 = 25;
    for _ in 1..TRIES {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => sleep(Duration::from_millis(20)).await,
            result => return result,
        }
    }
    lock.try_lock()
}

/// A file that is removed when it is no longer needed.
pub(super) struct Disposable(pub(super) PathBuf);

impl Drop for Disposable {
    fn drop(&mut self) {
        // If it stays, the next start overwrites and removes it.
        let _ = fs::remove_file(&self.0);
    }
}

pub(super) fn data_in(root: &Path) -> PathBuf {
    root.join("data")
}

/// The last lines of a log that were written since `start`.
///
/// Lines that may quote statements or rows are left out, as this goes into our own errors.
pub(super) fn tail(log: &Path, start: u64) -> String {
    const LINES: usize = 10;
    const BYTES: u64 = 16 << 10;
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let from = start.max(file.metadata()?.len().saturating_sub(BYTES));
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !may_quote_rows(line)).collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// Postgres indents the further lines of one message by a tab.
fn may_quote_rows(line: &str) -> bool {
    const QUOTING: [&str; 5] = [
        "ERROR:  ",
        "STATEMENT:  ",
        "DETAIL:  ",
        "CONTEXT:  ",
        "QUERY:  ",
    ];
    line.starts_with('\t') || QUOTING.iter().any(|mark| line.contains(mark))
}

fn settings_text(settings: &[(String, String)]) -> String {
    let mut text = "# Written at every start; use ALTER SYSTEM for your own.\n".to_owned();
    for (name, value) in settings {
        let value = value.replace('\\', "\\\\").replace('\'', "''");
        let _ = writeln!(text, "{name} = '{value}'");
    }
    text
}

/// Folders that we create let the server's user pass, whatever our umask is; others are not ours
/// to open.
fn create_folders(root: &Path, account: &Account) -> Result<(), PostgresError> {
    let mut missing: Vec<&Path> = root.ancestors().take_while(|it| !it.exists()).collect();
    missing.reverse();
    for folder in missing {
        fs::create_dir(folder).map_err(PostgresError::file("create", folder))?;
        if matches!(account, Account::Unprivileged { .. }) {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o711))
                .map_err(PostgresError::file("open to the server", folder))?;
        }
    }
    Ok(())
}

fn give(path: &Path, account: &Account) -> io::Result<()> {
    match account {
        Account::Ours => Ok(()),
        Account::Unprivileged { uid, gid, .. } => chown(path, Some(*uid), Some(*gid)),
    }
}

fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Replaces the file, as `mode` is only for files that did not exist.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if path.exists() {
        fs::remove_file(path)?;
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?
        .write_all(bytes)
}

/// 128 random bits in hex, which no part of libpq needs to be told to quote.
fn random_password() -> Result<String, PostgresError> {
    let mut bytes = [0; 16];
    let source = "/dev/urandom";
    let filled = File::open(source).and_then(|mut file| file.read_exact(&mut bytes));
    filled.map_err(PostgresError::file("read", source))?;
    Ok(bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_is_locked_once_and_free_after() {
        let dir = tempfile::tempdir().unwrap();
        let first = Home::open("source", dir.path(), &Account::Ours)
            .await
            .unwrap();
        let second = Home::open("source", dir.path(), &Account::Ours)
            .await
            .unwrap_err();
        assert!(matches!(second, PostgresError::Locked { .. }), "{second}");
        drop(first);
        Home::open("source", dir.path(), &Account::Ours)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn the_password_stays_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open("source", dir.path(), &Account::Ours)
            .await
            .unwrap();
        let password = home.password().unwrap();
        assert_eq!(password.len(), 32);
        assert_eq!(home.password().unwrap(), password);
        let mode = fs::metadata(home.passfile()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn settings_are_quoted() {
        let settings = [("application_name".to_owned(), r"it's a \ mark".to_owned())];
        let text = settings_text(&settings);
        assert!(
            text.ends_with("application_name = 'it''s a \\\\ mark'\n"),
            "{text}"
        );
    }

    #[test]
    fn the_tail_is_of_this_start_and_without_rows() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("postgres.log");
        let old = "old line\n";
        let new = "x [1] LOG:  starting\nx [1] ERROR:  invalid input syntax: \"secret\"\n\
                   x [1] STATEMENT:  select\n\t'secret'\nx [1] FATAL:  no space\n";
        fs::write(&log, format!("{old}{new}")).unwrap();
        let start = u64::try_from(old.len()).unwrap();
        assert_eq!(
            tail(&log, start),
            "x [1] LOG:  starting\nx [1] FATAL:  no space"
        );
    }
}
