//! `lockstep resume`: lets a paused apply or capture, or a held table, go on.

use std::process::ExitCode;

use anyhow::ensure;
use operate::audit::Actor;
use operate::endpoints::EndpointsConfig;
use operate::replay::{self, CaughtUp};
use operate::{capture, control};
use service::postgres::connect;

use crate::commands::actor::ActorConfig;
use crate::commands::stage::{Stage, TABLES_OF_APPLY};
use crate::commands::tables::TableArgument;
use crate::commands::verify::Progress;
use crate::screen;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    #[command(flatten)]
    endpoints: EndpointsConfig,

    /// What to resume
    #[arg(value_enum, default_value_t = Stage::Apply)]
    stage: Stage,

    /// Bring this held table up to the others, as schema.table; repeatable
    #[arg(long, value_name = "TABLE")]
    table: Vec<TableArgument>,

    #[command(flatten)]
    actor: ActorConfig,
}

/// # Errors
/// When nothing was applied yet, a table is not held or cannot catch up, or the target does not
/// answer.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let endpoints = config.endpoints.resolve()?;
    let actor: Actor = config.actor.into();
    ensure!(
        config.stage == Stage::Apply || config.table.is_empty(),
        "{TABLES_OF_APPLY}"
    );
    for TableArgument(table) in &config.table {
        let mut progress = Progress::new(false);
        let caught_up = replay::catch_up(&endpoints, table, &actor, |done, of| {
            progress.say(&format!("{table}: {done} of {of} changes"));
        });
        let caught_up = Box::pin(caught_up).await;
        progress.finish();
        let CaughtUp { changes, at, .. } = caught_up?;
        screen::line(&format!(
            "{table} is where all others are, {at}, after {changes} changes"
        ));
    }
    if !config.table.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
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
