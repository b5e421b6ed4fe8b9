//! Capture and apply, with Kafka in between.

use anyhow::{Context, ensure};
use change::Lsn;
use testkit::port;
use testkit::postgres::Connection;
use testkit::process::{Launch, Process};
use tokio::process::Command;

use super::{Contender, Kafka, LIMIT, LOOK_INTERVAL, Run, Watch, metric, until};
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
        contender: Contender,
        pair: u32,
    ) -> anyhow::Result<Self> {
        let kafka = contender.kafka().context("goes through no broker")?;
        let name = format!("{}_{}_{pair}", backlog.database, contender.name());
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
        contender: Contender,
        pair: u32,
    ) -> anyhow::Result<Self> {
        let pipeline = Self::set_up(servers, backlog, contender, pair).await?;
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

    /// Brings the backlog to where all of it counts in Kafka.
    pub(crate) async fn capture(&self, servers: &Servers, end: &End) -> anyhow::Result<Run> {
        servers.settle().await?;
        let last = end.last.parse::<Lsn>()?.as_u64();
        let watch = Watch::start(servers, Some(self.kafka));
        let port = port::free();
        let cdc = self.launch("cdc", &OF_CAPTURE, port)?;
        let published = async {
            while metric::read(port, "cdc_published_lsn").await? <= Some(last) {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
            anyhow::Ok(())
        };
        let published = tokio::time::timeout(LIMIT, published).await;
        published.context("capture does not come to the end")??;
        Ok(used(watch, &[("cdc", &cdc)]))
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
        Ok(Running {
            cdc: self.launch("cdc", &OF_CAPTURE, port::free())?,
            applier: self.launch("applier", &OF_APPLY, port::free())?,
        })
    }

    /// Starts a service that tells its metrics on `port`.
    fn launch(&self, service: &str, flags: &[&str], port: u16) -> anyhow::Result<Process> {
        let mut args = vec![service.to_owned()];
        args.extend(self.chosen(flags));
        args.push(format!("--metrics-listen=127.0.0.1:{port}"));
        Ok(Process::start(Launch {
            name: service.to_owned(),
            program: beside("lockstep")?,
            args,
            env: vec![],
        }))
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

    fn used(&self, watch: Watch) -> Run {
        used(watch, &[("cdc", &self.cdc), ("applier", &self.applier)])
    }
}

/// Stops the clock, with what the processes have used.
fn used(watch: Watch, processes: &[(&'static str, &Process)]) -> Run {
    let pids = processes
        .iter()
        .map(|(name, process)| (*name, process.pid()));
    let own = pids.clone().map(|(name, pid)| (name, cpu_seconds(pid)));
    let mut run = watch.stop(own.collect());
    run.peak = pids
        .map(|(name, pid)| (name, peak_megabytes(pid)))
        .collect();
    run
}
