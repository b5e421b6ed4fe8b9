//! `lockstep pause`: lets apply, a table of it, or capture rest.

use std::process::ExitCode;

use anyhow::ensure;
use operate::audit::Actor;
use operate::endpoints::EndpointsConfig;
use operate::{capture, control};
use service::postgres::connect;

use crate::commands::actor::ActorConfig;
use crate::commands::stage::{Stage, TABLES_OF_APPLY};
use crate::commands::tables::TableArgument;
use crate::screen;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    #[command(flatten)]
    endpoints: EndpointsConfig,

    /// What to pause
    #[arg(value_enum, default_value_t = Stage::Apply)]
    stage: Stage,

    /// Let this table only wait, as schema.table; repeatable. The others go on
    #[arg(long, value_name = "TABLE")]
    table: Vec<TableArgument>,

    #[command(flatten)]
    actor: ActorConfig,
}

/// # Errors
/// When nothing was applied yet, a table waits already, or the target does not answer.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let endpoints = config.endpoints.resolve()?;
    let pipeline = &endpoints.names.pipeline;
    let actor: Actor = config.actor.into();
    let mut target = connect(&endpoints.target, "lockstep pause").await?;
    if config.stage == Stage::Capture {
        ensure!(config.table.is_empty(), "{TABLES_OF_APPLY}");
        let source = connect(&endpoints.source, "lockstep pause").await?;
        capture::pause(&source, &mut target, &endpoints.names, &actor).await?;
        screen::line(
            "capture takes no changes within a second, and the slot keeps them; \
             `lockstep resume capture` lets it go on",
        );
        return Ok(ExitCode::SUCCESS);
    }
    if config.table.is_empty() {
        control::pause(&mut target, pipeline, &actor).await?;
        screen::line("apply is paused; `lockstep resume` lets it go on");
    }
    for TableArgument(table) in &config.table {
        control::hold_table(&mut target, pipeline, table, &actor).await?;
        screen::line(&format!(
            "{table} is held; `lockstep resume --table {table}` brings it up to the others"
        ));
    }
    Ok(ExitCode::SUCCESS)
}
