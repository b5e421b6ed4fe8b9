//! `lockstep applier`: apply, as in production.

use std::net::SocketAddr;
use std::process::ExitCode;

use service::Shutdown;

use super::monitored::{MetricsConfig, monitored};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    #[command(flatten)]
    service: ::applier::Config,

    /// Address and port of metrics and health
    #[arg(
        long,
        env = "LOCKSTEP_METRICS_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9102"
    )]
    metrics_listen: SocketAddr,

    #[command(flatten)]
    metrics: MetricsConfig,
}

/// Runs until a stop is requested.
///
/// # Errors
/// What a human must mend.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let shutdown = Shutdown::on_signals()?;
    config.metrics.require_allowed(config.metrics_listen)?;
    monitored(config.metrics_listen, shutdown, |monitor, stop| async {
        Ok(::applier::run(config.service, monitor, stop).await?)
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}
