//! What runs in this process: broker, registry, capture, apply, REST APIs, GraphQL, console.

use anyhow::Context;
use clap::{Args, FromArgMatches};
use local::kafka::{self, Broker};
use local::registry::{self, Registry};
use service::postgres::{Connection, Dsn, connect};
use service::{Backoff, Monitor, Shutdown, chain};
use tracing::warn;

use super::Config;
use super::folder::Folder;
use super::parts::Parts;
use super::ports::loopback;
use crate::commands::monitored;
use crate::commands::setup::is_superuser;
use crate::screen;
use operate::endpoints::Endpoints;

/// A row may be larger than Kafka's default of 1 MB, and nobody is there to raise it.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Returns the bootstrap servers.
///
/// # Errors
/// Why the local broker does not start.
pub(super) async fn kafka(
    config: &Config,
    folder: &Folder,
    parts: &mut Parts,
) -> anyhow::Result<String> {
    if let Some(given) = &config.kafka {
        screen::line(&format!("kafka     {given} (given)"));
        return Ok(given.clone());
    }
    let mut settings = kafka::Config::new(folder.kafka());
    settings.listen = loopback(config.ports.kafka_port);
    settings.default_max_message_bytes = MESSAGE_BYTES_MAX;
    let broker = Broker::start(settings)
        .await
        .context("start the Kafka broker")?;
    let address = broker.addr().to_string();
    screen::line(&format!("kafka     {address}"));
    parts.add("the Kafka broker", |stop| async move {
        stop.requested().await;
        Ok(broker.stop().await?)
    });
    Ok(address)
}

/// Returns the registry's URL.
///
/// # Errors
/// Why the local registry does not start.
pub(super) async fn registry(
    config: &Config,
    folder: &Folder,
    parts: &mut Parts,
) -> anyhow::Result<String> {
    if let Some(given) = &config.registry {
        screen::line(&format!("registry  {given} (given)"));
        return Ok(given.clone());
    }
    let settings = registry::Config {
        file: folder.registry(),
        listen: loopback(config.ports.registry_port),
    };
    let registry = Registry::start(settings)
        .await
        .context("start the schema registry")?;
    let url = format!("http://{}", registry.addr());
    screen::line(&format!("registry  {url}/subjects"));
    parts.add("the schema registry", |stop| async move {
        stop.requested().await;
        registry.stop().await;
        Ok(())
    });
    Ok(url)
}

/// The articles' table on both sides: before capture looks which tables there are, and with the
/// indexes that reads of the target need. A database that is away is waited for.
///
/// # Errors
/// When one of them refuses.
pub(super) async fn prepare(endpoints: &Endpoints, shutdown: &Shutdown) -> anyhow::Result<()> {
    if let Some(source) = reach(&endpoints.source, shutdown).await.context("source")? {
        api::migrate(&source).await.context("source")?;
        if is_superuser(&source).await.context("source")? {
            let told = source.batch_execute(cdc::SCHEMA_CHANGES_SQL).await;
            told.context("source: make the triggers that tell of schema changes")?;
        }
    }
    if let Some(target) = reach(&endpoints.target, shutdown).await.context("target")? {
        api::prepare_replica(&target).await.context("target")?;
    }
    Ok(())
}

