//! The data directory.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use operate::endpoints::{self, Endpoints};

/// The data directory, held by this process:
///
/// ```text
/// source/ target/   the Postgres clusters
/// kafka/            the broker's logs
/// registry.jsonl    the registry's schemas
/// spool/            transactions in progress; a cache
/// endpoints.toml    where everything is, for the other commands
/// lock              held while `lockstep up` runs, with its process id
/// ```
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    /// The operating system lets go of it when this process ends, however it ends.
    _lock: File,
}

impl Folder {
    /// # Errors
    /// When the directory cannot be made, or another `lockstep up` uses it.
    pub(super) fn open(root: &Path) -> anyhow::Result<Self> {
        let root = std::path::absolute(root).context("find the data directory")?;
        let shown = root.display().to_string();
        fs::create_dir_all(&root).with_context(|| format!("make the data directory {shown}"))?;
        // Servers run as another user when root starts them: they have to pass, not to look.
        fs::set_permissions(&root, fs::Permissions::from_mode(0o711))
            .with_context(|| format!("set the mode of {shown}"))?;
        let path = root.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(|| format!("open {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                lock.read_to_string(&mut holder).unwrap_or_default();
                bail!(
                    "the data directory {shown} is in use by `lockstep up` with process id {}: \
                     stop it, or choose another with --data",
                    holder.trim()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("lock {}", path.display()));
            }
        }
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .with_context(|| format!("write {}", path.display()))?;
        Ok(Self { root, _lock: lock })
    }

    pub(super) fn source(&self) -> PathBuf {
        self.root.join("source")
    }

    pub(super) fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    pub(super) fn kafka(&self) -> PathBuf {
        self.root.join("kafka")
    }

    pub(super) fn registry(&self) -> PathBuf {
        self.root.join("registry.jsonl")
    }

    pub(super) fn spool(&self) -> PathBuf {
        self.root.join("spool")
    }

    /// Writes down where everything is. Passwords of local clusters stay in their passfiles; one of
    /// a given database goes into this file, which nobody else may read.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn record(&self, endpoints: &Endpoints) -> anyhow::Result<()> {
        let mut table = toml::Table::new();
        let mut put = |key: &str, value: String| table.insert(key.to_owned(), value.into());
        put("source", endpoints.source.text().to_owned());
        put("target", endpoints.target.text().to_owned());
        put("kafka", endpoints.kafka.clone());
        put("registry", endpoints.registry.clone());
        put("cdc_metrics", endpoints.monitors.capture.url.clone());
        put("applier_metrics", endpoints.monitors.apply.url.clone());
        put("prefix", endpoints.names.prefix.clone());
        put("slot", endpoints.names.slot.clone());
        put("publication", endpoints.names.publication.clone());
        put("pipeline", endpoints.names.pipeline.clone());
        let path = self.root.join(endpoints::FILE);
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(table.to_string().as_bytes()));
        written.with_context(|| format!("write {}", path.display()))
    }
}
