//! `lockstep resume`: lets a paused apply or capture go on.

use std::process::ExitCode;

use operate::audit::Actor;
use operate::endpoints::EndpointsConfig;
use operate::{capture, control};
use service::postgres::connect;

use crate::commands::actor::ActorConfig;
use crate::commands::stage::Stage;
use crate::screen;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    #[command(flatten)]
    endpoints: EndpointsConfig,

    /// What to resume
    #[arg(value_enum, default_value_t = Stage::Apply)]
    stage: Stage,

    #[command(flatten)]
    actor: ActorConfig,
}

/// # Errors
/// When nothing was applied yet, or the target does not answer.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let endpoints = config.endpoints.resolve()?;
    let actor: Actor = config.actor.into();
    let mut target = connect(&endpoints.target, "lockstep resume").await?;
    if config.stage == Stage::Capture {
        let source = connect(&endpoints.source, "lockstep resume").await?;
        capture::resume(&source, &mut target, &endpoints.names, &actor).await?;
        screen::line("capture goes on within a second");
        return Ok(ExitCode::SUCCESS);
    }
    control::resume(&mut target, &endpoints.names.pipeline, &actor).await?;
    screen::line("apply goes on");
    Ok(ExitCode::SUCCESS)
}
