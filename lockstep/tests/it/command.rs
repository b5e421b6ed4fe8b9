//! Runs the binary to its end.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use testkit::process::Launch;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_lockstep");

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Standard output of a run that found all to be well.
    #[track_caller]
    pub(crate) fn well(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }
}

/// Seconds that `verify` waits for transactions of the source. It waits for those of all databases,
/// so for what other tests have open as well, on a machine that they share.
const HOLD_LIMIT: &str = "120";

/// Runs `lockstep` with these arguments in this folder.
pub(crate) async fn lockstep(folder: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(PROGRAM);
    command
        .args(arguments)
        .env("LOCKSTEP_VERIFY_HOLD_LIMIT", HOLD_LIMIT)
        .current_dir(folder)
        .stdin(Stdio::null());
    let ran = tokio::task::spawn_blocking(move || command.output());
    let Output {
        status,
        stdout,
        stderr,
    } = ran.await.expect("run a thread").expect("run lockstep");
    Ran {
        code: status.code(),
        stdout: String::from_utf8(stdout).expect("standard output is text"),
        stderr: String::from_utf8(stderr).expect("standard error is text"),
    }
}

/// For [`testkit::process::Process`].
pub(crate) fn launch(name: &str, arguments: &[&str]) -> Launch {
    Launch {
        name: name.to_owned(),
        program: PROGRAM.into(),
        args: arguments.iter().map(|it| (*it).to_owned()).collect(),
        env: Vec::new(),
    }
}
