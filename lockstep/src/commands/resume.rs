//! `lockstep resume`: lets a paused apply go on.

use std::process::ExitCode;

use operate::audit::Actor;
use operate::control;
use operate::endpoints::EndpointsConfig;
use service::postgres::connect;

use crate::commands::actor::ActorConfig;
use crate::screen;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    #[command(flatten)]
    endpoints: EndpointsConfig,

    #[command(flatten)]
    actor: ActorConfig,
}

/// # Errors
/// When nothing was applied yet, or the target does not answer.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let endpoints = config.endpoints.resolve()?;
    let actor: Actor = config.actor.into();
    let mut target = connect(&endpoints.target, "lockstep resume").await?;
    control::resume(&mut target, &endpoints.names.pipeline, &actor).await?;
    screen::line("apply goes on");
    Ok(ExitCode::SUCCESS)
}
