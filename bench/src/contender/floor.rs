//! The bare decoding of the log: `pg_recvlogical` into nothing.

use anyhow::{Context, ensure};
use tokio::process::Command;

use super::{Run, Watch};
use crate::backlog::{Backlog, End, PUBLICATION};
use crate::servers::Servers;

pub(crate) async fn run(
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
        .args([
            "--start",
            "--no-loop",
            "-f",
            "/dev/null",
            "--endpos",
            &end.end,
        ])
        .args([
            "-o",
            "proto_version=2",
            "-o",
            "binary=true",
            "-o",
            "streaming=on",
        ])
        .args(["-o", &publications]);
    let watch = Watch::start(servers);
    let status = command.status().await.context("run pg_recvlogical")?;
    let run = watch.stop(Vec::new());
    ensure!(status.success(), "pg_recvlogical failed: {status}");
    Ok(run)
}
