//! Ends what a test started, whatever becomes of the test.
//!
//! Destructors do not run for statics, nor when a process is killed. So a small shell waits for
//! its standard input to end, which it does when the test process is gone, and then ends every
//! process that works in the guarded folder and removes the folder.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use tempfile::TempDir;

/// A temporary folder that goes, with all processes whose current directory is in it, when the
/// guardian is dropped or the test process ends.
#[derive(Debug)]
pub struct Guardian {
    dir: PathBuf,
    shell: Child,
}

/// How the processes are ended first; five seconds later by SIGKILL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// Postgres' immediate shutdown, which also frees its shared memory.
    Quit,
    Kill,
}

/// `$1` is the folder, `$2` the signal. In the second try those that are left are killed.
const SCRIPT: &str = r#"
cat > /dev/null
tenants() { find /proc -mindepth 2 -maxdepth 2 -name cwd -lname "$1*" 2> /dev/null | cut -d/ -f3; }
for signal in "$2" KILL; do
    for try in $(seq 100); do
        pids=$(tenants "$1")
        [ -z "$pids" ] && break
        [ "$try" = 1 ] && kill -"$signal" $pids 2> /dev/null
        sleep 0.05
    done
done
rm -rf "$1"
"#;

impl Guardian {
    /// # Errors
    /// The folder cannot be made or no shell can be run.
    pub fn new(farewell: Farewell) -> anyhow::Result<Self> {
        let dir = TempDir::with_prefix("lockstep-test-")
            .context("make a temporary folder")?
            .keep();
        // /proc shows paths without symbolic links, and servers under another user must pass.
        let dir = dir.canonicalize().context("resolve the temporary folder")?;
        fs::set_permissions(&dir, Permissions::from_mode(0o711)).context("open the folder")?;
        let signal = match farewell {
            Farewell::Quit => "QUIT",
            Farewell::Kill => "KILL",
        };
        let mut command = Command::new("sh");
        command
            .args(["-c", SCRIPT, "guardian"])
            .arg(&dir)
            .arg(signal)
            .current_dir("/");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // Ctrl-C in the terminal ends the test, after which the guardian has its work to do.
        let shell = command
            .process_group(0)
            .spawn()
            .context("start the guardian's shell")?;
        Ok(Self { dir, shell })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // A shell that cannot be waited for has ended; there is nobody to tell.
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_and_folder_are_gone_after_it() {
        for farewell in [Farewell::Quit, Farewell::Kill] {
            let guardian = Guardian::new(farewell).unwrap();
            let dir = guardian.dir().to_owned();
            let mut child = Command::new("sleep")
                .arg("600")
                .current_dir(&dir)
                .spawn()
                .unwrap();
            // It is a zombie until it is waited for, and zombies work nowhere.
            drop(guardian);
            assert!(!child.wait().unwrap().success());
            assert!(!dir.exists());
        }
    }
}
