//! `lockstep api`: the REST API, as in production.

use std::process::ExitCode;

use service::{Monitor, Shutdown};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    #[command(flatten)]
    service: ::api::Config,
}

/// Runs until a stop is requested. Metrics and health stand on the API's own port.
///
/// # Errors
/// What a human must mend.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let shutdown = Shutdown::on_signals()?;
    ::api::run(config.service, Monitor::new(), shutdown).await?;
    Ok(ExitCode::SUCCESS)
}
