//! Starts the service, keeps its parts together, stops them in order.

use std::sync::Arc;

use service::listener::{self, ListenError, Protection};
use service::{Monitor, Shutdown};

use crate::config::Config;
use crate::database::{Database, DatabaseError};
use crate::exchange::Exchange;
use crate::metrics::Metrics;
use crate::role::Role;
use crate::server;

/// Why the API cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("listen for requests")]
    Listen(#[from] ListenError),
    #[error("--source is missing, or --target of --read-only")]
    NoDatabase,
    #[error("use the database of the articles")]
    Database(#[from] DatabaseError),
    #[error("register metrics")]
    Metrics(#[from] prometheus::Error),
}

/// Serves the REST API until a stop is requested. Answers 503 while the database is away.
///
/// # Errors
///
/// When the port cannot be had, or when the database refuses us in a way that only a human mends.
pub async fn run(config: Config, monitor: Monitor, shutdown: Shutdown) -> Result<(), Error> {
    let side = config.side().ok_or(Error::NoDatabase)?;
    // A token guards writes only.
    let guarded = config.api_token.is_some() && !side.is_replica();
    let protection = match guarded || config.api_allow_anonymous {
        true => Protection::Present,
        false => Protection::Absent,
    };
    let address = config.api_listen;
    listener::refuse_exposure(address, FLAG, protection, MEND)?;
    let listener = listener::bind(address, FLAG).await?;
    tracing::info!(%address, database = %side.dsn(), side = side.name(), "serving articles");

    let metrics = Metrics::register(&monitor.metrics)?;
    let role = Role::of(&side, &config, &monitor.health);
    let database = Arc::new(Database::new(side, &config, monitor.health.clone())?);
    let exchange = Exchange::new(
        &config,
        monitor,
        metrics,
        Arc::clone(&database),
        role.clone(),
    );

    // A child, so that a database that refuses us stops the rest of this service only.
    let stop = shutdown.child();
    let served = server::serve(Arc::new(exchange), listener, &stop);
    let kept = async {
        let outcome = database.keep(&stop).await;
        if outcome.is_err() {
            stop.request();
        }
        outcome
    };
    let attended = role.attend(&stop, &database);
    let ((), outcome, ()) = tokio::join!(served, kept, attended);
    role.finish(&database).await;
    outcome.map_err(Error::Database)
}

const FLAG: &str = "--api-listen";
const MEND: &str = "set --api-token, or allow it with --api-allow-anonymous";
