//! The server's processes: starting, waiting until ready, ending.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::account::Account;
use super::installation::Installation;
use super::occupants;

/// How often files that Postgres writes are looked at, as it announces nothing.
const GLANCE: Duration = Duration::from_millis(20);

/// Runs Postgres' programs as the right user.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    pub(super) installation: Installation,
    pub(super) account: Account,
}

/// How a server is told to end; pg_ctl's names in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// Ends sessions and writes a checkpoint (fast).
    Int,
    /// Ends at once; the next start replays the WAL (immediate).
    Quit,
}

impl Programs {
    /// initdb into an existing empty folder.
    pub(super) async fn initdb(
        &self,
        data: &Path,
        password: &Path,
        fsync: bool,
        log: &File,
    ) -> io::Result<ExitStatus> {
        let mut command = self.command("initdb", log)?;
        command.arg("-D").arg(data).arg("--pwfile").arg(password);
        command.args(["--username=postgres", "--encoding=UTF8", "--locale=C"]);
        command.args(["--auth=scram-sha-256", "--no-instructions"]);
        if !fsync {
            command.arg("--no-sync");
        }
        command.status().await
    }

    /// The server, in a process group of its own: Ctrl-C in the terminal is for the launcher,
    /// which ends the server after those who use it.
    ///
    /// It listens on loopback only, and on no Unix socket, whose path may have 107 bytes at most.
    pub(super) fn serve(&self, data: &Path, port: u16, log: &File) -> io::Result<Child> {
        let mut command = self.command("postgres", log)?;
        command.arg("-D").arg(data);
        command.args([
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "unix_socket_directories=",
        ]);
        command.arg("-c").arg(format!("port={port}"));
        command.process_group(0).spawn()
    }

    pub(super) async fn signal(&self, signal: Signal, postmaster: u32) -> io::Result<()> {
        let name = match signal {
            Signal::Int => "INT",
            Signal::Quit => "QUIT",
        };
        let mut command = self.bare("pg_ctl");
        command.args(["kill", name, &postmaster.to_string()]);
        // It fails when the process has just ended, which whoever waits for that sees.
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .await
            .map(drop)
    }

    fn command(&self, program: &str, log: &File) -> io::Result<Command> {
        let mut command = self.bare(program);
        command.stdout(log.try_clone()?).stderr(log.try_clone()?);
        Ok(command)
    }

    fn bare(&self, program: &str) -> Command {
        let mut command = Command::new(self.installation.program(program));
        // Our own current directory may be one that the other user cannot enter.
        command.stdin(Stdio::null()).current_dir("/");
        for variable in [
            "PGDATA",
            "PGPORT",
            "PGHOST",
            "PGOPTIONS",
            "PGUSER",
            "PGDATABASE",
        ] {
            command.env_remove(variable);
        }
        if let Account::Unprivileged { uid, gid, .. } = &self.account {
            command.uid(*uid).gid(*gid);
        }
        command
    }
}

/// How waiting for a new server ended.
#[derive(Debug)]
pub(super) enum Start {
    Ready,
    Exited(ExitStatus),
    TimedOut,
}

/// Waits as `pg_ctl start` does: until `postmaster.pid` is of this child and says so.
pub(super) async fn ready(child: &mut Child, data: &Path, limit: Duration) -> io::Result<Start> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Start::Exited(status));
        }
        let ready = LockFile::read(data).is_some_and(|it| it.ready && child.id() == Some(it.pid));
        if ready {
            return Ok(Start::Ready);
        }
        if Instant::now() > deadline {
            return Ok(Start::TimedOut);
        }
        sleep(GLANCE).await;
    }
}

/// Makes the data directory free of an earlier server, whose launcher was killed.
///
/// Returns the processes that did not end in time; empty is success.
pub(super) async fn vacate(programs: &Programs, data: &Path) -> io::Result<Vec<u32>> {
    const PATIENCE: [(Signal, Duration); 2] = [
        (Signal::Int, Duration::from_secs(30)),
        (Signal::Quit, Duration::from_secs(10)),
    ];
    let mut occupants = occupants::of_directory(data);
    for (signal, limit) in PATIENCE {
        let deadline = Instant::now() + limit;
        let mut told = None;
        while !occupants.is_empty() && Instant::now() < deadline {
            // Without a postmaster they are its orphans, which end by themselves when they notice.
            let postmaster = LockFile::read(data)
                .map(|it| it.pid)
                .filter(|it| occupants.contains(it));
            if let Some(pid) = postmaster
                && told != Some(pid)
            {
                tracing::warn!(pid, data = %data.display(), "ending the server that an earlier run left");
                programs.signal(signal, pid).await?;
                told = Some(pid);
            }
            sleep(GLANCE).await;
            occupants = occupants::of_directory(data);
        }
    }
    if occupants.is_empty() {
        remove_misleading_lock_file(data)?;
    }
    Ok(occupants)
}

/// Postgres ignores a lock file whose process is gone, but refuses to start while its number
/// belongs to any living process of the same user. As nobody works in the folder, that one is
/// another program.
fn remove_misleading_lock_file(data: &Path) -> io::Result<()> {
    match LockFile::read(data) {
        Some(stale) if occupants::is_alive(stale.pid) => fs::remove_file(LockFile::path(data)),
        _ => Ok(()),
    }
}

/// `postmaster.pid`: line 1 is the process, line 8 (since Postgres 10) its state. See
/// `src/include/utils/pidfile.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LockFile {
    pid: u32,
    ready: bool,
}

impl LockFile {
    fn path(data: &Path) -> PathBuf {
        data.join("postmaster.pid")
    }

    fn read(data: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(Self::path(data)).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let pid = lines.next()?.trim().parse().ok()?;
        Some(Self {
            pid,
            ready: lines.nth(6).is_some_and(|state| state.trim() == "ready"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_is_ready_only_when_its_eighth_line_says_so() {
        let file =
            |state: &str| format!("812\n/data\n1764000000\n5433\n\n127.0.0.1\n  123  4\n{state}");
        let parse = |text: &str| LockFile::parse(text);
        assert_eq!(
            parse(&file("ready   \n")),
            Some(LockFile {
                pid: 812,
                ready: true
            })
        );
        assert_eq!(
            parse(&file("starting\n")),
            Some(LockFile {
                pid: 812,
                ready: false
            })
        );
        assert_eq!(
            parse("812\n/data\n"),
            Some(LockFile {
                pid: 812,
                ready: false
            })
        );
        assert_eq!(parse(""), None);
    }
}
