//! `lockstep gateway`: GraphQL, as in production.

use std::process::ExitCode;

use service::{Monitor, Shutdown};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    #[command(flatten)]
    service: ::gateway::Config,
}

/// Runs until a stop is requested. Metrics and health stand on the gateway's own port.
///
/// # Errors
/// What a human must mend.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let shutdown = Shutdown::on_signals()?;
    ::gateway::run(config.service, Monitor::new(), shutdown).await?;
    Ok(ExitCode::SUCCESS)
}
