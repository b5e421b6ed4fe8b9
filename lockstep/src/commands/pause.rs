//! `lockstep pause`: lets apply, or a table of it, rest.

use std::process::ExitCode;

use operate::audit::Actor;
use operate::control;
use operate::endpoints::EndpointsConfig;
use service::postgres::connect;

use crate::commands::actor::ActorConfig;
use crate::commands::tables::TableArgument;
use crate::screen;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    #[command(flatten)]
    endpoints: EndpointsConfig,

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
