//! `lockstep console`: the operator's web pages, as in production.

use std::io;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use operate::endpoints::EndpointsConfig;
use service::{Monitor, Shutdown};

use crate::screen;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    #[command(flatten)]
    endpoints: EndpointsConfig,

    #[command(flatten)]
    service: ::console::Config,

    /// Read a password from standard input and print its hash for --console-user
    #[arg(long)]
    hash_password: bool,
}

/// Runs until a stop is requested. Metrics and health stand on the console's own port.
///
/// # Errors
/// What a human must mend.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    if config.hash_password {
        return hash_password();
    }
    let endpoints = config.endpoints.resolve()?;
    let shutdown = Shutdown::on_signals()?;
    ::console::run(config.service, endpoints, Monitor::new(), shutdown).await?;
    Ok(ExitCode::SUCCESS)
}

/// From standard input rather than the command line, which others on the machine can read.
fn hash_password() -> anyhow::Result<ExitCode> {
    let mut password = String::new();
    io::stdin()
        .read_line(&mut password)
        .context("read the password from standard input")?;
    let password = password.trim_end_matches(['\r', '\n']);
    ensure!(!password.is_empty(), "standard input holds no password");
    let hash = ::console::hash_password(password).context("hash the password")?;
    screen::line(&hash);
    Ok(ExitCode::SUCCESS)
}
