//! What the source alone takes.

use std::process::Stdio;

use anyhow::{Context, ensure};
use tokio::process::Command;

use super::{Run, Watch};
use crate::backlog::{Backlog, End, PUBLICATION};
use crate::servers::Servers;

/// The bare decoding of the log: `pg_recvlogical` into nothing.
pub(crate) async fn catch_up(
    servers: &Servers,
    backlog: &Backlog,
    end: &End,
    pair: u32,
) -> anyhow::Result<Run> {
    let slot = format!("{}_floor_{pair}", backlog.database);
    backlog.slot(&slot).await?;
    let publications = format!("publication_names={PUBLICATION}");
    let mut command = Command::new(servers.source.bin().join("pg_recvlogical"));
    command
        .args(["-d", &servers.source.dsn(&backlog.database), "-S", &slot])
        .args(["--start", "--no-loop", "-f", "/dev/null"])
        .args(["--endpos", &end.end]);
    for option in [
        "proto_version=2",
        "binary=true",
        "streaming=on",
        &publications,
    ] {
        command.args(["-o", option]);
    }
    let watch = Watch::start(servers, None);
    let status = command.status().await.context("run pg_recvlogical")?;
    let run = watch.stop(Vec::new());
    ensure!(status.success(), "pg_recvlogical failed: {status}");
    Ok(run)
}

/// The bare reading of the tables: COPY into nothing.
pub(crate) async fn copy(servers: &Servers, backlog: &Backlog) -> anyhow::Result<Run> {
    let mut command = Command::new(servers.source.bin().join("psql"));
    command
        .args(["-d", &servers.source.dsn(&backlog.database), "-c"])
        .arg("copy articles to stdout (format binary)")
        .stdout(Stdio::null());
    let watch = Watch::start(servers, None);
    let status = command.status().await.context("run psql")?;
    let run = watch.stop(Vec::new());
    ensure!(status.success(), "psql failed: {status}");
    Ok(run)
}
