//! `lockstep pause`: lets apply, a table of it, or capture rest.

use std::process::ExitCode;

use anyhow::ensure;
use change::TableName;
use operate::{capture, control};
use serde_json::json;
use service::postgres::connect;

use crate::commands::actor::ActorConfig;
use crate::commands::pipeline::{Pipeline, PipelineConfig};
use crate::commands::stage::{Stage, TABLES_OF_APPLY};
use crate::screen;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    #[command(flatten)]
    pipeline: PipelineConfig,

    /// What to pause
    #[arg(value_enum, default_value_t = Stage::Apply)]
    stage: Stage,

    /// Let this table only wait, as schema.table; repeatable. The others go on
    #[arg(long, value_name = "TABLE")]
    table: Vec<TableName>,

    #[command(flatten)]
    actor: ActorConfig,
}

/// # Errors
/// When nothing was applied yet, a table waits already, or the target does not answer.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let (stage, actor) = (config.stage, &config.actor);
    ensure!(
        stage == Stage::Apply || config.table.is_empty(),
        "{TABLES_OF_APPLY}"
    );
    let pipeline = config.pipeline.open()?;
    for table in &config.table {
        hold(&pipeline, table, actor).await?;
        screen::line(&format!(
            "{table} is held; `lockstep resume --table {table}` brings it up to the others"
        ));
    }
    if !config.table.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    pause(&pipeline, stage, actor).await?;
    screen::line(match stage {
        Stage::Apply => "apply is paused; `lockstep resume` lets it go on",
        Stage::Capture => {
            "capture takes no changes within a second, and the slot keeps them; \
             `lockstep resume capture` lets it go on"
        }
    });
    Ok(ExitCode::SUCCESS)
}

async fn hold(pipeline: &Pipeline, table: &TableName, actor: &ActorConfig) -> anyhow::Result<()> {
    match pipeline {
        Pipeline::Direct(endpoints) => {
            let mut target = connect(&endpoints.target, "lockstep pause").await?;
            let pipeline = &endpoints.names.pipeline;
            control::hold_table(&mut target, pipeline, table, &actor.actor()).await
        }
        Pipeline::Remote(console) => {
            let table = table.to_string();
            let fields = json!({ "table": table, "confirm": table, "reason": actor.reason()? });
            console.act("pause-table", &fields).await
        }
    }
}

async fn pause(pipeline: &Pipeline, stage: Stage, actor: &ActorConfig) -> anyhow::Result<()> {
    match pipeline {
        Pipeline::Direct(endpoints) => {
            let mut target = connect(&endpoints.target, "lockstep pause").await?;
            let (names, actor) = (&endpoints.names, actor.actor());
            match stage {
                Stage::Apply => control::pause(&mut target, &names.pipeline, &actor).await,
                Stage::Capture => {
                    let source = connect(&endpoints.source, "lockstep pause").await?;
                    capture::pause(&source, &mut target, names, &actor).await
                }
            }
        }
        Pipeline::Remote(console) => {
            let action = match stage {
                Stage::Apply => "pause-apply",
                Stage::Capture => "pause-capture",
            };
            let fields = json!({ "reason": actor.reason()? });
            console.act(action, &fields).await
        }
    }
}