/// Nothing when a stop comes first.
async fn reach(dsn: &Dsn, shutdown: &Shutdown) -> anyhow::Result<Option<Connection>> {
    let mut backoff = Backoff::default();
    while !shutdown.is_requested() {
        match connect(dsn, "lockstep up").await {
            Ok(connection) => return Ok(Some(connection)),
            Err(error) if error.is_transient() => {
                warn!(database = %dsn, error = chain(&error), "it is away, trying again");
                backoff.pause(shutdown).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// # Errors
/// When a setting is refused.
pub(super) fn cdc(
    config: &Config,
    folder: &Folder,
    endpoints: &Endpoints,
    parts: &mut Parts,
) -> anyhow::Result<()> {
    let spool = folder.spool().display().to_string();
    let names = &endpoints.names;
    let settings: cdc::Config = settings(&[
        ("--source", endpoints.source.text()),
        ("--kafka", &endpoints.kafka),
        ("--registry", &endpoints.registry),
        ("--prefix", &names.prefix),
        ("--slot", &names.slot),
        ("--publication", &names.publication),
        ("--spool-dir", &spool),
    ])?;
    let listen = loopback(config.ports.cdc_metrics_port);
    screen::line(&format!("capture   http://{listen}/metrics"));
    parts.add("capture", move |stop| {
        monitored(listen, stop, move |monitor, stop| async move {
            Ok(cdc::run(settings, monitor, stop).await?)
        })
    });
    Ok(())
}

/// # Errors
/// When a setting is refused.
pub(super) fn applier(
    config: &Config,
    endpoints: &Endpoints,
    parts: &mut Parts,
) -> anyhow::Result<()> {
    let names = &endpoints.names;
    let mut settings: applier::Config = settings(&[
        ("--target", endpoints.target.text()),
        ("--kafka", &endpoints.kafka),
        ("--registry", &endpoints.registry),
        ("--prefix", &names.prefix),
        ("--pipeline", &names.pipeline),
    ])?;
    settings.differences = endpoints.differences.clone();
    let listen = loopback(config.ports.applier_metrics_port);
    screen::line(&format!("apply     http://{listen}/metrics"));
    parts.add("apply", move |stop| {
        monitored(listen, stop, move |monitor, stop| async move {
            Ok(applier::run(settings, monitor, stop).await?)
        })
    });
    Ok(())
}

/// # Errors
/// When a setting is refused.
pub(super) fn api(config: &Config, endpoints: &Endpoints, parts: &mut Parts) -> anyhow::Result<()> {
    let listen = loopback(config.ports.api_port);
    let settings: api::Config = settings(&[
        ("--source", endpoints.source.text()),
        ("--api-listen", &listen.to_string()),
    ])?;
    screen::line(&format!("rest      http://{listen}/api/v1/articles"));
    parts.add("the REST API", move |stop| async move {
        // It serves its metrics on its own port.
        Ok(api::run(settings, Monitor::new(), stop).await?)
    });
    Ok(())
}

/// # Errors
/// When a setting is refused.
pub(super) fn replica(
    config: &Config,
    endpoints: &Endpoints,
    parts: &mut Parts,
) -> anyhow::Result<()> {
    let listen = loopback(config.ports.replica_port);
    let settings: api::Config = parsed([
        "--read-only".to_owned(),
        format!("--target={}", endpoints.target.text()),
        format!("--pipeline={}", endpoints.names.pipeline),
        format!("--api-listen={listen}"),
    ])?;
    screen::line(&format!("replica   http://{listen}/api/v1/articles"));
    parts.add("the REST API of the target", move |stop| async move {
        Ok(api::run(settings, Monitor::new(), stop).await?)
    });
    Ok(())
}

/// # Errors
/// When a setting is refused.
pub(super) fn gateway(
    config: &Config,
    endpoints: &Endpoints,
    parts: &mut Parts,
) -> anyhow::Result<()> {
    let listen = loopback(config.ports.gateway_port);
    let settings: gateway::Config = settings(&[
        ("--gateway-listen", &listen.to_string()),
        ("--gateway-rest", &config.ports.api_url()),
        ("--gateway-replica", &config.ports.replica_url()),
        ("--kafka", &endpoints.kafka),
        ("--registry", &endpoints.registry),
        ("--prefix", &endpoints.names.prefix),
    ])?;
    screen::line(&format!("graphql   http://{listen}/graphql"));
    parts.add("the GraphQL gateway", move |stop| async move {
        Ok(gateway::run(settings, Monitor::new(), stop).await?)
    });
    Ok(())
}

/// # Errors
/// When a setting is refused.
pub(super) fn console(
    config: &Config,
    endpoints: &Endpoints,
    parts: &mut Parts,
) -> anyhow::Result<()> {
    let listen = loopback(config.ports.console_port);
    let settings: console::Config = settings(&[("--console-listen", &listen.to_string())])?;
    screen::line(&format!("console   http://{listen}"));
    let endpoints = endpoints.clone();
    parts.add("the console", move |stop| async move {
        Ok(console::run(settings, endpoints, Monitor::new(), stop).await?)
    });
    Ok(())
}

/// The settings of a service: what `up` decides, then its `LOCKSTEP_*` variables and its defaults.
fn settings<C: Args + FromArgMatches>(decided: &[(&str, &str)]) -> anyhow::Result<C> {
    let arguments = decided
        .iter()
        .map(|(flag, value)| format!("{flag}={value}"));
    parsed(arguments)
}

fn parsed<C: Args + FromArgMatches>(
    arguments: impl IntoIterator<Item = String>,
) -> anyhow::Result<C> {
    let command = C::augment_args(clap::Command::new("up").no_binary_name(true));
    let matches = command.try_get_matches_from(arguments)?;
    Ok(C::from_arg_matches(&matches)?)
}
