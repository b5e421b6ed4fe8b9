//! Whose data directory this is, and how the last process that used it ended.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::info;
use uuid::Uuid;

use super::journal::replace_file;
use super::log::Trust;

/// The layout of the data directory. A start refuses another.
const FORMAT: u32 = 1;

#[derive(Debug)]
pub(super) struct Identity {
    path: PathBuf,
    state: State,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    format: u32,
    cluster_id: String,
    /// Changes with each start of the machine; unknown on systems that do not tell it.
    boot_id: Option<String>,
    /// How often a process has begun on this directory before.
    #[serde(default)]
    starts: i32,
    /// Whether the last process stopped in order, with everything forced to the disk.
    clean: bool,
}

#[derive(Debug)]
pub(super) enum IdentityError {
    Io(io::Error),
    Version(PathBuf),
}

impl Identity {
    /// Reads or makes the identity, marks it as in use, and tells what of the logs can be trusted.
    pub(super) fn open(data_dir: &Path) -> Result<(Self, Trust), IdentityError> {
        let path = data_dir.join("broker.json");
        let boot_id = boot_id();
        let (state, trust) = match fs::read(&path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                let cluster_id = Uuid::new_v4().simple().to_string();
                let state = State {
                    format: FORMAT,
                    cluster_id,
                    boot_id,
                    starts: 0,
                    clean: false,
                };
                (state, Trust::Forced)
            }
            Err(cause) => return Err(IdentityError::Io(cause)),
            Ok(bytes) => {
                let last: State = match serde_json::from_slice(&bytes) {
                    Ok(State { format, .. }) if format != FORMAT => {
                        return Err(IdentityError::Version(path));
                    }
                    Ok(last) => last,
                    Err(_) => return Err(IdentityError::Version(path)),
                };
                let same_boot = boot_id.is_some() && last.boot_id == boot_id;
                let trust = if last.clean || same_boot {
                    Trust::Written
                } else {
                    Trust::Forced
                };
                if !last.clean {
                    info!(
                        ?trust,
                        "the last broker on this directory did not stop in order"
                    );
                }
                (
                    State {
                        boot_id,
                        starts: last.starts.saturating_add(1),
                        clean: false,
                        ..last
                    },
                    trust,
                )
            }
        };
        let identity = Self { path, state };
        identity.write(&identity.state).map_err(IdentityError::Io)?;
        Ok((identity, trust))
    }

    pub(super) fn cluster_id(&self) -> &str {
        &self.state.cluster_id
    }

    /// The epoch under which this process leads all partitions: another one than any before it.
    pub(super) fn leader_epoch(&self) -> i32 {
        self.state.starts
    }

    /// Notes that everything is on the disk.
    pub(super) fn mark_clean(&self) -> io::Result<()> {
        self.write(&State {
            clean: true,
            ..self.state.clone()
        })
    }

    fn write(&self, state: &State) -> io::Result<()> {
        replace_file(&self.path, &serde_json::to_vec(state)?).map(drop)
    }
}

fn boot_id() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}
