//! The installed pg_dump and pg_restore.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::{env, fs};

use anyhow::{Context, bail};
use service::postgres::Dsn;
use tokio::process::Command;

/// A folder with Postgres' client programs.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    bin: PathBuf,
}

impl Programs {
    /// The newest version, since pg_dump refuses servers that are newer than itself.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn find(bin: Option<PathBuf>) -> anyhow::Result<Self> {
        if let Some(bin) = bin {
            return match has_programs(&bin) {
                true => Ok(Self { bin }),
                false => bail!("--pg-bin {}: no pg_dump is in there", bin.display()),
            };
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let installed = debian_folders().into_iter().chain(env::split_paths(&path));
        let bin = installed
            .into_iter()
            .find(|folder| has_programs(folder))
            .context(
                "find pg_dump: install the Debian package `postgresql-client`, \
                 or name its folder with --pg-bin",
            )?;
        Ok(Self { bin })
    }

    /// Writes the schema of a database to `file`, in the custom format.
    pub(super) async fn dump_schema(&self, dsn: &Dsn, file: &Path) -> anyhow::Result<()> {
        let mut command = self.command("pg_dump");
        command
            .args(["--schema-only", "--no-owner", "--no-privileges", "-Fc"])
            .arg("--file")
            .arg(file);
        // Neither the password nor anything else of the connection shows in the process list.
        command
            .env("PGHOST", dsn.host())
            .env("PGPORT", dsn.port().to_string())
            .env("PGUSER", dsn.user())
            .env("PGDATABASE", dsn.dbname())
            .env("PGSSLMODE", dsn.ssl_mode().to_string());
        if let Some(password) = dsn.password() {
            command.env("PGPASSWORD", password.expose());
        }
        run(command).await?;
        Ok(())
    }

    /// The table of contents of a dump.
    pub(super) async fn contents(&self, dump: &Path) -> anyhow::Result<String> {
        let mut command = self.command("pg_restore");
        command.arg("--list").arg(dump);
        text(run(command).await?)
    }

    /// The SQL of the entries that `list` names.
    pub(super) async fn sql(&self, dump: &Path, list: &Path) -> anyhow::Result<String> {
        let mut command = self.command("pg_restore");
        command
            .args(["--no-owner", "--no-privileges", "--file=-"])
            .arg("--use-list")
            .arg(list)
            .arg(dump);
        text(run(command).await?)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }
}

fn has_programs(folder: &Path) -> bool {
    ["pg_dump", "pg_restore"]
        .iter()
        .all(|program| folder.join(program).is_file())
}

/// `/usr/lib/postgresql/17/bin` and its like, newest first. Debian's `/usr/bin/pg_dump` is a wrapper
/// that may choose another version.
fn debian_folders() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir("/usr/lib/postgresql") else {
        return Vec::new();
    };
    let versions = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let version: u32 = path.file_name().and_then(OsStr::to_str)?.parse().ok()?;
        Some((version, path.join("bin")))
    });
    let mut versions: Vec<(u32, PathBuf)> = versions.collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    versions.into_iter().map(|(_, bin)| bin).collect()
}

async fn run(mut command: Command) -> anyhow::Result<Output> {
    let name = Path::new(command.as_std().get_program())
        .display()
        .to_string();
    let output = command
        .output()
        .await
        .with_context(|| format!("run {name}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{name} ended with {}: {}", output.status, said.trim());
    }
    Ok(output)
}

fn text(output: Output) -> anyhow::Result<String> {
    String::from_utf8(output.stdout).context("read what pg_restore wrote")
}
