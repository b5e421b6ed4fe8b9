//! Starts the service and stops it.

use std::sync::Arc;

use service::listener::{self, ListenError, Protection};
use service::{Monitor, Shutdown};

use crate::changes::{Changes, DEPENDENCY, follow};
use crate::config::Config;
use crate::exchange::Exchange;
use crate::metrics::Metrics;
use crate::replication::Replication;
use crate::schema::{self, Parts};
use crate::server;
use crate::upstream::{BuildError, Upstream};

/// Why the gateway cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("listen for requests")]
    Listen(#[from] ListenError),
    #[error("prepare calls of the REST API")]
    Upstream(#[from] BuildError),
    #[error("register metrics")]
    Metrics(#[from] prometheus::Error),
}

/// Serves GraphQL until a stop is requested. Answers errors while the REST API is away.
///
/// # Errors
///
/// When the port cannot be had, or a setting cannot be used.
pub async fn run(config: Config, monitor: Monitor, shutdown: Shutdown) -> Result<(), Error> {
    let protection = match config.gateway_token.is_some() || config.gateway_allow_anonymous {
        true => Protection::Present,
        false => Protection::Absent,
    };
    let address = config.gateway_listen;
    listener::refuse_exposure(address, FLAG, protection, MEND)?;
    let metrics = Metrics::register(&monitor.metrics)?;
    let upstream = Arc::new(Upstream::new(&config, &metrics)?);
    let listener = listener::bind(address, FLAG).await?;
    tracing::info!(%address, rest = config.gateway_rest, "serving GraphQL");
    let changes = Changes::new();
    let parts = Parts {
        upstream: Arc::clone(&upstream),
        replication: Arc::new(Replication::new(Arc::clone(&upstream), changes.clone())),
        changes: config.changes.kafka.is_some().then(|| changes.clone()),
    };
    let schema = schema::build(&config, parts);
    let health = monitor.health.clone();
    if config.changes.kafka.is_some() {
        health.set(DEPENDENCY, Err("not connected yet".to_owned()));
    }
    let exchange = Exchange::new(&config, monitor, metrics, schema, upstream);
    let served = server::serve(Arc::new(exchange), listener, &shutdown);
    let followed = async {
        if let Some(brokers) = &config.changes.kafka {
            follow(&config.changes, brokers, &changes, &health, &shutdown).await;
        }
    };
    tokio::join!(served, followed);
    Ok(())
}

const FLAG: &str = "--gateway-listen";
const MEND: &str = "set --gateway-token, or allow it with --gateway-allow-anonymous";
