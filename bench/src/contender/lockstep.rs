//! Capture and apply, with Kafka in between.

use anyhow::ensure;
use testkit::port;
use testkit::postgres::Connection;
use testkit::process::{Launch, Process};
use tokio::process::Command;

use super::{Run, Watch, until};
use crate::backlog::{Backlog, End, PUBLICATION};
use crate::servers::{Servers, beside};
use crate::usage::{cpu_seconds, peak_megabytes};

/// A pipeline whose slot stands before the backlog, and whose target has what was there before.
pub(crate) struct Lockstep {
    flags: Vec<(&'static str, String)>,
    name: String,
    target: Connection,
}

const OF_CAPTURE: [&str; 6] = [
    "source",
    "kafka",
    "registry",
    "prefix",
    "slot",
    "publication",
];
const OF_APPLY: [&str; 5] = ["target", "kafka", "registry", "prefix", "pipeline"];

impl Lockstep {
    pub(crate) async fn prepare(
        servers: &Servers,
        backlog: &Backlog,
        pair: u32,
    ) -> anyhow::Result<Self> {
        let name = format!("{}_lockstep_{pair}", backlog.database);
        let target = backlog.empty_target(servers, &name).await?;
        let flags = vec![
            ("source", servers.source.dsn(&backlog.database)),
            ("target", servers.target.dsn(&name)),
            ("kafka", servers.kafka.clone()),
            ("registry", servers.registry.to_owned()),
            ("prefix", name.clone()),
            ("slot", name.clone()),
            ("publication", PUBLICATION.to_owned()),
            ("pipeline", name.clone()),
        ];
        let pipeline = Self {
            flags,
            name,
            target,
        };
        pipeline.command("setup").await?;
        let (mut cdc, mut applier) = pipeline.start()?;
        cdc.printed("snapshot is complete").await;
        let has_progress = "select to_regclass('lockstep.progress') is not null";
        until(&pipeline.target, has_progress, &[]).await?;
        let streaming = "select exists (select from lockstep.progress \
                         where pipeline = $1 and phase = 'streaming')";
        until(&pipeline.target, streaming, &[&pipeline.name]).await?;
        cdc.terminate().await;
        applier.terminate().await;
        pipeline.target.batch_execute("vacuum analyze").await?;
        Ok(pipeline)
    }

    pub(crate) async fn run(self, servers: &Servers, end: &End) -> anyhow::Result<Run> {
        servers.settle().await?;
        let watch = Watch::start(servers);
        let (cdc, applier) = self.start()?;
        let applied =
            "select commit_lsn > $1::text::pg_lsn from lockstep.progress where pipeline = $2";
        until(&self.target, applied, &[&end.last, &self.name]).await?;
        let processes = [("cdc", cdc.pid()), ("applier", applier.pid())];
        let own = processes.map(|(name, pid)| (name, cpu_seconds(pid)));
        let mut run = watch.stop(own.to_vec());
        run.peak = processes
            .map(|(name, pid)| (name, peak_megabytes(pid)))
            .to_vec();
        self.command("verify").await?;
        Ok(run)
    }

    fn start(&self) -> anyhow::Result<(Process, Process)> {
        let start = |name: &str, flags: &[&str]| -> anyhow::Result<Process> {
            let mut args = vec![name.to_owned()];
            args.extend(self.chosen(flags));
            args.push(format!("--metrics-listen=127.0.0.1:{}", port::free()));
            Ok(Process::start(Launch {
                name: name.to_owned(),
                program: beside("lockstep")?,
                args,
                env: vec![],
            }))
        };
        Ok((start("cdc", &OF_CAPTURE)?, start("applier", &OF_APPLY)?))
    }

    /// Runs a command that looks at all of it.
    async fn command(&self, command: &str) -> anyhow::Result<()> {
        let names: Vec<&str> = self.flags.iter().map(|(name, _)| *name).collect();
        let ran = Command::new(beside("lockstep")?)
            .arg(command)
            .args(self.chosen(&names))
            .output()
            .await?;
        ensure!(
            ran.status.success(),
            "lockstep {command} failed ({}):\n{}{}",
            ran.status,
            String::from_utf8_lossy(&ran.stdout),
            String::from_utf8_lossy(&ran.stderr)
        );
        Ok(())
    }

    fn chosen<'a>(&'a self, names: &'a [&str]) -> impl Iterator<Item = String> + 'a {
        let flags = self.flags.iter().filter(|(name, _)| names.contains(name));
        flags.map(|(name, value)| format!("--{name}={value}"))
    }
}
