//! `lockstep resume`: lets a paused apply or capture, or a held table, go on.

use std::process::ExitCode;

use anyhow::ensure;
use change::TableName;
use operate::replay::{self, CaughtUp};
use operate::{capture, control};
use serde_json::json;
use service::postgres::connect;

use crate::commands::actor::ActorConfig;
use crate::commands::pipeline::{Pipeline, PipelineConfig};
use crate::commands::stage::{Stage, TABLES_OF_APPLY};
use crate::commands::verify::Progress;
use crate::screen;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    #[command(flatten)]
    pipeline: PipelineConfig,

    /// What to resume
    #[arg(value_enum, default_value_t = Stage::Apply)]
    stage: Stage,

    /// Bring this held table up to the others, as schema.table; repeatable
    #[arg(long, value_name = "TABLE")]
    table: Vec<TableName>,

    #[command(flatten)]
    actor: ActorConfig,
}

/// # Errors
/// When nothing was applied yet, a table is not held or cannot catch up, or the target does not
/// answer.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let (stage, actor) = (config.stage, &config.actor);
    ensure!(
        stage == Stage::Apply || config.table.is_empty(),
        "{TABLES_OF_APPLY}"
    );
    let pipeline = config.pipeline.open()?;
    for table in &config.table {
        let CaughtUp { changes, at, .. } = catch_up(&pipeline, table, actor).await?;
        screen::line(&format!(
            "{table} is where all others are, {at}, after {changes} changes"
        ));
    }
    if !config.table.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    resume(&pipeline, stage, actor).await?;
    screen::line(match stage {
        Stage::Apply => "apply goes on",
        Stage::Capture => "capture goes on within a second",
    });
    Ok(ExitCode::SUCCESS)
}

async fn catch_up(
    pipeline: &Pipeline,
    table: &TableName,
    actor: &ActorConfig,
) -> anyhow::Result<CaughtUp> {
    match pipeline {
        Pipeline::Direct(endpoints) => {
            let (mut progress, actor) = (Progress::new(false), actor.actor());
            let caught_up = replay::catch_up(endpoints, table, &actor, |done, of| {
                progress.say(&format!("{table}: {done} of {of} changes"));
            });
            let caught_up = Box::pin(caught_up).await;
            progress.finish();
            caught_up
        }
        Pipeline::Remote(console) => {
            let fields = json!({ "table": table.to_string(), "reason": actor.reason()? });
            console.act("resume-table", &fields).await
        }
    }
}

async fn resume(pipeline: &Pipeline, stage: Stage, actor: &ActorConfig) -> anyhow::Result<()> {
    match pipeline {
        Pipeline::Direct(endpoints) => {
            let mut target = connect(&endpoints.target, "lockstep resume").await?;
            let (names, actor) = (&endpoints.names, actor.actor());
            match stage {
                Stage::Apply => control::resume(&mut target, &names.pipeline, &actor).await,
                Stage::Capture => {
                    let source = connect(&endpoints.source, "lockstep resume").await?;
                    capture::resume(&source, &mut target, names, &actor).await
                }
            }
        }
        Pipeline::Remote(console) => {
            let action = match stage {
                Stage::Apply => "resume-apply",
                Stage::Capture => "resume-capture",
            };
            let fields = json!({ "reason": actor.reason()? });
            console.act(action, &fields).await
        }
    }
}
