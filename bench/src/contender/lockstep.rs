//! Capture and apply, with Kafka in between.

use anyhow::ensure;
use testkit::port;
use testkit::postgres::Connection;
use testkit::process::{Launch, Process};
use tokio::process::Command;

use super::{Contender, Kafka, Run, Watch, until};
use crate::backlog::{Backlog, End, PUBLICATION};
use crate::servers::{Servers, beside};
use crate::usage::{cpu_seconds, peak_megabytes};

/// A pipeline to a database of the target.
pub(crate) struct Lockstep {
    pub(crate) target: Connection,
    pub(crate) name: String,
    kafka: Kafka,
    flags: Vec<(&'static str, String)>,
}

/// Capture and apply while they run.
pub(crate) struct Running {
    cdc: Process,
    applier: Process,
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
    /// With tables on the target, and nothing in them.
    pub(crate) async fn set_up(
        servers: &Servers,
        backlog: &Backlog,
        kafka: Kafka,
        pair: u32,
    ) -> anyhow::Result<Self> {
        let contender = Contender::Lockstep(kafka).name();
        let name = format!("{}_{contender}_{pair}", backlog.database);
        let target = backlog.empty_target(servers, &name).await?;
        let flags = vec![
            ("source", servers.source.dsn(&backlog.database)),
            ("target", servers.target.dsn(&name)),
            ("kafka", servers.broker(kafka).bootstrap.clone()),
            ("registry", servers.registry.to_owned()),
            ("prefix", name.clone()),
            ("slot", name.clone()),
            ("publication", PUBLICATION.to_owned()),
            ("pipeline", name.clone()),
        ];
        let pipeline = Self {
            target,
            name,
            kafka,
            flags,
        };
        pipeline.command("setup").await?;
        Ok(pipeline)
    }

    /// With its slot before the backlog, and on the target what was there before.
    pub(crate) async fn at_slot(
        servers: &Servers,
        backlog: &Backlog,
        kafka: Kafka,
        pair: u32,
    ) -> anyhow::Result<Self> {
        let pipeline = Self::set_up(servers, backlog, kafka, pair).await?;
        let running = pipeline.start()?;
        pipeline.until_copied().await?;
        running.stop().await;
        pipeline.target.batch_execute("vacuum analyze").await?;
        Ok(pipeline)
    }

    /// Brings the backlog to the target.
    pub(crate) async fn catch_up(&self, servers: &Servers, end: &End) -> anyhow::Result<Run> {
        servers.settle().await?;
        let watch = Watch::start(servers, Some(self.kafka));
        let running = self.start()?;
        let applied =
            "select commit_lsn > $1::text::pg_lsn from lockstep.progress where pipeline = $2";
        until(&self.target, applied, &[&end.last, &self.name]).await?;
        let run = running.used(watch);
        self.verify().await?;
        Ok(run)
    }

    /// Copies what the tables have.
    pub(crate) async fn copy(&self, servers: &Servers) -> anyhow::Result<Run> {
        servers.settle().await?;
        let watch = Watch::start(servers, Some(self.kafka));
        let running = self.start()?;
        self.until_copied().await?;
        let run = running.used(watch);
        self.verify().await?;
        Ok(run)
    }

    async fn until_copied(&self) -> anyhow::Result<()> {
        let has_progress = "select to_regclass('lockstep.progress') is not null";
        until(&self.target, has_progress, &[]).await?;
        let streaming = "select exists (select from lockstep.progress \
                         where pipeline = $1 and phase = 'streaming')";
        until(&self.target, streaming, &[&self.name]).await
    }

    /// While capture and apply run.
    pub(crate) async fn verify(&self) -> anyhow::Result<()> {
        self.command("verify").await
    }

    pub(crate) fn start(&self) -> anyhow::Result<Running> {
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
        Ok(Running {
            cdc: start("cdc", &OF_CAPTURE)?,
            applier: start("applier", &OF_APPLY)?,
        })
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

impl Running {
    pub(crate) async fn stop(mut self) {
        self.cdc.terminate().await;
        self.applier.terminate().await;
    }

    /// Stops the clock, with what both processes have used.
    fn used(&self, watch: Watch) -> Run {
        let processes = [("cdc", self.cdc.pid()), ("applier", self.applier.pid())];
        let own = processes.map(|(name, pid)| (name, cpu_seconds(pid)));
        let mut run = watch.stop(own.to_vec());
        run.peak = processes
            .map(|(name, pid)| (name, peak_megabytes(pid)))
            .to_vec();
        run
    }
}
