//! `lockstep snapshot`: reads tables once more while changes flow on.

use std::process::ExitCode;

use change::TableName;
use operate::endpoints::Endpoints;
use operate::snapshot::{self, LISTED, Snapshot};
use serde_json::json;
use service::postgres::connect;

use crate::commands::actor::ActorConfig;
use crate::commands::pipeline::{Pipeline, PipelineConfig};
use crate::commands::remote::Remote;
use crate::screen;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Config {
    #[command(flatten)]
    pipeline: PipelineConfig,

    /// Read this table once more, as schema.table; repeatable
    #[arg(long, value_name = "TABLE", required_unless_present_any = ["list", "cancel"])]
    table: Vec<TableName>,

    /// Show what was asked for, and how far it is
    #[arg(long, conflicts_with_all = ["table", "cancel"])]
    list: bool,

    /// Cancel this one; what it has read stays
    #[arg(long, value_name = "ID", conflicts_with = "table")]
    cancel: Option<i64>,

    #[command(flatten)]
    actor: ActorConfig,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// # Errors
/// When a table cannot be read once more, or a database does not answer.
pub(crate) async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let snapshots = match config.pipeline.clone().open()? {
        Pipeline::Direct(endpoints) => ask(&config, &endpoints).await?,
        Pipeline::Remote(console) => ask_there(&config, &console).await?,
    };
    show(&snapshots, config.json)
}

async fn ask(config: &Config, endpoints: &Endpoints) -> anyhow::Result<Vec<Snapshot>> {
    let (names, actor) = (&endpoints.names, config.actor.actor());
    let source = connect(&endpoints.source, "lockstep snapshot").await?;
    if config.list {
        return snapshot::list(&source, &names.slot, LISTED).await;
    }
    let mut target = connect(&endpoints.target, "lockstep snapshot").await?;
    match config.cancel {
        Some(id) => {
            let cancelled = snapshot::cancel(&source, &mut target, names, id, &actor).await?;
            Ok(vec![cancelled])
        }
        None => snapshot::request(&source, &mut target, names, &config.table, &actor).await,
    }
}

async fn ask_there(config: &Config, console: &Remote) -> anyhow::Result<Vec<Snapshot>> {
    if config.list {
        return console.get(&["snapshots"], &[]).await;
    }
    let reason = config.actor.reason()?;
    match config.cancel {
        Some(id) => {
            let fields = json!({ "id": id, "reason": reason });
            console.act("snapshot-cancel", &fields).await
        }
        None => {
            let tables: Vec<String> = config.table.iter().map(TableName::to_string).collect();
            let fields = json!({ "table": tables, "reason": reason });
            console.act("snapshot-table", &fields).await
        }
    }
}

fn show(snapshots: &[Snapshot], as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        let report = json!({ "snapshots": snapshots });
        screen::line(&serde_json::to_string_pretty(&report)?);
    } else {
        for snapshot in snapshots {
            screen::line(&line(snapshot));
        }
    }
    Ok(match snapshots.iter().any(|it| it.error.is_some()) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

fn line(snapshot: &Snapshot) -> String {
    let Snapshot {
        id,
        table,
        state,
        rows_read,
        rows_estimated,
        ..
    } = snapshot;
    let mut line = format!("{id}  {table}: {}, {rows_read}", state.name());
    match rows_estimated {
        Some(estimated) if state.is_open() => line.push_str(&format!(" of about {estimated} rows")),
        _ => line.push_str(" rows"),
    }
    for more in [&snapshot.waits_for, &snapshot.error].into_iter().flatten() {
        line.push_str(": ");
        line.push_str(more);
    }
    line
}
