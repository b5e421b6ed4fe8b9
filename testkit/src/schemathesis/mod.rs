//! Schemathesis: asks a running service what its own description says, and more, and checks that the
//! answers are as described.

use std::path::{Path, PathBuf};

use tokio::process::Command;

/// What came of a run.
#[derive(Debug)]
pub struct Verdict {
    /// 0 when nothing was found.
    pub code: Option<i32>,
    /// Standard output, then standard error.
    pub output: String,
}

/// Runs `schemathesis run` on the description at `location` with more arguments, and with what stands
/// in the folder `settings`: `schemathesis.toml`, and `schemathesis_hooks.py` for formats that the
/// description makes up and for checks of its own. It tries the same at every run.
///
/// # Panics
/// When Schemathesis is not there and cannot be installed.
pub async fn run(location: &str, settings: &Path, arguments: &[&str]) -> Verdict {
    let program = program().await;
    // Nothing of an earlier run, and nothing that lies around in the tree, may count.
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let mut command = Command::new(program);
    let hooks = settings.join("schemathesis_hooks.py");
    if hooks.exists() {
        command.env("SCHEMATHESIS_HOOKS", hooks);
    }
    let output = command
        .arg("--config-file")
        .arg(settings.join("schemathesis.toml"))
        .args(["run", location, "--no-color", "--generation-deterministic"])
        .args(arguments)
        .current_dir(folder.path())
        .env("HYPOTHESIS_STORAGE_DIRECTORY", folder.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("COLUMNS", "120")
        .kill_on_drop(true)
        .output()
        .await
        .expect("run schemathesis");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Verdict {
        code: output.status.code(),
        output: text(&output.stdout) + text(&output.stderr).as_str(),
    }
}

/// The program, installed unless it is there.
async fn program() -> PathBuf {
    let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/schemathesis/setup.sh");
    let output = Command::new(setup).output().await.expect("run setup.sh");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "Schemathesis could not be installed:\n{error}"
    );
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end())
}
