//! What all contenders share: source, target, broker and registry, each a process of its own but the
//! registry, which hardly works.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use local::postgres::{Cluster, ClusterConfig};
use testkit::guardian::{Farewell, Guardian};
use testkit::kafka::Server;
use testkit::port;
use testkit::postgres::{Connection, connect};
use testkit::process::{Launch, Process};
use testkit::registry;

use crate::contender::Kafka;

pub(crate) struct Servers {
    pub(crate) source: Cluster,
    pub(crate) target: Cluster,
    pub(crate) registry: &'static str,
    brokers: Vec<Broker>,
    _guardian: Guardian,
}

/// A running broker.
pub(crate) struct Broker {
    kafka: Kafka,
    pub(crate) bootstrap: String,
    pub(crate) pid: u32,
    _runs: Runs,
}

/// What ends it when it is dropped.
enum Runs {
    Local { _process: Process },
    Apache { _server: Server },
}

/// Checkpoints do not fall into one run and not into another, what commits without waiting for the disk
/// is there for walsenders soon, and a subscription starts at once although another has started just
/// before; the rest is as Postgres comes, with memory that fits the tables, and room for the slots of
/// all runs.
const SETTINGS: [(&str, &str); 10] = [
    ("wal_level", "logical"),
    ("shared_buffers", "512MB"),
    ("max_wal_size", "16GB"),
    ("checkpoint_timeout", "1d"),
    ("wal_writer_delay", "10ms"),
    ("wal_retrieve_retry_interval", "10ms"),
    ("max_replication_slots", "100"),
    ("max_wal_senders", "100"),
    ("max_connections", "200"),
    ("max_slot_wal_keep_size", "-1"),
];

impl Servers {
    /// # Errors
    /// When one of them does not start.
    pub(crate) async fn start(kafkas: &[Kafka]) -> anyhow::Result<Self> {
        let guardian = Guardian::new(Farewell::Quit)?;
        let source = cluster(&guardian, "source").await?;
        let target = cluster(&guardian, "target").await?;
        let mut brokers = Vec::new();
        for kafka in kafkas {
            brokers.push(Broker::start(*kafka).await?);
        }
        Ok(Self {
            source,
            target,
            registry: registry::url().await,
            brokers,
            _guardian: guardian,
        })
    }

    pub(crate) fn broker(&self, kafka: Kafka) -> &Broker {
        let mut brokers = self.brokers.iter();
        let found = brokers.find(|broker| broker.kafka == kafka);
        found.expect("contenders are those whose brokers were started")
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

impl Broker {
    async fn start(kafka: Kafka) -> anyhow::Result<Self> {
        let (bootstrap, pid, runs) = match kafka {
            Kafka::Local => {
                let bootstrap = format!("127.0.0.1:{}", port::free());
                let process = Process::start(Launch {
                    name: "local-kafka".to_owned(),
                    program: beside("local-kafka")?,
                    args: vec!["data".to_owned(), bootstrap.clone()],
                    env: Vec::new(),
                });
                process.printed(&bootstrap).await;
                let pid = process.pid();
                (bootstrap, pid, Runs::Local { _process: process })
            }
            Kafka::Apache => {
                let server = Server::apache_in_earnest().await;
                let pid = server.pid().await.context("it runs in a process")?;
                let bootstrap = server.bootstrap().to_owned();
                (bootstrap, pid, Runs::Apache { _server: server })
            }
        };
        Ok(Self {
            kafka,
            bootstrap,
            pid,
            _runs: runs,
        })
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
