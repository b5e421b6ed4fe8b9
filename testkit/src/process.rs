//! A real program as a child: killed, restarted, its output kept for when the test fails.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use crate::guardian::{Farewell, Guardian};
use crate::wait;

/// A running program. It ends when this is dropped or the test process ends; when the test fails,
/// the end of its output is printed.
#[derive(Debug)]
pub struct Process {
    launch: Launch,
    child: Child,
    guardian: Guardian,
}

/// What to run. The program works in a folder of its own, so paths must be absolute.
#[derive(Clone, Debug)]
pub struct Launch {
    /// How the test calls it.
    pub name: String,
    /// Such as `env!("CARGO_BIN_EXE_lockstep")`.
    pub program: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
}

impl Process {
    /// # Panics
    /// When the program cannot be run.
    pub fn start(launch: Launch) -> Self {
        let guardian = Guardian::new(Farewell::Kill).expect("guard a folder");
        let child = spawn(&launch, guardian.dir());
        Self {
            launch,
            child,
            guardian,
        }
    }

    /// SIGKILL: the program gets no chance to tidy up.
    pub fn kill_9(&mut self) {
        self.child.kill().expect("signal a child");
        self.child.wait().expect("wait for a child");
    }

    /// SIGTERM, then waits for the program to end.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal("-TERM");
        self.exit().await
    }

    /// SIGSTOP: the program stands still where it is, with its connections open, until it is killed.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let told = Command::new("kill")
            .args([signal, &pid])
            .status()
            .expect("run kill");
        assert!(
            told.success(),
            "{} has ended before it was told to",
            self.launch.name
        );
    }

    /// Waits for the program to end.
    pub async fn exit(&mut self) -> ExitStatus {
        let what = format!("{} ends", self.launch.name);
        let child = &mut self.child;
        wait::until(&what, async || {
            child.try_wait().expect("wait for a child").ok_or("it runs")
        })
        .await
    }

    /// Starts it again with what it was started with.
    ///
    /// # Panics
    /// When it still runs.
    pub fn restart(&mut self) {
        let ended = self.child.try_wait().expect("wait for a child");
        assert!(ended.is_some(), "{} still runs", self.launch.name);
        self.child = spawn(&self.launch, self.guardian.dir());
    }

    /// Waits until its output holds this text.
    pub async fn printed(&self, text: &str) {
        let what = format!("{} prints {text:?}", self.launch.name);
        wait::until(&what, async || match self.output() {
            output if output.contains(text) => Ok(()),
            output => Err(end_of(&output).to_owned()),
        })
        .await;
    }

    /// Standard output and standard error of all its runs.
    pub fn output(&self) -> String {
        let bytes = fs::read(output_in(self.guardian.dir())).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder it works in.
    pub fn dir(&self) -> &Path {
        self.guardian.dir()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!(
                "---- the last output of {} ----\n{}",
                self.launch.name,
                end_of(&self.output())
            );
        }
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(launch: &Launch, dir: &Path) -> Child {
    let open = |path: PathBuf| -> std::io::Result<(File, File)> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok((file.try_clone()?, file))
    };
    let (out, err) = open(output_in(dir)).expect("open a file for the output");
    let mut command = Command::new(&launch.program);
    command
        .args(&launch.args)
        .envs(launch.env.iter().cloned())
        .current_dir(dir);
    command.stdin(Stdio::null()).stdout(out).stderr(err);
    let spawned = command.spawn();
    spawned.unwrap_or_else(|error| panic!("run {}: {error}", launch.program.display()))
}

fn output_in(dir: &Path) -> PathBuf {
    dir.join("output.log")
}

/// At most 8000 bytes.
fn end_of(output: &str) -> &str {
    let start = output.len().saturating_sub(8000);
    let start = (start..=output.len())
        .find(|at| output.is_char_boundary(*at))
        .unwrap_or_default();
    &output[start..]
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[tokio::test]
    async fn it_is_killed_restarted_and_terminated() {
        let mut process = Process::start(shell(
            "echo run; trap 'exit 3' TERM; while :; do sleep 0.01; done",
        ));
        process.printed("run\n").await;
        process.kill_9();
        assert_eq!(process.exit().await.signal(), Some(9));
        process.restart();
        process.printed("run\nrun\n").await;
        assert_eq!(process.terminate().await.code(), Some(3));
    }

    #[tokio::test]
    async fn it_ends_with_its_handle() {
        let process = Process::start(shell("echo run; exec sleep 600"));
        process.printed("run").await;
        let proc = PathBuf::from(format!("/proc/{}", process.pid()));
        assert!(proc.exists());
        drop(process);
        assert!(!proc.exists());
    }

    #[test]
    fn the_end_of_the_output_is_cut_between_characters() {
        let long = "é".repeat(5000);
        assert_eq!(end_of(&long).len(), 8000);
        let odd = format!("x{}y", "é".repeat(5000));
        assert_eq!(end_of(&odd).len(), 7999);
        assert_eq!(end_of("short"), "short");
    }

    fn shell(script: &str) -> Launch {
        Launch {
            name: "a shell".to_owned(),
            program: PathBuf::from("/bin/sh"),
            args: vec!["-c".to_owned(), script.to_owned()],
            env: Vec::new(),
        }
    }
}
