//! `lockstep up`: everything on one machine, in one process but for Postgres.
//!
//! ```text
//! Postgres DB1, DB2 -> Kafka broker -> schema registry -> capture, apply -> REST APIs -> GraphQL, console
//! ```
//!
//! Each part waits for those it needs and stops after those that need it. Settings replace any of
//! the first four by a real one. What was acknowledged survives a `kill -9` of this process; its
//! Postgres servers then run on, until the next start takes them over.

mod clusters;
mod folder;
mod parts;
mod ports;
mod readiness;
mod services;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use service::Shutdown;

use clusters::Clusters;
use folder::Folder;
use parts::Parts;
use ports::Ports;

use crate::demo;
use crate::screen;
use operate::endpoints::{Database, Endpoints, Names};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    /// Folder for everything that is kept
    #[arg(
        long,
        env = "LOCKSTEP_DATA",
        value_name = "DIR",
        default_value = ".lockstep"
    )]
    data: PathBuf,

    /// Use this database as the source, instead of a local one
    #[arg(long, env = "LOCKSTEP_SOURCE", value_name = "DSN")]
    source: Option<Database>,

    /// Use this database as the target, instead of a local one
    #[arg(long, env = "LOCKSTEP_TARGET", value_name = "DSN")]
    target: Option<Database>,

    /// Use this Kafka, instead of a local broker
    #[arg(long, env = "LOCKSTEP_KAFKA", value_name = "HOST:PORT")]
    kafka: Option<String>,

    /// Use this schema registry, instead of a local one
    #[arg(long, env = "LOCKSTEP_REGISTRY", value_name = "URL")]
    registry: Option<String>,

    /// Folder of Postgres' programs [default: the newest that is installed]
    #[arg(long, env = "LOCKSTEP_PG_BIN", value_name = "DIR")]
    pg_bin: Option<PathBuf>,

    #[command(flatten)]
    ports: Ports,

    #[command(flatten)]
    names: Names,

    #[command(flatten)]
    differences: applier::Differences,

    #[command(flatten)]
    demo: demo::Config,
}

/// Runs until a stop is requested, or a part ends with an error.
///
/// # Errors
/// What kept a part from starting, or ended it.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let shutdown = Shutdown::on_signals()?;
    let folder = Folder::open(&config.data)?;
    config.require_free_ports(&folder)?;
    let mut parts = Parts::default();
    let outcome = serve(&config, &folder, &mut parts, &shutdown).await;
    let stopped = parts.stop().await;
    // The first error is the cause; those of the stop are often its consequence.
    let code = outcome?;
    stopped?;
    Ok(code)
}

async fn serve(
    config: &Config,
    folder: &Folder,
    parts: &mut Parts,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let endpoints = start(config, folder, parts, shutdown).await?;
    tokio::select! {
        biased;
        () = shutdown.requested() => return Ok(ExitCode::SUCCESS),
        ended = parts.ended() => return Err(ended),
        ready = readiness::wait(&config.ports) => ready?,
    }
    screen::line("ready");
    if config.demo.is_wanted() {
        let api = config.ports.api_url();
        let demo = demo::run(&config.demo, &api, &endpoints, shutdown);
        return tokio::select! {
            biased;
            ended = parts.ended() => Err(ended),
            outcome = demo => outcome,
        };
    }
    tokio::select! {
        biased;
        () = shutdown.requested() => Ok(ExitCode::SUCCESS),
        ended = parts.ended() => Err(ended),
    }
}

/// Starts the parts in the order in which they need each other.
async fn start(
    config: &Config,
    folder: &Folder,
    parts: &mut Parts,
    shutdown: &Shutdown,
) -> anyhow::Result<Endpoints> {
    let clusters = Clusters::start(config, folder, parts).await?;
    let endpoints = Endpoints {
        source: clusters.source,
        target: clusters.target,
        kafka: services::kafka(config, folder, parts).await?,
        kafka_options: Vec::new(),
        registry: services::registry(config, folder, parts).await?,
        monitors: config.ports.monitors(),
        names: config.names.clone(),
        differences: config.differences.clone(),
    };
    folder.record(&endpoints)?;
    services::prepare(&endpoints, shutdown)
        .await
        .context("make the table of the articles")?;
    services::cdc(config, folder, &endpoints, parts)?;
    services::applier(config, &endpoints, parts)?;
    services::api(config, &endpoints, parts)?;
    services::replica(config, &endpoints, parts)?;
    services::gateway(config, &endpoints, parts)?;
    services::console(config, &endpoints, parts)?;
    Ok(endpoints)
}
