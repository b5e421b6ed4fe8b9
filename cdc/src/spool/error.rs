use std::io;
use std::path::{Path, PathBuf};

use crate::wire::Xid;

/// Why the spool cannot keep or give back what it got. Nothing is lost: after a reconnect the slot
/// sends it again.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("the disk of spool directory {} is full: free space there, or name another directory", directory.display())]
    Full {
        directory: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("spool directory {} is in use by another process: stop it, or name another directory", directory.display())]
    InUse { directory: PathBuf },
    #[error("use spool directory {}", directory.display())]
    Io {
        directory: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A write was given up half way, or something else changed the file.
    #[error("the spool's record of transaction {xid} is not whole")]
    Damaged { xid: Xid },
    #[error("a message of {length} bytes is too long for the spool")]
    TooLong { length: usize },
}

impl SpoolError {
    /// Whether the same attempt can succeed later without anybody acting.
    pub fn is_transient(&self) -> bool {
        match self {
            // Other users of the disk come and go, and so does what was spooled itself.
            Self::Full { .. } | Self::Damaged { .. } => true,
            Self::InUse { .. } | Self::Io { .. } | Self::TooLong { .. } => false,
        }
    }

    pub(super) fn io(directory: &Path, source: io::Error) -> Self {
        let directory = directory.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { directory, source }
            }
            _ => Self::Io { directory, source },
        }
    }
}
