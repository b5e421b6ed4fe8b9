//! What all contenders share: source, target, broker and registry, each a process of its own but the
//! registry, which hardly works.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use local::postgres::{Cluster, ClusterConfig};
use testkit::guardian::{Farewell, Guardian};
use testkit::port;
use testkit::postgres::{Connection, connect};
use testkit::process::{Launch, Process};
use testkit::registry;

pub(crate) struct Servers {
    pub(crate) source: Cluster,
    pub(crate) target: Cluster,
    pub(crate) broker: Process,
    pub(crate) kafka: String,
    pub(crate) registry: &'static str,
    _guardian: Guardian,
}

/// Checkpoints do not fall into one run and not into another; the rest is as Postgres comes, with
/// memory that fits the tables, and room for the slots of all runs.
const SETTINGS: [(&str, &str); 8] = [
    ("wal_level", "logical"),
    ("shared_buffers", "512MB"),
    ("max_wal_size", "16GB"),
    ("checkpoint_timeout", "1d"),
    ("max_replication_slots", "100"),
    ("max_wal_senders", "100"),
    ("max_connections", "200"),
    ("max_slot_wal_keep_size", "-1"),
];

impl Servers {
    /// # Errors
    /// When one of them does not start.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let guardian = Guardian::new(Farewell::Quit)?;
        let source = cluster(&guardian, "source").await?;
        let target = cluster(&guardian, "target").await?;
        let kafka = format!("127.0.0.1:{}", port::free());
        let broker = Process::start(Launch {
            name: "local-kafka".to_owned(),
            program: beside("local-kafka")?,
            args: vec!["data".to_owned(), kafka.clone()],
            env: Vec::new(),
        });
        broker.printed(&kafka).await;
        Ok(Self {
            source,
            target,
            broker,
            kafka,
            registry: registry::url().await,
            _guardian: guardian,
        })
    }

    /// # Errors
    /// As tokio-postgres.
    pub(crate) async fn at_source(&self, database: &str) -> anyhow::Result<Connection> {
        let connected = connect(&self.source.dsn(database)).await;
        connected.with_context(|| format!("connect to {database} on the source"))
    }

    /// # Errors
    /// As tokio-postgres.
    pub(crate) async fn at_target(&self, database: &str) -> anyhow::Result<Connection> {
        let connected = connect(&self.target.dsn(database)).await;
        connected.with_context(|| format!("connect to {database} on the target"))
    }

    /// Lets both servers have nothing left to do.
    ///
    /// # Errors
    /// As tokio-postgres.
    pub(crate) async fn settle(&self) -> anyhow::Result<()> {
        for client in [
            self.at_source("postgres").await?,
            self.at_target("postgres").await?,
        ] {
            client.batch_execute("checkpoint").await?;
        }
        // Dirty pages of the last run.
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok(())
    }
}

async fn cluster(guardian: &Guardian, name: &str) -> anyhow::Result<Cluster> {
    let settings = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let started = Cluster::start(ClusterConfig {
        name: name.to_owned(),
        data_dir: guardian.dir().join(name),
        port: port::free(),
        port_flag: "another port".to_owned(),
        settings: settings.to_vec(),
        bin: None,
        fsync: true,
    });
    Ok(started.await?)
}

/// A program that was built with this one.
///
/// # Errors
/// When it was not.
pub(crate) fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("look for this program")?;
    let program = own.parent().unwrap_or(Path::new("")).join(name);
    anyhow::ensure!(
        program.exists(),
        "{} is not there: build it with `cargo build --release --bin {name}`",
        program.display()
    );
    Ok(program)
}
