//! Starts the console and stops it.

use std::sync::Arc;

use operate::endpoints::Endpoints;
use service::http::RequestMetrics;
use service::listener::{self, ListenError};
use service::{Monitor, Shutdown};

use crate::config::Config;
use crate::console::Console;
use crate::exchange::Exchange;
use crate::server;

/// Why the console cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("listen for requests")]
    Listen(#[from] ListenError),
    #[error("register metrics")]
    Metrics(#[from] prometheus::Error),
}

/// Serves the console until a stop is requested. A part of the pipeline that is away is shown as
/// such.
///
/// # Errors
/// When the port cannot be had, or others could reach it without signing in.
pub async fn run(
    config: Config,
    endpoints: Endpoints,
    monitor: Monitor,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let address = config.console_listen;
    listener::refuse_exposure(address, FLAG, config.protection(), MEND)?;
    let listener = listener::bind(address, FLAG).await?;
    tracing::info!(%address, sign_in = !config.console_user.is_empty(), "serving the console");
    let console = Arc::new(Console::new(&config, endpoints));
    let requests = RequestMetrics::register(&monitor.metrics)?;
    let exchange = Exchange::new(
        &config,
        Arc::clone(&console),
        monitor,
        requests,
        shutdown.clone(),
    );
    let served = server::serve(Arc::new(exchange), listener, &shutdown);
    let watched = console.live.watch(&shutdown);
    tokio::join!(served, watched);
    Ok(())
}

const FLAG: &str = "--console-listen";
const MEND: &str = "name who may sign in with --console-user";
