//! Why a local Postgres does not run, each with its mend.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// Why a cluster could not be started, or stopped running.
///
/// All need someone to act: the launcher itself already waits and retries where that helps.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    #[error(
        "find a Postgres server: none in {looked}; install the Debian package `postgresql`, \
         or name the folder of its programs with --pg-bin"
    )]
    NotInstalled { looked: String },

    #[error("find a Postgres server: need version {oldest} or newer, found {found:?}")]
    TooOld { oldest: u32, found: Vec<u32> },

    #[error(
        "find a Postgres server: the data directory was made by version {wanted}, found {found:?} \
         in {looked}; install the Debian package `postgresql-{wanted}`, or name its programs' \
         folder with --pg-bin"
    )]
    OtherMajor {
        wanted: u32,
        found: Vec<u32>,
        looked: String,
    },

    #[error(
        "run {name} as user {user}: Postgres refuses to run as root, and {user} may not enter \
         {}; put the data elsewhere (--data), or allow it with `chmod o+x {}`",
        .blocked.display(), .blocked.display()
    )]
    NotTraversable {
        name: String,
        user: String,
        blocked: PathBuf,
    },

    #[error(
        "run {name} as an unprivileged user: neither `postgres` nor `nobody` is in /etc/passwd"
    )]
    NoUnprivilegedUser { name: String },

    #[error("start {name}: {} is in use by another process (lock file {})", .dir.display(), .lock.display())]
    Locked {
        name: String,
        dir: PathBuf,
        lock: PathBuf,
    },

    #[error(
        "start {name}: port {port} is in use by {owner}; stop that, or choose another port with {flag}"
    )]
    PortTaken {
        name: String,
        port: u16,
        owner: String,
        flag: String,
    },

    #[error("start {name}: processes {pids:?} of an earlier server still work in {}", .dir.display())]
    StillOccupied {
        name: String,
        dir: PathBuf,
        pids: Vec<u32>,
    },

    #[error("create the cluster {name}: initdb ended with {status}, see {}:\n{tail}", .log.display())]
    Initdb {
        name: String,
        status: ExitStatus,
        log: PathBuf,
        tail: String,
    },

    #[error("run {name}: postgres ended with {status}, see {}:\n{tail}", .log.display())]
    Exited {
        name: String,
        status: ExitStatus,
        log: PathBuf,
        tail: String,
    },

    #[error("start {name}: not ready after {seconds} s, see {}:\n{tail}", .log.display())]
    NotReady {
        name: String,
        seconds: u64,
        log: PathBuf,
        tail: String,
    },

    #[error("{action} {}", .path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

impl PostgresError {
    pub(super) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}
